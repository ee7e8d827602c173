"""The working grid: any axis order, flip, spacing and shape, there and back."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.ct_files import rotation
from core.engine import small_ct
from ichhpinet.grid import PLANE_MULTIPLE, WorkingGrid, resampling_matrix
from ichhpinet.orientation import Orientation
from ichhpinet.preprocessing import working_grid, working_image, working_strokes
from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume

ORDERS = list(permutations(range(3)))
FLIPS = list(product((False, True), repeat=3))
spacings = st.tuples(*[st.floats(0.3, 7.0)] * 3)
shapes = st.tuples(st.integers(2, 14), st.integers(3, 30), st.integers(3, 30))


def working_slice(grid: WorkingGrid, native_index: int) -> int:
    """The working slice that holds a native slice, counted along `orientation.slice_axis`."""
    if grid.orientation.flips[0]:
        native_index = grid.native_shape[grid.orientation.slice_axis] - 1 - native_index
    return native_index // grid.merge


def direction_of(order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> NDArray[np.float64]:
    """The direction of an array whose axis order[i] runs along working axis i (S, P, L), backwards where flips[i]."""
    matrix = np.zeros((3, 3))
    for world, (axis, flip) in enumerate(zip(order, flips)):
        matrix[2 - world, 2 - axis] = -1.0 if flip else 1.0
    return matrix


@st.composite
def grids(draw: st.DrawFn) -> WorkingGrid:
    """A working grid over the whole plane of a CT of any orientation."""
    orientation = Orientation(draw(st.sampled_from(ORDERS)), draw(st.sampled_from(FLIPS)))
    shape, spacing = draw(shapes), draw(spacings)
    turned = [shape[axis] for axis in orientation.order]
    merge = draw(st.integers(1, max(1, turned[0] // 2)))
    box = ((0, turned[1]), (0, turned[2]))
    return WorkingGrid(shape, spacing, orientation, box, draw(st.sampled_from((0.5, 1.0))), merge)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("flips", FLIPS)
def test_every_axis_order_and_flip_is_recognised_and_turned_back(
    order: tuple[int, int, int], flips: tuple[bool, bool, bool]
) -> None:
    standard = np.arange(24).reshape(2, 3, 4)  # runs feet-head, front-back, right-left
    orientation = Orientation.from_direction(direction_of(order, flips))
    assert (orientation.order, orientation.flips) == (order, flips)
    filed = orientation.undo(standard)
    assert np.array_equal(orientation.apply(filed), standard)
    world = [order.index(axis) for axis in range(3)]
    assert filed.shape == tuple(standard.shape[i] for i in world)
    assert orientation.slice_axis == order[0]


def test_axial_lps_arrays_are_taken_as_they_are() -> None:
    orientation = Orientation.from_direction(np.eye(3))
    assert orientation == Orientation((0, 1, 2), (False, False, False))


@pytest.mark.parametrize("degrees", [-25.0, 12.0, 40.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_tilted_acquisition_keeps_the_axes_that_it_is_nearest_to(degrees: float, axis: int) -> None:
    for order, flips in (((0, 1, 2), (False, True, False)), ((1, 0, 2), (True, False, False))):
        direction = rotation(degrees, axis) @ direction_of(order, flips)
        found = Orientation.from_direction(direction)
        assert (found.order, found.flips) == (order, flips)


@given(st.integers(1, 40), st.floats(0.3, 7), st.integers(1, 40), st.floats(0.3, 7), st.floats(-20, 20))
def test_every_resampled_cell_is_an_average_of_what_it_covers(
    count: int, size: float, target_count: int, target_size: float, start: float
) -> None:
    weights = resampling_matrix((count, size, 0.0), (target_count, target_size, start)).numpy()
    low = start + np.arange(target_count) * target_size
    outside = (low + target_size <= 0) | (low >= count * size)
    assert weights.shape == (target_count, count)
    assert np.all(weights >= 0)
    near = (np.abs(low + target_size) < 1e-6) | (np.abs(low - count * size) < 1e-6)  # a touching edge may go either way
    np.testing.assert_allclose(weights.sum(1)[~near], np.where(outside, 0.0, 1.0)[~near], atol=1e-5)


@given(grids())
def test_the_working_plane_is_a_multiple_of_sixteen_that_covers_the_box(grid: WorkingGrid) -> None:
    shape, spacing = grid.shape, grid.spacing_mm
    turned = [grid.native_shape[axis] * grid.native_spacing[axis] for axis in grid.orientation.order]
    for axis in (1, 2):
        assert shape[axis] % PLANE_MULTIPLE == 0
        assert 0 <= shape[axis] * spacing[axis] - turned[axis] + 1e-6
        assert shape[axis] * spacing[axis] - turned[axis] <= PLANE_MULTIPLE * spacing[axis] + 1e-6
    assert shape[0] * spacing[0] >= turned[0] - 1e-6
    assert tuple(grid.to_working(np.zeros(grid.native_shape, bool)).shape) == shape


@given(grids(), st.tuples(*[st.floats(-1, 1)] * 3))
def test_a_smooth_field_survives_the_way_there_and_back(grid: WorkingGrid, slope: tuple[float, float, float]) -> None:
    cells = [np.arange(n) * s for n, s in zip(grid.native_shape, grid.native_spacing)]
    field = sum(g * axis for g, axis in zip(slope, np.meshgrid(*cells, indexing="ij")))
    back = grid.to_native(grid.to_working(np.asarray(field, np.float32)))
    assert back.shape == grid.native_shape
    coarsest = {}
    for world, axis in enumerate(grid.orientation.order):
        coarsest[axis] = max(grid.spacing_mm[world], grid.native_spacing[axis])
    inner = tuple(  # in plane the field ends at the image's edge, and nothing is known beyond
        slice(None) if axis == grid.orientation.slice_axis else slice(cut, -cut or None)
        for axis in range(3)
        for cut in [int(np.ceil(coarsest[axis] / grid.native_spacing[axis]))]
    )
    allowed = sum(abs(g) * coarsest[axis] for axis, g in enumerate(slope))
    assert np.all(np.abs(back - field)[inner] <= allowed + 1e-3)


@given(grids(), st.integers(0, 2**31))
def test_slabs_without_strokes_are_skipped_and_nothing_differs(grid: WorkingGrid, seed: int) -> None:
    painted = np.zeros(grid.native_shape, bool)
    painted[tuple(np.random.default_rng(seed).integers(n) for n in grid.native_shape)] = True
    assert torch.equal(grid.to_working(painted), grid.to_working(painted.astype(np.float32)))


@pytest.mark.parametrize("way", ["to_working", "to_native"])
def test_a_volume_of_many_slices_can_be_left_between_slabs(way: str) -> None:
    plain = Orientation.from_direction(np.eye(3))
    grid = WorkingGrid((400, 16, 16), (1.0, 1.0, 1.0), plain, ((0, 16), (0, 16)), 1.0, 2)
    asked = iter(range(1000))

    def between() -> None:
        if next(asked) == 5:
            raise KeyboardInterrupt

    given = np.zeros(grid.native_shape, np.float32) if way == "to_working" else torch.zeros(grid.shape)
    with pytest.raises(KeyboardInterrupt):
        getattr(grid, way)(given, between=between)
    assert next(asked) == 6


def test_a_grid_equal_to_the_given_one_changes_nothing() -> None:
    values = np.random.default_rng(0).random((3, 16, 32)).astype(np.float32)
    grid = WorkingGrid((3, 16, 32), (5.0, 1.0, 1.0), Orientation.from_direction(np.eye(3)), ((0, 16), (0, 32)), 1.0, 1)
    assert np.array_equal(grid.to_working(values).numpy(), values)
    assert np.array_equal(grid.to_native(grid.to_working(values)), values)


def test_coarser_means_the_average_over_area() -> None:
    values = np.random.default_rng(0).random((6, 32, 64)).astype(np.float32)
    grid = WorkingGrid((6, 32, 64), (1.0, 0.5, 0.5), Orientation.from_direction(np.eye(3)), ((0, 32), (0, 64)), 1.0, 3)
    blocks = values.reshape(2, 3, 16, 2, 32, 2).mean((1, 3, 5))
    np.testing.assert_allclose(grid.to_working(values).numpy(), blocks, atol=1e-6)


@pytest.mark.parametrize("depth", [7, 37, 40])
def test_many_slices_are_merged_slab_by_slab_as_if_at_once(depth: int) -> None:
    values = np.random.default_rng(0).random((depth, 16, 16)).astype(np.float32)
    plane = ((0, 16), (0, 16))
    grid = WorkingGrid((depth, 16, 16), (0.6, 1.0, 1.0), Orientation.from_direction(np.eye(3)), plane, 1.0, 4)
    means = np.stack([values[start : start + 4].mean(0) for start in range(0, depth, 4)])
    np.testing.assert_allclose(grid.to_working(values).numpy(), means, atol=1e-6)


@pytest.mark.parametrize("flips", [(True, False, False), (True, True, True)])
@pytest.mark.parametrize("depth", [2, 8, 9, 17, 33])
@pytest.mark.parametrize("merge", [1, 2])
def test_a_ct_of_any_length_stored_backwards_is_the_same_ct(
    flips: tuple[bool, bool, bool], depth: int, merge: int
) -> None:
    hu = np.random.default_rng(depth).normal(30, 5, (depth, 20, 18)).astype(np.float32)
    box, spacing = ((0, 20), (0, 18)), (5.0, 1.0, 1.0)
    there = WorkingGrid(hu.shape, spacing, Orientation((0, 1, 2), (False,) * 3), box, 1.0, merge).to_working(hu)
    backwards = np.ascontiguousarray(hu[tuple(slice(None, None, -1 if flip else 1) for flip in flips)])
    grid = WorkingGrid(hu.shape, spacing, Orientation((0, 1, 2), flips), box, 1.0, merge)
    assert torch.equal(grid.to_working(backwards), there)


@given(grids(), st.integers(0, 2**32 - 1))
def test_a_painted_voxel_is_always_painted_on_the_working_grid(grid: WorkingGrid, seed: int) -> None:
    rng = np.random.default_rng(seed)
    voxels = [tuple(int(rng.integers(n)) for n in grid.native_shape) for _ in range(3)]
    inside, outside = np.zeros((2, *grid.native_shape), bool)
    for voxel in voxels[:2]:
        inside[voxel] = True
    outside[voxels[2]] = not inside[voxels[2]]
    painted = working_strokes(Scribbles(inside, outside), grid)
    assert not (painted[0] & painted[1]).any()
    slices = painted.any(0).flatten(1).any(1)
    for voxel in voxels:
        assert slices[working_slice(grid, voxel[grid.orientation.slice_axis])]
    seen = grid.to_native(painted.any(0).float())
    assert np.all(seen[inside | outside] > 0)


@pytest.mark.parametrize("depth", range(2, 18))
def test_thin_slices_are_merged_and_none_is_lost(depth: int) -> None:
    grid = working_grid(small_ct((depth, 16, 16), (0.6, 1.0, 1.0)), 1.0, 2.5)
    assert grid.shape[0] >= 2
    assert grid.merge == min(4, max(1, depth // 2))
    for z in range(depth):
        strokes = np.zeros((depth, 16, 16), bool)
        strokes[z, 8, 8] = True
        painted = working_strokes(Scribbles(strokes), grid)
        assert torch.nonzero(painted[0].flatten(1).any(1)).flatten().tolist() == [working_slice(grid, z)]


@pytest.mark.parametrize("depth", [5, 9, 17])
def test_the_last_merged_slice_holds_the_ct_and_no_air(depth: int) -> None:
    volume = CTVolume.from_array(np.full((depth, 16, 16), 40.0), (0.6, 1.0, 1.0))
    image = working_image(volume, working_grid(volume, 1.0, 2.5))
    assert torch.all(image.abs() < 1e-5)


def test_a_pixel_at_the_rim_of_the_image_is_seen_whatever_the_pixel_size() -> None:
    volume = small_ct((3, 31, 31), (5.0, 0.31, 0.31))
    grid = working_grid(volume, 1.0, 0.0)
    for corner in ((0, 0), (0, 30), (30, 0), (30, 30)):
        strokes = np.zeros(volume.shape, bool)
        strokes[(1, *corner)] = True
        assert working_strokes(Scribbles(strokes), grid)[0, 1].any()


def test_strokes_outside_of_the_head_box_paint_nothing_and_do_not_fail() -> None:
    plane = Orientation.from_direction(np.eye(3))
    grid = WorkingGrid((3, 64, 64), (5.0, 1.0, 1.0), plane, ((16, 48), (16, 48)), 1.0, 1)
    strokes = np.zeros((3, 64, 64), bool)
    strokes[1, 2, 2] = True
    assert not working_strokes(Scribbles(strokes), grid).any()
    assert not grid.to_native(torch.ones(grid.shape))[:, :16].any()
    assert np.all(grid.to_native(torch.ones(grid.shape))[:, 16:48, 16:48] == 1.0)


def test_beyond_the_ct_is_what_the_caller_says() -> None:
    grid = WorkingGrid((2, 8, 8), (5.0, 1.0, 1.0), Orientation.from_direction(np.eye(3)), ((0, 8), (0, 8)), 1.0, 1)
    working = grid.to_working(np.zeros((2, 8, 8)), outside=-200.0)
    assert torch.all(working[:, 4:12, 4:12] == 0.0)
    assert torch.all(working[:, :4] == -200.0)


def test_what_is_set_in_the_padding_alone_lands_nowhere() -> None:
    grid = WorkingGrid((8, 20, 20), (1.0, 1.0, 1.0), Orientation((0, 1, 2), (False,) * 3), ((0, 20), (0, 20)), 1.0, 2)
    values = torch.zeros(grid.shape)
    values[:, 0, 0] = 0.9
    assert not grid._up[1][:, 0].any(), "the corner is padding"
    assert not grid.to_native(values).any() and not grid.to_native_mask(values, 0.5).any()


@given(
    shapes,
    spacings,
    st.sampled_from(ORDERS),
    st.sampled_from(FLIPS),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 3]),
)
def test_where_only_a_little_is_set_the_rest_is_zero_and_the_little_is_whole(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    order: tuple[int, int, int],
    flips: tuple[bool, bool, bool],
    seed: int,
    count: int,
) -> None:
    rng = np.random.default_rng(seed)
    volume = CTVolume.from_array(
        rng.normal(0, 1, shape).astype(np.float32), spacing, direction=direction_of(order, flips)
    )
    grid = working_grid(volume, 1.0, 2.5)
    values = torch.zeros(grid.shape)
    for _ in range(count):
        d, h, w = (int(rng.integers(n)) for n in grid.shape)
        values[d : d + 2, h : h + 3, w : w + 2] = float(rng.uniform(0.3, 1))
    whole = torch.einsum("ad,bh,cw,dhw->abc", *grid._up, values).numpy()
    assert np.allclose(grid.orientation.apply(grid.to_native(values)), whole, atol=1e-5)
    assert np.array_equal(grid.to_native_mask(values, 0.5), grid.to_native(values) >= 0.5)
