"""Straightening on made-up stacks: what was straight in the patient is straight in the array."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichhpinet.errors import InputError
from ichhpinet.straighten import SliceStack, check_gaps, missing_after, regular_step_mm, straighten

ROW, COLUMN = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
PIXEL_MM = (0.5, 0.5)
gaps_mm = st.lists(st.floats(1.0, 9.0), min_size=3, max_size=6)


def stack_at(depths: np.ndarray, lean_y: float = 0.0, lean_x: float = 0.0) -> SliceStack:
    """Axial slices at depths, each lean mm further aside for every mm."""
    positions = np.stack([-12 + lean_x * depths, -15 + lean_y * depths, 100 + depths], axis=1)
    return SliceStack(positions, ROW, COLUMN, PIXEL_MM)


def scanned(stack: SliceStack, size: int = 64) -> list[np.ndarray]:
    """What a scanner sees of a smooth column of bone around x = y = 0 mm, along z."""
    planes = []
    for x, y, _ in stack.positions:
        across, down = x + np.arange(size) * PIXEL_MM[1], y + np.arange(size) * PIXEL_MM[0]
        planes.append((2000 * np.exp(-(down[:, None] ** 2 + across**2) / 8) - 1000).astype(np.float32))
    return planes


@given(gaps=gaps_mm, lean_y=st.floats(-0.4, 0.4), lean_x=st.floats(-0.4, 0.4))
def test_a_column_stays_straight_whatever_the_tilt_and_the_steps(
    gaps: list[float], lean_y: float, lean_x: float
) -> None:
    depths = np.concatenate([[0.0], np.cumsum(gaps)])
    stack = stack_at(depths, lean_y, lean_x)
    straight = straighten(scanned(stack), stack)
    down = straight.origin[1] + np.arange(straight.hu.shape[1]) * PIXEL_MM[0]
    across = straight.origin[0] + np.arange(straight.hu.shape[2]) * PIXEL_MM[1]
    for plane in np.clip(straight.hu + 900, 0, None):
        assert (plane.sum(axis=1) * down).sum() / plane.sum() == pytest.approx(0, abs=0.05)
        assert (plane.sum(axis=0) * across).sum() / plane.sum() == pytest.approx(0, abs=0.05)


@given(gaps=gaps_mm, lean=st.floats(-0.4, 0.4))
def test_the_new_grid_covers_all_that_was_scanned(gaps: list[float], lean: float) -> None:
    depths = np.concatenate([[0.0], np.cumsum(gaps)])
    stack = stack_at(depths, lean)
    straight = straighten(scanned(stack), stack)
    step = straight.spacing_mm[0]
    assert -step / 2 - 1e-6 <= (len(straight.hu) - 1) * step - depths[-1] <= step
    rows_mm = straight.origin[1], straight.origin[1] + (straight.hu.shape[1] - 1) * PIXEL_MM[0]
    assert rows_mm[0] <= stack.positions[:, 1].min() + 1e-3
    assert rows_mm[1] >= stack.positions[:, 1].max() + 63 * PIXEL_MM[0] - 1e-3


@given(gaps=st.lists(st.floats(4.5, 9.0), min_size=4, max_size=6), overlap=st.integers(0, 4))
def test_no_slice_is_lost_not_even_where_two_overlap(gaps: list[float], overlap: int) -> None:
    gaps.insert(min(overlap, len(gaps)), 1.08)
    depths = np.concatenate([[0.0], np.cumsum(gaps)])
    for lit in range(len(depths)):
        planes = [np.full((4, 4), 1000.0 * (k == lit), np.float32) for k in range(len(depths))]
        assert straighten(planes, stack_at(depths)).hu.max() > 0


def test_slices_on_the_new_grid_keep_their_values() -> None:
    depths = np.array([0.0, 4.0, 8.0, 9.0, 16.0])
    planes = [np.full((4, 4), value, np.float32) for value in (1, 2, 3, 7, 0)]
    straight = straighten(planes, stack_at(depths))
    assert straight.spacing_mm[0] == 4.0
    assert np.allclose(straight.hu[:, 0, 0], [1, 2, 3, 4, 0], atol=0.01)  # at 12 mm: 3/7 of the way from 7 to 0


def test_outside_of_what_was_scanned_is_air_and_so_is_padding() -> None:
    depths = np.array([0.0, 5.0, 10.0])
    planes = [np.full((8, 8), -2000.0, np.float32), *[np.full((8, 8), 40.0, np.float32)] * 2]
    straight = straighten(planes, stack_at(depths, lean_y=0.3))
    assert straight.hu.shape == (3, 14, 8)
    assert straight.hu[0].max() == -1024 and straight.hu[2, 0, 0] == -1024 and straight.hu[2, 8, 0] == 40


def test_an_upright_and_even_stack_is_told_from_a_tilted_and_an_uneven_one() -> None:
    even = np.arange(6) * 5.0
    assert stack_at(even).is_even and stack_at(even).is_upright
    assert not stack_at(even, lean_y=0.1).is_upright
    assert stack_at(even, lean_y=np.tan(np.radians(18.5))).tilt_degrees == pytest.approx(18.5)
    assert not stack_at(np.array([0, 5, 10, 11, 18.0])).is_even
    assert stack_at(even + np.array([0, 0.02, -0.02, 0.01, 0, 0])).is_even  # as headers round


def test_the_step_is_the_smallest_that_is_no_overlap() -> None:
    assert regular_step_mm(np.array([4.0] * 13 + [1.08] + [7.0] * 13)) == 4.0
    assert regular_step_mm(np.array([5.0, 5.0, 10.0, 5.0])) == 5.0


def test_a_gap_with_room_for_a_slice_counts_as_missing_and_a_change_of_step_does_not() -> None:
    assert missing_after(np.array([5.0, 5.0, 10.0, 5.0])) == [2]
    assert missing_after(np.array([4.0, 4.0, 1.1, 7.0, 7.0])) == []
    assert missing_after(np.array([2.5, 2.5, 5.0, 5.0])) == []


def test_gaps_that_lie_side_by_side_count_and_a_protocol_of_wide_steps_does_not() -> None:
    assert missing_after(np.array([5.0, 5.0, 10.0, 10.0, 5.0])) == [2, 3]
    assert missing_after(np.array([2.5, 2.5, 5.0, 5.0, 5.0, 2.5])) == []


@pytest.mark.parametrize("depths", [(0.0, 5.0, 36.0), (0.0, 31.0, 62.0), (0.0, 31.0)])
def test_slices_too_far_apart_are_refused(depths: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="31.0 mm apart; they must be at most 30 mm apart"):
        check_gaps(stack_at(np.array(depths)))
