"""Near its strokes a correction draws the line anew."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.strokes_in_the_middle import SPACING, WIDE, around, one_stroke, uniform
from ichhpinet.corrections import HEEDED_MM, LEAST_LINE, Correction, heeded


def heed(probability: torch.Tensor, before: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """What is painted is the new strokes alone."""
    return heeded(probability, Correction(before, new, new, SPACING))


def missed_part(found: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Probability with a bleed about the stroke to which only `found` is given, and the bleed."""
    bleed = around(8.0)
    return torch.where(bleed, found, 0.01), bleed


@pytest.mark.parametrize("found", [0.15, 0.3, 0.45])
def test_what_was_missed_and_is_thought_unlikely_is_taken_where_a_stroke_points_at_it(found: float) -> None:
    probability, bleed = missed_part(found)
    made = heed(probability, uniform(0.0), one_stroke(0))
    free = bleed & ~one_stroke(0)[0]
    assert torch.equal(made[free] >= 0.5, torch.ones(int(free.sum()), dtype=torch.bool))
    assert not (made[~bleed] >= 0.5).any()
    assert torch.equal(made[~around(1.5 * HEEDED_MM[1] + 2.5)], probability[~around(1.5 * HEEDED_MM[1] + 2.5)])


def test_the_same_holds_for_what_was_too_much() -> None:
    probability, part = missed_part(0.3)
    made = heed(1 - probability, uniform(1.0), one_stroke(1))
    mirrored = 1 - heed(probability, uniform(0.0), one_stroke(0))
    assert torch.allclose(made, mirrored, atol=1e-5)
    assert not (made[part & ~one_stroke(1)[1]] >= 0.5).any()


@pytest.mark.parametrize(("kind", "before"), [(None, 0.0), (0, 1.0), (1, 0.0)])
def test_where_no_stroke_contradicts_the_mask_nothing_moves(kind: int | None, before: float) -> None:
    probability, _ = missed_part(0.3)
    assert torch.equal(heed(probability, uniform(before), one_stroke(kind)), probability)


def test_what_was_in_the_mask_does_not_move_with_what_was_missed() -> None:
    probability, bleed = missed_part(0.3)
    before = torch.where(torch.arange(WIDE[1])[None, :, None] > 32, 0.9, 0.0).expand(WIDE)
    made = heed(probability, before, one_stroke(0))
    assert torch.equal(made[before > 0.5], probability[before > 0.5])
    assert (made[bleed & (before < 0.5)] >= 0.5).sum() > 100


def square(side: int) -> torch.Tensor:
    """The mask before, (d, h, w) bool: a square of the middle slice beside the stroke."""
    mask = torch.zeros(WIDE, dtype=torch.bool)
    mask[4, 32 : 32 + side, 15 : 15 + side] = True
    return mask


@pytest.mark.parametrize("voxels", [2, 8])
def test_a_small_bleed_has_a_short_reach(voxels: int) -> None:
    mask = square(voxels)
    radius = min(HEEDED_MM[1], max(HEEDED_MM[0], (0.75 * int(mask.sum()) * 10 / torch.pi) ** (1 / 3)))
    assert radius < HEEDED_MM[1]
    before = torch.where(mask, 0.9, 0.0)
    probability = torch.where(mask, 0.9, uniform(0.3))
    moved = heed(probability, before, one_stroke(0)) != probability
    assert moved.any() and not (moved & ~around(1.5 * radius)).any()
    assert torch.equal(moved & around(radius), around(radius) & ~mask & ~one_stroke(0)[0])


def test_the_mask_of_a_proposal_says_nothing_of_the_size() -> None:
    before, new = torch.where(square(2), 0.9, 0.0), one_stroke(0)
    made = heeded(uniform(0.3), Correction(before, new, new, SPACING, after_strokes=False))
    near = around(HEEDED_MM[1])
    assert torch.equal((made != uniform(0.3)) & near, near & ~square(2) & ~new[0])


def test_a_long_stroke_reaches_half_as_far_as_it_is_long() -> None:
    long = one_stroke(0)
    long[0, 4, 20:41, 15] = True  # 21 mm
    before = uniform(0.1)
    before[4, 2:5, 2:4] = 0.8
    moved = heed(uniform(0.3), before, long) != uniform(0.3)
    assert moved[4, 30, 20] and not moved[4, 30, 24]  # 10 and 18 mm beside it
    assert not (heed(uniform(0.3), before, one_stroke(0)) != uniform(0.3))[4, 30, 20]


def test_strokes_of_both_kinds_do_not_take_back_what_the_other_asks_for() -> None:
    before = torch.where(torch.arange(WIDE[1])[None, :, None] > 32, 0.9, 0.0).expand(WIDE)
    probability = torch.where(before > 0.5, 0.7, 0.3)
    missed, both = one_stroke(0), one_stroke(0)
    both[1, 4, 35, 15] = True
    alone = heed(probability, before, missed)
    made = heed(probability, before, both)
    outside = before < 0.5
    assert torch.equal(made[outside], alone[outside]) and (alone[outside] != 0.3).sum() > 100
    assert (made[~outside] < 0.7).sum() > 100


def test_each_stroke_has_a_line_of_its_own() -> None:
    far = (1, 56, 3)
    faint, bleed = missed_part(0.3)
    both = one_stroke(0)
    both[0][far] = True
    sure = torch.zeros(WIDE, dtype=torch.bool)
    sure[0:3, 48:, 0:8] = True  # a larger bleed, of which the network is sure
    probability = torch.where(sure, 0.95, faint)
    alone = heed(probability, uniform(0.0), one_stroke(0))
    made = heed(probability, uniform(0.0), both)
    free = bleed & ~both[0]
    assert (made[free] >= 0.5).all() and torch.allclose(made[free], alone[free], atol=1e-5)


def test_a_long_work_can_be_ended() -> None:
    def end() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        heeded(uniform(0.3), Correction(uniform(0.0), one_stroke(0), one_stroke(0), SPACING, end))


def test_a_line_goes_no_lower_than_its_least() -> None:
    probability, bleed = missed_part(LEAST_LINE / 2)
    assert not (heed(probability, uniform(0.0), one_stroke(0))[bleed] >= 0.5).any()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_missed_strokes_only_add_and_others_only_take_away(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    now, before = (torch.rand(5, 14, 12, generator=random) for _ in range(2))
    new = torch.rand(2, 5, 14, 12, generator=random) < 0.02
    new[1] &= ~new[0]
    old = torch.rand(2, 5, 14, 12, generator=random) < 0.1
    made = heeded(now, Correction(before, new, old | new, (4.0, 3.0, 3.0)))
    outside = before < 0.5
    assert (made[outside] >= now[outside] - 1e-5).all() and (made[~outside] <= now[~outside] + 1e-5).all()
    painted = (old | new).any(0)
    assert torch.equal(made[painted], now[painted]), "what is painted is said by the paint"
