"""The box of what is set in an array: strokes and masks fill little of a volume, and only that is kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, slice, slice]


def box_of(mask: NDArray[np.bool_]) -> Box | None:
    """The smallest box of (D, H, W) that holds everything that is set; None where nothing is."""
    sides: list[slice] = []
    inside = mask
    for axis in range(3):  # slices first, which lie together in memory; then only within them
        found = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        if not len(found):
            return None
        sides.append(slice(int(found[0]), int(found[-1]) + 1))
        inside = mask[tuple(sides)]
    return sides[0], sides[1], sides[2]
