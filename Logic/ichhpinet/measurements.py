"""Millilitres: planimetry, the bedside ABC/2 estimate, and whether a haematoma grew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ichhpinet.errors import InputError
from ichhpinet.itk import simpleitk
from ichhpinet.volume import bounding_box, checked_mask, checked_spacing

Mask = NDArray[np.bool_]

GROWTH_ML = 6.0  # the usual definition of haematoma growth: more than 6 ml,
GROWTH_SHARE = 0.33  # or more than 33 %
ANGLES = 360  # directions, half a degree apart, in which a diameter is sought: at most 0.001 % short
FULL_SLICE, HALF_SLICE = 0.75, 0.25  # Kothari 1996: a slice counts once above 75 % of the largest area, half above 25 %


@dataclass(frozen=True)
class Measurement:
    """What a report says about one mask."""

    volume_ml: float  # voxels counted
    abc2_ml: float  # the estimate of the largest component
    components: int  # connected by face, edge or corner
    largest_ml: float
    slices: int  # slices with any haemorrhage

    def row(self) -> dict[str, float | int]:
        """For report.json: millilitres to a thousandth."""
        return {
            "volume_ml": round(self.volume_ml, 3),
            "abc2_ml": round(self.abc2_ml, 3),
            "components": self.components,
            "largest_ml": round(self.largest_ml, 3),
            "slices": self.slices,
        }


@dataclass(frozen=True)
class Growth:
    """before_ml -> after_ml. share is (after - before) / before; None when nothing was there before."""

    before_ml: float
    after_ml: float
    delta_ml: float
    share: float | None
    is_growth: bool

    def sentence(self) -> str:
        """One line, with the rule."""
        percent = "" if self.share is None else f", {100 * self.share:+.0f} %"
        verdict = "growth" if self.is_growth else "no growth"
        return (
            f"{self.before_ml:.1f} ml to {self.after_ml:.1f} ml ({self.delta_ml:+.1f} ml{percent}): {verdict} "
            f"by the rule of more than {GROWTH_ML:g} ml or more than {100 * GROWTH_SHARE:.0f} %"
        )


def volume_ml(mask: ArrayLike, spacing_mm: Sequence[float]) -> float:
    """Voxels times their volume, in ml. mask: (D, H, W) bool, or 0 and 1. spacing_mm: (z, y, x). Raises InputError."""
    return int(np.count_nonzero(checked_mask(mask, "the mask"))) * math.prod(checked_spacing(spacing_mm)) / 1000.0


def abc2_ml(mask: ArrayLike, spacing_mm: Sequence[float], axis: int = 0) -> float:
    """A x B x C / 2 of the largest component, in ml, as it is done by hand on slices; 0 for an empty mask.

    A: the largest diameter on the slice with the largest area; B: the extent at right angles to A on that slice;
    C: slice step times the number of slices, each counted 1, 1/2 or 0 by its area (Kothari 1996). Low on thin slices
    of smooth ellipsoids, high on ragged bleeds: an estimate to compare with other reports, not the volume.
    mask: (D, H, W) bool, or 0 and 1. spacing_mm: (z, y, x). axis: the array axis of the slices.

    Raises InputError.
    """
    return _abc2_ml(_largest_component(checked_mask(mask, "the mask"))[0], spacing_mm, axis)


def _abc2_ml(component: Mask, spacing_mm: Sequence[float], axis: int) -> float:
    spacing = list(checked_spacing(spacing_mm))
    if axis not in (0, 1, 2):
        raise InputError(f"the axis is {axis}; it must be 0 (slices), 1 (rows) or 2 (columns)")
    lesion = np.moveaxis(component, axis, 0)
    step = spacing.pop(axis)
    areas = lesion.sum(axis=(1, 2))
    if not areas.any():
        return 0.0
    share = areas / areas.max()
    counted = np.where(share > FULL_SLICE, 1.0, np.where(share > HALF_SLICE, 0.5, 0.0))
    a, b = _diameters_mm(lesion[int(areas.argmax())], spacing[0], spacing[1])
    return float(a * b * counted.sum() * step / 2.0 / 1000.0)


def measure(mask: ArrayLike, spacing_mm: Sequence[float], axis: int = 0) -> Measurement:
    """All of a report's numbers for a mask (D, H, W), bool or 0 and 1. Raises InputError."""
    lesion = checked_mask(mask, "the mask")
    largest, components = _largest_component(lesion)
    others = tuple(other for other in range(3) if other != axis)
    return Measurement(
        volume_ml=volume_ml(lesion, spacing_mm),
        abc2_ml=_abc2_ml(largest, spacing_mm, axis),
        components=components,
        largest_ml=volume_ml(largest, spacing_mm),
        slices=int(np.count_nonzero(lesion.any(axis=others))),
    )


def growth(before_ml: float, after_ml: float) -> Growth:
    """Whether a haematoma grew: by more than 6 ml, or by more than 33 %. Raises InputError for volumes below 0."""
    if not (math.isfinite(before_ml) and math.isfinite(after_ml) and min(before_ml, after_ml) >= 0):
        raise InputError(f"the volumes are {before_ml} and {after_ml} ml; both must be 0 or more")
    delta = after_ml - before_ml
    share = delta / before_ml if before_ml > 0 else None
    grew = delta > GROWTH_ML or (share is not None and share > GROWTH_SHARE)
    return Growth(before_ml, after_ml, delta, share, grew)


def _diameters_mm(section: Mask, row_mm: float, column_mm: float) -> tuple[float, float]:
    """The largest diameter of a section (H, W), and the extent at right angles to it; pixels count with their area."""
    rows = np.flatnonzero(section.any(axis=1)).repeat(2)  # the outermost pixels of each row bound the section
    columns = np.stack([section.argmax(axis=1), section.shape[1] - 1 - section[:, ::-1].argmax(axis=1)], axis=1)
    columns = columns[section.any(axis=1)].ravel()
    angles = np.arange(ANGLES) * (math.pi / ANGLES)
    sines, cosines = np.sin(angles), np.cos(angles)
    along = np.outer(sines, rows * row_mm) + np.outer(cosines, columns * column_mm)
    extents = along.max(axis=1) - along.min(axis=1) + np.abs(sines) * row_mm + np.abs(cosines) * column_mm
    longest = int(extents.argmax())
    return float(extents[longest]), float(extents[(longest + ANGLES // 2) % ANGLES])


def _largest_component(mask: Mask) -> tuple[Mask, int]:
    """The largest component (all False when empty), in the box of the mask, and the number of components."""
    if not mask.any():
        return mask[:1, :1, :1], 0
    mask = mask[bounding_box(mask)]
    sitk = simpleitk()
    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax(), dtype=np.bool_), int(np.count_nonzero(sizes))
