"""How much noise, and how fine: measured against noise that is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from ichhpinet_workbench.texture import noise_texture


def noisy_head(blur_px: float, sigma: float = 5.0, size: int = 160) -> np.ndarray:
    """(8, size, size) HU: a disc of brain in air, with noise blurred so far and scaled to sigma."""
    noise = np.random.default_rng(3).standard_normal((8, size, size))
    noise = ndimage.gaussian_filter(noise, (0, blur_px, blur_px)) if blur_px else noise
    y, x = np.ogrid[:size, :size]
    brain = (y - size / 2) ** 2 + (x - size / 2) ** 2 < (0.45 * size) ** 2
    return np.where(brain, 35.0 + noise * sigma / noise.std(), -1000.0)


def test_the_noise_is_found() -> None:
    for sigma in (2.0, 6.0):
        assert noise_texture(noisy_head(0.0, sigma), (5.0, 0.5, 0.5))[0] == pytest.approx(sigma, rel=0.1)


def test_noise_of_single_pixels_is_sharp_and_blurred_noise_is_smooth() -> None:
    sharp, usual, smooth = (noise_texture(noisy_head(blur), (5.0, 0.5, 0.5))[1] for blur in (0.0, 1.2, 2.0))
    assert abs(sharp) < 0.05
    assert sharp < 0.2 < usual < 0.45 < smooth


def test_anatomy_is_no_noise() -> None:
    y = np.linspace(-8, 8, 160)[None, :, None]
    bent = np.where(noisy_head(0.0) > -500, noisy_head(0.0) + y, -1000.0)
    assert noise_texture(bent, (5.0, 0.5, 0.5))[0] == pytest.approx(5.0, rel=0.1)


def test_without_brain_there_is_nothing_to_measure() -> None:
    assert all(math.isnan(value) for value in noise_texture(np.full((4, 50, 50), -1000.0), (5.0, 0.5, 0.5)))


def test_an_image_without_noise_has_none() -> None:
    assert math.isnan(noise_texture(noisy_head(0.0, 1e-9).round(), (5.0, 0.5, 0.5))[1])
