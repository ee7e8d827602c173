"""Scribbles: what may be painted, what is refused and in which words."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ichhpinet.errors import InputError
from ichhpinet.scribbles import Scribbles

SHAPE = (3, 4, 5)


def painted(*voxels: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    for voxel in voxels:
        mask[voxel] = True
    return mask


def test_either_kind_may_be_left_out() -> None:
    only_inside = Scribbles(foreground=painted((0, 1, 2)))
    assert only_inside.foreground.sum() == 1 and not only_inside.background.any()
    only_outside = Scribbles(background=painted((0, 1, 2)))
    assert only_outside.background.sum() == 1 and only_outside.foreground.shape == SHAPE


def test_leaving_out_both_is_refused() -> None:
    with pytest.raises(InputError, match="both None; at least one must be an array"):
        Scribbles()


def test_whole_numbers_that_are_0_or_1_are_taken_as_bool() -> None:
    strokes = Scribbles(painted((0, 0, 0)).astype(np.uint8), painted((1, 1, 1)).astype(np.int64))
    assert strokes.foreground.dtype == bool and strokes.background.dtype == bool


@pytest.mark.parametrize(
    ("foreground", "message"),
    [
        (np.zeros(SHAPE), "foreground is of type float64; it must be bool"),
        (np.full(SHAPE, 2, np.uint8), "foreground holds values from 2 to 2; it must be bool, or 0 and 1"),
        (np.full(SHAPE, -1), "foreground holds values from -1 to -1"),
        (np.zeros((4, 5), bool), r"foreground has shape \(4, 5\); it must be \(slices, rows, columns\)"),
        (np.zeros((0, 4, 5), bool), "not empty"),
    ],
)
def test_what_is_no_mask_is_refused_by_name(foreground: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Scribbles(foreground=foreground)


def test_two_shapes_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"foreground is \(3, 4, 5\); background is \(3, 4, 6\)"):
        Scribbles(painted(), np.zeros((3, 4, 6), bool))


def test_voxels_painted_both_ways_are_refused_and_counted() -> None:
    with pytest.raises(InputError, match="2 voxels are painted foreground and background at once"):
        Scribbles(painted((0, 0, 0), (1, 1, 1), (2, 2, 2)), painted((0, 0, 0), (1, 1, 1)))


def test_strokes_cannot_change_through_the_arrays_they_came_from_or_their_own() -> None:
    mask = painted((0, 0, 0))
    strokes = Scribbles(mask)
    mask[:] = True
    assert strokes.foreground.sum() == 1
    with pytest.raises(ValueError, match="read-only"):
        strokes.foreground[0, 0, 0] = False
    with pytest.raises(dataclasses.FrozenInstanceError):
        strokes.foreground = mask  # type: ignore[misc]


@given(hnp.arrays(np.uint8, SHAPE, elements=st.integers(0, 2)))
def test_labels_come_back_as_they_were(labels: np.ndarray) -> None:
    strokes = Scribbles.from_labels(labels)
    assert np.array_equal(strokes.labels(), labels) and strokes.labels().dtype == np.uint8
    assert strokes.is_empty == (not labels.any())
    for axis in range(3):
        expected = [k for k in range(SHAPE[axis]) if np.take(labels, k, axis).any()]
        assert list(strokes.touched_slices(axis)) == expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full(SHAPE, 3), r"hold 3; they must be 0, 1 \(foreground\) or 2 \(background\)"),
        (np.full(SHAPE, -1), "hold -1"),
        (np.zeros(SHAPE), "of type float64; they must be whole numbers"),
        (np.zeros((4, 5), int), "must be"),
    ],
)
def test_labels_other_than_0_1_and_2_are_refused_by_name(labels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Scribbles.from_labels(labels)


def test_an_axis_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="the axis is 3"):
        Scribbles(painted()).touched_slices(3)


def test_strokes_on_another_grid_are_refused_by_name() -> None:
    strokes = Scribbles(painted())
    strokes.require_shape(SHAPE)
    with pytest.raises(InputError, match=r"the scribbles are \(3, 4, 5\); the volume is \(3, 4, 6\)"):
        strokes.require_shape((3, 4, 6))


def test_strokes_are_counted_by_the_parts_that_hang_together() -> None:
    assert Scribbles(painted()).count == 0
    assert Scribbles(painted((0, 1, 1), (1, 2, 2))).count == 1  # by a corner
    assert Scribbles(painted((0, 0, 0), (2, 3, 4))).count == 2
    assert Scribbles(painted((0, 0, 0)), painted((0, 0, 1), (2, 3, 3))).count == 3  # of either kind
