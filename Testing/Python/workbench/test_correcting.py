"""The correction head's own training: what is played, what is learned, what the loss wants."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.engine import tiny_network
from ichhpinet.networks.correction import NONE_MM, CorrectionHead
from ichhpinet_workbench.training import headtrainer
from ichhpinet_workbench.training.correcting import (
    WINDOW,
    CorrectionTrainer,
    Sample,
    _batch,
    correction_loss,
    correction_part,
)
from ichhpinet_workbench.training.headtrainer import play
from ichhpinet_workbench.training.recipe import HeadRecipe
from workbench.test_border import SHORT, Toys, toys  # noqa: F401 - the fixture is used in every test here
from workbench.test_training import CROP, TOY

CPU = torch.device("cpu")


def samples(count: int, seed: int = 0) -> list[Sample]:
    """Half of a bright square was missed; one stroke lies in it."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        y, x = torch.randint(4, 12, (2,), generator=generator).tolist()
        truth, found = torch.zeros(2, 32, 32), torch.zeros(2, 32, 32)
        truth[:, y : y + 16, x : x + 16] = found[:, y : y + 8, x : x + 16] = 1
        wrong = torch.zeros(2, 2, 32, 32, dtype=torch.bool)
        wrong[0, 0, y + 12, x + 4 : x + 12] = True
        rows, columns = torch.arange(32)[:, None], torch.arange(32)[None]
        beside = (columns - x - 8).abs().sub(4).clamp(min=0)
        distance = torch.full((2, 2, 32, 32), 60.0)
        distance[0] = ((rows - y - 12) ** 2 + beside**2).float().sqrt()
        image = truth - 0.2 + 0.05 * torch.randn(truth.shape, generator=generator)
        logits = 4 * found - 2
        pointed = (truth > 0) & (found == 0)
        kept = (image.half(), logits.half(), (255 * found).byte(), wrong, wrong, distance.half())
        made.append(Sample(*kept, (255 * truth).byte(), pointed, torch.tensor(5.0)))
    return made


def test_rounds_that_contradict_are_kept_with_what_the_head_needs(tmp_path: Path) -> None:
    network = tiny_network()
    (file,) = play(correction_part(network, TOY), TOY, SHORT, network.config, Toys(), tmp_path)
    values = [Sample(*sample) for sample in torch.load(file, weights_only=True)]
    assert values
    shape = (CROP[0], *(min(WINDOW, n) for n in CROP[1:]))
    for one in values:
        assert one.image.shape == one.logits.shape == one.truth.shape == one.pointed.shape == shape
        assert one.painted.shape == one.wrong.shape == one.distance_mm.shape == (2, *shape)
        assert one.wrong.any() and not (one.wrong & ~one.painted).any()
        mask = one.previous >= 128  # probability is kept in 255 parts
        assert not (one.wrong[0] & mask).any() and not (one.wrong[1] & (one.previous < 127)).any()
        assert (one.distance_mm[one.wrong] == 0).all() and float(one.slice_mm) > 0


def test_the_head_learns_to_fill_what_is_pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(headtrainer.time, "monotonic", lambda: 0.02 * next(ticks))  # so that a minute is so many steps
    torch.manual_seed(0)
    file = tmp_path / "rounds-000.pt"
    torch.save([tuple(sample) for sample in samples(40)], file)
    recipe = HeadRecipe(play_minutes=1, minutes=0.08, learning_rate=5e-3, batch=4)
    trainer = CorrectionTrainer(CorrectionHead(4), recipe, tmp_path / "correction")
    judged = trainer.run([file])
    assert judged["before"] < 0.7 and judged["after"] > judged["before"] + 0.1
    assert judged["heard_before"] == 0 and judged["heard_after"] > 0.5 and judged["worse"] == 0
    again = CorrectionTrainer(CorrectionHead(4), replace(recipe, minutes=0.09), tmp_path / "correction")
    assert again.step == trainer.step


def test_a_head_that_says_nothing_changes_nothing(tmp_path: Path) -> None:
    judged = CorrectionTrainer(CorrectionHead(4), SHORT, tmp_path).judge(samples(3))
    assert judged["before"] == judged["after"] and judged["heard_before"] == judged["heard_after"]


def test_the_loss_is_least_for_the_truth_and_far_from_strokes_only_dice_counts() -> None:
    batch = _batch(samples(2), CPU)
    right = 20 * (batch.truth - 0.5)
    assert correction_loss(right, batch) < 0.01 < correction_loss(batch.logits, batch)
    far = batch._replace(distance_mm=torch.full_like(batch.distance_mm, NONE_MM), pointed=0 * batch.pointed)
    assert correction_loss(right, far) < 0.01 < correction_loss(-right, far) <= 1 + 1e-4


def test_samples_become_what_the_head_is_told() -> None:
    batch = _batch(samples(2), CPU)
    assert batch.image.dtype == batch.previous.dtype == batch.truth.dtype == torch.float32
    assert batch.previous.max() == batch.truth.max() == 1 and batch.wrong.dtype == torch.bool
    assert batch.slice_mm.tolist() == [5.0, 5.0]
