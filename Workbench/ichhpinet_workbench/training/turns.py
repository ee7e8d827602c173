"""Crops turned, sheared, stretched and warped in plane: more shapes of heads than the template and its warps have."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ichhpinet.preprocessing import AIR_HU

TURNED = 0.6  # share of crops
ANGLE_DEG, SIZE, STRETCH, SHEAR = 12.0, 0.12, 0.05, 0.06  # sd; those of size and stretch are of their logarithms
WARP_PIXELS, WARPS = 3.0, (3, 4, 4)  # the most sd of a smooth shift of every place; how many shifts are drawn
ROOM = 1.6  # of the crop's width is cut first, so that seldom a corner of what is turned lies beyond it


def room_for(crop: tuple[int, int, int]) -> tuple[int, int, int]:
    """The box to cut for a crop (d, h, w) that will be turned; even in plane."""
    return crop[0], int(crop[1] * ROOM) // 2 * 2, int(crop[2] * ROOM) // 2 * 2


def turn(parts: Sequence[Tensor], crop: tuple[int, int, int], rng: np.random.Generator) -> list[Tensor]:
    """The middle of a box, turned, all slices alike, and warped, each a little otherwise. Air where it ends.

    parts: HU and the share of blood, (d, H, W) float32 of `room_for` the crop, and, where it is known, the brain, bool.
    Returns: the same of the crop (d, h, w).
    """
    height, width = parts[0].shape[1:]
    turned = _matrix(rng) * np.array([[crop[2] / width, crop[1] / width], [crop[2] / height, crop[1] / height]])
    theta = torch.from_numpy(np.hstack([turned, np.zeros((2, 1))])).float()
    grid = F.affine_grid(theta[None], [1, 1, *crop[1:]], align_corners=False).expand(crop[0], -1, -1, -1)
    grid = grid + _warp(crop, rng) * torch.tensor([2 / width, 2 / height])
    sharp = "bicubic" if rng.random() < 0.5 else "bilinear"  # a line between pixels also softens
    stacked = torch.stack([parts[0] - AIR_HU, *(part.float() for part in parts[1:])], 1)
    hu, *shares = F.grid_sample(stacked, grid, mode=sharp, align_corners=False).unbind(1)
    made = [hu.clamp(min=0) + AIR_HU, shares[0].clamp(0, 1)]
    return made + [brain >= 0.5 for brain in shares[1:]]


def _warp(crop: tuple[int, int, int], rng: np.random.Generator) -> Tensor:
    """(d, h, w, 2), x before y: how far, in pixels, each place is taken from its neighbourhood's."""
    sd = WARP_PIXELS * float(rng.random())
    drawn = torch.from_numpy(rng.standard_normal((1, 2, *WARPS), dtype=np.float32)) * sd
    return F.interpolate(drawn, crop, mode="trilinear", align_corners=True)[0].permute(1, 2, 3, 0)


def _matrix(rng: np.random.Generator) -> np.ndarray:
    """(2, 2), x before y: where a place of the crop is taken from."""
    angle, size, stretch = rng.normal(0, ANGLE_DEG), math.exp(rng.normal(0, SIZE)), math.exp(rng.normal(0, STRETCH))
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    shape = np.array([[1 / (size * stretch), rng.normal(0, SHEAR)], [0, stretch / size]])
    return np.array([[cosine, -sine], [sine, cosine]]) @ shape
