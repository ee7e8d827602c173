"""Training: recipes, crops, the partner's strokes, checkpoints that survive, runs that go on where they stopped."""

from __future__ import annotations

import json
import os
import queue
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ichhpinet.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ichhpinet.errors import InputError
from ichhpinet.networks import HPINet, Memory, ModelConfig
from ichhpinet.preprocessing import normalise
from ichhpinet_workbench.phantom import KINDS, Phantom
from ichhpinet_workbench.regions import components
from ichhpinet_workbench.training import checkpoints, loop, pool, selection
from ichhpinet_workbench.training import partner as partner_module
from ichhpinet_workbench.training.checkpoints import PART_BYTES, load_state, save_state
from ichhpinet_workbench.training.crops import Batch, Head
from ichhpinet_workbench.training.crops import batch_of as crops_of
from ichhpinet_workbench.training.dyes import LEAST_HU, dyed
from ichhpinet_workbench.training.loop import Trainer
from ichhpinet_workbench.training.partner import Partner
from ichhpinet_workbench.training.plan import check_resumes, make_plan
from ichhpinet_workbench.training.pool import Pool
from ichhpinet_workbench.training.recipe import EPOCH_STEPS, RECIPES, Recipe, named_recipe
from ichhpinet_workbench.training.scans import scanned
from ichhpinet_workbench.training.selection import Selection
from ichhpinet_workbench.training.start import SMALL_HEADS, read_start
from ichhpinet_workbench.training.supply import SyntheticSupply
from ichhpinet_workbench.training.turns import room_for, turn

CROP = (4, 32, 32)
TOY = replace(RECIPES["tiny"], crop=CROP, minutes=60.0, pool=2)


def toy_head(seed: int, pixel_mm: float = 1.0, **_: object) -> Head:
    """A head in a moment: brain with noise, two bleeds, air around."""
    rng = np.random.default_rng(seed)
    hu = np.full((6, 40, 40), -200.0)
    hu[:, 3:37, 3:37] = rng.normal(35, 3, (6, 34, 34))
    blood = np.zeros(hu.shape, bool)
    blood[1:4, 8:16, 8:18] = blood[3:5, 26:32, 25:33] = True
    hu[blood] += 30
    return Head(hu.astype(np.float16), blood.astype(np.float16), (5.0, pixel_mm, pixel_mm))


def toy_case(seed: int, thickness_mm: float, pixel_mm: float) -> tuple[torch.Tensor, np.ndarray, torch.Tensor]:
    """A case of model selection in a moment."""
    head = toy_head(seed)
    image = normalise(torch.from_numpy(head.hu[:, :32, :32].astype(np.float32)))
    return image[None], head.blood[:, :32, :32] >= 0.5, torch.tensor([head.spacing_mm], dtype=torch.float32)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toy heads in place of synthetic ones, and two toy cases to select by."""
    monkeypatch.setattr(pool, "make_head", toy_head)
    monkeypatch.setattr(selection, "_case", toy_case)
    selection._of.cache_clear()


def batch_of(size: int = 3, seed: int = 0) -> Batch:
    """Toy crops."""
    heads = Pool(2, 0, seed, 1.0)
    return heads.batch(size, CROP, np.random.default_rng(seed))


# -- recipes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_comes_back_from_plain_values_and_json(name: str) -> None:
    recipe = named_recipe(name, seed=5)
    assert recipe.name == name and recipe.seed == 5
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    ModelConfig.named(recipe.model, **recipe.switches)


def test_the_paper_recipe_is_the_published_one() -> None:
    recipe = named_recipe("paper")
    assert (recipe.model, recipe.optimizer) == ("paper", "adam")
    assert (recipe.learning_rate, recipe.weight_decay, recipe.paper_points) == (1e-5, 1e-7, 1.0)
    assert (recipe.loss.volume, recipe.loss.slice, recipe.loss.convert) == (5.0, 1.0, 4.0)


def test_the_paper_recipe_ends_after_five_hundred_epochs_whatever_the_time_and_keeps_its_learning_rate() -> None:
    recipe = named_recipe("paper")
    assert recipe.steps == 500 * EPOCH_STEPS and recipe.minutes == float("inf") and recipe.schedule == "constant"


def test_options_that_were_not_given_leave_the_recipe_alone_and_other_names_are_refused() -> None:
    assert named_recipe("compact", batch=None, seed=None) == RECIPES["compact"]
    with pytest.raises(InputError, match="must be one of compact, further, paper, tiny"):
        named_recipe("huge")


# -- crops -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("toys")
def test_crops_are_normalised_images_with_their_blood() -> None:
    batch = batch_of(8)
    assert batch.image.shape == batch.truth.shape == (8, *CROP)
    assert -1.75 <= float(batch.image.min()) and float(batch.image.max()) <= 2.25
    assert 0 == float(batch.truth.min()) and float(batch.truth.max()) == pytest.approx(1, abs=1e-5)
    assert batch.spacing_mm.tolist() == [[5.0, 1.0, 1.0]] * 8
    blood, rest = batch.image[batch.truth > 0.99], batch.image[(batch.truth == 0) & (batch.image > -1)]
    assert blood.mean() > rest.mean() + 0.3


def test_a_head_is_scanned_finely_and_averaged_to_working_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, float, float]] = []

    def fine(seed: int, *, spacing_mm: tuple[float, float, float], **_: object) -> Phantom:
        asked.append(spacing_mm)
        hu = np.arange(2 * 5 * 6, dtype=np.float32).reshape(2, 5, 6)
        return Phantom(hu, (hu % 3 == 0).astype(np.uint8), spacing_mm)

    monkeypatch.setattr(pool, "generate", fine)
    head = pool.make_head(1, 1.0, thickness_mm=4.0)
    assert asked == [(4.0, 0.5, 0.5)] and head.spacing_mm == (4.0, 1.0, 1.0)
    assert head.hu.shape == (2, 2, 3) and head.hu[0, 0, 0] == np.mean([0, 1, 6, 7])
    assert head.blood[0, 0, 0] == 0.5  # 0 and 6 of the four


@pytest.mark.usefixtures("toys")
def test_a_crop_larger_than_the_head_is_filled_with_air() -> None:
    batch = Pool(1, 0, 0, 1.0).batch(2, (10, 64, 64), np.random.default_rng(0))
    assert batch.image.shape == (2, 10, 64, 64)
    assert int(batch.truth[0].sum()) == int(toy_head(0).blood.sum())


def test_the_pool_renews_its_heads_and_never_draws_a_seed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(pool, "make_head", lambda seed, pixel_mm, **_: seeds.append(seed) or toy_head(seed))
    heads = Pool(3, 0, 100, 1.0)
    for _ in range(6):
        heads.batch(1, CROP, np.random.default_rng(0))
    assert len(seeds) == len(set(seeds)) == heads.made >= 3
    assert seeds[0] == 100
    assert len(heads._heads) <= 3


def test_a_share_of_the_heads_holds_what_is_missed_most(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...] | None] = []
    monkeypatch.setattr(pool, "make_head", lambda seed, pixel_mm, kinds: asked.append(kinds) or toy_head(seed))
    heads = Pool(2, 0, 50, 1.0, hard=0.5)
    for _ in range(60):
        heads.batch(1, CROP, np.random.default_rng(0))
        heads._heads.pop()
    drawn = [kinds for kinds in asked if kinds is None]
    assert 15 < len(drawn) < len(asked) - 15
    assert set(asked) - {None} == set(pool.HARD) and all(set(kinds) <= set(KINDS) for kinds in pool.HARD)
    assert asked == [
        pool.kinds_of(50 + number, 0.5) for number in range(len(asked))
    ]  # a seed's head is always the same
    assert not any(pool.kinds_of(seed, 0.0) for seed in range(100))


def test_workers_do_not_outrun_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = Pool(2, 0, 0, 1.0, uses=3.0)
    made = iter(range(1000))

    class Worker:
        def get(self, timeout: float) -> Head:
            return toy_head(next(made))

    heads._queue = Worker()  # type: ignore[assignment]
    for batch in range(1, 13):
        heads.batch(2, CROP, np.random.default_rng(0))
        assert heads.made <= max(2, 2 * batch / 3.0 + 1)
    assert heads.made >= 6


def test_a_run_waits_for_its_first_heads_and_takes_what_there_is_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "LOOK_SECONDS", 0.01)
    heads, asked = Pool(pool.FIRST + 4, 0, 0, 1.0), iter(range(1000))

    class Slow:
        def get(self, timeout: float) -> Head:
            number = next(asked)
            if number % 2 == 0 and (timeout or number > 2 * pool.FIRST):  # every other look finds nothing
                raise queue.Empty
            return toy_head(number)

    heads._queue = Slow()  # type: ignore[assignment]
    heads.batch(1, CROP, np.random.default_rng(0))
    assert pool.FIRST <= heads.made < pool.FIRST + 4


@pytest.mark.parametrize("have", [0, pool.FIRST])
def test_a_run_is_told_when_those_who_make_its_heads_have_ended(monkeypatch: pytest.MonkeyPatch, have: int) -> None:
    monkeypatch.setattr(pool, "LOOK_SECONDS", 0.01)
    heads = Pool(pool.FIRST + 4, 0, 0, 1.0)
    heads._heads = [toy_head(number) for number in range(have)]

    class Nothing:
        def get(self, timeout: float) -> Head:
            raise queue.Empty

    heads._queue = Nothing()  # type: ignore[assignment]
    heads._processes = [SimpleNamespace(exitcode=None), SimpleNamespace(exitcode=-9)]  # type: ignore[list-item]
    with pytest.raises(RuntimeError, match=r"1 of 2 processes .* \(exit code -9\)"):
        heads.batch(1, CROP, np.random.default_rng(0))


def test_augmented_images_stay_in_the_range_that_networks_see() -> None:
    hu = torch.linspace(-200, 300, 4 * 8 * 8).view(4, 8, 8)
    for seed in range(40):
        image, _ = scanned(hu, np.random.default_rng(seed))
        assert image.shape == hu.shape and torch.isfinite(image).all()
        assert -1.75 <= float(image.min()) and float(image.max()) <= 2.25


def test_a_scan_says_how_much_noise_it_has_added() -> None:
    flat = torch.full((8, 64, 64), 35.0)
    scans = [scanned(flat, np.random.default_rng(seed)) for seed in range(60)]
    noisy = [(image.std() * 40, scan.noise) for image, scan in scans if scan.noise]
    assert len(noisy) > 10
    for seen, said in noisy:  # shading and sharper kernels add to it
        assert 0.85 * said <= float(seen) <= said + 3.0


def test_a_turned_crop_keeps_image_and_truth_together() -> None:
    wide = room_for(CROP)
    truth = torch.zeros(wide)
    truth[1:3, 18:33, 20:30] = 1.0
    hu = torch.where(truth > 0, 70.0, 30.0)
    moved = 0
    for seed in range(20):
        seen, share, inside = turn([hu, truth, truth > 0], CROP, np.random.default_rng(seed))
        assert seen.shape == share.shape == inside.shape == CROP and inside.dtype == torch.bool
        assert 0 <= float(share.min()) and float(share.max()) <= 1
        assert torch.all(seen[share > 0.95] > 60) and torch.all(seen[0, 4:-4, 4:-4] < 45)
        assert not share[[0, 3]].any()  # no slice has something of another
        assert 0.4 < float(share.sum() / truth.sum()) < 2.5
        moved += not torch.equal(share, truth[:, 9:41, 9:41])
    assert moved == 20


def test_the_density_of_each_bleed_is_changed_in_proportion_to_its_share_and_nothing_else() -> None:
    share = torch.zeros(4, 32, 32)
    share[1:3, 4:12, 4:12], share[1:3, 20:28, 20:28] = 1.0, 1.0
    share[1:3, 12, 4:12] = 0.5
    hu = 30.0 + 30.0 * share + torch.randn(share.shape, generator=torch.Generator().manual_seed(1))
    contrasts, kept = [], 0
    for seed in range(60):
        seen = dyed(hu, share, np.random.default_rng(seed))
        assert torch.equal(seen[share == 0], hu[share == 0])
        kept += torch.equal(seen, hu)
        added = (seen - hu)[1:3]
        assert torch.allclose(added[:, 12, 5:11], 0.5 * added[:, 11, 5:11], atol=1.5), "half the blood, half of it"
        contrasts.append([float(seen[1:3, low + 1 : low + 7, low + 1 : low + 7].mean()) - 30 for low in (4, 20)])
    first, second = np.array(contrasts).T
    assert 15 < kept < 45 and np.mean(np.abs(first - second) > 2) > 0.3
    assert 3 < first.min() < 20 and first.max() > 40


def test_faint_blood_is_not_dyed_away() -> None:
    share = torch.zeros(4, 32, 32)
    share[1:3, 4:28, 4:28] = 1.0
    made = [dyed(30.0 + 8.0 * share, share, np.random.default_rng(seed)) for seed in range(60)]
    assert min(float(one[share > 0].min()) for one in made) >= 30.0 + LEAST_HU - 1e-3


def test_blood_that_is_faint_or_has_no_brain_beside_it_keeps_its_density() -> None:
    share = torch.zeros(4, 32, 32)
    share[1:3, 4:12, 4:12] = 1.0
    for hu in (30.0 + 3.0 * share, 80.0 + 30.0 * share):
        assert all(torch.equal(dyed(hu, share, np.random.default_rng(seed)), hu) for seed in range(10))


def test_crops_of_a_head_hold_blood_most_of_the_time_and_air_beyond_it() -> None:
    rng = np.random.default_rng(0)
    batch = crops_of([toy_head(0)] * 40, CROP, rng)
    assert float((batch.truth.flatten(1) >= 0.5).any(1).float().mean()) > 0.7
    assert float(batch.image.min()) == pytest.approx(-1.75, abs=0.2)


# -- the partner -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("points", [0.0, 1.0])
def test_the_partner_paints_blood_foreground_and_the_rest_background_and_strokes_add_up(points: float) -> None:
    recipe = replace(TOY, zero_stroke_start=0.0, refuse=0.0, corrupt=1.0, paper_points=points)
    partner = Partner(batch_of(4), recipe, np.random.default_rng(1))
    before = torch.zeros(4, 2, *CROP, dtype=torch.bool)
    for number in range(4):
        inputs = partner.inputs(first=number == 0)
        new = inputs.painted & ~before
        truth = partner.truth >= 0.5
        assert not (inputs.painted[:, 0] & inputs.painted[:, 1]).any()
        for share, painted in ((truth[new[:, 0]], new[:, 0]), (~truth[new[:, 1]], new[:, 1])):
            careful = 1.0 if points else 0.5  # a careless hand slips over the border; points do not
            assert not painted.any() or float(share.float().mean()) >= careful
        assert torch.all(inputs.touched | ~new.any(1).flatten(2).any(2))  # what is new lies on touched slices
        assert not (before.any(1) & ~inputs.painted.any(1)).any()  # nothing is forgotten
        if number == 0:
            assert inputs.touched.any(1).all() or not truth.any()
        before = inputs.painted
        logits = torch.randn(4, *CROP, generator=torch.Generator().manual_seed(number))
        partner.commit(logits, Memory(partner.memory.corrected | inputs.touched, partner.memory.masks))
        assert torch.all(partner.previous[before[:, 0]] == 1) and torch.all(partner.previous[before[:, 1]] == 0)
        assert 0 <= float(partner.previous.min()) and float(partner.previous.max()) <= 1


@pytest.mark.usefixtures("toys")
def test_what_strokes_point_at_is_the_whole_wrong_component_and_of_this_round_alone() -> None:
    batch = batch_of(4)
    recipe = replace(TOY, zero_stroke_start=0.0, refuse=0.0, corrupt=0.0, paper_points=0.0)
    partner = Partner(batch, recipe, np.random.default_rng(2))
    painted = partner.inputs(first=True).painted[:, 0]
    truth = batch.truth >= 0.5
    for sample in range(4):
        islands, sizes = components(truth[sample].numpy())
        for island in range(1, len(sizes) + 1):
            inside = torch.from_numpy(islands == island)
            pointed = partner.pointed[sample][inside]
            assert pointed.all() if (painted[sample] & inside).any() else not pointed.any()
    assert partner.pointed.any() and not (partner.pointed & ~truth).any()
    partner.previous = batch.truth.clone()
    partner.inputs(first=False)
    assert not (partner.pointed & truth).any()  # nothing of it is missed any more


@pytest.mark.usefixtures("toys")
def test_a_start_without_strokes_has_none_and_the_next_round_has_some() -> None:
    partner = Partner(batch_of(), replace(TOY, zero_stroke_start=1.0), np.random.default_rng(0))
    first = partner.inputs(first=True)
    assert not first.touched.any() and not first.painted.any()
    assert partner.inputs(first=False).touched.any()


@pytest.mark.usefixtures("toys")
def test_an_island_that_is_refused_leaves_the_truth_whole_and_only_if_it_is_not_painted() -> None:
    batch = batch_of(6)
    partner = Partner(batch, replace(TOY, refuse=1.0, corrupt=0.0), np.random.default_rng(0))
    inputs = partner.inputs(first=False)
    assert torch.all(partner.truth <= batch.truth)
    assert partner.truth.sum() < batch.truth.sum()
    on_blood = inputs.painted[:, 0] & (batch.truth >= 0.5)  # a careless hand may slip off it
    assert torch.equal(partner.truth[on_blood], batch.truth[on_blood])


@pytest.mark.usefixtures("toys")
def test_now_and_then_strokes_confirm_blood_that_the_mask_has_already(monkeypatch: pytest.MonkeyPatch) -> None:
    def painted(confirm: float) -> int:
        monkeypatch.setattr(partner_module, "CONFIRM", confirm)
        batch = batch_of(4)
        partner = Partner(batch, replace(TOY, corrupt=0.0, refuse=0.0, paper_points=0.0), np.random.default_rng(0))
        partner.previous = batch.truth.clone()
        return int((partner.inputs(first=False).painted[:, 0] & (batch.truth >= 0.5)).sum())

    assert painted(0.0) == 0 < painted(1.0)


@pytest.mark.usefixtures("toys")
def test_what_was_seen_too_much_is_bright_brain_and_never_blood() -> None:
    batch = batch_of(4)
    partner = Partner(batch, TOY, np.random.default_rng(0))
    brighter = []
    for sample, image in enumerate(batch.image):
        for _ in range(5):
            partner._see_too_much(sample)
        made_up = partner.previous[sample] > 0.5
        assert int(made_up.sum()) > 20
        assert not (made_up & (batch.truth[sample] > 0.5)).any()
        other = torch.from_numpy(partner._brain(sample)) & (batch.truth[sample] == 0) & ~made_up
        brighter.append(float(image[made_up].mean() - image[other].mean()))
    assert min(brighter) > 0


# -- checkpoints -------------------------------------------------------------------------------------------------------


def test_a_state_comes_back_from_parts_of_at_most_fifteen_mib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PART_BYTES <= 15 * 1024 * 1024
    monkeypatch.setattr(checkpoints, "PART_BYTES", 1000)
    state = {"weights": torch.randn(1000), "step": 7, "best": {"score": 0.5}}
    save_state(tmp_path, state)
    parts = sorted(tmp_path.glob("*.part"))
    assert len(parts) > 3 and all(part.stat().st_size <= 1000 for part in parts)
    loaded = load_state(tmp_path)
    assert loaded is not None
    assert torch.equal(loaded["weights"], state["weights"]) and loaded["best"] == {"score": 0.5}
    save_state(tmp_path, state | {"step": 8, "weights": torch.zeros(10)})
    assert len(list(tmp_path.glob("*.part"))) < len(parts)  # the old parts are gone
    assert not list(tmp_path.glob("*.writing"))
    assert load_state(tmp_path)["step"] == 8  # type: ignore[index]


def test_a_folder_without_a_state_has_none(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None
    assert load_state(tmp_path / "nowhere") is None


@pytest.mark.parametrize("writes", range(6))
def test_a_run_killed_while_it_saves_keeps_its_last_state_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    monkeypatch.setattr(checkpoints, "PART_BYTES", 1000)
    save_state(tmp_path, {"step": 1, "weights": torch.ones(800)})
    write, done = checkpoints._write, iter(range(99))

    def killed(path: Path, content: bytes) -> None:
        if next(done) >= writes:
            path.with_name(path.name + ".writing").write_bytes(content[:10])
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(checkpoints, "_write", killed)
    try:
        save_state(tmp_path, {"step": 2, "weights": torch.zeros(800)})
        whole = 2
    except KeyboardInterrupt:
        whole = 1
    state = load_state(tmp_path)
    assert state is not None
    assert state["step"] == whole
    assert torch.all(state["weights"] == (1.0 if whole == 1 else 0.0))


def test_a_missing_or_damaged_part_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path, {"step": 1})
    part = next(tmp_path.glob("*.part"))
    content = part.read_bytes()
    part.write_bytes(content[:-1] + b"x")
    with pytest.raises(InputError, match="SHA-256"):
        load_state(tmp_path)
    part.unlink()
    with pytest.raises(InputError, match="is missing"):
        load_state(tmp_path)


@pytest.mark.parametrize("index", [b"", b"{", b"[1]", b'{"parts": 3, "sha256": "x"}', b'{"parts": []}'])
def test_a_damaged_index_is_refused(tmp_path: Path, index: bytes) -> None:
    (tmp_path / "state.json").write_bytes(index)
    with pytest.raises(InputError, match="state.json in .* is damaged"):
        load_state(tmp_path)


class Malice:
    """Unpickled without care, it makes a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.folder,)


def test_a_state_that_carries_code_does_not_run_it(tmp_path: Path) -> None:
    save_state(tmp_path / "run", {"step": Malice(str(tmp_path / "trap"))})
    with pytest.raises(Exception, match="trap|nsupported|eights"):
        load_state(tmp_path / "run")
    assert not (tmp_path / "trap").exists()


# -- selection ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("toys")
def test_selection_scores_lie_in_the_unit_range_and_repeat() -> None:
    torch.manual_seed(0)
    network = HPINet(ModelConfig.tiny()).eval()
    cases = Selection(1.0, cases=2)
    first, second = (cases.score(network, torch.device("cpu")) for _ in range(2))
    assert first == second
    assert sorted(first) == ["dice_0", "dice_1", "dice_2", "dice_3", "score"]
    assert all(0 <= value <= 1 for value in first.values())
    assert first["score"] == pytest.approx(np.mean([first[f"dice_{n}"] for n in (1, 2, 3)]))


# -- runs --------------------------------------------------------------------------------------------------------------


def same(first: Any, second: Any) -> bool:
    """Nested values that may hold tensors."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(value, second[key]) for key, value in first.items())
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second))
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


@pytest.mark.usefixtures("toys")
def test_a_run_learns_saves_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = Trainer(TOY, tmp_path)
    start = {name: value.clone() for name, value in first.network.state_dict().items()}
    first.run(2)
    assert first.step == 2
    assert [row.split(",")[0] for row in (tmp_path / "log.csv").read_text().splitlines()] == ["step", "2"]
    assert any(not torch.equal(value, start[name]) for name, value in first.network.state_dict().items())
    assert 0 <= first.best["score"] <= 1
    resumed = Trainer(TOY, tmp_path)
    assert (resumed.step, resumed.parts, resumed.best) == (first.step, 1, first.best)
    assert resumed.seconds == first.seconds
    for name in ("network", "averaged", "optimizer"):
        assert same(getattr(first, name).state_dict(), getattr(resumed, name).state_dict()), name
    resumed.run(1)
    assert resumed.step > first.step and resumed.parts == 2
    assert len((tmp_path / "validation.csv").read_text().splitlines()) == 3
    best = load_state(tmp_path / "best")
    assert best is not None and ModelConfig.from_dict(best["model"]) == ModelConfig.tiny()
    HPINet(ModelConfig.tiny()).load_state_dict(best["network"])


@pytest.mark.usefixtures("toys")
def test_a_killed_run_leaves_a_whole_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(TOY, tmp_path)
    trainer.save()
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}

    def killed(*_: Any) -> Any:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(loop, "round_loss", killed)
        with pytest.raises(SystemExit):
            trainer.run(1)
    resumed = Trainer(TOY, tmp_path)
    assert resumed.step == 0
    assert same(dict(resumed.network.state_dict()), before)


@pytest.mark.usefixtures("toys")
def test_a_run_that_is_stopped_by_hand_is_saved_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(TOY, tmp_path)
    learn = trainer._train_round

    def until_ctrl_c(*given: Any) -> Any:
        if trainer.step == 3:
            raise KeyboardInterrupt
        return learn(*given)

    monkeypatch.setattr(trainer, "_train_round", until_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(9)
    resumed = Trainer(TOY, tmp_path)
    assert resumed.step == 3 and same(dict(resumed.network.state_dict()), dict(trainer.network.state_dict()))


@pytest.mark.usefixtures("toys")
def test_the_time_of_a_recipe_is_the_time_of_all_its_parts(tmp_path: Path) -> None:
    spent = Trainer(replace(TOY, minutes=1.0), tmp_path)
    spent.seconds = 61.0
    spent.run(5)
    assert spent.step == 0


@pytest.mark.usefixtures("toys")
def test_a_recipe_ends_at_its_steps(tmp_path: Path) -> None:
    trainer = Trainer(replace(TOY, minutes=float("inf"), steps=3), tmp_path)
    trainer.run()
    assert trainer.step == 3


@pytest.mark.usefixtures("toys")
def test_the_volume_branch_learns_alone_first_and_the_others_after_it(tmp_path: Path) -> None:
    trainer = Trainer(replace(TOY, steps=4, volume_first=0.5, zero_stroke_start=0.0), tmp_path)
    before = trainer.network.decoder.state_dict()
    start = {name: value.clone() for name, value in before.items()}
    trainer.run(2)
    assert all(torch.equal(value, start[name]) for name, value in trainer.network.decoder.state_dict().items())
    alone = load_state(tmp_path / "best")
    assert alone is not None and ModelConfig.from_dict(alone["model"]).volume_only, "what was judged is what is kept"
    trainer.best["score"] = 2.0  # the branch alone was never so good
    trainer.run(2)
    assert trainer.step == 4 and not trainer.network.config.volume_only
    whole = load_state(tmp_path / "best")
    assert whole is not None and not ModelConfig.from_dict(whole["model"]).volume_only and trainer.best["score"] <= 1
    assert len({row.count(",") for row in (tmp_path / "log.csv").read_text().splitlines()}) == 1  # columns never move
    assert any(not torch.equal(value, start[name]) for name, value in trainer.network.decoder.state_dict().items())


@pytest.mark.usefixtures("toys")
def test_a_run_that_is_prolonged_keeps_snapshots_of_what_is_new(tmp_path: Path) -> None:
    def kept() -> dict[str, int]:
        return dict(path.stem.split("-step-") for path in sorted((tmp_path / "snapshots").glob("*.pt")))

    first = Trainer(replace(TOY, minutes=float("inf"), steps=4), tmp_path, snapshots=4)
    first.run()
    assert max(map(int, kept())) == 4
    Trainer(first.recipe, tmp_path, snapshots=4)
    assert max(map(int, kept())) == 4, "one that is only resumed loses none"
    longer = Trainer(replace(first.recipe, steps=8), tmp_path, snapshots=4)
    assert max(map(int, kept())) <= 2
    longer.run()
    assert all(int(step) > 4 for share, step in kept().items() if int(share) > 2) and int(max(kept())) == 4


def test_the_averaged_weights_follow_the_trained_ones(tmp_path: Path) -> None:
    trainer = Trainer(TOY, tmp_path)
    with torch.no_grad():
        for weight in trainer.network.parameters():
            weight.add_(1.0)
    trainer.step = 1000
    before = trainer.averaged.sim.head.bias.clone()
    trainer._average()
    moved = trainer.averaged.sim.head.bias - before
    assert torch.allclose(moved, torch.full_like(moved, 1 - TOY.average), atol=1e-5)


# -- weights to start from ---------------------------------------------------------------------------------------------


def weights_of(folder: Path, model: str = "tiny", **record: str) -> Path:
    """Some weights of a size, as a file."""
    torch.manual_seed(5)
    config = ModelConfig.named(model)
    save_checkpoint(
        folder / "some.pt", Checkpoint(config, HPINet(config).state_dict(), {"data": "toys", **record}, 1.0)
    )
    return folder / "some.pt"


@pytest.mark.usefixtures("toys")
def test_a_run_starts_from_the_weights_it_is_given_and_says_so(tmp_path: Path) -> None:
    recipe = replace(TOY, learning_rate=1e-9)
    start = read_start(weights_of(tmp_path, learned_from="others"), recipe)
    trainer = Trainer(recipe, tmp_path / "run", start=start)
    trainer.run(steps=1)
    for name, value in trainer.network.state_dict().items():
        if "running" not in name and value.is_floating_point():
            assert torch.allclose(value, start.weights[name], atol=1e-6), name
    state = load_state(tmp_path / "run")
    assert state is not None and state["started_from"] == start.digest
    assert state["learned_from"] == "others synthetic" and state["data"].endswith("trained on: toys")
    check_resumes(recipe, tmp_path / "run", SyntheticSupply(), start)
    with pytest.raises(InputError, match="begun from other weights"):
        check_resumes(recipe, tmp_path / "run", SyntheticSupply())
    resumed = Trainer(recipe, tmp_path / "run", start=start)
    assert resumed.step == 1
    state["network"] = {key: value for key, value in state["network"].items() if not key.startswith("correction.")}
    save_state(tmp_path / "run", state)
    with pytest.raises(InputError, match="begun with other parts of the network 'tiny': take another folder"):
        check_resumes(recipe, tmp_path / "run", SyntheticSupply(), start)


@pytest.mark.parametrize("head", SMALL_HEADS)
def test_a_head_that_the_weights_do_not_know_starts_fresh(head: str, tmp_path: Path) -> None:
    path = weights_of(tmp_path)
    whole = load_checkpoint(path)
    older = {key: value for key, value in whole.weights.items() if not key.startswith(head)}
    config = replace(
        whole.config, **{{"boundary.": "boundary_channels", "correction.": "correction_channels"}[head]: 0}
    )
    save_checkpoint(path, Checkpoint(config, older, {}, 1.0))
    start = read_start(path, RECIPES["tiny"])
    assert start.weights.keys() == whole.weights.keys()
    assert not start.weights[f"{head}last.weight"].any()
    assert all(torch.equal(start.weights[key], value) for key, value in older.items())


def test_weights_that_do_not_fit_are_no_start(tmp_path: Path) -> None:
    path = weights_of(tmp_path)
    with pytest.raises(InputError, match="some.pt are of a network 'tiny'; they must fit the recipe's, 'compact'"):
        read_start(path, RECIPES["compact"])
    with pytest.raises(InputError, match="only a network of ours"):
        read_start(path, replace(RECIPES["compact"], model="unet-2d", volume_first=0.0))
    read_start(path, replace(RECIPES["tiny"], switches={"affinity_reach": 0.0, "volume_only": True}))


def test_a_plan_with_a_start_lets_no_branch_learn_first(tmp_path: Path) -> None:
    path = weights_of(tmp_path, "compact")
    plan = make_plan({"start": str(path)})
    assert plan.recipe.volume_first == 0 < make_plan({}).recipe.volume_first
    start = plan.begin()
    assert start is not None and start.data == "toys"
    assert make_plan({}).begin() is None
