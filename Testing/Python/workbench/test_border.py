"""The end of a training run: the mean of good points, and the small heads' own training."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.engine import tiny_network
from ichhpinet.checkpoint import load_checkpoint
from ichhpinet.networks.boundary import BoundaryHead
from ichhpinet_workbench.training import finish, headtrainer, pool, selection
from ichhpinet_workbench.training.border import BorderTrainer, Sample, border_loss, border_part, judge
from ichhpinet_workbench.training.checkpoints import load_state
from ichhpinet_workbench.training.export import export
from ichhpinet_workbench.training.headtrainer import play
from ichhpinet_workbench.training.loop import Trainer
from ichhpinet_workbench.training.pool import Pool
from ichhpinet_workbench.training.recipe import RECIPES, HeadRecipe
from ichhpinet_workbench.training.supply import SyntheticSupply
from workbench.test_training import CROP, TOY, toy_case, toy_head

SHORT = HeadRecipe(play_minutes=0.001, minutes=0.005, batch=2)


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Toy heads in place of synthetic ones."""
    monkeypatch.setattr(pool, "make_head", toy_head)
    monkeypatch.setattr(selection, "_case", toy_case)
    selection._of.cache_clear()
    yield
    selection._of.cache_clear()


class Toys(SyntheticSupply):
    """Crops of toy heads, without processes; counts how often it is asked."""

    asked = 0

    def crops(self, recipe, config, first_seed):  # type: ignore[no-untyped-def]
        type(self).asked += 1
        return Pool(2, 0, first_seed, config.pixel_mm)


def samples(count: int, seed: int = 0) -> list[Sample]:
    """What was said is the truth, moved by a pixel: to be corrected from the image alone."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        truth = torch.zeros(2, 32, 32)
        y, x = torch.randint(4, 16, (2,), generator=generator).tolist()
        truth[:, y : y + 10, x : x + 10] = 1
        prompts = torch.zeros(2, 5, 32, 32)
        prompts[:, 0] = truth - 0.2 + 0.05 * torch.randn(truth.shape, generator=generator)
        said = 2 * truth.roll(1, -1) - 1
        made.append(Sample(prompts, said[:, None].repeat(1, 2, 1, 1), truth))
    return made


def test_played_rounds_are_kept_in_parts_and_not_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_network()
    monkeypatch.setattr(headtrainer, "PART_MINUTES", 0.0005)
    assert network.boundary is not None
    part = border_part(network, network.boundary, TOY)
    files = play(part, TOY, SHORT, network.config, Toys(), tmp_path)
    assert len(files) == 2 and not list(tmp_path.glob("*.writing"))
    values = [Sample(*sample) for sample in torch.load(files[0], weights_only=True)]
    assert values
    for sample in values:
        count = len(sample.truth)
        assert sample.prompts.shape == (count, 5, *CROP[1:]) and sample.said.shape == (count, 2, *CROP[1:])
        assert sample.truth.dtype == torch.float16
    before, asked = files[0].read_bytes(), Toys.asked
    files[1].unlink()
    play(part, TOY, SHORT, network.config, Toys(), tmp_path)
    assert files[1].exists() and files[0].read_bytes() == before and Toys.asked == asked + 1
    play(part, TOY, SHORT, network.config, Toys(), tmp_path)
    assert Toys.asked == asked + 1


def test_the_head_learns_what_the_network_cannot_see_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(headtrainer.time, "monotonic", lambda: 0.02 * next(ticks))  # so that a minute is so many steps
    torch.manual_seed(0)
    file = tmp_path / "rounds-000.pt"
    torch.save([tuple(sample) for sample in samples(40)], file)
    recipe = HeadRecipe(play_minutes=1, minutes=0.05, learning_rate=5e-3, batch=4)
    trainer = BorderTrainer(BoundaryHead(5, 4), recipe, tmp_path / "border")
    judged = trainer.run([file])
    assert judged["before"] < 0.95 and judged["after"] > judged["before"]
    again = BorderTrainer(BoundaryHead(5, 4), replace(recipe, minutes=0.06), tmp_path / "border")
    assert again.step == trainer.step and again.seconds == pytest.approx(trainer.seconds)
    for mine, theirs in zip(again.averaged.parameters(), trainer.averaged.parameters()):
        assert torch.equal(mine, theirs)
    again.run([file])
    assert again.step > trainer.step


def test_the_loss_is_least_for_the_truth_and_is_taken_crop_by_crop() -> None:
    truth = torch.cat([sample.truth for sample in samples(2)])
    right, wrong = 20 * (truth - 0.5), 20 * (0.5 - truth)
    assert border_loss(right, truth, (2, 2)) < 0.01 < border_loss(0 * right, truth, (2, 2))
    assert border_loss(wrong, truth, (2, 2)) > border_loss(0 * right, truth, (2, 2))
    half_right = torch.cat([right[:2], wrong[2:]])
    assert not torch.isclose(border_loss(half_right, truth, (2, 2)), border_loss(half_right, truth, (1, 3)))


def test_crops_without_blood_have_no_dice_but_count_in_the_cross_entropy() -> None:
    truth = torch.zeros(1, 32, 32)
    assert border_loss(truth - 5, truth, (1,)) < border_loss(truth + 5, truth, (1,))
    empty = Sample(torch.zeros(1, 5, 32, 32), torch.zeros(1, 2, 32, 32), truth)
    assert judge(BoundaryHead(5, 4), [empty]) == {}


def test_a_head_that_says_nothing_changes_nothing() -> None:
    judged = judge(BoundaryHead(5, 4), samples(5))
    assert judged["before"] == judged["after"] and judged["worse"] == 0


def test_the_mean_of_weights_is_their_mean() -> None:
    points = [{"weight": torch.full((2,), value), "count": torch.tensor(3)} for value in (1.0, 3.0)]
    mixed = finish.mean(points)
    assert mixed["weight"].tolist() == [2.0, 2.0] and int(mixed["count"]) == 3


def test_a_point_that_makes_the_mean_worse_stays_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_network()
    (tmp_path / "snapshots").mkdir()
    for number in range(4):
        (tmp_path / "snapshots" / f"{number:02d}-step-1.pt").touch()
    values = {"02-step-1.pt": 3.0, "03-step-1.pt": -50.0}

    class Point:
        def __init__(self, path: Path) -> None:
            self.weights = {"weight": torch.tensor([values[path.name]])}

    monkeypatch.setattr(finish, "load_checkpoint", Point)
    monkeypatch.setattr(finish, "_score", lambda _, weights, *__: float(weights["weight"]))
    weights, score, count = finish.soup(network, {"network": {"weight": torch.ones(1)}}, tmp_path, None, None)
    assert weights["weight"].item() == 2.0 == score and count == 2


def test_a_finished_run_ships_the_heads_that_were_trained_last_and_is_not_finished_twice(tmp_path: Path) -> None:
    recipe = replace(TOY, minutes=0.02, soup=1, border=SHORT, correction=replace(SHORT, passes=1))
    supply = Toys()
    trainer = Trainer(recipe, tmp_path, supply=supply)
    trainer.run()
    assert trainer.done
    before = Toys.asked
    finish.finish(recipe, tmp_path, supply, torch.device("cpu"), trainer.step)
    asked = Toys.asked
    assert asked == before + recipe.border.passes + recipe.correction.passes == before + 3
    finish.finish(recipe, tmp_path, supply, torch.device("cpu"), trainer.step)
    assert Toys.asked == asked
    export(tmp_path, tmp_path / "weights.pt")
    shipped = load_checkpoint(tmp_path / "weights.pt")
    assert shipped.weights["boundary.last.weight"].any() and shipped.weights["correction.last.weight"].any()
    assert shipped.training["selection"]["averaged"] >= 1
    assert "border_after" in shipped.training["selection"] and "correction_after" in shipped.training["selection"]


def test_a_share_of_the_weights_before_stays_in_those_that_ship(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = {name: torch.zeros_like(value) for name, value in tiny_network().state_dict().items()}
    recipe, supply = replace(TOY, minutes=0.02, before=0.25), Toys()
    monkeypatch.setattr(selection.Selection, "score", lambda *_: {"score": 0.123, "dice_1": 0.4})
    trainer = Trainer(recipe, tmp_path, supply=supply)
    trainer.run()
    finish.finish(recipe, tmp_path, supply, torch.device("cpu"), trainer.step, start=start)
    export(tmp_path, tmp_path / "weights.pt")
    shipped, learned = load_checkpoint(tmp_path / "weights.pt").weights, load_state(tmp_path / "best")["network"]
    judged = load_state(finish.finished(tmp_path, trainer.step))
    assert judged["score"] == 0.123 and judged["dice_1"] == 0.4  # of the mixture
    for name, value in learned.items():
        if value.is_floating_point():
            torch.testing.assert_close(shipped[name].float(), 0.75 * value.float(), rtol=2e-3, atol=1e-6)


def test_the_preset_that_ships_trains_its_heads() -> None:
    assert RECIPES["compact"].border.minutes > 0 and RECIPES["compact"].soup > 0
    assert RECIPES["compact"].correction.minutes > 0 and RECIPES["further"].correction.minutes > 0
    assert RECIPES["paper"].border.minutes == 0
