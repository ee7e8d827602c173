"""The box of what is set in an array: strokes and masks fill little of a volume, and only that is kept or sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Boxed:
    """An array of which all that is not 0 lies in a box. shape: (D, H, W). corner, part: of the box."""

    shape: tuple[int, ...]
    corner: tuple[int, ...]
    part: NDArray[Any]

    @classmethod
    def of(cls, array: NDArray[Any]) -> Boxed:
        """array: (D, H, W) of any type; it is not kept."""
        box = box_of(array) or (slice(0, 0),) * 3
        return cls(array.shape, tuple(side.start for side in box), array[box].copy())

    def whole(self) -> NDArray[Any]:
        """(D, H, W), a new array."""
        array = np.zeros(self.shape, self.part.dtype)
        array[tuple(slice(at, at + long) for at, long in zip(self.corner, self.part.shape))] = self.part
        return array


def box_of(mask: NDArray[Any]) -> Box | None:
    """The smallest box of (D, H, W) that holds everything that is set, or not 0; None where nothing is."""
    sides: list[slice] = []
    inside = mask
    for axis in range(3):  # slices first, which lie together in memory; then only within them
        found = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        if not len(found):
            return None
        sides.append(slice(int(found[0]), int(found[-1]) + 1))
        inside = mask[tuple(sides)]
    return sides[0], sides[1], sides[2]
