"""Does an uncertainty tell? Calibration in bins, and the area under the ROC curve of finding errors near the border."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from ..regions import Bool, bounding_box

BINS = 10  # of probability, as SLEX-Net's evaluation
NEAR_MM = 10.0  # from the border of the mask or the truth
HEAD_HU = (-30.0, 120.0)  # air and bone are easy, and would drown what is not
MOST_VOXELS = 200_000  # of a case, for the curve


@dataclass
class Calibration:
    """Counts by bin of probability, added up case by case. Voxels of the head alone."""

    count: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))
    said: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))
    true: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))

    def add(self, probability: NDArray[np.float32], truth: Bool, hu: NDArray[np.float32]) -> None:
        """One case, (D, H, W) each."""
        head = (hu > HEAD_HU[0]) & (hu < HEAD_HU[1])
        said, true = probability[head], truth[head]
        bins = np.minimum((said * BINS).astype(int), BINS - 1)
        self.count += np.bincount(bins, minlength=BINS)
        self.said += np.bincount(bins, said, BINS)
        self.true += np.bincount(bins, true.astype(float), BINS)

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(mean probability said, share that was blood) of each bin; nan of an empty one."""
        with np.errstate(invalid="ignore"):
            return self.said / self.count, self.true / self.count

    @property
    def error(self) -> float:
        """Expected calibration error over all voxels; nan without any."""
        said, true = self.curve()
        used = self.count > 0
        return float(np.average(np.abs(said - true)[used], weights=self.count[used])) if used.any() else math.nan

    @property
    def error_of_the_unsure(self) -> float:
        """The same over the inner bins, 0.1 to 0.9: where it matters, and few voxels are."""
        said, true = self.curve()
        used = (self.count > 0) & (np.arange(BINS) > 0) & (np.arange(BINS) < BINS - 1)
        return float(np.average(np.abs(said - true)[used], weights=self.count[used])) if used.any() else math.nan


def error_auc(
    uncertain: NDArray[np.float32], mask: Bool, truth: Bool, spacing_mm: tuple[float, float, float], seed: int = 0
) -> float:
    """Chance that a wrong voxel is more uncertain than a right one, within NEAR_MM of either border.

    nan where nothing, or everything, is wrong there. Of a large case MOST_VOXELS are drawn.
    """
    near = near_border(mask, truth, spacing_mm)
    wrong, said = (mask ^ truth)[near], uncertain[near]
    if len(said) > MOST_VOXELS:
        chosen = np.random.default_rng(seed).choice(len(said), MOST_VOXELS, replace=False)
        wrong, said = wrong[chosen], said[chosen]
    return area_under_curve(said, wrong)


def area_under_curve(scores: NDArray[np.floating], positive: Bool) -> float:
    """Mann and Whitney's: ties count half; nan of one class alone."""
    wins, losses = int(positive.sum()), int((~positive).sum())
    if not wins or not losses:
        return math.nan
    ranks = stats.rankdata(scores)
    return float((ranks[positive].sum() - wins * (wins + 1) / 2) / (wins * losses))


def near_border(mask: Bool, truth: Bool, spacing_mm: tuple[float, float, float], reach_mm: float = NEAR_MM) -> Bool:
    """(D, H, W) bool: within reach_mm of a voxel where either mask begins or ends."""
    near = np.zeros(mask.shape, bool)
    for region in (mask, truth):
        margin = math.ceil(reach_mm / min(spacing_mm)) + 1
        box = bounding_box(region, margin)
        if box is None:
            continue
        inside = region[box]
        outer = ndimage.distance_transform_edt(~inside, spacing_mm)
        inner = ndimage.distance_transform_edt(np.pad(inside, 1), spacing_mm)[1:-1, 1:-1, 1:-1]
        near[box] |= np.where(inside, inner, outer) <= reach_mm
    return near
