"""The scanner: slice thickness, kernel, coloured noise, streaks, padding. Lengths in mm, densities in HU."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .fields import Dice, Grid, ramp, smooth_noise

VOXELS_AT_ONCE = 8_000_000  # of a volume in the Fourier domain: bounds the memory of thin slices


@dataclass(frozen=True)
class Optics:
    """Ranges of kernel and noise of a family."""

    blur_mm: tuple[float, float] = (0.25, 0.75)  # sigma of the point spread
    sharpening: tuple[float, float] = (0.0, 0.5)
    noise_hu: tuple[float, float] = (1.5, 9.0)  # sigma at 1 mm pixels
    ramp_power: tuple[float, float] = (0.3, 1.1)  # low-frequency deficit of the noise
    corner_per_mm: tuple[float, float] = (0.3, 0.6)  # where the noise falls off
    veil_chance: float = 0.75  # heads that brighten beside bone
    overlap_chance: float = 0.35  # heads whose slabs are thicker than the step between them


def draw_noise_sigma(dice: Dice, optics: Optics, thickness_mm: float) -> float:
    """HU of noise at 1 mm pixels: more in thin slices."""
    low, high = optics.noise_hu
    return min(14.0, dice.log_uniform(low, high) * min(1.8, max(0.8, math.sqrt(3.5 / thickness_mm))))


def frequency(shape: tuple[int, int], pixel_mm: tuple[float, float], device: torch.device) -> Tensor:
    """(H, W // 2 + 1) radial frequency in cycles per mm."""
    fy = torch.fft.fftfreq(shape[0], pixel_mm[0], device=device)
    fx = torch.fft.rfftfreq(shape[1], pixel_mm[1], device=device)
    radius: Tensor = (fy[:, None].square() + fx[None].square()).sqrt()
    return radius


def kernel(dice: Dice, optics: Optics, f: Tensor) -> Tensor:
    """Modulation transfer over frequency: a Gaussian, with the middle frequencies lifted by a sharp kernel."""
    sigma = dice.uniform(*optics.blur_mm)
    lift = dice.uniform(*optics.sharpening) if dice.chance(0.4) else 0.0
    peak = dice.uniform(0.25, 0.45)
    return torch.exp(-2.0 * (math.pi * sigma * f).square()) * (
        1.0 + lift * 2.0 * torch.exp(-(((f / peak - 1.0) / 0.5) ** 2))
    )


def noise_spectrum(dice: Dice, optics: Optics, f: Tensor) -> Tensor:
    """Amplitude over frequency of noise with sigma 1 when pixels are 1 mm, the same power per mm2 at any pixel size."""
    power = dice.uniform(*optics.ramp_power)
    corner = dice.uniform(*optics.corner_per_mm)

    def shape(at: Tensor) -> Tensor:
        return ((at / corner) ** power + 0.08) * torch.exp(-((at / corner) ** 2))

    reference = shape(frequency((64, 64), (1.0, 1.0), f.device)).square().mean().sqrt()
    return shape(f) / reference


def scan(
    dice: Dice, hu: Tensor, pixel_mm: tuple[float, float], sigma_hu: float, optics: Optics, gain: Tensor
) -> tuple[Tensor, Tensor]:
    """(D, H, W) HU through the kernel, without and with noise. gain (D, H, W): local noise, about 1."""
    f = frequency((hu.shape[1], hu.shape[2]), pixel_mm, hu.device)
    transfer, spectrum = kernel(dice, optics, f), noise_spectrum(dice, optics, f)
    size = (hu.shape[1], hu.shape[2])
    scale = sigma_hu / math.sqrt(pixel_mm[0] * pixel_mm[1])
    clean, noisy = torch.empty_like(hu), torch.empty_like(hu)
    step = max(1, VOXELS_AT_ONCE // (size[0] * size[1]))
    for start in range(0, len(hu), step):
        part = slice(start, start + step)
        clean[part] = torch.fft.irfft2(torch.fft.rfft2(hu[part]) * transfer, s=size)
        white = dice.big_gaussians(*hu[part].shape)
        noise = torch.fft.irfft2(torch.fft.rfft2(white) * spectrum, s=size) * scale
        noisy[part] = clean[part] + noise * gain[part]
    return clean, noisy


def thick_slabs(dice: Dice, optics: Optics, *volumes: Tensor) -> tuple[Tensor, ...]:
    """(..., D, H, W) each, averaged with the slices above and below: slabs up to three times as thick as their step."""
    if not dice.chance(optics.overlap_chance):
        return volumes
    side = dice.uniform(0.05, 0.33)

    def thick(volume: Tensor) -> Tensor:
        above, below = volume.roll(-1, -3), volume.roll(1, -3)
        above[..., -1, :, :], below[..., 0, :, :] = volume[..., -1, :, :], volume[..., 0, :, :]
        return (1 - 2 * side) * volume + side * (above + below)

    return tuple(thick(volume) for volume in volumes)


def veil(dice: Dice, optics: Optics, hu: Tensor, spacing_mm: tuple[float, float, float]) -> Tensor:
    """(D, H, W) HU with what beam hardening adds beside bone: a narrow rim, and most where bone is all around.

    Made on a coarse grid, as it is smooth: bone spread by Gaussians of some mm.
    """
    if not dice.chance(optics.veil_chance):
        return hu
    cell = [max(1, round(2.0 / mm)) for mm in spacing_mm]
    bone = functional.avg_pool3d((hu.clamp(80.0, 400.0) - 80.0)[None, None] / 320.0, cell, ceil_mode=True)
    narrow_mm, wide_mm = dice.uniform(1.5, 6.0), dice.uniform(8.0, 20.0)
    near = _spread(bone, [narrow_mm / (mm * c) for mm, c in zip(spacing_mm, cell)])
    wide = _spread(bone, [wide_mm / (mm * c) for mm, c in zip(spacing_mm, cell)])
    added = 180.0 * dice.uniform(0.0, 1.0) ** 1.3 * near + dice.uniform(-15.0, 160.0) * wide * (0.15 + wide)
    fine = functional.interpolate(added, size=hu.shape, mode="trilinear", align_corners=False)[0, 0]
    soft = ramp(hu, -60.0, 0.0) * ramp(hu, 130.0, 90.0)  # bone is bright enough, and air has nothing to harden
    return hu + fine * soft


def _spread(volume: Tensor, sigmas: list[float]) -> Tensor:
    """(1, 1, D, H, W) blurred by a Gaussian, sigma in voxels of each axis."""
    for axis, sigma in enumerate(sigmas, start=2):
        reach = max(1, math.ceil(2.5 * sigma))
        steps = torch.arange(-reach, reach + 1, device=volume.device)
        weights = torch.exp(-0.5 * (steps / max(sigma, 1e-3)).square())
        shape = [1, 1, 1, 1, 1]
        shape[axis] = len(weights)
        padding = [0, 0, 0]
        padding[axis - 2] = reach
        volume = functional.conv3d(volume, (weights / weights.sum()).view(shape), padding=tuple(padding))
    return volume


def noise_gain(dice: Dice, grid: Grid, base: Tensor) -> Tensor:
    """(D, H, W) on the world grid: noisier in the middle of the head and at the base. base in [0, 1]."""
    _, y, x = grid.points()
    middle = torch.exp(-(y.square() + x.square()) / dice.uniform(50.0, 100.0) ** 2)
    return (0.7 + dice.uniform(0.1, 0.6) * middle) * (1.0 + dice.uniform(0.0, 0.6) * base)


def streaks(dice: Dice, grid: Grid, place: Tensor) -> Tensor:
    """(D, H, W) HU to add on the world grid: beam hardening between the petrous bones, stray lines, motion bands."""
    z, y, x = place
    base = ramp((z + dice.uniform(25.0, 38.0)).abs(), 14.0, 4.0)
    between = (
        base * ramp(x.abs(), 50.0, 30.0) * torch.exp(-(((y - dice.uniform(-2.0, 10.0)) / dice.uniform(4.0, 11.0)) ** 2))
    )
    total = -dice.uniform(0.0, 16.0) * between * (1.0 + 0.5 * smooth_noise(dice, grid, (6.0, 4.0, 60.0))[0])
    angle = dice.uniform(-0.5, 0.5)
    points = grid.points()
    across = points[1] * math.cos(angle) + points[2] * math.sin(angle)
    line = torch.sin(across / dice.uniform(1.5, 5.0) + 2.0 * smooth_noise(dice, grid, 30.0)[0])
    weight = ramp(z, -20.0, -34.0) * dice.uniform(0.0, 7.0)
    total = total + weight * line * smooth_noise(dice, grid, (6.0, 25.0, 25.0))[0]
    if dice.chance(0.06):  # motion: bands over some slices
        band = ramp(smooth_noise(dice, grid, (10.0, 400.0, 400.0))[0], 0.8, 1.2)
        total = total + band * dice.uniform(1.5, 7.0) * torch.sin(across / dice.uniform(2.0, 8.0))
    return total


def finish(dice: Dice, hu: Tensor, grid_mm: tuple[float, float], padding: bool) -> Tensor:
    """(D, H, W) HU as a vendor stores it: whole numbers, clipped, now and then padded outside the circle."""
    hu = hu.round().clamp(-1024.0, 3071.0)
    if dice.chance(0.03):  # stored through a wide window
        hu = hu.clamp(-dice.uniform(100.0, 300.0), dice.uniform(200.0, 500.0))
    if padding and dice.chance(0.35):
        h, w = hu.shape[1:]
        y = (torch.arange(h, device=hu.device) - (h - 1) / 2)[:, None] * grid_mm[0]
        x = (torch.arange(w, device=hu.device) - (w - 1) / 2)[None] * grid_mm[1]
        radius = min(h * grid_mm[0], w * grid_mm[1]) / 2.0
        value = (-2000.0, -3024.0, -1024.0, 0.0)[dice.below(4)]
        hu = torch.where((y.square() + x.square()).sqrt() > radius, torch.full_like(hu, value), hu)
    return hu
