"""What a stroke did: of the wrong component under it, how much is right after the round. No sessions, no files."""

from __future__ import annotations

import math

from .regions import Bool, bounding_box, depth_mm, under
from .rounds import Turn


def effects(turn: Turn, truth: Bool, spacing_mm: tuple[float, float, float]) -> dict[str, float]:
    """How much a stroke did: of the wrong component under it, the share right after the round, in its slice and in 3D.

    Painted voxels do not count: they are right by the contract. Beside it, how deep in mm the component is on the
    stroke's slices, the furthest that any of it lies from its border: rims of a mask are shallow, missed parts are not.
    nan: no such stroke, or nothing left to count.
    """
    missed = _mended(truth & ~turn.before, turn.foreground, turn.mask, spacing_mm)
    extra = _mended(turn.before & ~truth, turn.background, ~turn.mask, spacing_mm)
    named = ("slice", "3d", "depth_mm")
    return {f"missed_{name}": value for name, value in zip(named, missed, strict=True)} | {
        f"extra_{name}": value for name, value in zip(named, extra, strict=True)
    }


def _mended(
    wrong: Bool, stroke: Bool, right: Bool, spacing_mm: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Of the component of `wrong` under the stroke: shares right in its slice and in 3D, and its depth in mm."""
    box = bounding_box(wrong)
    if box is None or not (stroke & wrong).any():
        return math.nan, math.nan, math.nan
    wrong, stroke, right = wrong[box], stroke[box], right[box]
    component = under(stroke, wrong)
    planes = stroke.any(axis=(1, 2))
    deep = max(float(depth_mm(plane, spacing_mm[1:]).max()) for plane in component[planes])
    component &= ~stroke
    return _share(right[planes], component[planes]), _share(right, component), deep


def _share(right: Bool, component: Bool) -> float:
    count = int(component.sum())
    return int((right & component).sum()) / count if count else math.nan
