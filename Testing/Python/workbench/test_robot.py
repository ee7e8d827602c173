"""The simulated radiologist: where strokes may lie, how long they may be, and when there are none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ichhpinet_workbench.regions import components, extent_mm
from ichhpinet_workbench.robot import HANDS, SMALLEST_MM3, add_strokes, paper_points, strokes

SPACING = (5.0, 0.8, 0.6)
HAND = st.sampled_from(HANDS)


def blobs(seed: int, shape: tuple[int, int, int] = (5, 40, 36), count: int = 3) -> np.ndarray:
    """A few random ellipsoids, bool."""
    rng = np.random.default_rng(seed)
    found = np.zeros(shape, bool)
    grid = np.indices(shape)
    for _ in range(count):
        centre = rng.uniform(0, 1, 3) * shape
        radius = rng.uniform((0.6, 2, 2), (2.5, 9, 9))
        found |= sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radius, strict=True)) < 1
    return found


def slices_touched(stroke: np.ndarray, axis: int = 0) -> int:
    return int(stroke.any(axis=tuple(other for other in range(3) if other != axis)).sum())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), hand=HAND, axis=st.integers(0, 2), greedy=st.booleans())
def test_a_stroke_lies_on_one_slice_inside_one_region_that_it_corrects(seed, hand, axis, greedy):
    truth, mask = blobs(seed), blobs(seed + 1)
    drawn = strokes(truth, mask, SPACING, np.random.default_rng(seed), hand=hand, axis=axis, greedy=greedy)
    assert not (drawn[0] & drawn[1]).any()
    for stroke, wrong in zip(drawn, (truth & ~mask, mask & ~truth), strict=True):
        assert stroke.dtype == bool and stroke.shape == truth.shape
        assert slices_touched(stroke, axis) <= 1
        if hand != "careless":
            assert not (stroke & ~wrong).any()
            labels, _ = components(wrong)
            assert np.unique(labels[stroke]).size <= 1


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), hand=HAND, brush_mm=st.floats(0.5, 2.0))
def test_a_stroke_is_never_longer_than_the_region_it_corrects(seed, hand, brush_mm):
    truth = blobs(seed)
    stroke, _ = strokes(truth, np.zeros_like(truth), SPACING, np.random.default_rng(seed), hand=hand, brush_mm=brush_mm)
    if not stroke.any():
        return
    index = int(np.flatnonzero(stroke.any(axis=(1, 2)))[0])
    parts, sizes = components(truth[index])
    extents = [extent_mm(parts == part + 1, SPACING[1:]) for part in range(sizes.size)]
    touched = np.unique(parts[stroke[index]])
    longest = max(extents[part - 1] for part in touched if part)
    assert extent_mm(stroke[index], SPACING[1:]) <= longest + (brush_mm if hand == "careless" else 1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), brush_mm=st.floats(0.5, 2.0))
def test_a_line_is_no_wider_than_the_brush(seed, brush_mm):
    truth = np.ones((1, 60, 60), bool)
    stroke, _ = strokes(truth, ~truth, (5.0, 0.5, 0.5), np.random.default_rng(seed), brush_mm=brush_mm, hand="dots")
    assert 1 <= stroke.sum()
    assert extent_mm(stroke[0], (0.5, 0.5)) <= 2 * brush_mm + 1.5


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), hand=HAND)
def test_a_careless_hand_slips_no_further_than_three_millimetres(seed, hand):
    truth = blobs(seed, count=1)
    stroke, _ = strokes(truth, np.zeros_like(truth), SPACING, np.random.default_rng(seed), hand=hand)
    inside, outside = np.argwhere(truth) * SPACING, np.argwhere(stroke & ~truth) * SPACING
    for voxel in outside:
        assert np.sqrt(((inside - voxel) ** 2).sum(axis=1)).min() <= 3.0 + 1.0 + 0.8


def test_a_careless_hand_does_slip_over_the_border():
    truth = blobs(5, count=1)
    slipped = [
        (strokes(truth, np.zeros_like(truth), SPACING, np.random.default_rng(s), hand="careless")[0] & ~truth).any()
        for s in range(10)
    ]
    assert sum(slipped) >= 8


@pytest.mark.parametrize("hand", HANDS)
def test_a_perfect_mask_gets_no_stroke(hand):
    truth = blobs(3)
    foreground, background = strokes(truth, truth.copy(), SPACING, np.random.default_rng(0), hand=hand)
    assert not foreground.any() and not background.any()


def test_errors_too_small_to_see_get_no_stroke():
    truth = np.zeros((3, 20, 20), bool)
    truth[1, 5:7, 5] = True  # two voxels of 2.4 mm3
    assert truth.sum() * np.prod(SPACING) < SMALLEST_MM3
    assert not strokes(truth, np.zeros_like(truth), SPACING, np.random.default_rng(0))[0].any()


def test_the_first_round_has_no_background_stroke_unless_one_is_wanted():
    truth, empty = blobs(1), np.zeros((5, 40, 36), bool)
    assert not strokes(truth, empty, SPACING, np.random.default_rng(0))[1].any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), hand=HAND)
def test_a_first_background_stroke_lies_in_brain_beside_the_lesion(seed, hand):
    truth = blobs(seed, count=1)
    brain = np.zeros_like(truth)
    brain[:, 5:35, 5:30] = True
    foreground, background = strokes(
        truth, np.zeros_like(truth), SPACING, np.random.default_rng(seed), hand=hand, beside=1.0, brain=brain
    )
    assert not (background & truth).any() and not (background & ~brain).any()
    if background.any():
        index = np.flatnonzero(background.any(axis=(1, 2)))
        assert index.size == 1 and foreground[index[0]].any()
        lesion = np.argwhere(truth[index[0]]) * SPACING[1:]
        for pixel in np.argwhere(background[index[0]]) * SPACING[1:]:
            assert 4.99 <= np.sqrt(((lesion - pixel) ** 2).sum(axis=1)).min() <= 15.01


def test_greedy_strokes_go_to_the_largest_region_and_others_by_size():
    truth = np.zeros((4, 40, 40), bool)
    truth[0, 2:6, 2:6] = True
    truth[2, 20:36, 20:36] = True
    empty = np.zeros_like(truth)
    for seed in range(5):
        assert strokes(truth, empty, SPACING, np.random.default_rng(seed), greedy=True)[0][2].any()
    others = [strokes(truth, empty, SPACING, np.random.default_rng(seed))[0][0].any() for seed in range(200)]
    assert 2 <= sum(others) <= 30  # 16 of 272 voxels


@pytest.mark.parametrize("hand", [*HANDS, "any"])
def test_the_same_seed_draws_the_same_strokes(hand):
    truth, mask = blobs(1), blobs(2)
    first = strokes(truth, mask, SPACING, np.random.default_rng(7), hand=hand)
    second = strokes(truth, mask, SPACING, np.random.default_rng(7), hand=hand)
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"hand": "foot"}, "hand is 'foot'"), ({"brush_mm": 0.0}, "must be positive"), ({"mask": None}, "the mask is")],
)
def test_bad_requests_are_refused_by_name(change, message):
    truth = blobs(1)
    mask = np.zeros((2, 2, 2), bool) if "mask" in change else truth
    options = {key: value for key, value in change.items() if key != "mask"}
    with pytest.raises(ValueError, match=message):
        strokes(truth, mask, SPACING, np.random.default_rng(0), **options)


def test_a_label_map_is_not_taken_for_a_mask():
    with pytest.raises(ValueError, match="must be bool"):
        strokes(blobs(1).astype(np.uint8), blobs(1), SPACING, np.random.default_rng(0))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_paper_points_are_three_to_seven_a_class_on_every_lesion_slice(seed):
    truth = blobs(seed)
    foreground, background = paper_points(truth, np.random.default_rng(seed))
    assert not (foreground & ~truth).any() and not (background & truth).any()
    for index in range(truth.shape[0]):
        lesion = int(truth[index].sum())
        assert min(3, lesion) <= foreground[index].sum() <= min(7, lesion)
        assert background[index].sum() == 0 if lesion == 0 else 3 <= background[index].sum() <= 7


def test_a_newer_stroke_wins_over_an_older_one():
    one, two = np.zeros((1, 1, 3), bool), np.zeros((1, 1, 3), bool)
    one[..., :2], two[..., 1:] = True, True
    foreground, background = add_strokes(one, np.zeros_like(one), np.zeros_like(one), two)
    assert foreground.ravel().tolist() == [True, False, False]
    assert background.ravel().tolist() == [False, True, True]
