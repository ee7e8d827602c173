"""Slices at their true places -> a straight, regular grid. Pure geometry on numpy arrays: no files, no headers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ichhpinet.errors import InputError

Floats = NDArray[np.float64]

EVEN_SHARE = 0.02  # a slice may lie this share of a step off the regular grid: headers round positions
SHIFT_PIXELS = 0.5  # slices may drift sideways by this much over the whole stack before it counts as tilt
MISSING_STEPS = 1.5  # a gap of this many neighbouring steps has room for a slice that is not there
WIDEST_GAP_MM = 30.0  # across more than this, interpolating would invent a head
AIR_HU = -1024.0
DIGITS = 6  # offsets are rounded to a millionth of a pixel, so that rounding in headers makes no extra row


@dataclass(frozen=True)
class SliceStack:
    """Parallel slices with their places, sorted along the normal.

    positions: (N, 3) LPS mm, the centre of pixel [0, 0] of each. row, column: unit vectors in which the column index
    and the row index grow. pixel_mm: (along a column, along a row) = (y, x).
    """

    positions: Floats
    row: Floats
    column: Floats
    pixel_mm: tuple[float, float]

    @property
    def normal(self) -> Floats:
        """Unit vector (3,) perpendicular to the slices."""
        return np.asarray(np.cross(self.row, self.column), dtype=np.float64)

    @property
    def depths_mm(self) -> Floats:
        """(N,) mm along the normal, from the first slice."""
        return np.asarray((self.positions - self.positions[0]) @ self.normal, dtype=np.float64)

    @property
    def steps_mm(self) -> Floats:
        """(N - 1,) mm from each slice to the next."""
        return np.diff(self.depths_mm)

    @property
    def shifts_pixels(self) -> Floats:
        """(N, 2): how far each slice lies down and right of the first, in its own plane, in pixels."""
        sideways = self.positions - self.positions[0]
        down, right = sideways @ self.column / self.pixel_mm[0], sideways @ self.row / self.pixel_mm[1]
        return np.asarray(np.stack([down, right], axis=1).round(DIGITS), dtype=np.float64)

    @property
    def is_even(self) -> bool:
        """True when the slices lie on a regular grid along the normal."""
        depths = self.depths_mm
        regular = np.linspace(0.0, depths[-1], len(depths))
        return bool(np.abs(depths - regular).max() <= EVEN_SHARE * depths[-1] / (len(depths) - 1))

    @property
    def is_upright(self) -> bool:
        """True when the slices lie straight above each other (no gantry tilt)."""
        return bool(np.abs(self.shifts_pixels).max() <= SHIFT_PIXELS)

    @property
    def tilt_degrees(self) -> float:
        """Angle between the stack's direction and the slices' normal."""
        along = self.positions[-1] - self.positions[0]
        return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(along, self.normal)), along @ self.normal)))


@dataclass(frozen=True)
class Straightened:
    """hu: (D, H, W) float32. spacing_mm: (z, y, x). origin: LPS mm of voxel [0, 0, 0]."""

    hu: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    origin: tuple[float, float, float]


def regular_step_mm(steps_mm: Floats) -> float:
    """The step of the new grid: the smallest one that is not an overlap (less than half the median step).

    The two steps beside any slice then span at least one new slice: none is lost unless three overlap in one place.
    """
    usable = steps_mm[steps_mm >= 0.5 * np.median(steps_mm)]
    return float(np.round(usable.min(), 3))


def check_gaps(stack: SliceStack) -> None:
    """Raises InputError when two slices are more than WIDEST_GAP_MM apart."""
    widest = float(stack.steps_mm.max())
    if widest > WIDEST_GAP_MM:
        raise InputError(
            f"two neighbouring slices are {widest:.1f} mm apart; they must be at most {WIDEST_GAP_MM:g} mm apart"
        )


def missing_after(steps_mm: Floats) -> list[int]:
    """Indices of the slices after which at least one seems to be missing: a gap wide beside its neighbours.

    Two alike side by side are gaps as well, where narrower steps lie on both sides: three or more are a protocol's.
    """
    alike = np.abs(np.diff(steps_mm)) <= EVEN_SHARE * steps_mm[:-1]
    starts = [0, *(np.flatnonzero(~alike) + 1).tolist(), len(steps_mm)]
    runs = list(zip(starts[:-1], starts[1:], strict=True))
    gaps: list[int] = []
    for number, (start, end) in enumerate(runs):
        beside = [runs[other] for other in (number - 1, number + 1) if 0 <= other < len(runs)]
        most = 1 if len(beside) < 2 else 2
        if beside and end - start <= most and steps_mm[start] > MISSING_STEPS * max(steps_mm[a] for a, _ in beside):
            gaps += range(start, end)
    return gaps


def straighten(slices: Sequence[NDArray[np.float32]], stack: SliceStack) -> Straightened:
    """Interpolate linearly between the slices at their true places; sideways shifts are undone in the plane.

    slices: N arrays (H, W) float32 HU, in the order of stack. The new grid keeps the plane, the pixel size and the
    first slice's place, covers all that was scanned, and is air (-1024 HU) outside it; so is padding below air.
    """
    step = regular_step_mm(stack.steps_mm)
    depths, shifts = stack.depths_mm, stack.shifts_pixels
    first = np.floor(shifts.min(axis=0))
    shape = tuple(int(n) for n in np.ceil(shifts.max(axis=0)) - first + slices[0].shape)
    count = int(np.round(depths[-1] / step)) + 1
    if (count - 1) * step < 0.75 * depths[-2] + 0.25 * depths[-1]:  # the last slice overlaps the one before:
        count += 1  # one more, so that it counts
    hu = np.empty((count, *shape), dtype=np.float32)
    for index in range(count):
        depth = min(index * step, float(depths[-1]))
        upper = int(np.clip(np.searchsorted(depths, depth), 1, len(depths) - 1))
        share = float(np.round((depth - depths[upper - 1]) / (depths[upper] - depths[upper - 1]), 3))
        pair = [(upper - 1, 1.0 - share), (upper, share)]
        hu[index] = _blend([(_shifted(slices[k], shifts[k] - first, shape), w) for k, w in pair if w > 0])
    y, x = stack.pixel_mm
    origin = stack.positions[0] + first[0] * y * stack.column + first[1] * x * stack.row
    return Straightened(hu, (step, y, x), (float(origin[0]), float(origin[1]), float(origin[2])))


def _blend(weighted: list[tuple[NDArray[np.float32], float]]) -> NDArray[np.float32]:
    """Mean by weight where both were scanned, the one where one was, air where none was (NaN: not scanned)."""
    total = np.zeros(weighted[0][0].shape, dtype=np.float32)
    weights = np.zeros_like(total)
    for plane, weight in weighted:
        scanned = ~np.isnan(plane)
        total[scanned] += np.float32(weight) * plane[scanned]
        weights[scanned] += np.float32(weight)
    empty = weights == 0
    weights[empty] = 1.0
    return np.where(empty, np.float32(AIR_HU), total / weights)


def _shifted(plane: NDArray[np.float32], shift: Floats, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """plane (H, W) moved down and right by shift pixels (>= 0), linearly; NaN where it was not scanned."""
    moved = np.maximum(plane, np.float32(AIR_HU))
    for axis in (0, 1):
        whole = int(np.floor(shift[axis]))
        moved = _shifted_along(moved, axis, whole, float(shift[axis] - whole), shape[axis])
    return moved


def _shifted_along(
    plane: NDArray[np.float32], axis: int, whole: int, fraction: float, size: int
) -> NDArray[np.float32]:
    moved = np.moveaxis(plane, axis, 0)
    result = np.full((size, moved.shape[1]), np.nan, dtype=np.float32)
    if fraction == 0.0:
        result[whole : whole + len(moved)] = moved
    else:  # the new pixel k lies between the old ones k - whole - 1 and k - whole
        result[whole + 1 : whole + len(moved)] = (1 - fraction) * moved[1:] + fraction * moved[:-1]
        result[whole] = moved[0]
        result[whole + len(moved)] = moved[-1]
    return np.moveaxis(result, 0, axis)
