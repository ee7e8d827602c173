"""A small working grid with a stroke in its middle."""

from __future__ import annotations

import torch

SPACING = (5.0, 1.0, 2.0)


WIDE = (9, 60, 30)  # 45 x 60 x 60 mm


def one_stroke(kind: int | None) -> torch.Tensor:
    """A voxel in the middle painted, as foreground 0 or background 1."""
    new = torch.zeros(2, *WIDE, dtype=torch.bool)
    if kind is not None:
        new[kind, 4, 30, 15] = True
    return new


def uniform(probability: float) -> torch.Tensor:
    return torch.full(WIDE, probability)


def around(mm: float) -> torch.Tensor:
    """What lies within mm of the stroke, (d, h, w) bool."""
    axes = (torch.arange(n) - middle for n, middle in zip(WIDE, (4, 30, 15)))
    z, y, x = torch.meshgrid(*(axis * step for axis, step in zip(axes, SPACING)), indexing="ij")
    return (z**2 + y**2 + x**2).sqrt() < mm
