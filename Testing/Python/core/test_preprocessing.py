"""What the networks see: channel order, normalised image, head box, stroke maps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.engine import small_ct
from ichhpinet.errors import InputError
from ichhpinet.preprocessing import (
    CHANNELS,
    HEAD_MARGIN_MM,
    REACH,
    compose,
    geodesic_mm,
    head_box,
    likeness,
    normalise,
    stroke_maps,
    working_grid,
    working_image,
)
from ichhpinet.volume import CTVolume

SPACING = torch.tensor([[5.0, 2.0, 1.0]])


def painted_at(*voxels: tuple[int, int, int], shape: tuple[int, int, int] = (3, 8, 12)) -> torch.Tensor:
    """(1, 2, d, h, w): these voxels foreground, nothing background."""
    painted = torch.zeros(1, 2, *shape, dtype=torch.bool)
    for voxel in voxels:
        painted[(0, 0, *voxel)] = True
    return painted


def test_the_channels_are_image_previous_and_three_stroke_maps_in_that_order() -> None:
    assert CHANNELS == ("image", "previous", "foreground", "background", "likeness")
    image, previous, *maps = (torch.full((1, 2, 2), float(place)) for place in range(len(CHANNELS)))
    stacked = compose(image, previous, torch.stack(maps, 1))
    assert stacked.shape == (1, 5, 2, 2)
    assert stacked[0, :, 0, 0].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_the_image_is_zero_at_forty_hu_and_saturates_outside_the_window() -> None:
    hu = torch.tensor([-1000.0, -30.0, 40.0, 80.0, 130.0, 3000.0])
    assert normalise(hu).tolist() == [-1.75, -1.75, 0.0, 1.0, 2.25, 2.25]


def test_the_head_box_is_the_skull_with_its_margin() -> None:
    hu = np.full((4, 100, 120), -1000.0, np.float32)
    hu[:, 30:70, 40:90] = 35.0
    for low, high, axis in ((30, 69, 1), (40, 89, 2)):
        wall = [slice(None), slice(30, 70), slice(40, 90)]
        for place in (low, high):
            wall[axis] = slice(place, place + 1)
            hu[tuple(wall)] = 900.0
    (y0, y1), (x0, x1) = head_box(hu, (5.0, 1.0, 1.0))
    for found, wanted in ((y0, 30 - HEAD_MARGIN_MM), (x0, 40 - HEAD_MARGIN_MM)):
        assert wanted - 2 <= found <= wanted + 2
    for found, wanted in ((y1, 70 + HEAD_MARGIN_MM), (x1, 90 + HEAD_MARGIN_MM)):
        assert wanted - 2 <= found <= wanted + 2


def test_without_a_skull_everything_above_air_is_the_head() -> None:
    hu = np.full((4, 64, 64), -1000.0, np.float32)
    hu[:, 20:40, 24:44] = 35.0
    (y0, y1), (x0, x1) = head_box(hu, (5.0, 1.0, 1.0))
    assert (y0 <= 20, y1 >= 40, x0 <= 24, x1 >= 44) == (True,) * 4
    assert y1 - y0 < 64


def test_a_blank_image_keeps_its_whole_plane() -> None:
    assert head_box(np.full((3, 32, 48), -1000.0, np.float32), (5.0, 1.0, 1.0)) == ((0, 32), (0, 48))


def test_a_brain_without_its_skull_that_holds_coils_is_not_cut_down_to_them() -> None:
    hu = np.full((10, 100, 90), -1000.0, np.float32)
    hu[:, 20:80, 20:70] = 33.0
    hu[2:8, 30:36, 30:36] = 2500.0
    (y0, y1), (x0, x1) = head_box(hu, (5.0, 1.0, 1.0))
    assert y0 <= 20 and y1 >= 80 and x0 <= 20 and x1 >= 70


def test_a_brain_beside_a_wide_craniectomy_lies_in_the_box() -> None:
    rows, columns = np.mgrid[:120, :120]
    away = np.hypot(rows - 60, columns - 60)
    hu = np.where(away < 50, 33.0, np.where(away < 54, 900.0, -1000.0)).astype(np.float32)
    hu[:, 75:] = np.where(hu[:, 75:] > 800, -1000.0, hu[:, 75:])
    (_, _), (_, x1) = head_box(np.repeat(hu[None], 6, axis=0), (5.0, 1.0, 1.0))
    assert x1 >= 110


def test_air_and_bone_do_not_bleed_into_the_brain_beside_them() -> None:
    volume = CTVolume.from_array(np.full((3, 16, 16), 3000.0), (5.0, 1.0, 1.0))
    image = working_image(volume, working_grid(volume, 1.0, 0.0))
    assert float(image.max()) == 2.25 and float(image.min()) == 2.25


def test_the_image_is_finite_and_in_range_for_any_ct() -> None:
    rng = np.random.default_rng(0)
    volume = CTVolume.from_array(rng.uniform(-2000, 4000, (3, 21, 17)), (3.3, 0.7, 1.9))
    image = working_image(volume, working_grid(volume, 1.0, 2.5))
    assert torch.isfinite(image).all()
    assert -1.75 <= float(image.min()) and float(image.max()) <= 2.25


def flat_cost(shape: tuple[int, int, int] = (3, 8, 12)) -> torch.Tensor:
    """(1, 2, d, h, w): a mm costs a mm."""
    return torch.ones(1, 2, *shape)


@pytest.mark.parametrize(("axis", "step_mm"), [(0, 5.0), (1, 2.0), (2, 1.0)])
def test_where_a_mm_costs_a_mm_the_distance_along_an_axis_is_the_straight_one(axis: int, step_mm: float) -> None:
    distance = geodesic_mm(flat_cost(), painted_at((1, 3, 4)), SPACING)[0, 0]
    along = distance.movedim(axis, 0)[(slice(None), *[v for i, v in enumerate((1, 3, 4)) if i != axis])]
    wanted = (torch.arange(len(along)) - (1, 3, 4)[axis]).abs() * step_mm
    torch.testing.assert_close(along, wanted.float(), atol=1e-3, rtol=0)
    assert float(distance[1, 3, 4]) == 0.0


def test_the_distance_off_the_axes_is_the_sum_of_the_steps() -> None:
    distance = geodesic_mm(flat_cost(), painted_at((0, 0, 0)), SPACING)[0, 0]
    assert float(distance[2, 7, 11]) == pytest.approx(2 * 5 + 7 * 2 + 11 * 1, abs=1e-2)


def test_dear_tissue_makes_the_way_longer_and_a_way_round_is_found() -> None:
    cost = flat_cost((1, 8, 12))
    cost[..., :7, 6:8] = 100.0  # a wall that leaves the last row open
    distance = geodesic_mm(cost, painted_at((0, 0, 2), shape=(1, 8, 12)), SPACING)[0, 0, 0]
    assert float(distance[0, 4]) == pytest.approx(2.0, abs=1e-2)
    assert float(distance[0, 10]) == pytest.approx(2 * 7 * 2 + 8, abs=0.1)  # down, across the gap, up again
    assert float(distance[0, 7]) == pytest.approx(2 * 7 * 2 + 6 + 100.0, abs=0.1)  # and into the wall from behind


def two_densities() -> torch.Tensor:
    """(1, 3, 8, 12) normalised: brain of 35 HU, and from column 6 on blood of 65 HU."""
    image = torch.full((1, 3, 8, 12), -0.125)
    image[..., 6:] = 0.625
    return image


def test_likeness_is_high_where_the_density_is_the_painted_one_and_low_elsewhere() -> None:
    alike = likeness(two_densities(), painted_at((1, 3, 8)))[0]
    assert float(alike[:, :, 8:].min()) > 0.6
    assert float(alike[:, :, :5].max()) < 0.05


def test_a_background_stroke_on_the_same_density_takes_likeness_away() -> None:
    painted = painted_at((1, 3, 8))
    before = likeness(two_densities(), painted)[0, 1, 5, 10]
    painted[0, 1, 1, 5, 9] = True
    assert float(likeness(two_densities(), painted)[0, 1, 5, 10]) < float(before) - 0.1


def test_a_stroke_reaches_over_its_own_density_on_every_slice_and_hardly_beyond() -> None:
    foreground = stroke_maps(two_densities(), painted_at((1, 3, 10)), SPACING)[0, 0]
    assert float(foreground[:, :, 8:].min()) > 0.3
    assert float(foreground[:, :, :4].max()) < 0.1


def test_no_strokes_give_maps_of_zeros() -> None:
    maps = stroke_maps(torch.randn(2, 3, 16, 16), torch.zeros(2, 2, 3, 16, 16, dtype=torch.bool), SPACING.repeat(2, 1))
    assert maps.shape == (2, 3, 3, 16, 16)
    assert not maps.any()


@given(st.integers(0, 2**32 - 1))
def test_stroke_maps_are_one_under_their_stroke_zero_under_the_other_and_between_elsewhere(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed % 2**31)
    image = torch.randn(1, 3, 8, 12, generator=rng) * 2
    where = torch.rand(3, 8, 12, generator=rng)
    painted = torch.stack([where < 0.03, where > 0.97])[None]
    maps = stroke_maps(image, painted, SPACING)[:, :2]
    assert torch.all(maps[painted] == 1.0)
    assert torch.all(maps[painted.flip(1)] == 0.0)
    rest = maps[~painted & ~painted.flip(1)]
    assert torch.all((rest >= 0) & (rest <= REACH + 1e-6))


def test_a_stroke_map_falls_with_distance_and_tells_thick_slices_from_thin() -> None:
    image = two_densities()
    thick, thin = (stroke_maps(image, painted_at((1, 3, 6)), torch.tensor([[z, 2.0, 1.0]]))[0, 0] for z in (8.0, 2.0))
    row = thick[1, 3, 6:]
    assert torch.all(row.diff() < 0)
    assert float(thick[0, 3, 6]) < float(thin[0, 3, 6])
    torch.testing.assert_close(thick[1], thin[1])


def test_by_distance_a_stroke_reaches_over_any_density_and_as_painted_nowhere() -> None:
    image, painted = two_densities(), painted_at((1, 3, 10))
    far = stroke_maps(image, painted, SPACING, reach="distance")[0, 0]
    assert float(far[1, 3, 5]) == pytest.approx(REACH * math.exp(-5 / 15), rel=1e-3)  # another density, 5 mm away
    alone = stroke_maps(image, painted, SPACING, reach="painted")
    assert torch.equal(alone[:, :2], painted.float())
    assert torch.equal(alone[:, 2], stroke_maps(image, painted, SPACING)[:, 2])  # the likeness is told all the same


def test_the_volumes_of_a_batch_do_not_see_each_other() -> None:
    images = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    painted = torch.cat([painted_at((0, 1, 1)), painted_at((2, 6, 9))])
    spacing = torch.tensor([[5.0, 2.0, 1.0], [3.0, 1.0, 1.0]])
    both = stroke_maps(images, painted, spacing)
    for i in range(2):
        torch.testing.assert_close(
            both[i : i + 1], stroke_maps(images[i : i + 1], painted[i : i + 1], spacing[i : i + 1])
        )


def test_a_plane_larger_than_any_scanners_is_refused() -> None:
    ct = CTVolume.from_array(np.zeros((4, 128, 64), np.float32), (5.0, 10.0, 10.0))
    with pytest.raises(InputError, match="1280 x 640 mm in plane .* must be a head, at most 700 mm"):
        working_grid(ct, 1.0, 2.5)


def test_two_working_slices_are_left_however_thin_the_ct_is() -> None:
    for depth in (2, 3, 4, 5):
        assert working_grid(small_ct((depth, 16, 16), (0.4, 1.0, 1.0)), 1.0, 2.5).shape[0] >= 2


@pytest.mark.parametrize(
    "spacing", [(9.0, 1.6, 1.6), (5.0, 0.4, 0.4), (5 / 3, 0.8, 0.8), (2.5, 1.0, 1.0), (0.7, 0.2, 0.2)]
)
def test_a_spacing_rounded_as_nifti_rounds_it_has_the_same_grid(spacing: tuple[float, float, float]) -> None:
    hu = np.full((12, 120, 120), 35.0, np.float32)
    written = tuple(float(np.float32(step)) for step in spacing)
    grids = [working_grid(CTVolume.from_array(hu, steps), 1.0, 2.5).shape for steps in (spacing, written)]
    assert grids[0] == grids[1]
