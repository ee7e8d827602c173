"""Binary morphology, distance and smoothing on torch alone. Masks are (D, H, W) bool, lengths mm."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

REACH_MM = 40.0  # distances are cut off here


def dilate(mask: Tensor, radius: tuple[int, int, int]) -> Tensor:
    """Dilated by a box of the given radius in voxels (z, y, x)."""
    value = mask[None, None].float()
    size = tuple(2 * r + 1 for r in radius)
    return functional.max_pool3d(value, size, stride=1, padding=radius)[0, 0] > 0.5


def erode(mask: Tensor, radius: tuple[int, int, int]) -> Tensor:
    """Eroded by a box of the given radius in voxels (z, y, x)."""
    return ~dilate(~mask, radius)


def reconstruct(seed: Tensor, mask: Tensor, limit: int = 400) -> Tensor:
    """What of the mask is connected with the seed (26 neighbours)."""
    grown = seed & mask
    size = 0
    for _ in range(limit):
        grown = dilate(grown, (1, 1, 1)) & mask
        count = int(grown.sum())
        if count == size:
            break
        size = count
    return grown


def enclosed(wall: Tensor) -> Tensor:
    """Voxels that see the wall in all four directions of their slice."""
    found = torch.ones_like(wall)
    for axis in (1, 2):
        for flip in (False, True):
            turned = wall.flip(axis) if flip else wall
            seen = turned.int().cummax(dim=axis).values > 0
            found &= seen.flip(axis) if flip else seen
    return found


def squared_distance(mask: Tensor, spacing_mm: tuple[float, float, float]) -> Tensor:
    """(D, H, W) squared mm to the nearest True voxel, up to REACH_MM."""
    best = torch.where(mask, 0.0, REACH_MM**2).to(torch.float32)
    for axis, step in enumerate(spacing_mm):
        source = best.clone()
        for shift in range(1, min(mask.shape[axis], int(REACH_MM / step) + 1)):
            count, cost = mask.shape[axis] - shift, (shift * step) ** 2
            low, high = best.narrow(axis, 0, count), best.narrow(axis, shift, count)
            torch.minimum(low, source.narrow(axis, shift, count) + cost, out=low)
            torch.minimum(high, source.narrow(axis, 0, count) + cost, out=high)
    return best


def signed_distance(mask: Tensor, spacing_mm: tuple[float, float, float]) -> Tensor:
    """(D, H, W) mm to the mask's border, positive inside."""
    half = spacing_mm[2] / 2.0
    inside = squared_distance(~mask, spacing_mm).sqrt() - half
    outside = squared_distance(mask, spacing_mm).sqrt() - half
    return torch.where(mask, inside, -outside)


def gaussian(values: Tensor, sigma: float) -> Tensor:
    """(D, H, W) smoothed within each slice; sigma in pixels."""
    if sigma < 0.2:
        return values
    radius = math.ceil(3.0 * sigma)
    at = torch.arange(-radius, radius + 1, device=values.device, dtype=torch.float32)
    weights = torch.exp(-0.5 * (at / sigma) ** 2)
    weights = weights / weights.sum()
    planes = functional.pad(values[:, None], (radius,) * 4, mode="replicate")
    planes = functional.conv2d(planes, weights[None, None, :, None])
    return functional.conv2d(planes, weights[None, None, None])[:, 0]


def masked_mean(values: Tensor, mask: Tensor, sigma: float) -> Tensor:
    """(D, H, W) local mean of the values inside the mask only; sigma in pixels, within each slice."""
    weight = mask.float()
    return gaussian(values * weight, sigma) / gaussian(weight, sigma).clamp(min=1e-3)
