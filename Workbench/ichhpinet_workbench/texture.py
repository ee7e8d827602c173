"""Noise of a head CT, measured in the image alone: how much, and how fine, which is what the kernel decides."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BRAIN_HU = (5.0, 70.0)
PATCH_MM = 7.0  # brain as far as this on all sides, but for single voxels
WHOLE = 0.97
ANATOMY_MM = 2.5  # sigma: what is smoother than this is anatomy
APART_MM = 1.0
MOST_SLICES = 16
FEWEST_PIXELS = 400
OUTLIER = 4.0  # sigmas: vessels and calcium


def noise_texture(hu: NDArray[np.floating], spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """(HU, correlation of noise 1 mm apart) of the middle half of the slices, medians; nan where no brain is seen.

    hu: (D, H, W). Near 0 the kernel is sharp, about 0.4 usual for brain, above it smooth.
    """
    depth, pixel_mm = len(hu), spacing_mm[1]
    found = [
        measured
        for z in range(depth // 4, max(3 * depth // 4, depth // 4 + 1), max(1, depth // MOST_SLICES))
        if (measured := _of_slice(hu[z].astype(np.float32), pixel_mm)) is not None
    ]
    if not found:
        return math.nan, math.nan
    noise, correlation = np.median(np.array(found), axis=0)
    return float(noise), float(correlation)


def _of_slice(hu: NDArray[np.float32], pixel_mm: float) -> tuple[float, float] | None:
    brain = ((hu > BRAIN_HU[0]) & (hu < BRAIN_HU[1])).astype(np.float32)
    quiet = ndimage.uniform_filter(brain, max(1, round(PATCH_MM / pixel_mm))) > WHOLE
    if quiet.sum() < FEWEST_PIXELS:
        return None
    share = ndimage.gaussian_filter(brain, ANATOMY_MM / pixel_mm)  # what is not brain must not shine in
    rest = hu - ndimage.gaussian_filter(hu * brain, ANATOMY_MM / pixel_mm) / np.maximum(share, 1e-3)
    rest -= np.median(rest[quiet])
    sigma = 1.4826 * float(np.median(np.abs(rest[quiet])))
    rest = rest.clip(-OUTLIER * sigma, OUTLIER * sigma)
    step = max(1, round(APART_MM / pixel_mm))
    both = quiet[:, step:] & quiet[:, :-step]
    if sigma == 0 or not both.any():
        return None
    return sigma, float((rest[:, step:] * rest[:, :-step])[both].mean() / np.square(rest[quiet]).mean())
