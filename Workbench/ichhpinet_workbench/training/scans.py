"""Scanner differences that are cheap on a crop: gain, offset, kernel, noise, shading, windowed export."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ichhpinet.preprocessing import normalise

GREY_HU = 35  # gains turn about it
GAIN = (0.9, 1.12)
OFFSET_HU = 2.5  # sd
KERNEL, SHARPNESS = 0.35, (-0.7, 0.9)  # share of crops, and how much of the detail is added: below 0 a softer kernel
NOISY, NOISE_HU = 0.35, (0.5, 5.0)
COARSE, GRAINS = 0.5, (3, 5)  # share of noise that is as coarse as a soft kernel makes it, in pixels
COARSE_NOISE = 0.7  # of the same sd it hides more
SHADED, SHADING_HU = 0.25, (0.5, 2.5)  # sd of slow changes over the crop: cupping, headrests
WINDOWED, WINDOW_HU = 0.08, (0, 80)


class Scan(NamedTuple):
    """How a scanner changed a crop: HU about GREY_HU times gain, and offset; sd of the noise on top."""

    gain: float
    offset: float
    noise: float


def scanned(hu: Tensor, rng: np.random.Generator) -> tuple[Tensor, Scan]:
    """The crop as another scanner would show it, normalised. hu: (d, h, w) float32. Returns it and what was done."""
    gain, offset, noise = float(rng.uniform(*GAIN)), float(rng.normal(0, OFFSET_HU)), 0.0
    hu = (hu - GREY_HU) * gain + GREY_HU + offset
    if rng.random() < KERNEL:
        soft = F.avg_pool2d(F.pad(hu[:, None], (1, 1, 1, 1), mode="replicate"), 3, 1)[:, 0]
        hu = hu + float(rng.uniform(*SHARPNESS)) * (hu - soft)
    if rng.random() < NOISY:
        grain, noise = _grain(tuple(hu.shape), float(rng.uniform(*NOISE_HU)), rng)
        hu = hu + grain
    if rng.random() < SHADED:
        slow = torch.from_numpy(rng.standard_normal((1, 1, 2, 3, 3), dtype=np.float32))
        hu = hu + F.interpolate(slow, hu.shape, mode="trilinear")[0, 0] * float(rng.uniform(*SHADING_HU))
    if rng.random() < WINDOWED:
        hu = hu.clamp(*WINDOW_HU)
    return normalise(hu), Scan(gain, offset, noise)


def _grain(shape: tuple[int, ...], noise: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Noise of about this sd in HU, white or coarse, and the sd it has."""
    grain = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
    if rng.random() < COARSE:
        width, noise = int(rng.choice(GRAINS)), noise * COARSE_NOISE
        grain = F.avg_pool2d(grain[:, None], width, 1, width // 2)[:, 0] * width
    return grain * noise, noise
