"""What is measured of a head CT, real or synthetic, in the same way. Arrays in, numbers out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from ..phantom.find import find_cavity, shrink
from ..regions import Bool, bounding_box, components
from ..texture import noise_texture

HU_EDGES = np.arange(0.0, 81.0)  # of the histogram of what lies inside the skull
FREQUENCY_EDGES = np.arange(0.0, 1.001, 0.1)  # cycles per mm
PATCH_MM = 24.0
MOST_PATCHES = 60
PATCH_HU = (5.0, 70.0)  # brain alone, but for single voxels
PATCH_WHOLE = 0.995
DISTANCE_EDGES = np.arange(-6.0, 6.01, 0.5)  # mm from a lesion's border, outside positive
ENDS = 4  # bins at either end, whose means are 1 and 0
LEAST_STEP_HU = 3.0
FEWEST_VOXELS = 400  # of a lesion whose border is looked at
WIDTH_LEVELS = (0.25, 0.75)  # of the step from outside to inside: between them lies the border's width

Spacing = tuple[float, float, float]
Curve = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """Of one head; curves over the edges above, nan where nothing was found."""

    histogram: Curve  # share a HU
    power: Curve  # HU2 mm2 by frequency
    noise_hu: float
    noise_1mm: float
    border: Curve  # 0 outside, 1 inside, by distance; nan without a lesion large enough
    border_mm: float
    volume_ml: float
    components: int
    slices: int
    lesion_hu: float


def measure(hu: NDArray[np.floating], spacing_mm: Spacing, lesion: Bool) -> Measured:
    """hu: (D, H, W). lesion: (D, H, W) bool, all False in a head without blood."""
    outside_lesion = hu[inside_skull(hu, spacing_mm) & ~widened(lesion)]
    counts = np.histogram(outside_lesion, HU_EDGES)[0].astype(float)
    profile = border_profile(hu, lesion, spacing_mm)
    noise_hu, noise_1mm = noise_texture(hu, spacing_mm)
    return Measured(
        histogram=counts / max(1.0, counts.sum()),
        power=noise_power(hu, spacing_mm, ~lesion),
        noise_hu=noise_hu,
        noise_1mm=noise_1mm,
        border=profile,
        border_mm=border_width(profile),
        volume_ml=float(lesion.sum() * np.prod(spacing_mm) / 1000),
        components=len(components(lesion)[1]) if lesion.any() else 0,
        slices=int(lesion.any(axis=(1, 2)).sum()),
        lesion_hu=float(hu[lesion].mean()) if lesion.any() else math.nan,
    )


def inside_skull(hu: NDArray[np.floating], spacing_mm: Spacing) -> Bool:
    """(D, H, W) bool: brain, its ventricles and sulci."""
    small, step = shrink(torch.from_numpy(np.array(hu, np.float32)), spacing_mm)
    cavity = find_cavity(small, step)[:, None].float()
    wide = torch.nn.functional.interpolate(cavity, size=hu.shape[1:], mode="nearest")[:, 0]
    return np.asarray(wide.numpy() > 0.5)


def widened(lesion: Bool) -> Bool:
    """(D, H, W) bool: the lesion and two voxels around it."""
    box, found = bounding_box(lesion, 3), np.zeros_like(lesion)
    if box is not None:
        found[box] = ndimage.binary_dilation(lesion[box], iterations=2)
    return found


def noise_power(hu: NDArray[np.floating], spacing_mm: Spacing, allowed: Bool) -> Curve:
    """HU2 mm2 by radial frequency, of patches of brain with their bent plane taken away; nan where no patch fits."""
    pixel = spacing_mm[1]
    side = max(8, round(PATCH_MM / pixel))
    brain = (hu > PATCH_HU[0]) & (hu < PATCH_HU[1]) & allowed
    y, x = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side), indexing="ij")
    bent = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], -1).reshape(-1, 6)
    solve = np.linalg.pinv(bent)
    f = np.hypot(np.fft.fftfreq(side, pixel)[:, None], np.fft.fftfreq(side, pixel)[None])
    bins = np.digitize(f, FREQUENCY_EDGES) - 1
    total, found = np.zeros((side, side)), 0
    rows, columns = (range(0, n - side + 1, side) for n in hu.shape[1:])
    for z in range(len(hu)):
        for top in rows:
            for left in columns:
                place = (z, slice(top, top + side), slice(left, left + side))
                if found >= MOST_PATCHES or brain[place].mean() < PATCH_WHOLE:
                    continue
                patch = (
                    np.asarray(hu[place], float).clip(*PATCH_HU).reshape(-1)
                )  # a voxel of bone would drown the noise
                rest = (patch - bent @ (solve @ patch)).reshape(side, side)
                total += np.abs(np.fft.fft2(rest)) ** 2 * pixel * pixel / rest.size
                found += 1
    if not found:
        return np.full(len(FREQUENCY_EDGES) - 1, math.nan)
    return np.array([_mean(total[bins == k] / found) for k in range(len(FREQUENCY_EDGES) - 1)])


def border_profile(hu: NDArray[np.floating], lesion: Bool, spacing_mm: Spacing) -> Curve:
    """Mean HU by in-plane distance from the lesion's border, 0 as far outside and 1 as far inside as is looked at.

    Bone and air do not count. nan without a lesion, or where it is no brighter than what is beside it.
    """
    nothing = np.full(len(DISTANCE_EDGES) - 1, math.nan)
    box = bounding_box(lesion, round(8.0 / spacing_mm[1]))
    if box is None or lesion.sum() < FEWEST_VOXELS:
        return nothing
    distances, values = [], []
    for image, inside in zip(hu[box], lesion[box], strict=True):
        if not inside.any() or inside.all():
            continue
        away = ndimage.distance_transform_edt(~inside, spacing_mm[1:]) - ndimage.distance_transform_edt(
            inside, spacing_mm[1:]
        )
        away -= np.sign(away) * spacing_mm[1] / 2  # from voxel centres to the edge between them
        soft = (image > 0) & (image < 100)
        distances.append(away[soft])
        values.append(image[soft])
    if not distances:
        return nothing
    which = np.digitize(np.concatenate(distances), DISTANCE_EDGES) - 1
    flat = np.concatenate(values)
    profile = np.array([_mean(flat[which == k]) for k in range(len(DISTANCE_EDGES) - 1)])
    known = np.flatnonzero(np.isfinite(profile))
    if not len(known) or known[0] >= ENDS or known[-1] < len(profile) - ENDS:
        return nothing
    profile = np.interp(np.arange(len(profile)), known, profile[known])  # bins finer than the pixels stay empty
    inside_hu, outside_hu = profile[:ENDS].mean(), profile[-ENDS:].mean()
    return (profile - outside_hu) / (inside_hu - outside_hu) if inside_hu > outside_hu + LEAST_STEP_HU else nothing


def border_width(profile: Curve) -> float:
    """mm between the WIDTH_LEVELS of a profile that falls from 1 to 0; nan of none."""
    if not np.isfinite(profile).all():
        return math.nan
    middles = (DISTANCE_EDGES[1:] + DISTANCE_EDGES[:-1]) / 2
    falling = np.minimum.accumulate(profile)
    low, high = (float(np.interp(-level, -falling, middles)) for level in WIDTH_LEVELS)
    return low - high


def _mean(values: NDArray[np.floating]) -> float:
    return float(values.mean()) if values.size else math.nan
