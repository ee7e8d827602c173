"""The quick way in any viewer: everything from 45 to 100 HU, of which the islands under foreground strokes are kept.

The CT is smoothed first (0.8 mm in the slice), because single voxels of a noisy CT make no islands; necks thinner than
about 2 mm are opened, so that a lesion does not run into the rim of the skull. A background stroke cuts: its voxels,
and what lies within 1.5 mm of it, are taken out before islands are made, and the island it lies on is dropped
on its slice unless a foreground stroke lies on it too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichhpinet.volume import CTVolume

from ..regions import Bool

RANGE_HU = (45.0, 100.0)
SMOOTHING_MM = 0.8
NECK_MM = 1.0  # radius of the opening
CUT_MM = 1.5
LINKS = ndimage.generate_binary_structure(3, 1)


def threshold_islands(volume: CTVolume, foreground: Bool, background: Bool) -> Bool:
    """Islands of 45-100 HU under the foreground strokes; see the package for the arguments."""
    if not foreground.any():
        return np.zeros(volume.shape, bool)
    pixel_mm = volume.spacing_mm[1:]
    smooth = ndimage.gaussian_filter(volume.hu, (0, *(SMOOTHING_MM / step for step in pixel_mm)))
    bright = (smooth >= RANGE_HU[0]) & (smooth <= RANGE_HU[1])
    disc = _disc(NECK_MM, pixel_mm)
    bright = ndimage.binary_opening(bright, disc)
    bright &= ~ndimage.binary_dilation(background, _disc(CUT_MM, pixel_mm))
    kept = ndimage.binary_propagation(foreground & bright, LINKS, bright)
    return (_without_islands_under(background, kept, foreground) | foreground) & ~background


def _without_islands_under(background: Bool, kept: Bool, foreground: Bool) -> Bool:
    """On each slice with a background stroke, islands touching it are dropped unless a foreground stroke is on them."""
    kept = kept.copy()
    for index in np.flatnonzero(background.any(axis=(1, 2))):
        islands, _ = ndimage.label(kept[index] | background[index])
        wanted = islands[foreground[index]]
        kept[index] &= ~np.isin(islands, np.setdiff1d(islands[background[index]], [0, *wanted]))
    return kept


def _disc(radius_mm: float, pixel_mm: tuple[float, float]) -> NDArray[np.bool_]:
    """(1, h, w) bool: pixels whose centre lies within the radius."""
    rows, columns = (np.arange(-int(radius_mm / step), int(radius_mm / step) + 1) * step for step in pixel_mm)
    return (rows[:, None] ** 2 + columns[None] ** 2 <= radius_mm**2)[None]
