"""Pictures of worst cases: the patient's sides where they belong, however the CT was acquired."""

from __future__ import annotations

import numpy as np
import pytest

from ichhpinet.volume import CTVolume
from ichhpinet_workbench.gallery import sides, turned

# The array axes (columns, rows, slices) along the patient's left, posterior, superior, or against them.
L, P, S = np.eye(3)


@pytest.mark.parametrize(
    ("columns", "rows", "slices", "letters", "corner"),
    [
        (L, P, S, ("R", "L"), (0, 0)),
        (-L, -P, S, ("R", "L"), (-1, -1)),
        (L, -S, P, ("R", "L"), (0, 0)),
        (L, S, -P, ("R", "L"), (-1, 0)),
        (P, -S, L, ("A", "P"), (0, 0)),
        (-P, S, L, ("A", "P"), (-1, -1)),
    ],
)
def test_a_slice_is_shown_with_the_head_or_the_front_on_top(
    columns: np.ndarray, rows: np.ndarray, slices: np.ndarray, letters: tuple[str, str], corner: tuple[int, int]
) -> None:
    direction = np.stack([columns, rows, slices], axis=1)
    volume = CTVolume.from_array(np.zeros((3, 4, 5), np.float32), (5.0, 1.0, 1.0), direction=direction)
    plane = np.arange(20).reshape(4, 5)
    assert sides(volume) == letters and turned(plane, volume)[0, 0] == plane[corner]
