"""Native CT grid <-> working grid, both ways. Pure geometry: no network, no HU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ichhpinet.orientation import Orientation

FloatArray = np.ndarray
BoolArray = np.ndarray
Shape = tuple[int, int, int]

Between = Callable[[], None]  # called between slabs: what it raises ends the work


def _go_on() -> None:
    """Nothing to look at between slabs."""


# Working height and width are multiples of this many pixels: every stride of the networks divides them.
PLANE_MULTIPLE = 16
STEADY = 1 - 1e-6  # files keep spacings as float32: no count hangs on their last digit
SLAB_SLICES = 16  # native slices interpolated at once


def resampling_matrix(source: tuple[int, float, float], target: tuple[int, float, float]) -> torch.Tensor:
    """Weights that resample one axis, by overlap of cells.

    Each of `source` and `target` is (count, cell size in mm, start of the first cell in mm). The footprint of a target
    sample is a box as wide as the larger of the two cells, so that going coarser averages areas and going finer
    interpolates linearly. A row sums to 1, or to 0 where the whole target cell lies outside of the source.

    Returns: (target count, source count) float32.
    """
    source_count, source_size, source_start = source
    target_count, target_size, target_start = target
    width = max(source_size, target_size)
    centres = target_start + (np.arange(target_count) + 0.5) * target_size
    edges = source_start + np.arange(source_count + 1) * source_size
    upper = np.minimum(edges[None, 1:], centres[:, None] + width / 2)
    lower = np.maximum(edges[None, :-1], centres[:, None] - width / 2)
    overlap = np.clip(upper - lower, 0.0, None)
    overlap[overlap < 1e-9 * width] = 0.0
    reach = target_size / 2 - 1e-9 * width
    inside = (centres + reach > edges[0]) & (centres - reach < edges[-1])
    total = overlap.sum(axis=1, keepdims=True)
    weights = np.divide(overlap, total, out=np.zeros_like(overlap), where=(total > 0) & inside[:, None])
    return torch.from_numpy(weights.astype(np.float32))


def _extent(hits: torch.Tensor) -> slice:
    """From the first to the last that is set, of a bool row; empty where none is."""
    found = torch.nonzero(hits).flatten()
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0)


def _apply(matrices: tuple[torch.Tensor, torch.Tensor, torch.Tensor], values: torch.Tensor) -> torch.Tensor:
    """Apply one matrix an axis to (D, H, W) float32 values; the axis that shrinks most goes first."""
    order = sorted(range(3), key=lambda axis: matrices[axis].shape[0] / matrices[axis].shape[1])
    for axis in order:
        matrix = matrices[axis]
        if matrix.shape[0] == matrix.shape[1] and torch.equal(matrix, torch.eye(matrix.shape[0])):
            continue
        if axis == 2:
            values = values @ matrix.T
        elif axis == 1:
            values = matrix @ values
        else:
            values = (matrix @ values.reshape(values.shape[0], -1)).reshape(-1, *values.shape[1:])
    return values


@dataclass(frozen=True)
class WorkingGrid:
    """The grid on which the networks work: slices of a stated pixel size in mm, cropped to the head.

    native_shape: (D, H, W) of the CT as given.
    native_spacing: (z, y, x) mm of the CT as given.
    orientation: array axes -> working axes.
    box: ((y0, y1), (x0, x1)) crop in native pixels of the working-order array.
    pixel_mm: in-plane size of a working pixel.
    merge: how many native slices one working slice averages.
    """

    native_shape: Shape
    native_spacing: tuple[float, float, float]
    orientation: Orientation
    box: tuple[tuple[int, int], tuple[int, int]]
    pixel_mm: float
    merge: int

    @property
    def _turned_shape(self) -> Shape:
        return tuple(self.native_shape[axis] for axis in self.orientation.order)  # type: ignore[return-value]

    @property
    def _turned_spacing(self) -> tuple[float, float, float]:
        return tuple(self.native_spacing[axis] for axis in self.orientation.order)  # type: ignore[return-value]

    @property
    def shape(self) -> Shape:
        """(d, h, w) of the working grid."""
        return (math.ceil(self._turned_shape[0] / self.merge), self._plane(0)[0], self._plane(1)[0])

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """(z, y, x) mm of the working grid."""
        return (self._turned_spacing[0] * self.merge, self.pixel_mm, self.pixel_mm)

    def _plane(self, axis: int) -> tuple[int, float, float]:
        """(count, cell mm, start mm) of working axis 1 + `axis`: the box, centred, padded to the multiple."""
        low, high = self.box[axis]
        size = self._turned_spacing[1 + axis]
        extent = (high - low) * size
        count = max(1, math.ceil(STEADY * extent / self.pixel_mm / PLANE_MULTIPLE)) * PLANE_MULTIPLE
        return count, self.pixel_mm, low * size - (count * self.pixel_mm - extent) / 2

    @cached_property
    def _axes(self) -> tuple[list[tuple[int, float, float]], list[tuple[int, float, float]]]:
        shape, spacing = self._turned_shape, self._turned_spacing
        native = [(shape[axis], spacing[axis], 0.0) for axis in range(3)]
        working = [(self.shape[0], self.spacing_mm[0], 0.0), self._plane(0), self._plane(1)]
        return native, working

    @cached_property
    def _down(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        native, working = self._axes
        return tuple(resampling_matrix(native[a], working[a]) for a in range(3))  # type: ignore[return-value]

    @cached_property
    def _up(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        native, working = self._axes
        return tuple(resampling_matrix(working[a], native[a]) for a in range(3))  # type: ignore[return-value]

    def to_working(self, array: FloatArray, outside: float = 0.0, between: Between = _go_on) -> torch.Tensor:
        """Area-average a native (D, H, W) array onto the working grid; float32 (d, h, w), `outside` beyond the CT."""
        turned = self.orientation.apply(array)
        planes = []
        for start in range(0, turned.shape[0], self.merge * 8):  # slabs of slices: a whole volume is never copied twice
            between()
            slab = turned[start : start + self.merge * 8]
            rows = slice(start // self.merge, start // self.merge + math.ceil(len(slab) / self.merge))
            if not outside and slab.dtype == bool and not slab.any():  # strokes: most slices have none
                planes.append(torch.zeros(rows.stop - rows.start, *self.shape[1:], dtype=torch.float32))
                continue
            # A copy: of one slice of a reversed axis, NumPy would keep the negative stride, which torch refuses.
            values = torch.from_numpy(np.array(slab, dtype=np.float32, order="C", copy=True)).sub_(outside)
            along = self._down[0][rows, start : start + len(slab)]
            planes.append(_apply((along, self._down[1], self._down[2]), values))
        return torch.cat(planes) + outside

    def to_native(self, values: torch.Tensor, between: Between = _go_on) -> FloatArray:
        """Interpolate working (d, h, w) values linearly onto the native grid; float32 (D, H, W), 0 beyond the box."""
        native = np.zeros(self.native_shape, dtype=np.float32)
        turned = self.orientation.apply(native)
        for place, part in self._parts(values, between):
            turned[place] = part
        return native

    def to_native_mask(self, values: torch.Tensor, threshold: float, between: Between = _go_on) -> BoolArray:
        """Where `to_native` is `threshold`, which is above 0, or more: (D, H, W) bool."""
        native = np.zeros(self.native_shape, dtype=bool)
        turned = self.orientation.apply(native)
        for place, part in self._parts(values, between):
            turned[place] = part >= threshold
        return native

    def _parts(self, values: torch.Tensor, between: Between) -> Iterator[tuple[tuple[slice, ...], FloatArray]]:
        """The native values, slab by slab, of the boxes in which they are not 0: a bleed is a small part of a head."""
        for start in range(0, self._turned_shape[0], SLAB_SLICES):
            between()
            rows = self._up[0][start : start + SLAB_SLICES]
            along = _extent(rows.any(0))
            slab = values[along]
            seen = slab != 0
            if not bool(seen.any()):
                continue
            down, across = _extent(seen.any(0).any(1)), _extent(seen.any(0).any(0))
            up = self._up[1][:, down], self._up[2][:, across]
            if not (up[0].any() and up[1].any()):  # all of it lies in the padding
                continue
            place = slice(start, start + SLAB_SLICES), _extent(up[0].any(1)), _extent(up[1].any(1))
            part = _apply((rows[:, along], up[0][place[1]], up[1][place[2]]), slab[:, down, across].float())
            yield place, part.numpy()
