"""Smooth random fields, the world grid they live on, and the dice that every draw comes from."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Standard deviation of a cubic B-spline field of unit white coefficients, per axis: sqrt(151 / 315).
SPLINE_SIGMA = math.sqrt(151.0 / 315.0)


class Dice:
    """Seeded draws. Streams of different names or families never meet."""

    def __init__(self, seed: int, family: str, device: torch.device) -> None:
        self.family = family
        self.rng = np.random.default_rng([int(seed), zlib.crc32(family.encode())])
        self.device = device

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def log_uniform(self, low: float, high: float) -> float:
        return float(math.exp(self.rng.uniform(math.log(low), math.log(high))))

    def normal(self, mean: float, sigma: float) -> float:
        return float(self.rng.normal(mean, sigma))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def sign(self) -> float:
        return 1.0 if self.rng.random() < 0.5 else -1.0

    def below(self, count: int) -> int:
        """An integer in [0, count)."""
        return int(self.rng.integers(count))

    def quantile(self, levels: tuple[float, ...], values: tuple[float, ...]) -> float:
        """A draw from the distribution whose quantiles these are."""
        return float(np.interp(self.rng.random(), levels, values))

    def gaussians(self, *shape: int) -> Tensor:
        """Unit white noise, drawn on the CPU: the same on every device. For small grids."""
        return torch.from_numpy(self.rng.standard_normal(shape, dtype=np.float32)).to(self.device)

    def big_gaussians(self, *shape: int) -> Tensor:
        """Unit white noise, drawn on the device: for full volumes."""
        generator = torch.Generator(self.device).manual_seed(int(self.rng.integers(2**62)))
        return torch.randn(shape, generator=generator, device=self.device)

    def vector(self, *sigmas: float) -> list[float]:
        return [self.normal(0.0, sigma) for sigma in sigmas]


@dataclass(frozen=True)
class Grid:
    """Voxel centres in mm about the head's centre: z upwards, y backwards, x across. spacing (z, y, x) mm."""

    z: Tensor  # (D,)
    y: Tensor  # (H,)
    x: Tensor  # (W,)
    spacing_mm: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        return (len(self.z), len(self.y), len(self.x))

    @property
    def voxel_ml(self) -> float:
        z, y, x = self.spacing_mm
        return z * y * x / 1000.0

    def points(self) -> Tensor:
        """(3, D, H, W) float32: z, y, x mm of each voxel."""
        return torch.stack(torch.meshgrid(self.z, self.y, self.x, indexing="ij"))


def spline_matrix(positions_mm: Tensor, wavelength_mm: float, phase: float) -> Tensor:
    """(N, C) cubic B-spline weights of N positions on control points wavelength_mm apart."""
    at = (positions_mm - positions_mm.min()) / wavelength_mm + phase + 1.0
    count = int(math.floor(float(at.max()))) + 4
    distance = (at[:, None] - torch.arange(count, device=at.device, dtype=at.dtype)[None]).abs()
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    far = (2.0 - distance).clamp(min=0.0) ** 3 / 6.0
    return torch.where(distance < 1.0, near, far)


def smooth_noise(
    dice: Dice, grid: Grid, wavelength_mm: float | tuple[float, float, float], channels: int = 1
) -> Tensor:
    """(channels, D, H, W) float32 smooth Gaussian fields, sigma about 1, C2, knots wavelength_mm apart."""
    lengths = (wavelength_mm,) * 3 if isinstance(wavelength_mm, (int, float)) else wavelength_mm
    bz, by, bx = (
        spline_matrix(axis, length, dice.uniform(0.0, 1.0))
        for axis, length in zip((grid.z, grid.y, grid.x), lengths, strict=True)
    )
    knots = dice.gaussians(channels, bz.shape[1], by.shape[1], bx.shape[1]) / SPLINE_SIGMA**3
    rows = torch.matmul(knots, bx.T)  # (C, z, y, W)
    columns = torch.matmul(by, rows)  # (C, z, H, W)
    flat = columns.reshape(channels, bz.shape[1], -1)
    return torch.matmul(bz, flat).reshape(channels, *grid.shape)


def ramp(values: Tensor, low: float, high: float) -> Tensor:
    """0 below low, 1 above high, smooth between (low > high falls instead)."""
    t = ((values - low) / (high - low)).clamp(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def occupancy(level_mm: Tensor, width_mm: float) -> Tensor:
    """Share of a voxel inside the surface level_mm = 0: a linear edge width_mm wide."""
    return (level_mm / width_mm + 0.5).clamp(0.0, 1.0)
