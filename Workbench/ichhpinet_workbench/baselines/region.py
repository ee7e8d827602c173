"""The part of a CT round the strokes, on a coarser grid on which the classic methods are quick; and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichhpinet.volume import CTVolume

from ..regions import Bool, Box, bounding_box

PIXEL_MM = (2.0, 1.0, 1.0)  # voxels finer than this are averaged in whole blocks: quicker, and less noise
MARGIN_MM = (25.0, 30.0, 30.0)  # how far beyond the strokes a lesion is looked for
SMOOTHING_MM = 1.0  # Gaussian, in the slice
BRIGHTEST_BLOOD_HU = 110.0  # brighter, after smoothing: bone, metal
FRAME_MM = 15.0  # without a background stroke, one is drawn so far round the foreground strokes


@dataclass(frozen=True)
class Region:
    """A box of a CT on a coarse grid.

    hu: (d, h, w) float32, block means, smoothed. seeds: (d, h, w) uint8, 0 none, 1 foreground, 2 background.
    spacing_mm: (z, y, x) of the coarse grid. box: where it lies in the CT. factors: block size in CT voxels.
    """

    hu: NDArray[np.float32]
    seeds: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    box: Box
    factors: tuple[int, int, int]

    def background_seeds(self, darkest_blood_hu: float) -> NDArray[np.uint8]:
        """The seeds, and as background what a user would fill in: what is too dark or too bright, and the box's faces.

        (d, h, w) uint8, 0 none, 1 foreground, 2 background.
        """
        background = np.ones(self.seeds.shape, bool)
        background[tuple(slice(1, -1) if size > 2 else slice(None) for size in self.seeds.shape)] = False
        background |= (self.hu < darkest_blood_hu) | (self.hu > BRIGHTEST_BLOOD_HU)
        if not (self.seeds == 2).any():
            background |= self._frame()
        return np.where(background & (self.seeds == 0), np.uint8(2), self.seeds)

    def _frame(self) -> Bool:
        """(d, h, w) bool: a rectangle round the foreground strokes, on their slices, where it is darker."""
        frame = np.zeros(self.seeds.shape, bool)
        box = bounding_box(self.seeds == 1)
        if box is None:
            return frame
        margins = [round(FRAME_MM / step) for step in self.spacing_mm[1:]]
        outer = [slice(max(p.start - m, 0), p.stop + m) for p, m in zip(box[1:], margins, strict=True)]
        frame[(box[0], *outer)] = True
        frame[(box[0], *(slice(part.start + 1, part.stop - 1) for part in outer))] = False
        return frame & (self.hu < np.percentile(self.hu[self.seeds == 1], 10))


def around_strokes(volume: CTVolume, foreground: Bool, background: Bool) -> Region | None:
    """The box round all strokes with MARGIN_MM to every side; None: there is no foreground stroke."""
    if not foreground.any():
        return None
    box = _grown(bounding_box(foreground | background), volume)
    factors = tuple(max(1, round(aim / step)) for aim, step in zip(PIXEL_MM, volume.spacing_mm, strict=True))
    inside, outside = _blocks(foreground[box], factors), _blocks(background[box], factors)
    seeds = np.where(inside.any(axis=(1, 3, 5)), 1, np.where(outside.any(axis=(1, 3, 5)), 2, 0)).astype(np.uint8)
    hu = _blocks(np.clip(volume.hu[box], -100, 300), factors).mean(axis=(1, 3, 5), dtype=np.float32)
    spacing = tuple(step * factor for step, factor in zip(volume.spacing_mm, factors, strict=True))
    hu = ndimage.gaussian_filter(hu, (0, SMOOTHING_MM / spacing[1], SMOOTHING_MM / spacing[2]))
    return Region(hu, seeds, spacing, box, factors)


def on_volume(soft: NDArray[np.floating], region: Region, volume: CTVolume, foreground: Bool, background: Bool) -> Bool:
    """A (d, h, w) result in [0, 1] brought back to the CT's grid, cut at 0.5; strokes obeyed. (D, H, W) bool."""
    size = tuple(part.stop - part.start for part in region.box)
    fine = ndimage.zoom(soft.astype(np.float32), region.factors, order=1, mode="nearest", grid_mode=True)
    mask = np.zeros(volume.shape, bool)
    mask[region.box] = fine[tuple(slice(0, n) for n in size)] >= 0.5
    return (mask | foreground) & ~background


def _grown(box: Box, volume: CTVolume) -> Box:
    grown = []
    for part, margin, step, size in zip(box, MARGIN_MM, volume.spacing_mm, volume.shape, strict=True):
        voxels = int(np.ceil(margin / step))
        grown.append(slice(max(part.start - voxels, 0), min(part.stop + voxels, size)))
    return tuple(grown)


def _blocks(array: NDArray[np.generic], factors: tuple[int, int, int]) -> NDArray[np.generic]:
    """(D, H, W) -> (d, fz, h, fy, w, fx), the far edges repeated where they do not fill a block."""
    padding = [(0, -size % factor) for size, factor in zip(array.shape, factors, strict=True)]
    padded = np.pad(array, padding, mode="edge") if any(pad for _, pad in padding) else array
    shape = [n for size, factor in zip(padded.shape, factors, strict=True) for n in (size // factor, factor)]
    return padded.reshape(shape)
