"""What a mask is worth: the papers' measures, in mm and ml, and the rules for empty masks.

Rules, the same for every method:
- truth and mask both empty: Dice and Jaccard 1, distances 0 mm.
- one of them empty: Dice and Jaccard 0; Hausdorff and HD95 are the diagonal of the whole volume, the worst that can be
  said, so that a method gains nothing by finding nothing. Such cases are counted beside the means.
- a case without blood has no rounds (there is nothing to paint); it judges the proposal alone, round 0.
MAE is that of the masks, over the whole volume.
"""

from __future__ import annotations

import math

import numpy as np

from ichhpinet.metrics import dice, hausdorff_mm, hd95_mm, jaccard

from ..regions import Bool, bounding_box

MEASURES = ("dice", "jaccard", "hausdorff_mm", "hd95_mm", "mae", "error_ml")
DICE_WANTED = 0.90


def scores(mask: Bool, truth: Bool, spacing_mm: tuple[float, float, float]) -> dict[str, float]:
    """All MEASURES, and the two volumes in ml. mask, truth: (D, H, W) bool. Raises InputError for two shapes."""
    voxel_ml = math.prod(spacing_mm) / 1000
    mask_ml, truth_ml = (float(int(np.count_nonzero(array)) * voxel_ml) for array in (mask, truth))
    worst, percentile = distances_mm(mask, truth, spacing_mm)
    return {
        "dice": dice(mask, truth),
        "jaccard": jaccard(mask, truth),
        "hausdorff_mm": worst,
        "hd95_mm": percentile,
        "mae": float(np.count_nonzero(mask != truth) / mask.size),
        "error_ml": mask_ml - truth_ml,
        "mask_ml": mask_ml,
        "truth_ml": truth_ml,
    }


def distances_mm(mask: Bool, truth: Bool, spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """(Hausdorff, HD95) between the surfaces; the volume's diagonal where one mask is empty."""
    if mask.any() != truth.any():
        return (diagonal_mm(mask.shape, spacing_mm),) * 2
    box = bounding_box(mask | truth)
    if box is None:
        return 0.0, 0.0
    return hausdorff_mm(mask[box], truth[box], spacing_mm), hd95_mm(mask[box], truth[box], spacing_mm)


def diagonal_mm(shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> float:
    """From corner to corner of the volume."""
    return math.hypot(*(size * step for size, step in zip(shape, spacing_mm, strict=True)))
