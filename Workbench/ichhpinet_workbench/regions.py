"""Connected regions and distances in bool arrays, on numpy alone and fast on small boxes. No strokes, no HU."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

Bool = NDArray[np.bool_]
Box = tuple[slice, ...]


def bounding_box(mask: Bool, margin: int = 0) -> Box | None:
    """The smallest box round what is set, wider by `margin` voxels where the array allows; None: nothing is set."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        if not hits.size:
            return None
        box.append(slice(max(int(hits[0]) - margin, 0), min(int(hits[-1]) + 1 + margin, mask.shape[axis])))
    return tuple(box)


def components(mask: Bool) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Connected components, diagonals included.

    Args:
        mask: 2D or 3D bool.

    Returns:
        labels: int32 of mask's shape, 0 outside, 1..n inside, in order of first appearance;
        sizes: (n,) int64, voxels of each.
    """
    runs, count = _runs(mask)
    if count == 0:
        return runs, np.zeros(0, np.int64)
    roots = _join(count, _touching(runs))
    _, compact = np.unique(roots, return_inverse=True)
    labels = np.concatenate([[0], compact.ravel() + 1]).astype(np.int32)[runs]
    return labels, np.bincount(labels.ravel())[1:]


def under(strokes: Bool, wrong: Bool) -> Bool:
    """The components of `wrong` in which strokes lie. Both, and what is returned: bool of one shape."""
    if not (strokes & wrong).any():
        return np.zeros_like(wrong)
    labels, _ = components(wrong)
    return np.isin(labels, np.unique(labels[strokes & wrong]))


def _runs(mask: Bool) -> tuple[NDArray[np.int32], int]:
    """Number every unbroken run along the last axis: 0 outside, 1..count inside."""
    begins = mask.copy()
    begins[..., 1:] &= ~mask[..., :-1]
    numbers = np.cumsum(begins.ravel(), dtype=np.int32).reshape(mask.shape)
    return np.where(mask, numbers, np.int32(0)), int(begins.sum())


def _touching(runs: NDArray[np.int32]) -> NDArray[np.int64]:
    """Pairs (2, m) of runs, numbered from 0, that touch in a neighbouring row or slice."""
    count = int(runs.max()) + 1
    found = []
    for offset in product((-1, 0, 1), repeat=runs.ndim):
        if offset[:-1] <= (0,) * (runs.ndim - 1):  # the same row, or a pair met from its other side
            continue
        here = runs[tuple(slice(max(-o, 0), n - max(o, 0)) for o, n in zip(offset, runs.shape, strict=True))]
        there = runs[tuple(slice(max(o, 0), n - max(-o, 0)) for o, n in zip(offset, runs.shape, strict=True))]
        both = (here > 0) & (there > 0)
        found.append(np.unique(here[both].astype(np.int64) * count + there[both]))
    pairs = np.unique(np.concatenate(found))
    return np.stack([pairs // count, pairs % count]) - 1


def _join(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The smallest member of each node's component: hooking and pointer jumping, few passes."""
    parent = np.arange(count)
    while True:
        first, second = parent[pairs[0]], parent[pairs[1]]
        apart = first != second
        if not apart.any():
            return parent
        low, high = np.minimum(first, second)[apart], np.maximum(first, second)[apart]
        np.minimum.at(parent, high, low)
        while not np.array_equal(parent, jumped := parent[parent]):
            parent = jumped


def distance_mm(target: Bool, spacing_mm: tuple[float, float], limit_mm: float = np.inf) -> NDArray[np.float32]:
    """Euclidean distance from every pixel centre to the nearest set pixel centre.

    Args:
        target: (H, W) bool.
        spacing_mm: (row, column) pixel size.
        limit_mm: distances beyond it are given as inf; a small one is faster.

    Returns:
        (H, W) float32 in mm; inf everywhere if nothing is set.
    """
    height, width = target.shape
    column = np.arange(width, dtype=np.float32)
    before = np.maximum.accumulate(np.where(target, column, -np.inf), axis=1)
    after = np.minimum.accumulate(np.where(target, column, np.inf)[:, ::-1], axis=1)[:, ::-1]
    in_row = (np.minimum(column - before, after - column) * spacing_mm[1]) ** 2
    nearest = in_row.astype(np.float32)
    in_row = nearest.copy()
    for step in range(1, height):
        away = np.float32((step * spacing_mm[0]) ** 2)
        if away > limit_mm**2 or away >= nearest.max():
            break
        np.minimum(nearest[step:], in_row[:-step] + away, out=nearest[step:])
        np.minimum(nearest[:-step], in_row[step:] + away, out=nearest[:-step])
    distance = np.sqrt(nearest)
    distance[distance > limit_mm] = np.inf
    return distance


def depth_mm(region: Bool, spacing_mm: tuple[float, float]) -> NDArray[np.float32]:
    """Distance in mm from each pixel of the region to the nearest one outside it, beyond the array too; 0 outside."""
    padded = np.pad(region, 1)
    return distance_mm(~padded, spacing_mm)[1:-1, 1:-1]


def extent_mm(region: Bool, spacing_mm: tuple[float, float]) -> float:
    """The region's longest extent (Feret diameter over 24 directions, outer pixel edges included); 0 if empty."""
    rows, columns = np.nonzero(region)
    if not rows.size:
        return 0.0
    angles = np.arange(24) * np.pi / 24
    along = np.outer(rows * spacing_mm[0], np.sin(angles)) + np.outer(columns * spacing_mm[1], np.cos(angles))
    return float(np.ptp(along, axis=0).max() + min(spacing_mm))
