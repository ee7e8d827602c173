"""Millilitres, ABC/2 and growth against figures worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ichhpinet.errors import InputError
from ichhpinet.measurements import abc2_ml, growth, measure, volume_ml

SPACING = (5.0, 0.5, 0.5)


def block(depth: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((12, 120, 130), bool)
    mask[2 : 2 + depth, 10 : 10 + height, 20 : 20 + width] = True
    return mask


def test_volume_is_voxels_times_their_size() -> None:
    assert volume_ml(block(4, 40, 60), SPACING) == pytest.approx(4 * 5 * 20 * 30 / 1000)
    assert volume_ml(np.zeros((2, 2, 2), bool), SPACING) == 0.0


def test_abc2_of_a_thin_plate_is_length_by_width_by_height_by_half() -> None:
    plate = block(4, 1, 100)  # 50 mm long, half a millimetre wide, 20 mm high
    diagonal = math.hypot(50, 0.5)
    assert abc2_ml(plate, SPACING) == pytest.approx(diagonal * 0.75 * 20 / 2 / 1000, rel=0.35)


def test_abc2_of_a_cylinder_is_known() -> None:
    y, x = np.ogrid[:120, :130]
    disc = (y - 60) ** 2 + (x - 60) ** 2 <= 40**2
    cylinder = np.repeat(disc[np.newaxis], 6, axis=0)
    assert abc2_ml(cylinder, SPACING) == pytest.approx(40.5 * 40.5 * 30 / 2 / 1000, rel=0.01)


def test_abc2_counts_slices_by_their_share_of_the_largest_area() -> None:
    mask = np.zeros((4, 50, 50), bool)
    mask[0, :40, :40] = True  # 100 %: counts once
    mask[1, :40, :20] = True  # 50 %: counts half
    mask[2, :40, :8] = True  # 20 %: does not count
    whole = np.zeros_like(mask)
    whole[0] = mask[0]
    assert abc2_ml(mask, SPACING) == pytest.approx(1.5 * abc2_ml(whole, SPACING))


def test_abc2_is_the_largest_components_and_turns_with_the_lesion() -> None:
    y, x = np.ogrid[:200, :200]
    angle = math.radians(33)
    along, across = (x - 100) * math.cos(angle) + (y - 100) * math.sin(angle), (y - 100) * math.cos(angle)
    across = across - (x - 100) * math.sin(angle)
    ellipse = (along / 60) ** 2 + (across / 25) ** 2 <= 1
    mask = np.repeat(ellipse[np.newaxis], 3, axis=0)
    alone = abc2_ml(mask, SPACING)
    assert alone == pytest.approx(60 * 25 * 15 / 2 / 1000, rel=0.04)
    mask = mask.copy()
    mask[0, :5, :5] = True
    assert abc2_ml(mask, SPACING) == pytest.approx(alone)


def test_abc2_follows_the_axis_of_the_slices() -> None:
    mask = block(4, 40, 60)
    turned = np.moveaxis(mask, 0, 2)
    assert abc2_ml(turned, (0.5, 0.5, 5.0), axis=2) == pytest.approx(abc2_ml(mask, SPACING))
    with pytest.raises(InputError, match="the axis is 5"):
        abc2_ml(mask, SPACING, axis=5)


def test_abc2_of_nothing_is_nothing() -> None:
    assert abc2_ml(np.zeros((3, 4, 5), bool), SPACING) == 0.0


def test_a_report_row_counts_components_and_slices() -> None:
    mask = block(4, 40, 60)
    mask[11, 0, 0] = True
    row = measure(mask, SPACING).row()
    assert row["components"] == 2 and row["slices"] == 5
    assert row["largest_ml"] == pytest.approx(12.0) and row["volume_ml"] == pytest.approx(12.001)


@pytest.mark.parametrize(
    ("before", "after", "grew"),
    [(10, 16, True), (30, 36, False), (30, 36.1, True), (3, 4, True), (3, 3.9, False), (20, 10, False), (0, 5, False)],
)
def test_growth_is_more_than_6_ml_or_more_than_33_percent(before: float, after: float, grew: bool) -> None:
    result = growth(before, after)
    assert result.is_growth is grew and result.delta_ml == pytest.approx(after - before)
    assert ("no growth" in result.sentence()) is not grew


def test_growth_from_nothing_has_no_share() -> None:
    assert growth(0, 7).share is None and growth(0, 7).is_growth
    assert growth(0, 7).sentence() == (
        "0.0 ml to 7.0 ml (+7.0 ml): growth by the rule of more than 6 ml or more than 33 %"
    )


def test_volumes_below_zero_are_refused() -> None:
    with pytest.raises(InputError, match="both must be 0 or more"):
        growth(-1, 3)
    with pytest.raises(InputError, match="both must be 0 or more"):
        growth(1, math.nan)


def test_what_is_no_mask_is_refused_by_name() -> None:
    for measured in (volume_ml, abc2_ml, measure):
        with pytest.raises(InputError, match="the mask has shape"):
            measured(np.zeros((3, 4), bool), SPACING)
        with pytest.raises(InputError, match="the mask is of type float64"):
            measured(np.zeros((3, 4, 5)), SPACING)
        with pytest.raises(InputError, match="every step must be greater than 0"):
            measured(np.zeros((3, 4, 5), bool), (0, 1, 1))
