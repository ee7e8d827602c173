"""Scribbles: the strokes of one round, as two masks on the CT's grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ichhpinet.errors import InputError
from ichhpinet.itk import simpleitk
from ichhpinet.volume import as_array

NOTHING, FOREGROUND, BACKGROUND = 0, 1, 2  # the values of a scribble file


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Scribbles:
    """The new strokes of a round, on any slices, drawn in any plane.

    foreground: (D, H, W) bool, True where "this is haemorrhage" was painted.
    background: (D, H, W) bool, True where "this is not" was painted.
    Both arrays are read-only.
    """

    foreground: NDArray[np.bool_]
    background: NDArray[np.bool_]

    def __init__(self, foreground: ArrayLike | None = None, background: ArrayLike | None = None) -> None:
        """foreground, background: (D, H, W) bool, or whole numbers that are all 0 or 1; None: nothing of that kind.

        Raises InputError: neither given, not 3D, empty, another type or value, two shapes, a voxel painted both ways.
        """
        inside = None if foreground is None else _painted(foreground, "foreground")
        outside = None if background is None else _painted(background, "background")
        known = inside if inside is not None else outside
        if known is None:
            raise InputError("foreground and background are both None; at least one must be an array")
        inside = np.zeros_like(known) if inside is None else inside
        outside = np.zeros_like(known) if outside is None else outside
        _check_pair(inside, outside)
        self._take(inside, outside)

    def _take(self, inside: NDArray[np.bool_], outside: NDArray[np.bool_]) -> None:
        """Checked arrays that nobody else has."""
        for name, array in (("foreground", inside), ("background", outside)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def from_labels(cls, labels: ArrayLike) -> Scribbles:
        """labels: (D, H, W) whole numbers: 0 nothing, 1 foreground, 2 background. Raises InputError for others."""
        array = as_array(labels, "the scribble labels")
        if array.dtype.kind not in "iu":
            raise InputError(f"the scribble labels are of type {array.dtype}; they must be whole numbers 0, 1 or 2")
        _check_grid(array, "the scribble labels")
        if array.min() < NOTHING or array.max() > BACKGROUND:
            others = np.unique(array[(array < NOTHING) | (array > BACKGROUND)])
            shown = ", ".join(str(value) for value in others[:5])
            raise InputError(f"the scribble labels hold {shown}; they must be 0, 1 (foreground) or 2 (background)")
        made = cls.__new__(cls)  # a voxel has one label: there is no pair to check, and nothing to copy
        made._take(np.ascontiguousarray(array == FOREGROUND), np.ascontiguousarray(array == BACKGROUND))
        return made

    @property
    def count(self) -> int:
        """How many strokes these are: parts that hang together (by faces, edges or corners), of either kind."""
        return _parts(self.foreground) + _parts(self.background)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        depth, height, width = self.foreground.shape
        return depth, height, width

    @property
    def is_empty(self) -> bool:
        """True when nothing was painted at all."""
        return not (self.foreground.any() or self.background.any())

    def labels(self) -> NDArray[np.uint8]:
        """(D, H, W) uint8: 0 nothing, 1 foreground, 2 background; a new array."""
        return self.foreground * np.uint8(FOREGROUND) + self.background * np.uint8(BACKGROUND)

    def touched_slices(self, axis: int = 0) -> tuple[int, ...]:
        """The indices along axis (0 slices, 1 rows, 2 columns) that hold a painted voxel, ascending.

        Raises InputError for another axis.
        """
        if axis not in (0, 1, 2):
            raise InputError(f"the axis is {axis}; it must be 0 (slices), 1 (rows) or 2 (columns)")
        others = tuple(other for other in range(3) if other != axis)
        touched = self.foreground.any(axis=others) | self.background.any(axis=others)
        return tuple(int(index) for index in np.flatnonzero(touched))

    def require_shape(self, shape: tuple[int, int, int], of: str = "the volume") -> None:
        """Raises InputError when the strokes are on another grid than shape (D, H, W)."""
        if self.shape != tuple(shape):
            raise InputError(f"the scribbles are {self.shape}; {of} is {tuple(shape)}")

    def __repr__(self) -> str:
        inside, outside = int(self.foreground.sum()), int(self.background.sum())
        return f"Scribbles({self.shape}, {inside} foreground and {outside} background voxels)"


def _painted(values: ArrayLike, name: str) -> NDArray[np.bool_]:
    """A new (D, H, W) bool array from bool, or from whole numbers 0 and 1."""
    array = as_array(values, name)
    _check_grid(array, name)
    if array.dtype.kind not in "biu":
        raise InputError(f"{name} is of type {array.dtype}; it must be bool, or whole numbers 0 and 1")
    if array.dtype.kind != "b" and not np.isin(array, (0, 1)).all():
        raise InputError(f"{name} holds values from {array.min()} to {array.max()}; it must be bool, or 0 and 1")
    return np.array(array, dtype=np.bool_, order="C")


def _check_grid(array: NDArray[Any], name: str) -> None:
    if array.ndim != 3 or array.size == 0:
        raise InputError(f"{name} has shape {array.shape}; it must be (slices, rows, columns), not empty")


def _check_pair(foreground: NDArray[np.bool_], background: NDArray[np.bool_]) -> None:
    if foreground.shape != background.shape:
        raise InputError(f"foreground is {foreground.shape}; background is {background.shape}; they must be the same")
    both = int(np.count_nonzero(foreground & background))
    if both:
        raise InputError(f"{both} voxels are painted foreground and background at once; each must be one or neither")


def _parts(painted: NDArray[np.bool_]) -> int:
    """Connected parts of (D, H, W) bool, counted in the box that holds them."""
    slab = painted[_range(painted, (1, 2))]
    if not slab.size:
        return 0
    part = slab[:, _range(slab, (0, 2)), _range(slab, (0, 1))].astype(np.uint8)
    sitk = simpleitk()
    labels = sitk.ConnectedComponent(sitk.GetImageFromArray(part), True)
    return int(sitk.GetArrayViewFromImage(labels).max())


def _range(painted: NDArray[np.bool_], over: tuple[int, int]) -> slice:
    """From the first to the last place with paint along the axis that is not `over`; empty where there is none."""
    found = np.flatnonzero(np.any(painted, axis=over))
    return slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, 0)
