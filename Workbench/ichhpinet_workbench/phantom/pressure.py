"""Mass effect: a haemorrhage pushes brain, ventricles and midline away from itself; skull and the blood stay."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .bleeds import Bleed
from .fields import Dice, Grid, ramp
from .head import lookup

LEAST_ML = 6.0  # smaller ones push nothing one would see
SKULL = (0, 1, 2, 7, 8)  # layers() that do not move: cavity, head, bone, soft tissue, bone density
FIXED = 15  # layers() before the haemorrhages: two for each follow


def source_of(bleed: Bleed, grid: Grid, cavity: Tensor, share: float) -> Tensor | None:
    """(3, D, H, W) world mm where what now lies at each voxel lay before; None where there is no blood."""
    inside = (bleed.level > 0).float()
    count = float(inside.sum())
    if count < 1.0:
        return None
    points = grid.points()
    centre = (points * inside).sum(dim=(1, 2, 3)) / count
    offset = points - centre[:, None, None, None]
    distance = offset.square().sum(dim=0).sqrt().clamp(min=1.0)
    pushed_mm3 = share * 3.0 / (4.0 * math.pi) * count * grid.voxel_ml * 1000.0
    before = (distance**3 - pushed_mm3).clamp(min=0.0) ** (1.0 / 3.0)
    step = (distance - before) * ramp(cavity, 0.0, 18.0)  # nothing moves at the skull
    return points - offset / distance * step


def press(dice: Dice, layers: Tensor, grid: Grid, bleeds: list[Bleed]) -> Tensor:
    """layers (C, D, H, W) after the largest haemorrhage has made room for itself, as often as not."""
    sizes = [float((bleed.level > 0).sum()) * grid.voxel_ml for bleed in bleeds]
    if not sizes or max(sizes) < LEAST_ML or not dice.chance(0.65):
        return layers
    pusher = sizes.index(max(sizes))
    source = None
    if bleeds[pusher].kind in ("IPH", "SDH", "EDH"):
        source = source_of(bleeds[pusher], grid, layers[0], dice.uniform(0.15, 0.8))
    if source is None:
        return layers
    still = {*SKULL, FIXED + 2 * pusher, FIXED + 2 * pusher + 1}
    moving = [index for index in range(len(layers)) if index not in still]
    steps = torch.tensor(grid.spacing_mm, device=source.device)[:, None, None, None]
    first = torch.stack([grid.z[0], grid.y[0], grid.x[0]])[:, None, None, None]
    moved = lookup(layers[moving][None], (source - first) / steps, 1.0, (0.0, 0.0, 0.0))
    return layers.index_copy(0, torch.tensor(moving, device=layers.device), moved)
