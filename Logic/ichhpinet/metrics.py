"""How alike two masks are: overlap, volume, and distances in mm between their surfaces.

Empty masks: two empty masks are alike (Dice and Jaccard 1, distances 0 mm); one empty mask is not (0, infinite mm).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ichhpinet.errors import InputError
from ichhpinet.itk import simpleitk
from ichhpinet.volume import bounding_box, checked_mask, checked_spacing

Mask = NDArray[np.bool_]


def dice(predicted: ArrayLike, truth: ArrayLike) -> float:
    """2 |A and B| / (|A| + |B|) in [0, 1]. Masks: (D, H, W) bool, or 0 and 1. Raises InputError."""
    a, b = _pair(predicted, truth)
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 1.0


def jaccard(predicted: ArrayLike, truth: ArrayLike) -> float:
    """|A and B| / |A or B| in [0, 1]. Masks: (D, H, W) bool, or 0 and 1. Raises InputError."""
    a, b = _pair(predicted, truth)
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def mae(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Mean absolute difference over all voxels, in [0, 1]. predicted: (D, H, W) mask or probability; truth: mask.

    Raises InputError.
    """
    probability = np.asarray(predicted, dtype=np.float64)
    wanted = checked_mask(truth, "the truth")
    if probability.shape != wanted.shape:
        raise InputError(f"the prediction is {probability.shape}; the truth is {wanted.shape}")
    if not (np.isfinite(probability).all() and probability.min() >= 0 and probability.max() <= 1):
        raise InputError("the prediction holds values outside 0 to 1; it must be a mask or a probability")
    return float(np.abs(probability - wanted).mean())


def volume_error_ml(predicted: ArrayLike, truth: ArrayLike, spacing_mm: Sequence[float]) -> float:
    """Predicted volume - true volume in ml: positive when too much was segmented. Raises InputError."""
    a, b = _pair(predicted, truth)
    return (int(a.sum()) - int(b.sum())) * math.prod(checked_spacing(spacing_mm)) / 1000.0


def hausdorff_mm(predicted: ArrayLike, truth: ArrayLike, spacing_mm: Sequence[float]) -> float:
    """The greatest distance in mm from a surface voxel of either mask to the other's surface. Raises InputError.

    Masks: (D, H, W) bool, or 0 and 1. spacing_mm: (z, y, x). Surface: the voxels of a mask that share a face with a
    voxel outside it; outside the array is outside the mask. Distances run between voxel centres, exactly.
    """
    return _surface_distance_mm(predicted, truth, spacing_mm, 100.0)


def hd95_mm(predicted: ArrayLike, truth: ArrayLike, spacing_mm: Sequence[float]) -> float:
    """As `hausdorff_mm`, but the greater of the two 95th percentiles, one in each direction. Raises InputError."""
    return _surface_distance_mm(predicted, truth, spacing_mm, 95.0)


def _surface_distance_mm(
    predicted: ArrayLike, truth: ArrayLike, spacing_mm: Sequence[float], percentile: float
) -> float:
    a, b = _pair(predicted, truth)
    spacing = checked_spacing(spacing_mm)
    if not a.any() or not b.any():
        return math.inf if a.any() or b.any() else 0.0
    box = bounding_box(a | b)
    surface_a, surface_b = surface(np.pad(a[box], 1)), surface(np.pad(b[box], 1))
    there = _distance_map_mm(surface_b, spacing)[surface_a]
    back = _distance_map_mm(surface_a, spacing)[surface_b]
    return float(max(np.percentile(there, percentile), np.percentile(back, percentile)))


def surface(mask: Mask) -> Mask:
    """(D, H, W) bool: the voxels of mask that share a face with a voxel outside it, or with the array's outside."""
    padded = np.pad(mask, 1)
    inside = mask.copy()
    for axis in range(mask.ndim):
        for shift in (-1, 1):
            inside &= np.roll(padded, shift, axis)[1:-1, 1:-1, 1:-1]
    return mask & ~inside


def _distance_map_mm(points: Mask, spacing_mm: tuple[float, float, float]) -> NDArray[np.float32]:
    """(D, H, W) float32: mm from each voxel's centre to the nearest centre of points (at least one), exact."""
    sitk = simpleitk()
    image = sitk.GetImageFromArray(points.astype(np.uint8))
    image.SetSpacing(tuple(reversed(spacing_mm)))
    signed: Any = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    distances = np.abs(sitk.GetArrayFromImage(signed))
    distances[points] = 0.0
    return np.asarray(distances, dtype=np.float32)


def _pair(predicted: ArrayLike, truth: ArrayLike) -> tuple[Mask, Mask]:
    a, b = checked_mask(predicted, "the prediction"), checked_mask(truth, "the truth")
    if a.shape != b.shape:
        raise InputError(f"the prediction is {a.shape}; the truth is {b.shape}")
    return a, b
