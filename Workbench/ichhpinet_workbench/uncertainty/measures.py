"""Does an uncertainty tell? Calibration in bins, and the area under the ROC curve of finding errors near the border."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize, special, stats

from ..regions import Bool, bounding_box

BINS = 10  # of probability, as SLEX-Net's evaluation
LEVELS = 256  # that are counted: bins of any temperature follow from them
NEAR_MM = 10.0  # from the border of the mask or the truth
HEAD_HU = (-30.0, 120.0)  # air and bone are easy, and would drown what is not
MOST_VOXELS = 200_000  # of a case, for the curve


@dataclass
class Calibration:
    """Counts by level of probability, added up case by case. true: of `count` voxels, those that were blood."""

    count: NDArray[np.float64] = field(default_factory=lambda: np.zeros(LEVELS))
    true: NDArray[np.float64] = field(default_factory=lambda: np.zeros(LEVELS))

    def add(self, probability: NDArray[np.float32], truth: Bool, where: Bool) -> None:
        """The voxels of one case that lie `where`, (D, H, W) each."""
        level = np.rint(probability[where] * (LEVELS - 1)).astype(int)
        self.count += np.bincount(level, minlength=LEVELS)
        self.true += np.bincount(level, truth[where].astype(float), LEVELS)

    def curve(self, temperature: float = 1.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(mean probability said, share that was blood) of each of BINS bins; nan of an empty one."""
        count, said, true = self._binned(temperature)
        with np.errstate(invalid="ignore"):
            return said / count, true / count

    def counts(self) -> NDArray[np.float64]:
        """(BINS,) voxels in each bin."""
        return self._binned(1.0)[0]

    @property
    def error(self) -> float:
        """Expected calibration error over all voxels; nan without any."""
        return self.error_at(1.0)

    def error_at(self, temperature: float) -> float:
        """The same, had the logits been divided by this."""
        return self._error(temperature, np.ones(BINS, bool))

    @property
    def error_of_the_unsure(self) -> float:
        """The same over the inner bins, 0.1 to 0.9: where it matters, and few voxels are."""
        return self._error(1.0, (np.arange(BINS) > 0) & (np.arange(BINS) < BINS - 1))

    @property
    def temperature(self) -> float:
        """The temperature of greatest likelihood (Guo et al., ICML 2017), in [0.2, 5]; nan without voxels."""
        if not self.count.any():
            return math.nan

        def loss(log_temperature: float) -> float:
            said = _softened(math.exp(log_temperature))
            return -float((self.true * np.log(said) + (self.count - self.true) * np.log1p(-said)).sum())

        found = optimize.minimize_scalar(loss, bounds=(-math.log(5), math.log(5)), method="bounded")
        return math.exp(float(found.x))

    def _binned(self, temperature: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        said = _softened(temperature)
        bins = np.minimum((said * BINS).astype(int), BINS - 1)
        counted, blood = (np.bincount(bins, values, BINS) for values in (self.count, self.true))
        return counted, np.bincount(bins, said * self.count, BINS), blood

    def _error(self, temperature: float, wanted: Bool) -> float:
        count, said, true = self._binned(temperature)
        used = wanted & (count > 0)
        return float(np.abs(said - true)[used].sum() / count[used].sum()) if used.any() else math.nan


def _softened(temperature: float) -> NDArray[np.float64]:
    """(LEVELS,) the probability of each level, its logit divided by `temperature`; the ends half a level inside."""
    level = np.clip(np.arange(LEVELS) / (LEVELS - 1), 0.5 / LEVELS, 1 - 0.5 / LEVELS)
    return np.asarray(special.expit(special.logit(level) / temperature))


def in_head(hu: NDArray[np.float32]) -> Bool:
    """(D, H, W) bool: neither air nor bone."""
    return (hu > HEAD_HU[0]) & (hu < HEAD_HU[1])


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
