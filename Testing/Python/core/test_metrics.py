"""Metrics against figures worked out by hand and against brute force; the published fault cannot come back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ichhpinet.errors import InputError
from ichhpinet.metrics import dice, hausdorff_mm, hd95_mm, jaccard, mae, surface, volume_error_ml

SPACING = (5.0, 0.5, 0.75)
masks = hnp.arrays(bool, (4, 5, 6))


def ball(shift: int = 0) -> np.ndarray:
    z, y, x = np.ogrid[:9, :60, :120]
    return (2 * (z - 4)) ** 2 + (y - 30) ** 2 + (x - 30 - shift) ** 2 <= 8**2


def brute_force_mm(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...], percentile: float) -> float:
    points_a = np.argwhere(surface(a)) * spacing
    points_b = np.argwhere(surface(b)) * spacing
    apart = np.linalg.norm(points_a[:, None] - points_b[None], axis=2)
    return max(np.percentile(apart.min(axis=1), percentile), np.percentile(apart.min(axis=0), percentile))


@pytest.mark.parametrize(("axis", "pixels"), [(2, 60), (1, 20)])
def test_a_lesion_shifted_by_so_many_pixels_scores_that_many_times_the_spacing(axis: int, pixels: int) -> None:
    shifted = np.roll(ball(), pixels, axis)
    assert hausdorff_mm(shifted, ball(), SPACING) == pytest.approx(pixels * SPACING[axis])
    assert hd95_mm(shifted, ball(), SPACING) > 0


def test_a_slice_counts_with_its_thickness() -> None:
    a, b = np.zeros((4, 5, 5), bool), np.zeros((4, 5, 5), bool)
    a[0, 2, 2], b[3, 2, 2] = True, True
    assert hausdorff_mm(a, b, SPACING) == pytest.approx(15.0)


@given(masks, masks, st.tuples(*[st.floats(0.3, 7)] * 3))
def test_distances_equal_brute_force(a: np.ndarray, b: np.ndarray, spacing: tuple[float, float, float]) -> None:
    if a.any() and b.any():
        assert hausdorff_mm(a, b, spacing) == pytest.approx(brute_force_mm(a, b, spacing, 100), rel=1e-4)
        assert hd95_mm(a, b, spacing) == pytest.approx(brute_force_mm(a, b, spacing, 95), rel=1e-4)


@given(masks, masks)
def test_overlap_lies_between_0_and_1_is_symmetric_and_dice_follows_from_jaccard(a: np.ndarray, b: np.ndarray) -> None:
    d, j = dice(a, b), jaccard(a, b)
    assert 0 <= j <= d <= 1 and d == dice(b, a) and j == jaccard(b, a)
    assert d == pytest.approx(2 * j / (1 + j))
    assert hausdorff_mm(a, b, SPACING) == hausdorff_mm(b, a, SPACING) >= hd95_mm(a, b, SPACING)


def test_overlap_of_half_a_mask_is_known() -> None:
    a, b = np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    a[0], b[0, 0] = True, True
    assert dice(a, b) == pytest.approx(4 / 6) and jaccard(a, b) == pytest.approx(0.5)
    assert volume_error_ml(a, b, SPACING) == pytest.approx(2 * 5 * 0.5 * 0.75 / 1000)
    assert volume_error_ml(b, a, SPACING) == pytest.approx(-2 * 5 * 0.5 * 0.75 / 1000)


def test_two_empty_masks_are_alike() -> None:
    empty = np.zeros((2, 3, 4), bool)
    assert dice(empty, empty) == jaccard(empty, empty) == 1.0
    assert hausdorff_mm(empty, empty, SPACING) == hd95_mm(empty, empty, SPACING) == 0.0


def test_one_empty_mask_is_not_like_the_other() -> None:
    empty, full = np.zeros((2, 3, 4), bool), np.ones((2, 3, 4), bool)
    assert dice(empty, full) == jaccard(full, empty) == 0.0
    assert hausdorff_mm(empty, full, SPACING) == hd95_mm(full, empty, SPACING) == math.inf


def test_equal_masks_are_at_no_distance() -> None:
    assert hausdorff_mm(ball(), ball(), SPACING) == 0.0 == hd95_mm(ball(), ball(), SPACING)
    full = np.ones((3, 3, 3), bool)
    assert hausdorff_mm(full, full, SPACING) == 0.0


def test_the_surface_of_a_block_is_its_outer_layer() -> None:
    block = np.zeros((5, 5, 5), bool)
    block[1:4, 1:4, 1:4] = True
    assert surface(block).sum() == 26 and not surface(block)[2, 2, 2]
    assert surface(np.ones((3, 3, 3), bool)).sum() == 26


def test_mae_takes_a_mask_or_a_probability() -> None:
    truth = np.zeros((2, 2, 2), bool)
    truth[0] = True
    assert mae(np.full((2, 2, 2), 0.25), truth) == pytest.approx((0.75 + 0.25) / 2)
    assert mae(truth, truth) == 0.0


@pytest.mark.parametrize("prediction", [np.full((2, 2, 2), 1.5), np.full((2, 2, 2), np.nan)])
def test_mae_refuses_what_is_no_probability(prediction: np.ndarray) -> None:
    with pytest.raises(InputError, match="must be a mask or a probability"):
        mae(prediction, np.zeros((2, 2, 2), bool))


def test_masks_of_two_shapes_are_refused_by_name() -> None:
    a, b = np.zeros((2, 3, 4), bool), np.zeros((2, 3, 5), bool)
    for metric in (dice, jaccard, mae):
        with pytest.raises(InputError, match=r"the prediction is \(2, 3, 4\); the truth is \(2, 3, 5\)"):
            metric(a, b)
    for in_mm in (hausdorff_mm, hd95_mm, volume_error_ml):
        with pytest.raises(InputError, match="the prediction is"):
            in_mm(a, b, SPACING)


def test_what_is_no_mask_is_refused_by_name() -> None:
    truth = np.zeros((2, 3, 4), bool)
    with pytest.raises(InputError, match="the prediction is of type float64"):
        dice(np.zeros((2, 3, 4)), truth)
    with pytest.raises(InputError, match="the prediction has shape"):
        dice(np.zeros((3, 4), bool), truth)
    with pytest.raises(InputError, match="every step must be greater than 0"):
        hausdorff_mm(truth, truth, (0, 1, 1))
