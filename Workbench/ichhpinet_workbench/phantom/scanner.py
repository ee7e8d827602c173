"""The scanner: slice thickness, kernel, coloured noise, streaks, padding. Lengths in mm, densities in HU."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

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
