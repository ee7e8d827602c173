"""The brain of a head on the working grid, by itself: skull and air removed, its mean 0 and its spread 1."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SKULL_HU, AIR_HU = 95.0, -15.0  # of a working voxel; between them: brain, fluid, blood, scalp
RIM_PIXELS = 1  # of soft tissue beside the skull that is half bone


class Brain(NamedTuple):
    """inside: (d, h, w) bool. mean, spread: of HU in it."""

    inside: Tensor
    mean: float
    spread: float


def brain_of(hu: Tensor) -> Brain:
    """Of (d, h, w): the soft tissue that hangs together after a step of the rim is taken off, the largest part."""
    soft = (hu > AIR_HU) & (hu < SKULL_HU)
    bone = F.max_pool2d((hu >= SKULL_HU).float(), 2 * RIM_PIXELS + 1, 1, RIM_PIXELS) > 0
    inside = _largest(soft & ~bone)
    values = hu[inside]
    if not len(values):
        return Brain(inside, 0.0, 1.0)
    return Brain(inside, float(values.mean()), float(values.std(correction=0)))


def brain_alone(hu: Tensor, brain: Brain) -> Tensor:
    """0 outside the brain, inside less its mean and over its spread."""
    return torch.where(brain.inside, (hu - brain.mean) / max(brain.spread, 1.0), torch.zeros_like(hu))


def _largest(soft: Tensor) -> Tensor:
    """(d, h, w) bool: the largest connected part; nothing of nothing."""
    from scipy import ndimage  # a bare machine, which trains no such network, has none

    labels, count = ndimage.label(soft.cpu().numpy())
    if not count:
        return soft
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return torch.from_numpy(labels == sizes.argmax()).to(soft.device)
