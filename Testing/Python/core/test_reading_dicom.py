"""read_volume on DICOM folders: order, gaps, tilt, several series, and everything that is refused by name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from core.ct_files import OTHER_UID, SERIES_UID, head_hu, stacked, write_series, write_slice
from ichhpinet.dicom import SeveralSeries, read_folder
from ichhpinet.errors import InputError
from ichhpinet.reading import read_volume
from ichhpinet.volume import CTVolume

OTHER_SERIES = {"0020|000e": OTHER_UID, "0020|0011": "7"}


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """A plain series of six axial slices, 5 mm apart."""
    return write_series(tmp_path / "ct", head_hu(), stacked(6))


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.dcm"))


def test_a_plain_series_is_kept_exactly_and_sorted_by_place(series: Path) -> None:
    volume = read_volume(series)
    assert np.array_equal(volume.hu, head_hu()) and volume.notes == ()
    assert volume.spacing_mm == (5.0, 0.5, 0.5) and volume.origin == (-5.0, -6.0, 10.0)
    assert np.array_equal(volume.direction, np.eye(3))


def test_a_plain_series_lies_where_itk_puts_it(series: Path) -> None:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(series)))
    image, volume = reader.Execute(), read_volume(series)
    assert np.array_equal(sitk.GetArrayFromImage(image), volume.hu)
    assert np.allclose(image.GetOrigin(), volume.origin) and np.allclose(image.GetSpacing()[::-1], volume.spacing_mm)
    assert np.allclose(np.reshape(image.GetDirection(), (3, 3)), volume.direction)


def test_a_series_stored_from_head_to_feet_is_the_same_volume(tmp_path: Path, series: Path) -> None:
    turned = write_series(tmp_path / "turned", head_hu()[::-1], stacked(6)[::-1])
    assert read_volume(turned).digest() == read_volume(series).digest()


def test_a_coronal_series_keeps_its_planes(tmp_path: Path) -> None:
    coronal = {"0020|0037": "1\\0\\0\\0\\0\\-1"}
    folder = write_series(tmp_path / "ct", head_hu(), [(0.0, 3.0 * k, 0.0) for k in range(6)], coronal)
    volume = read_volume(folder)
    assert np.array_equal(volume.hu, head_hu()) and volume.spacing_mm[0] == 3.0
    assert np.allclose(volume.direction, [[1, 0, 0], [0, 0, 1], [0, -1, 0]])


def test_rescale_slope_and_intercept_are_applied(real_series: Path, tmp_path: Path) -> None:
    for name in ("05.dcm", "06.dcm"):
        content = (real_series / name).read_bytes()
        assert content.count(b"\x28\x00\x52\x10DS\x02\x000 ") == 1
        (tmp_path / name).write_bytes(content.replace(b"\x28\x00\x52\x10DS\x02\x000 ", b"\x28\x00\x52\x10DS\x02\x00-5"))
    plain = sitk.GetArrayFromImage(sitk.ReadImage(str(real_series / "05.dcm")))
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "05.dcm"))), plain - 5)
    assert read_volume(tmp_path).hu[0].max() == plain.max() - 5


def test_the_real_series_is_straightened_and_says_so(real_volume: CTVolume) -> None:
    assert real_volume.shape == (37, 611, 512)
    assert np.allclose(real_volume.spacing_mm, (4.0, 0.488, 0.488), atol=0.003)
    assert len(real_volume.notes) == 1
    assert "gantry tilt of 18.5 degrees and uneven slice steps of 1.08 to 7.00 mm" in real_volume.notes[0]
    assert "37 x 611 x 512 with 4.00 mm steps" in real_volume.notes[0]


def test_no_slice_of_the_real_series_is_lost_or_moved(real_series: Path, real_volume: CTVolume) -> None:
    to_index = np.linalg.inv(real_volume.direction * np.array(real_volume.spacing_mm)[::-1])
    for file in files(real_series):
        image = sitk.ReadImage(str(file))
        plane = np.maximum(sitk.GetArrayFromImage(image)[0], -1024).astype(np.float32)
        x, y, z = to_index @ (np.array(image.GetOrigin()) - real_volume.origin)
        assert x == pytest.approx(0, abs=1e-6)
        below, above = int(np.floor(z + 1e-4)), min(int(np.ceil(z - 1e-4)), 36)
        rows = slice(round(y), round(y) + 512)
        nearest = real_volume.hu[below if z - below < 0.5 else above, rows]
        assert np.corrcoef(nearest[::4, ::4].ravel(), plane[::4, ::4].ravel())[0, 1] > 0.93


def test_a_missing_slice_is_filled_and_noted(series: Path) -> None:
    (series / f"21-{SERIES_UID[-4:]}.dcm").unlink()  # the fourth of six
    volume = read_volume(series)
    assert volume.shape == (6, 24, 20) and volume.spacing_mm[0] == 5.0
    assert "about 1 slices seem to be missing (after slice 3)" in volume.notes[1]
    assert np.allclose(volume.hu[3], (head_hu()[2] + head_hu()[4]) / 2, atol=0.51)
    assert np.array_equal(np.delete(volume.hu, 3, axis=0), np.delete(head_hu(), 3, axis=0))


def test_a_gap_too_wide_to_fill_is_refused(tmp_path: Path) -> None:
    positions = [(0.0, 0.0, z) for z in (0.0, 5.0, 10.0, 60.0, 65.0, 70.0)]
    with pytest.raises(InputError, match="two neighbouring slices are 50.0 mm apart; they must be at most 30 mm apart"):
        read_volume(write_series(tmp_path / "ct", head_hu(), positions))
    even = [(0.0, 0.0, 50.0 * number) for number in range(6)]
    with pytest.raises(InputError, match="two neighbouring slices are 50.0 mm apart"):
        read_volume(write_series(tmp_path / "even", head_hu(), even))


def test_a_slice_stored_twice_is_used_once_with_a_note(series: Path) -> None:
    shutil.copy(files(series)[2], series / "copy.dcm")
    volume = read_volume(series)
    assert np.array_equal(volume.hu, head_hu()) and volume.notes == ("1 slices were stored twice and used once",)


def test_two_different_slices_at_one_place_are_refused_by_name(series: Path) -> None:
    write_slice(series / "other.dcm", head_hu(seed=1)[0].astype(np.int16), stacked(6)[0])
    with pytest.raises(InputError, match="other.dcm.* lie at the same place and differ; a series must hold one slice"):
        read_volume(series)


def test_several_series_are_listed_with_a_way_to_choose(series: Path) -> None:
    write_series(series, head_hu(seed=1)[:4], stacked(4), {**OTHER_SERIES, "0018|1210": "H30s", "0018|0010": "Iohexol"})
    message = (
        r"^ct holds 2 CT series \(1: 6 slices 5 mm apart, UID \.\.\.11111111; 2: 4 slices 5 mm apart, kernel H30s, "
        r"with contrast agent, UID \.\.\.22222222\); choose one with series= \(--series\): its number or UID$"
    )
    with pytest.raises(SeveralSeries, match=message) as caught:
        read_volume(series)
    assert [(one.uid, one.number, one.slices, one.step_mm, one.kernel) for one in caught.value.choices] == [
        (SERIES_UID, 0, 6, 5.0, ""),
        (OTHER_UID, 7, 4, 5.0, "H30s"),
    ]
    assert "Iohexol" not in str(caught.value), "what was given is the patient's"


def test_series_whose_slices_all_lie_at_one_place_are_listed_too(series: Path) -> None:
    write_series(series, head_hu(), [(0.0, 0.0, 0.0)] * 6, OTHER_SERIES)
    with pytest.raises(SeveralSeries, match=r"2: 6 slices, UID"):
        read_volume(series)


@pytest.mark.parametrize("choice", [OTHER_UID, "22222222", "2", 2])
def test_a_series_is_chosen_by_uid_its_end_or_its_number(series: Path, choice: str) -> None:
    write_series(series, head_hu(seed=1)[:4], stacked(4), OTHER_SERIES)
    assert np.array_equal(read_volume(series, series=choice).hu, head_hu(seed=1)[:4])


@pytest.mark.parametrize("choice", ["3", "1.2.3.4", "1", "999999"])
def test_a_choice_that_names_no_series_is_refused(series: Path, choice: str) -> None:
    if choice == "1":  # the first of one: fine
        assert read_volume(series, series=choice).shape == (6, 24, 20)
        return
    with pytest.raises(InputError, match=f"none of them alone is '{choice}'"):
        read_volume(series, series=choice)


def test_localizers_and_other_modalities_beside_the_ct_are_left_out_with_a_note(series: Path) -> None:
    scout = {"0008|0008": "ORIGINAL\\PRIMARY\\LOCALIZER", "0020|000e": OTHER_UID}
    write_slice(series / "scout.dcm", head_hu()[0].astype(np.int16), (0, 0, 0), scout)
    write_slice(series / "mr.dcm", head_hu()[0].astype(np.int16), (0, 0, 0), {"0008|0060": "MR", "0020|000e": "1.2.3"})
    volume = read_volume(series)
    assert np.array_equal(volume.hu, head_hu())
    assert volume.notes == ("1 localizer images were left out", "1 images that are not CT were left out")


def test_files_that_are_no_dicom_are_ignored(series: Path) -> None:
    (series / "LICENSE").write_text("text")
    (series / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    assert read_volume(series).notes == ()


def test_a_dicom_file_without_an_image_is_left_out_with_a_note(series: Path) -> None:
    report = b"\0" * 128 + b"DICM" + b"\x02\x00\x02\x00UI\x1e\x001.2.840.10008.5.1.4.1.1.88.22\0"
    (series / "report.dcm").write_bytes(report)
    assert read_volume(series).notes == ("1 DICOM files that hold no image were left out",)


def test_an_mr_series_is_refused_by_name(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "scan", head_hu(), stacked(6), {"0008|0060": "MR"})
    with pytest.raises(InputError, match="the images in scan are of DICOM modality MR; they must be CT"):
        read_volume(folder)


def test_an_empty_folder_and_one_with_folders_only_are_refused(tmp_path: Path, series: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match="the folder nothing holds no DICOM image; it must hold the slices of a CT"):
        read_volume(tmp_path / "nothing")
    with pytest.raises(InputError, match="it holds folders: give the one with the slices"):
        read_volume(series.parent)


def test_a_single_slice_is_refused_as_folder_and_as_file(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "ct", head_hu()[:1], stacked(1))
    with pytest.raises(InputError, match="the series in ct has 1 slice; it must have at least 2"):
        read_volume(folder)
    with pytest.raises(InputError, match="is one DICOM slice; give the folder that holds all of them"):
        read_volume(files(folder)[0].rename(folder / "slice"))


def test_a_single_mr_file_is_refused_by_name(tmp_path: Path) -> None:
    write_slice(tmp_path / "mr.dcm", head_hu()[0].astype(np.int16), (0, 0, 0), {"0008|0060": "MR"})
    with pytest.raises(InputError, match="mr.dcm is of DICOM modality MR; it must be CT"):
        read_volume(tmp_path / "mr.dcm")


def test_a_multi_frame_file_is_refused_by_name_alone_and_in_a_folder(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(head_hu().astype(np.int16))
    for tag, value in {"0008|0060": "CT", "0020|000e": SERIES_UID}.items():
        image.SetMetaData(tag, value)
    sitk.WriteImage(image, str(tmp_path / "enhanced.dcm"))
    for path in (tmp_path, tmp_path / "enhanced.dcm"):
        with pytest.raises(InputError, match=r"enhanced.dcm is a multi-frame \(enhanced\) DICOM file"):
            read_volume(path)


def test_a_colour_image_is_refused_by_name(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.zeros((1, 8, 9, 3), np.uint8), isVector=True)
    image.SetMetaData("0008|0060", "CT")
    sitk.WriteImage(image, str(tmp_path / "colour.dcm"))
    with pytest.raises(InputError, match="colour.dcm is a colour image"):
        read_volume(tmp_path)


def test_a_slice_that_is_not_parallel_is_refused_by_name(series: Path) -> None:
    write_slice(series / "odd.dcm", head_hu()[0].astype(np.int16), (0, 0, 90), {"0020|0037": "1\\0\\0\\0\\0\\-1"})
    with pytest.raises(InputError, match="is not parallel to"):
        read_volume(series)


@pytest.mark.parametrize(
    ("orientation", "message"),
    [
        (rb"1\0\0\1\0\0 ", "is not two perpendicular directions|cut short or damaged"),
        (rb"2\0\0\0\1\0 ", "is not two perpendicular directions|cut short or damaged"),
        (rb"1\0         ", "does not say where its slice lies|cut short or damaged"),
        (rb"1\a\0\0\1\0 ", "cut short or damaged"),
    ],
)
def test_an_orientation_that_is_none_is_refused_by_name(series: Path, orientation: bytes, message: str) -> None:
    file = files(series)[2]
    content = file.read_bytes()
    assert content.count(rb"1\0\0\0\1\0 ") == 1 and len(orientation) == 12
    file.write_bytes(content.replace(rb"1\0\0\0\1\0 ", orientation))
    with pytest.raises(InputError, match=message):
        read_volume(series)


def test_slices_without_a_place_are_refused_by_name(series: Path) -> None:
    file = files(series)[2]
    content = file.read_bytes()
    at = content.index(b"\x20\x00\x32\x00")
    file.write_bytes(content[:at] + b"\x20\x00\x33\x00" + content[at + 4 :])
    with pytest.raises(InputError, match="does not say where its slice lies"):
        read_volume(series)


def test_slices_of_two_sizes_are_refused_by_name(series: Path) -> None:
    write_slice(series / "small.dcm", head_hu((6, 12, 20))[0].astype(np.int16), (0, 0, 90))
    with pytest.raises(InputError, match="has another size or pixel spacing than"):
        read_volume(series)


@pytest.mark.parametrize("pixel", [rb"00\00 ", rb"-5\-5 "])
def test_a_pixel_size_that_is_none_is_refused_by_name(series: Path, pixel: bytes) -> None:
    for file in files(series):
        content = file.read_bytes()
        assert rb".5\.5 " in content
        file.write_bytes(content.replace(rb".5\.5 ", pixel))
    with pytest.raises(InputError, match="the pixel size of .* both steps must be greater than 0"):
        read_volume(series)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.99])
def test_a_cut_slice_is_refused_by_name(series: Path, share: float) -> None:
    file = files(series)[3]
    content = file.read_bytes()
    file.write_bytes(content[: max(int(share * len(content)), 200)])
    with pytest.raises(InputError, match=f"{re.escape(file.name)} cannot be read.*cut short or damaged"):
        read_volume(series)


@given(data=st.data())
def test_a_damaged_slice_gives_an_input_error_or_a_valid_volume(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = write_series(tmp_path_factory.mktemp("damaged") / "ct", head_hu()[:3], stacked(3))
    file = files(folder)[data.draw(st.integers(0, 2))]
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 10_000)) % len(content)] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content[: len(content) // 2] if data.draw(st.booleans()) else content)
    try:
        assert np.isfinite(read_volume(folder).hu).all()
    except InputError as error:
        assert "\n" not in str(error) and str(folder.parent) not in str(error)


def test_reading_a_folder_reports_progress_by_slice(series: Path) -> None:
    seen: list[tuple[float, str]] = []
    read_folder(series, progress=lambda fraction, what: seen.append((fraction, what)))
    assert [fraction for fraction, _ in seen] == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
