"""The table of what is HU and what is not, through read_volume: each row, and what overrules it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from core.ct_files import head_hu
from ichhpinet.errors import InputError
from ichhpinet.hounsfield import matching_row
from ichhpinet.reading import read_volume
from ichhpinet.volume import CTVolume


def stored(folder: Path, values: np.ndarray) -> Path:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.5, 0.5, 5.0))
    sitk.WriteImage(image, str(folder / "ct.nrrd"))
    return folder / "ct.nrrd"


def picture(level: float = 40, width: float = 80) -> np.ndarray:
    """head_hu as an 8-bit picture of a window."""
    return (np.clip((head_hu() - (level - width / 2)) / width, 0, 1) * 255).round().astype(np.uint8)


def test_hu_is_taken_as_it_is_without_a_note(tmp_path: Path) -> None:
    volume = read_volume(stored(tmp_path, head_hu().astype(np.int16)))
    assert np.array_equal(volume.hu, head_hu()) and volume.notes == ()


def test_padding_below_air_is_still_hu(tmp_path: Path) -> None:
    hu = head_hu()
    hu[:, 0] = -3024
    assert np.array_equal(read_volume(stored(tmp_path, hu)).hu, hu)


@pytest.mark.parametrize("padding", [None, -2000])
def test_hu_plus_1024_is_shifted_back_with_a_note(tmp_path: Path, padding: int | None) -> None:
    raw = head_hu() + 1024
    raw[2, 10, 10] = 2500
    if padding is not None:
        raw[:, 0] = padding
    volume = read_volume(stored(tmp_path, raw.astype(np.int16)))
    assert np.array_equal(volume.hu, raw - 1024)
    assert "1024 was subtracted" in volume.notes[0]


def test_a_256_grey_picture_is_taken_as_a_brain_window_with_a_note(tmp_path: Path) -> None:
    volume = read_volume(stored(tmp_path, picture()))
    assert np.abs(volume.hu - np.clip(head_hu(), 0, 80)).max() <= 80 / 255
    assert "brain window, level 40, width 80 HU (an assumption)" in volume.notes[0]


def test_a_given_window_overrules_the_assumed_one(tmp_path: Path) -> None:
    volume = read_volume(stored(tmp_path, picture(50, 200)), window=(50, 200))
    assert np.abs(volume.hu - np.clip(head_hu(), -50, 150)).max() <= 200 / 255
    assert "level 50, width 200 HU, as asked" in volume.notes[0]


@pytest.mark.parametrize("top", [1.0, 4095.0])
def test_a_picture_of_another_depth_needs_a_window(tmp_path: Path, top: float) -> None:
    values = (np.clip(head_hu() / 80, 0, 1) * top).astype(np.float32)
    with pytest.raises(InputError, match=r"not HU: its values run from .* or give the window \(level, width\)"):
        read_volume(stored(tmp_path, values))
    assert np.abs(read_volume(stored(tmp_path, values), window=(40, 80)).hu - np.clip(head_hu(), 0, 80)).max() < 1e-3


def test_clipped_hu_is_taken_with_a_note(tmp_path: Path) -> None:
    volume = read_volume(stored(tmp_path, np.clip(head_hu(), -100, 300)))
    assert volume.hu.min() == -100 and "no air in the image" in volume.notes[0]


def test_a_label_map_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a label map, not a CT"):
        read_volume(stored(tmp_path, (head_hu() > 0).astype(np.uint8)))


def test_a_constant_image_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="every voxel of ct.nrrd is -1000; it must be a CT"):
        read_volume(stored(tmp_path, np.full((3, 4, 5), -1000, np.int16)))


def test_an_mr_without_a_modality_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mr = np.where(head_hu() > -500, rng.gamma(4, 180, (6, 24, 20)) + 100, rng.gamma(1, 10, (6, 24, 20)))
    with pytest.raises(InputError, match="is not HU"):
        read_volume(stored(tmp_path, mr.astype(np.int16)))


def test_values_around_zero_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not HU"):
        read_volume(stored(tmp_path, (head_hu() / 500).astype(np.float32)))


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ((40, 0), "the width must be greater than 0"),
        ((40, -80), "the width must be greater than 0"),
        ((np.nan, 80), "the width must be"),
        ((40,), "must be two numbers"),
        ("brain", "must be two numbers"),
    ],
)
def test_a_window_that_is_none_is_refused(tmp_path: Path, window: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_volume(stored(tmp_path, picture()), window=window)  # type: ignore[arg-type]


def test_a_window_for_hu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave the window out for HU"):
        read_volume(stored(tmp_path, head_hu()), window=(40, 80))


def test_the_real_ct_is_hu_and_is_recognised_with_its_offset_put_back(real_volume: CTVolume) -> None:
    assert matching_row(real_volume.hu).what == "HU"
    assert matching_row(real_volume.hu + 1024).what == "HU + 1024"
    assert matching_row(np.clip(real_volume.hu + 1024, 0, 4095)).what == "HU + 1024"
    assert matching_row((np.clip(real_volume.hu / 80, 0, 1) * 255).round()).what == "a picture with 256 grey levels"
