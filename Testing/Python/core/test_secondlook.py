"""What the network paints for itself, and the second look from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import ichhpinet as hp
from core.engine import QuickPredictor, small_ct
from ichhpinet.networks import Memory
from ichhpinet.predictor import RoundArrays
from ichhpinet.preprocessing import CENTRE_HU, SCALE_HU, normalise
from ichhpinet.secondlook import (
    DOT_VOXELS,
    FIRM,
    GROWN,
    LARGE_ML,
    LEAST_ML,
    LEAST_RAISED_ML,
    MOST_DOTS,
    RAISE,
    SEEN,
    SURE,
    TISSUE_HU,
    dots,
    has_grown,
    quiet,
    raised,
)

GRID = (4, 16, 16)
SPACING = (5.0, 1.0, 1.0)


def seen(*places: tuple[int, slice, slice, float]) -> Tensor:
    """A probability with blocks in it: slice, rows, columns, how likely."""
    probability = torch.full(GRID, 0.01)
    for index, rows, columns, likely in places:
        probability[index, rows, columns] = likely
    return probability


def test_each_place_gets_a_dot_on_the_slice_that_shows_most_of_it() -> None:
    large, small = slice(1, 7), slice(10, 16)
    probability = seen((1, large, large, 0.7), (2, large, large, 0.9), (0, small, small, 0.8))
    probability[2, 3:5, 3:5] = 0.95
    painted = dots(probability, SPACING)
    assert painted.dtype == torch.bool and painted.shape == GRID
    assert not painted[1].any() and not painted[3].any()
    assert DOT_VOXELS <= int(painted[2].sum()) and painted[2, 3:5, 3:5].all()
    assert painted[0, small, small].any()


def test_a_dot_is_the_likeliest_voxels_of_its_slice() -> None:
    probability = seen((1, slice(0, 10), slice(0, 10), SURE))
    probability[1, :10, :10] += torch.arange(100).view(10, 10) / 1000
    painted = dots(probability, SPACING)
    assert int(painted.sum()) == DOT_VOXELS
    assert float(probability[painted].min()) > float(probability[1, :10, :10][~painted[1, :10, :10]].max())


def test_what_is_faint_or_small_gets_no_dot() -> None:
    block = slice(4, 10)  # 36 voxels
    thick = (60.0, 1.0, 1.0)  # 2.16 ml
    assert not dots(seen((1, block, block, SEEN - 0.01)), thick).any()
    assert dots(seen((1, block, block, SEEN + 0.01)), thick).any()
    assert 36 * 0.005 > LEAST_ML > 36 * 0.0025
    assert dots(seen((1, block, block, 0.99)), SPACING).any()
    assert not dots(seen((1, block, block, 0.99)), (2.5, 1.0, 1.0)).any()
    assert not dots(torch.zeros(GRID), SPACING).any()


def test_a_place_must_be_sure_or_large_to_get_a_dot() -> None:
    block = slice(1, 15)  # 196 voxels of 5 mm3, 0.98 ml
    unsure, sure = ((1, block, block, SURE + step) for step in (-0.05, 0.05))
    assert LEAST_RAISED_ML < 0.98 < LARGE_ML < 2 * 0.98 * 1.1
    assert not dots(seen(unsure), SPACING).any() and dots(seen(sure), SPACING).any()
    assert dots(seen(unsure), (11.0, 1.0, 1.0)).any()  # 2.2 ml
    found = dots(seen(sure, (3, block, block, SURE - 0.05)), SPACING)
    assert found[1].any() and not found[3].any()


def test_a_mask_has_grown_where_it_is_half_as_large_again() -> None:
    rows = slice(0, 4)
    before = seen((1, rows, slice(0, 10), 0.6), (2, rows, slice(0, 10), 0.4))
    assert GROWN == 1.5
    assert not has_grown(seen((1, rows, slice(0, 15), 0.9)), before)
    assert has_grown(seen((1, rows, slice(0, 16), 0.5)), before)
    assert has_grown(before, torch.zeros(GRID)) and not has_grown(torch.zeros(GRID), torch.zeros(GRID))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_dots_lie_where_blood_is_seen_and_on_few_slices(seed: int) -> None:
    probability = torch.rand(GRID, generator=torch.Generator().manual_seed(seed % 2**31)) ** 3
    painted = dots(probability, SPACING)
    assert not painted.any() or float(probability[painted].min()) >= SEEN
    assert int(painted.flatten(1).any(1).sum()) <= MOST_DOTS


def test_raising_the_contrast_moves_tissue_from_the_median_and_leaves_bone_and_air() -> None:
    hu = torch.tensor([[-200.0, 20.0, 30.0, 30.0, 40.0, 60.0, 120.0, 300.0]])
    found = raised(normalise(hu)) * SCALE_HU + CENTRE_HU
    expected = torch.tensor([[-30.0, 30 - 10 * RAISE, 30.0, 30.0, 30 + 10 * RAISE, 30 + 30 * RAISE, 120.0, 130.0]])
    torch.testing.assert_close(found, expected)
    air = normalise(torch.full((2, 3), -1000.0))
    assert torch.equal(raised(air), air)


def test_quieting_averages_the_noise_of_soft_tissue_and_no_bone_into_it() -> None:
    noise = torch.randn(1, *GRID, generator=torch.Generator().manual_seed(0))
    hu = 30 + 8 * noise
    hu[..., 12:] = 1000.0
    found = quiet(normalise(hu)) * SCALE_HU + CENTRE_HU
    tissue = found[..., :12]
    assert float(tissue.std()) < 0.3 * 8 and abs(float(tissue.mean()) - 30) < 1
    assert torch.equal(quiet(normalise(hu))[..., 12:], normalise(hu)[..., 12:])
    flat = torch.full((1, *GRID), 30.0)
    flat[..., 12:] = TISSUE_HU[1] + 1
    torch.testing.assert_close(quiet(normalise(flat)), normalise(flat))


def test_what_must_be_sure_and_large_is_no_place_where_it_is_one_of_them() -> None:
    block = slice(0, 14)
    large = [(index, block, block, SURE + 0.01) for index in range(4)]  # 3.9 ml
    assert dots(seen(*large), SPACING, LARGE_ML, sure=SURE).any()
    assert not dots(seen(*large[:2]), SPACING, LARGE_ML, sure=SURE).any()
    unsure = seen(*[(*place[:3], SURE - 0.01) for place in large])
    assert dots(unsure, SPACING, LARGE_ML).any() and not dots(unsure, SPACING, LARGE_ML, sure=SURE).any()


def test_what_is_small_at_a_raised_contrast_is_no_place() -> None:
    block = slice(4, 10)
    probability = seen((1, block, block, 0.9))  # 0.18 ml
    assert dots(probability, SPACING).any() and not dots(probability, SPACING, LEAST_RAISED_ML).any()


SEEN_SURELY = SURE + 0.05


class Seer(QuickPredictor):
    """Says a block of blood: less surely without strokes than with. Keeps what it was asked."""

    def __init__(self, likely: float) -> None:
        super().__init__()
        self.likely = likely
        self.asked: list[Tensor] = []
        self.images: list[Tensor] = []
        self.faint, self.very_faint = 0.0, 0.0  # at a raised contrast; and once noise is averaged away
        self.told = 0.9  # with a dot

    def _features(self, image: Tensor, tick: Any) -> Any:
        """None are needed."""

    def compute_round(
        self,
        encoded: Any,
        previous: Any,
        painted: Any,
        touched: Any,
        memory: Memory,
        tick: Any,
        boldness: float = 0.0,
    ) -> RoundArrays:
        """The block."""
        self.asked.append(painted.clone())
        self.images.append(encoded.image)
        tick(0.0)
        tick(1.0)
        probability = torch.zeros(encoded.grid.shape)
        by_looks = dict(enumerate((self.likely, self.faint, self.very_faint), start=1))
        probability[1:4, 4:12, 4:12] = self.told if painted.any() else by_looks[len(self.asked)]
        corrected = memory.corrected | touched[None]
        return RoundArrays(probability, None, Memory(corrected, probability[None]))


def test_where_blood_is_seen_a_proposal_looks_again_with_a_dot_there() -> None:
    predictor, progress = Seer(SEEN_SURELY), list[float]()
    session = predictor.open(small_ct())
    result = session.propose(progress=lambda fraction, _: progress.append(fraction))
    first, second = predictor.asked
    assert not first.any() and second[0, 1:4, 4:12, 4:12].any() and not second[1].any()
    assert result.mask.any() and float(np.asarray(result.probability).max()) > 0.8
    assert result.scribbles.is_empty and result.corrected_slices == ()  # nobody has painted anything
    assert progress == sorted(progress) and progress[-1] == 1.0


def test_where_nothing_is_seen_it_looks_again_at_two_raised_contrasts_and_then_no_more() -> None:
    predictor = Seer(0.1)
    assert not predictor.open(small_ct()).propose().mask.any()
    assert len(predictor.asked) == 3 and not torch.stack(predictor.asked).any()


def test_what_deserves_no_dot_is_not_proposed() -> None:
    unsure = (SURE + 0.5) / 2  # of 1 ml: a first look that shows it, of which nobody is sure
    predictor = Seer(unsure)
    result = predictor.open(small_ct()).propose()
    assert len(predictor.asked) == 3 and not result.mask.any()
    assert 0.4 < float(np.asarray(result.probability).max()) < 0.5, "that it was seen is still told"


def test_what_is_large_and_sure_once_noise_is_averaged_away_is_looked_at_again_in_the_image_as_it_is() -> None:
    predictor, progress = Seer(0.1), list[float]()
    predictor.very_faint = SEEN_SURELY
    coarse = small_ct(GRID, (12.0, 2.0, 2.0))  # the block is 2.3 ml
    result = predictor.open(coarse).propose(progress=lambda fraction, _: progress.append(fraction))
    assert len(predictor.asked) == 4 and predictor.asked[3][0, 1:4].any()
    assert torch.equal(predictor.images[0], predictor.images[3]) and result.mask.any()
    assert progress == sorted(progress)


def test_what_is_seen_at_a_raised_contrast_is_looked_at_again_in_the_image_as_it_is() -> None:
    predictor, progress = Seer(0.1), list[float]()
    predictor.faint = SEEN_SURELY
    result = predictor.open(small_ct()).propose(progress=lambda fraction, _: progress.append(fraction))
    assert len(predictor.asked) == 3 and predictor.asked[2][0, 1:4, 4:12, 4:12].any()
    assert torch.equal(predictor.images[0], predictor.images[2])
    assert result.mask.any() and result.corrected_slices == ()
    assert progress == sorted(progress)


@pytest.mark.parametrize(("seen_at", "proposed"), [("likely", True), ("faint", False), ("very_faint", False)])
def test_what_only_a_raised_contrast_shows_must_be_firm_once_it_has_a_dot(seen_at: str, proposed: bool) -> None:
    predictor = Seer(0.1)
    setattr(predictor, seen_at, SEEN_SURELY)
    predictor.told = FIRM - 0.01
    result = predictor.open(small_ct(GRID, (12.0, 2.0, 2.0))).propose()
    assert predictor.asked[-1].any() and result.mask.any() == proposed
    assert result.corrected_slices == ()


LARGE = (10, 24, 24)


class Grower(Seer):
    """With a dot it sees a second block; with dots in both, a third, which nobody looks for again."""

    def compute_round(self, encoded: Any, previous: Any, painted: Any, *rest: Any) -> RoundArrays:
        """One block more than was painted in."""
        arrays = super().compute_round(encoded, previous, painted, *rest)
        if painted.any():
            arrays.probability[6, 4:18, 4:18] = 0.8
        if painted[0, 6].any():
            arrays.probability[8, 4:18, 4:18] = 0.8
        return arrays


def test_where_the_second_look_shows_much_more_a_third_has_dots_there_too() -> None:
    predictor, progress = Grower(SEEN_SURELY), list[float]()
    result = predictor.open(small_ct(LARGE, (5.0, 1.0, 1.0))).propose(
        progress=lambda fraction, _: progress.append(fraction)
    )
    _, second, third = predictor.asked
    assert second[0, 1:4].any() and not second[0, 6].any()
    assert (third & second).sum() == second.sum() and third[0, 6].any() and not third[0, 8].any()
    assert np.asarray(result.probability)[[2, 6, 8], 6, 6].min() > 0.7
    assert progress == sorted(progress) and progress[-1] == 1.0


def test_where_the_second_look_shows_no_more_it_is_the_last() -> None:
    predictor = Seer(0.9)
    predictor.open(small_ct()).propose()
    assert len(predictor.asked) == 2


def test_a_round_with_strokes_looks_once() -> None:
    predictor = Seer(0.3)
    outside = np.zeros(small_ct().shape, bool)
    outside[4, 1, 1] = True
    predictor.open(small_ct()).refine(hp.Scribbles(outside))
    assert len(predictor.asked) == 1


def test_a_proposal_cancelled_at_its_second_look_leaves_nothing() -> None:
    predictor = Seer(SEEN_SURELY)
    session = predictor.open(small_ct())
    with pytest.raises(hp.Cancelled):
        session.propose(cancel=lambda: len(predictor.asked) == 2)
    assert session.current is None and len(predictor.asked) == 2
