"""What is measured of heads, against heads of which it is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from ichhpinet_workbench.realism.measures import (
    DISTANCE_EDGES,
    FREQUENCY_EDGES,
    border_profile,
    border_width,
    measure,
    noise_power,
)

SPACING = (5.0, 1.0, 1.0)
SIZE = 160


def disc(radius: float) -> np.ndarray:
    """(6, SIZE, SIZE) bool: a cylinder along the slices."""
    y, x = np.ogrid[:SIZE, :SIZE]
    return np.broadcast_to((y - SIZE / 2) ** 2 + (x - SIZE / 2) ** 2 < radius**2, (6, SIZE, SIZE)).copy()


def head(blur_mm: float = 0.0, noise_hu: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Skull, brain of 35 HU, a lesion of 65 HU whose border is so blurred; and the lesion."""
    lesion = disc(15)
    soft = ndimage.gaussian_filter(lesion.astype(float), (0, blur_mm, blur_mm)) if blur_mm else lesion
    hu = np.where(disc(70), 35.0 + 30.0 * soft, np.where(disc(76), 900.0, -1000.0))
    noise = np.random.default_rng(0).standard_normal(hu.shape) * noise_hu
    return hu + noise * disc(70), lesion


def test_white_noise_has_the_same_power_at_all_frequencies() -> None:
    hu, lesion = head(noise_hu=4.0)
    power = noise_power(hu, SPACING, ~lesion)
    inner = power[(FREQUENCY_EDGES[1:] > 0.15) & (FREQUENCY_EDGES[1:] < 0.65)]
    assert inner == pytest.approx(np.full(len(inner), 16.0), rel=0.2)  # sigma^2 times the area of a pixel


def test_the_width_of_a_border_is_that_of_its_blur() -> None:
    widths = {}
    for blur in (1.0, 2.0):
        hu, lesion = head(blur)
        widths[blur] = border_width(border_profile(hu, lesion, SPACING))
        assert widths[blur] == pytest.approx(2 * 0.674 * blur, rel=0.25)  # quartiles of a Gaussian
    assert widths[1.0] < widths[2.0]


def test_a_profile_is_one_inside_and_nought_outside() -> None:
    profile = border_profile(*head(1.0), SPACING)
    middles = (DISTANCE_EDGES[1:] + DISTANCE_EDGES[:-1]) / 2
    assert profile[middles < -4] == pytest.approx(1.0, abs=0.05)
    assert profile[middles > 4] == pytest.approx(0.0, abs=0.05)


def test_without_a_lesion_or_one_that_is_bright_there_is_no_border() -> None:
    hu, lesion = head()
    assert np.isnan(border_profile(hu, np.zeros_like(lesion), SPACING)).all()
    assert np.isnan(border_profile(np.where(lesion, 35.0, hu), lesion, SPACING)).all()
    assert math.isnan(border_width(border_profile(hu, np.zeros_like(lesion), SPACING)))


def test_a_head_is_measured_without_its_lesion() -> None:
    hu, lesion = head(0.0, 3.0)
    found = measure(hu, SPACING, lesion)
    assert found.histogram.sum() == pytest.approx(1.0)
    assert found.histogram[25:45].sum() > 0.99
    assert found.noise_hu == pytest.approx(3.0, rel=0.1) and abs(found.noise_1mm) < 0.1
    assert (found.components, found.slices) == (1, 6)
    assert found.volume_ml == pytest.approx(lesion.sum() * 5 / 1000)
    assert found.lesion_hu == pytest.approx(65.0, abs=0.5)
    assert measure(hu, SPACING, np.zeros_like(lesion)).components == 0
