"""The box of what is set in an array: strokes and masks fill little of a volume, and only that is kept or sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, slice, slice]
NOWHERE: Box = (slice(0, 0), slice(0, 0), slice(0, 0))


@dataclass(frozen=True)
class Boxed:
    """An array of which all that is not 0 lies in a box. shape: (D, H, W). corner, part: of the box."""

    shape: tuple[int, ...]
    corner: tuple[int, ...]
    part: NDArray[Any]

    @classmethod
    def of(cls, array: NDArray[Any] | Boxed) -> Boxed:
        """array: (D, H, W) of any type, which is not kept; or boxed already."""
        if isinstance(array, Boxed):
            return array
        box = box_of(array) or NOWHERE
        return cls(array.shape, tuple(side.start for side in box), array[box].copy())

    @classmethod
    def summed(cls, *several: Boxed) -> Boxed:
        """The sum of boxed arrays of one shape and type."""
        (shape,) = {one.shape for one in several}
        filled = [one for one in several if one.part.size]
        if not filled:
            return several[0]
        corner = tuple(min(one.corner[axis] for one in filled) for axis in range(3))
        end = [max(one.corner[axis] + one.part.shape[axis] for one in filled) for axis in range(3)]
        part = np.zeros([stop - start for start, stop in zip(corner, end)], filled[0].part.dtype)
        for one in filled:
            part[one._place(corner)] += one.part
        return cls(shape, corner, part)

    def holding(self, part: NDArray[Any]) -> Boxed:
        """Other values in the place of these, of the box's shape; their own box is as small as it can be."""
        box = box_of(part) or NOWHERE
        corner = tuple(at + side.start for at, side in zip(self.corner, box))
        return Boxed(self.shape, corner, part[box])

    def whole(self) -> NDArray[Any]:
        """(D, H, W), a new array."""
        array = np.zeros(self.shape, self.part.dtype)
        array[self._place((0, 0, 0))] = self.part
        return array

    def _place(self, origin: tuple[int, ...]) -> tuple[slice, ...]:
        """Where it lies in an array that begins there."""
        sides = zip(self.corner, origin, self.part.shape)
        return tuple(slice(at - start, at - start + long) for at, start, long in sides)


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
