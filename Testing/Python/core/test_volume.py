"""CTVolume: what it accepts, what it refuses and in which words, and that it cannot change."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.ct_files import head_hu, head_volume, rotation
from ichhpinet.errors import InputError
from ichhpinet.volume import CTVolume

SPACING = (5.0, 0.5, 0.5)


def test_an_array_of_hu_becomes_a_volume_with_the_same_values_and_an_axial_grid() -> None:
    hu = head_hu()
    volume = CTVolume.from_array(hu.astype(np.int16), SPACING)
    assert volume.hu.dtype == np.float32 and volume.hu.flags.c_contiguous
    assert np.array_equal(volume.hu, hu)
    assert volume.shape == (6, 24, 20) and volume.spacing_mm == SPACING and volume.origin == (0, 0, 0)
    assert np.array_equal(volume.direction, np.eye(3)) and volume.notes == ()
    assert volume.voxel_ml == pytest.approx(5 * 0.5 * 0.5 / 1000)


def test_values_are_never_guessed_or_rescaled() -> None:
    picture = np.tile(np.arange(256, dtype=np.uint8), (2, 3, 1))
    assert np.array_equal(CTVolume.from_array(picture, SPACING).hu, picture)


def test_a_volume_cannot_change_through_the_array_it_came_from_or_its_own() -> None:
    hu = head_hu()
    volume = CTVolume.from_array(hu, SPACING)
    before = volume.hu.copy()
    hu[:] = 7
    assert np.array_equal(volume.hu, before)
    with pytest.raises(ValueError, match="read-only"):
        volume.hu[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        volume.direction[0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        volume.spacing_mm = (1, 1, 1)  # type: ignore[misc]


def test_an_array_in_another_memory_order_keeps_its_values() -> None:
    hu = head_hu()
    assert np.array_equal(CTVolume.from_array(np.asfortranarray(hu), SPACING).hu, hu)
    assert np.array_equal(CTVolume.from_array(hu[::-1, :, ::2], SPACING).hu, hu[::-1, :, ::2])


@pytest.mark.parametrize(
    ("hu", "message"),
    [
        (np.zeros((4, 4)), "has 2 dimensions .*it must have 3"),
        (np.zeros((2, 4, 4, 3)), "has 4 dimensions .*it must have 3"),
        (np.zeros((0, 4, 4)), "is empty"),
        (np.zeros((1, 4, 4)), "has 1 slice; it must have at least 2"),
        (np.zeros((2, 4, 4), bool), "of type bool; they must be real numbers"),
        (np.zeros((2, 4, 4), complex), "of type complex128; they must be real numbers"),
        (np.full((2, 2, 2), np.nan), "8 voxels that are NaN or infinite"),
        (np.array([[[0.0, np.inf]], [[1.0, 2.0]]]), "1 voxels that are NaN or infinite"),
        (np.full((2, 2, 2), 1e300), "NaN or infinite"),
    ],
)
def test_what_is_no_ct_is_refused_by_name(hu: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        CTVolume.from_array(hu, SPACING)


@pytest.mark.parametrize(
    ("spacing", "message"),
    [
        ((5, 0, 0.5), "every step must be greater than 0"),
        ((5, -0.5, 0.5), "every step must be greater than 0"),
        ((5, np.nan, 0.5), "must be 3 finite numbers"),
        ((0.5, 0.5), "must be 3 finite numbers"),
        (("a", 1, 1), "not a row of numbers"),
        (5.0, "not a row of numbers"),
        ((1e-320, 1, 1), "every step must be from 0.001 to 1000 mm"),
        ((5, 1, 1e308), "every step must be from 0.001 to 1000 mm"),
        ((5, 1, 10**400), "not a row of numbers"),
    ],
)
def test_a_spacing_that_is_none_is_refused_by_name(spacing: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CTVolume.from_array(head_hu(), spacing)


@pytest.mark.parametrize(
    ("direction", "message"),
    [
        (np.eye(2), "must be 3 x 3"),
        (np.diag([1, 1, 2]), "not perpendicular unit vectors"),
        ([[1, 0.3, 0], [0, 1, 0], [0, 0, 1]], "not perpendicular unit vectors"),
        (np.full((3, 3), np.nan), "not perpendicular unit vectors"),
        ("axial", "not a matrix of numbers"),
    ],
)
def test_a_direction_that_is_sheared_or_no_matrix_is_refused_by_name(direction: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        CTVolume.from_array(head_hu(), SPACING, direction=direction)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"origin": (0, 0, 1e30)}, "the origin is .*within 1 km"),
        ({"origin": (0, 0, 10**400)}, "the origin is not a row of numbers"),
        ({"direction": [[10**400, 0, 0], [0, 1, 0], [0, 0, 1]]}, "the direction is not a matrix"),
        ({"notes": "a sentence"}, "the notes are a str; they must be a row of sentences"),
        ({"notes": 3}, "the notes are a int; they must be a row of sentences"),
        ({"hu": np.ma.masked_greater(head_hu(), 60.0)}, "the CT is a masked array; every voxel must have a value"),
        ({"hu": torch.zeros(3, 8, 8, requires_grad=True)}, "the CT is a Tensor that NumPy cannot read"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(given: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        CTVolume.from_array(**{"hu": head_hu(), "spacing_mm": SPACING, **given})  # type: ignore[arg-type]


def test_an_origin_that_is_not_finite_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="the origin is .* must be 3 finite numbers"):
        CTVolume.from_array(head_hu(), SPACING, origin=(0, 0, np.inf))


def test_a_mirrored_grid_is_accepted() -> None:
    assert CTVolume.from_array(head_hu(), SPACING, direction=np.diag([1, 1, -1])).direction[2, 2] == -1


def test_the_digest_follows_values_and_grid_and_nothing_else() -> None:
    volume = head_volume()
    same = CTVolume(volume.hu, volume.spacing_mm, volume.origin, volume.direction, ("a note",))
    assert volume.digest() == same.digest() and len(volume.digest()) == 64
    others = [
        dataclasses.replace(volume, spacing_mm=(5.0, 0.5, 0.76)),
        dataclasses.replace(volume, origin=(0.0, 0.0, 0.0)),
        dataclasses.replace(volume, direction=np.eye(3)),
        dataclasses.replace(volume, hu=volume.hu + 1),
        dataclasses.replace(volume, hu=volume.hu.reshape(6, 20, 24)),
    ]
    assert len({volume.digest(), *(other.digest() for other in others)}) == 6
    assert not any(volume.is_digest(other.digest()) for other in others)


@given(st.floats(-500, 500), st.floats(-500, 500), st.sampled_from([0.488281, 0.449219, 0.43]))
def test_a_grid_rounded_as_nifti_rounds_it_is_no_other_ct(x: float, y: float, pixel: float) -> None:
    volume = CTVolume.from_array(head_hu(), (2.5, pixel, pixel), (x, y, 30.0))
    steps, place = (tuple(float(np.float32(n)) for n in row) for row in (volume.spacing_mm, volume.origin))
    again = CTVolume.from_array(head_hu(), steps, place)
    assert again.is_digest(volume.digest()) and volume.is_digest(again.digest())
    moved = CTVolume.from_array(head_hu(), volume.spacing_mm, (x + 0.01, y, 30.0))
    assert not moved.is_digest(volume.digest())


@given(degrees=st.floats(-180, 180), axis=st.integers(0, 2), spacing=st.tuples(*[st.floats(0.1, 12)] * 3))
def test_a_sitk_image_lies_where_the_volume_does(degrees: float, axis: int, spacing: tuple[float, ...]) -> None:
    volume = CTVolume.from_array(np.zeros((2, 3, 4)), spacing, (1.0, -2.0, 3.0), rotation(degrees, axis))
    image = volume.to_sitk()
    assert image.GetSize() == (4, 3, 2)
    step = volume.direction @ (np.array([3, 2, 1]) * np.array(spacing)[::-1])
    assert np.allclose(image.TransformIndexToPhysicalPoint((3, 2, 1)), np.array(volume.origin) + step)


def test_a_volume_shows_its_shape_and_steps_and_not_its_values() -> None:
    assert repr(head_volume()) == "CTVolume(6, 24, 20), 5 x 0.5 x 0.75 mm"


def test_a_zero_below_zero_is_a_zero_to_the_digest() -> None:
    hu = np.full((3, 4, 4), 40.0, np.float32)
    hu[1] = -0.0
    written = hu.astype(np.int16)  # as a file of whole numbers keeps it
    assert np.signbit(hu[1]).all()
    one, other = (CTVolume.from_array(values, (5, 1, 1)) for values in (hu, written))
    assert one.digest() == other.digest()


def test_a_view_of_an_array_that_can_change_is_copied() -> None:
    base = np.full((3, 4, 4), 40.0, np.float32)
    view = base.view()[:]
    view.setflags(write=False)
    volume = CTVolume.from_array(view, (5, 1, 1))
    base[:] = 0
    assert (volume.hu == 40).all()
    alone = base.copy()
    alone.setflags(write=False)
    assert CTVolume.from_array(alone, (5, 1, 1)).hu is alone, "what nobody can change is taken over"
    tensor = torch.full((3, 4, 4), 40.0)
    lent = tensor.numpy()
    lent.setflags(write=False)
    volume = CTVolume.from_array(lent, (5, 1, 1))
    tensor.zero_()
    assert (volume.hu == 40).all()


def test_rows_of_several_lengths_and_a_spacing_in_letters_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="the CT has rows of several lengths"):
        CTVolume.from_array([[[1, 2], [3]], [[1, 2], [3]]], (5, 1, 1))
    with pytest.raises(InputError, match="the spacing is not a row of numbers"):
        CTVolume.from_array(np.zeros((3, 4, 4)), "555")  # type: ignore[arg-type]
