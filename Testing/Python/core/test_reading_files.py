"""read_volume on single files: every format keeps values and grid; whatever is wrong is refused by name."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from core.ct_files import head_hu, head_volume, rotation
from ichhpinet.errors import InputError
from ichhpinet.reading import read_labels, read_volume
from ichhpinet.volume import CTVolume
from ichhpinet.writing import write_volume

WRITTEN = (".nii", ".nii.gz", ".nrrd", ".mha")
ALL = (*WRITTEN, ".nhdr", ".mhd")


def save(path: Path, volume: CTVolume) -> Path:
    if path.suffix in (".nhdr", ".mhd"):
        sitk.WriteImage(volume.to_sitk(), str(path))
    else:
        write_volume(path, volume)
    return path


def same_grid(a: CTVolume, b: CTVolume) -> bool:
    return (
        np.allclose(a.spacing_mm, b.spacing_mm, rtol=1e-6)
        and np.allclose(a.origin, b.origin, atol=1e-4)
        and np.allclose(a.direction, b.direction, atol=1e-6)
    )


def nifti_with(path: Path, at: int, kind: str, *values: float) -> Path:
    """A NIfTI of a head with a field of its header changed."""
    save(path, head_volume())
    header = bytearray(path.read_bytes())
    struct.pack_into("<" + kind, header, at, *values)
    path.write_bytes(header)
    return path


@pytest.mark.parametrize("ending", ALL)
def test_every_format_gives_back_values_and_grid(tmp_path: Path, head: CTVolume, ending: str) -> None:
    volume = read_volume(save(tmp_path / f"ct{ending}", head))
    assert np.array_equal(volume.hu, head.hu) and same_grid(volume, head) and volume.notes == ()


@given(
    order=st.permutations([0, 1, 2]),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    degrees=st.floats(-40, 40),
    spacing=st.tuples(*[st.floats(0.3, 8)] * 3),
    ending=st.sampled_from(WRITTEN),
)
def test_any_orientation_and_axis_order_goes_through_any_format(
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    signs: tuple[int, ...],
    degrees: float,
    spacing: tuple[float, float, float],
    ending: str,
) -> None:
    direction = rotation(degrees, 0) @ rotation(degrees / 2, 1) @ (np.eye(3)[:, order] * signs)
    given_volume = CTVolume.from_array(head_hu((4, 7, 9)), spacing, (10.0, -20.0, 30.5), direction)
    volume = read_volume(save(tmp_path_factory.mktemp("any") / f"ct{ending}", given_volume))
    assert np.array_equal(volume.hu, given_volume.hu) and same_grid(volume, given_volume)


@pytest.mark.parametrize("ending", WRITTEN)
def test_fractions_of_hu_survive(tmp_path: Path, ending: str) -> None:
    given_volume = CTVolume.from_array(head_hu() + 0.25, (5, 0.5, 0.5))
    assert np.array_equal(read_volume(save(tmp_path / f"ct{ending}", given_volume)).hu, given_volume.hu)


def test_an_ending_in_capitals_is_known(tmp_path: Path, head: CTVolume) -> None:
    save(tmp_path / "ct.nrrd", head).rename(tmp_path / "CT.NRRD")
    assert read_volume(tmp_path / "CT.NRRD").shape == head.shape


def test_a_4d_file_with_one_frame_is_a_volume(tmp_path: Path, head: CTVolume) -> None:
    sitk.WriteImage(sitk.JoinSeries([head.to_sitk()]), str(tmp_path / "ct.nii.gz"))
    volume = read_volume(tmp_path / "ct.nii.gz")
    assert np.array_equal(volume.hu, head.hu) and same_grid(volume, head)


def test_progress_ends_at_one(tmp_path: Path, head: CTVolume) -> None:
    seen: list[float] = []
    read_volume(save(tmp_path / "ct.nii", head), progress=lambda fraction, what: seen.append(fraction))
    assert seen[-1] == 1.0


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    long = "n" * 300 + ".nii"  # more than the system takes
    for read in (read_volume, lambda path: read_labels(path, head_volume())):
        with pytest.raises(InputError, match=f"^{long} (cannot be read|does not exist|is not a file)"):
            read(tmp_path / long)
    with pytest.raises(InputError, match="^progress is a int; it must be a function, or None$"):
        read_volume(tmp_path / "nothing.nii", progress=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="^nothing.nii does not exist; it must be a CT file or a DICOM folder$"):
        read_volume(tmp_path / "nothing.nii")


@pytest.mark.parametrize("name", ["ct.png", "ct", "ct.txt"])
def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"hello")
    with pytest.raises(InputError, match=re.escape(f"{name} is of no known format; it must be .nii, .nii.gz, .nrrd")):
        read_volume(tmp_path / name)


@pytest.mark.parametrize("ending", ALL)
def test_an_empty_file_is_refused(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"ct{ending}").touch()
    with pytest.raises(InputError, match=f"ct{ending} is empty"):
        read_volume(tmp_path / f"ct{ending}")


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_an_image_with_several_frames_is_refused(tmp_path: Path, head: CTVolume, ending: str) -> None:
    path = tmp_path / f"ct{ending}"
    sitk.WriteImage(sitk.JoinSeries([head.to_sitk(), head.to_sitk()]), str(path))
    with pytest.raises(InputError, match=r"is 4D \(20, 24, 6, 2\); it must be 3D, without frames"):
        read_volume(path)


@pytest.mark.parametrize("ending", WRITTEN)
def test_a_flat_image_and_a_single_slice_are_refused(tmp_path: Path, ending: str) -> None:
    for shape in ((8, 9), (1, 8, 9)):
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros(shape, np.int16)), str(tmp_path / f"ct{ending}"))
        with pytest.raises(InputError, match="one slice; it must have at least 2 slices"):
            read_volume(tmp_path / f"ct{ending}")


@pytest.mark.parametrize("ending", WRITTEN)
def test_a_colour_image_is_refused(tmp_path: Path, ending: str) -> None:
    colour = sitk.GetImageFromArray(np.zeros((3, 8, 9, 3), np.uint8), isVector=True)
    sitk.WriteImage(colour, str(tmp_path / f"ct{ending}"))
    with pytest.raises(InputError, match="several values per voxel"):
        read_volume(tmp_path / f"ct{ending}")


@pytest.mark.parametrize("ending", WRITTEN)
def test_voxels_that_are_nan_are_refused(tmp_path: Path, head: CTVolume, ending: str) -> None:
    hu = head.hu.copy()
    hu[0, 0, :3] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(hu), str(tmp_path / f"ct{ending}"))
    with pytest.raises(InputError, match="3 voxels that are NaN or infinite"):
        read_volume(tmp_path / f"ct{ending}")


@pytest.mark.parametrize("ending", WRITTEN)
def test_the_last_voxel_is_looked_at_as_well(tmp_path: Path, ending: str) -> None:
    hu = np.zeros((3, 3, 3), np.float32)
    hu[-1, -1, -1] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(hu), str(tmp_path / f"ct{ending}"))
    with pytest.raises(InputError, match="1 voxels that are NaN or infinite"):
        read_volume(tmp_path / f"ct{ending}")


@pytest.mark.parametrize("step", [0.0, -5.0, float("nan")])
def test_a_nifti_with_a_step_that_is_none_is_refused(tmp_path: Path, step: float) -> None:
    with pytest.raises(InputError, match="the spacing in ct.nii is .* every step must be greater than 0"):
        read_volume(nifti_with(tmp_path / "ct.nii", 76 + 4 * 3, "f", step))


@pytest.mark.parametrize(
    ("ending", "old", "new"),
    [
        (".mha", rb"ElementSpacing = .*", b"ElementSpacing = 0 0.5 5"),
        (".mha", rb"ElementSpacing = .*", b"ElementSpacing = 0.75 0.5 -5"),
        (".nrrd", rb"space directions: .*", b"space directions: (0,0,0) (0,1,0) (0,0,5)"),
    ],
)
def test_a_text_header_with_a_step_that_is_none_is_refused(tmp_path: Path, ending: str, old: bytes, new: bytes) -> None:
    path = save(tmp_path / f"ct{ending}", head_volume())
    path.write_bytes(re.sub(old, new, path.read_bytes(), count=1))
    with pytest.raises(InputError, match="spacing of .* every step must be greater than 0|cannot be read"):
        read_volume(path)


@pytest.mark.parametrize(
    ("ending", "line"), [(".mha", rb"ElementSpacing = .*\n"), (".nrrd", rb"space directions: .*\n")]
)
def test_a_text_header_without_spacing_is_refused(tmp_path: Path, ending: str, line: bytes) -> None:
    path = save(tmp_path / f"ct{ending}", head_volume())
    path.write_bytes(re.sub(line, b"", path.read_bytes(), count=1))
    with pytest.raises(InputError, match="does not state its spacing; it must, in mm"):
        read_volume(path)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (b"spacings: 0.5 0.5 nan\n", "does not state its spacing"),
        (b"space: left-posterior-superior\nspace directions: (0.5,0,0) (0,0.5,0) none\n", "does not state its spacing"),
        (b'spacings: 0.05 0.05 0.5\nunits: "cm" "cm" "cm"\n', "spacing in 'cm'; it must be in mm"),
        (
            b'space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,5)\nspace units: "um" "um" "um"\n',
            "spacing in 'um'",
        ),
    ],
)
def test_an_nrrd_whose_slice_step_is_unknown_or_in_another_unit_is_refused(
    tmp_path: Path, field: bytes, words: str
) -> None:
    header = b"NRRD0005\ntype: short\ndimension: 3\nsizes: 4 5 6\nencoding: raw\nendian: little\n"
    values = np.linspace(-1000, 90, 120).astype("<i2").tobytes()
    (tmp_path / "ct.nrrd").write_bytes(header + field + b"\n" + values)
    with pytest.raises(InputError, match=words):
        read_volume(tmp_path / "ct.nrrd")
    known = header + b'spacings: 0.5 0.5 5\nunits: "mm" "mm" "mm"\n\n' + values
    (tmp_path / "ct.nrrd").write_bytes(known)
    assert read_volume(tmp_path / "ct.nrrd").spacing_mm == (5.0, 0.5, 0.5)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_what_a_picture_was_read_as_is_not_guessed_again(tmp_path: Path, ending: str) -> None:
    window = CTVolume.from_array(np.linspace(0, 80, 120).reshape(4, 5, 6).astype(np.float32), (5.0, 0.5, 0.5))
    write_volume(tmp_path / f"ct{ending}", window)
    again = read_volume(tmp_path / f"ct{ending}")
    assert np.array_equal(again.hu, window.hu) and again.notes == ()
    sitk.WriteImage(window.to_sitk(), str(tmp_path / f"other{ending}"))
    with pytest.raises(InputError, match="not HU: its values run from 0 to 80"):
        read_volume(tmp_path / f"other{ending}")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd"])
def test_a_file_that_may_not_be_read_is_named_without_its_path(
    tmp_path: Path, head: CTVolume, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"ct{ending}"
    write_volume(path, head)

    def refused(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refused)  # the tests may run as root, whom nothing is refused
    monkeypatch.setattr(gzip, "open", refused)
    with pytest.raises(InputError, match=f"^ct{ending} cannot be read: Permission denied$"):
        read_volume(path)


def test_a_sheared_grid_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "ct.nrrd", head_volume())
    sheared = b"space directions: (1,0,0) (0.4,1,0) (0,0,5)"
    path.write_bytes(re.sub(rb"space directions: .*", sheared, path.read_bytes(), count=1))
    with pytest.raises(InputError, match="axes of ct.nrrd are not perpendicular"):
        read_volume(path)


def test_a_nifti_without_an_orientation_is_read_with_a_note(tmp_path: Path) -> None:
    volume = read_volume(nifti_with(tmp_path / "ct.nii", 252, "2h", 0, 0))
    assert volume.shape == (6, 24, 20) and "does not say how the head lies" in volume.notes[0]


@pytest.mark.parametrize(
    ("ending", "without", "beside"),
    [(".mha", b"TransformMatrix", b""), (".nrrd", b"space", b"spacings: 0.75 0.5 5\n")],
)
def test_a_text_header_without_an_orientation_is_read_with_a_note(
    tmp_path: Path, ending: str, without: bytes, beside: bytes
) -> None:
    path = save(tmp_path / f"ct{ending}", head_volume())
    data = re.sub(rb"(?m)^" + without + rb".*\n", b"", path.read_bytes())
    path.write_bytes(data.replace(b"sizes", beside + b"sizes", 1))
    assert "does not say how the head lies" in read_volume(path).notes[0]


def test_a_series_is_for_folders(tmp_path: Path, head: CTVolume) -> None:
    with pytest.raises(InputError, match="a series can be chosen in a DICOM folder only"):
        read_volume(save(tmp_path / "ct.nii", head), series="1")


def test_an_mr_that_says_so_is_refused(tmp_path: Path, head: CTVolume) -> None:
    image = head.to_sitk()
    image.SetMetaData("0008|0060", "MR")
    sitk.WriteImage(image, str(tmp_path / "ct.nrrd"))
    with pytest.raises(InputError, match="is of DICOM modality MR; it must be CT"):
        read_volume(tmp_path / "ct.nrrd")


@pytest.mark.parametrize(("packed", "says"), [(True, "cut short or damaged"), (False, "more than the file can hold")])
def test_a_header_that_promises_more_than_the_file_can_hold_is_refused_before_memory_is_taken(
    tmp_path: Path, packed: bool, says: str
) -> None:
    path = tmp_path / "ct.nrrd"
    sitk.WriteImage(head_volume().to_sitk(), str(path), packed)
    path.write_bytes(re.sub(rb"sizes: .*", b"sizes: 20000 24000 6000", path.read_bytes(), count=1))
    with pytest.raises(InputError, match=says):
        read_volume(path)


@pytest.mark.parametrize(
    ("ending", "voxels"),
    [
        (".nrrd", ".nrrd"),
        (".seg.nrrd", ".nrrd"),
        (".mha", ".mha"),
        (".nhdr", ".gz"),
        (".mhd", ".zraw"),
        (".nii.gz", ".gz"),
    ],
)
def test_no_bit_of_packed_voxels_changes_unseen(tmp_path: Path, ending: str, voxels: str) -> None:
    """ITK reads on where a checksum is wrong, with what its memory held before where data is missing."""
    path = tmp_path / f"ct{ending}"
    sitk.WriteImage(head_volume().to_sitk(), str(path), True)
    whole = read_volume(path).hu
    (holds,) = tmp_path.glob(f"*{voxels}")
    content = holds.read_bytes()
    begin, refused = len(content) // 2, 0  # behind all headers
    for place in range(begin, len(content), max(1, (len(content) - begin) // 40)):
        holds.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            assert np.array_equal(read_volume(path).hu, whole), "a bit of padding"
        except InputError as error:
            refused += "cannot be read: it is cut short or damaged" in str(error)
    assert refused >= 30


@pytest.mark.parametrize("depth", [b"5", b"7", b"60"])
@pytest.mark.parametrize(
    ("ending", "field"),
    [(".nrrd", b"sizes: "), (".nhdr", b"sizes: "), (".mha", b"DimSize = "), (".mhd", b"DimSize = ")],
)
def test_packed_voxels_of_another_number_than_announced_are_refused(
    tmp_path: Path, ending: str, field: bytes, depth: bytes
) -> None:
    path = tmp_path / f"ct{ending}"
    sitk.WriteImage(head_volume().to_sitk(), str(path), True)  # (6, 24, 20)
    content = path.read_bytes()
    path.write_bytes(content.replace(field + b"20 24 6", field + b"20 24 " + depth, 1))
    assert path.read_bytes() != content
    with pytest.raises(InputError, match="cut short or damaged"):
        read_volume(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"NDims = 3", b"NDims = 99"),
        (b"NDims = 3", b"NDims = -1"),
        (b"NDims = 3", b"NDims = 2"),
        (b"NDims = 3", b"NDims = x"),
        (b"ElementType = MET_FLOAT", b"ElementType = MET_SHORT"),
        (b"DimSize = 20 24 6", b"DimSize = 20 24 6 1 1 1"),
        (b"DimSize = 20 24 6", b"DimSize = 20 24 -6"),
        (b"CompressedDataSize = ", b"CompressedDataSize = 1"),
        (b"ElementDataFile = LOCAL\n", b"ElementDataFile = LOCAL\x08"),
    ],
)
def test_a_metaimage_header_that_contradicts_itself_is_refused_before_itk_sees_it(
    tmp_path: Path, old: bytes, new: bytes
) -> None:
    """Some of these end the process in ITK."""
    path = tmp_path / "ct.mha"
    sitk.WriteImage(head_volume().to_sitk(), str(path), True)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(InputError, match="cut short or damaged"):
        read_volume(path)


@pytest.mark.parametrize("ending", ALL)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97])
def test_a_cut_file_is_refused_and_not_filled_up(tmp_path: Path, head: CTVolume, ending: str, share: float) -> None:
    path = save(tmp_path / f"ct{ending}", head)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=f"^ct{ending} (cannot be read: it is cut short or damaged|does not state)"):
        read_volume(path)


@pytest.mark.parametrize(("ending", "voxels"), [(".nhdr", ".raw.gz"), (".mhd", ".raw")])
def test_a_header_whose_voxels_are_cut_or_gone_is_refused(
    tmp_path: Path, head: CTVolume, ending: str, voxels: str
) -> None:
    path = save(tmp_path / f"ct{ending}", head)
    beside = next(file for file in tmp_path.iterdir() if file != path)
    beside.write_bytes(beside.read_bytes()[:1000])
    with pytest.raises(InputError, match="cut short or damaged"):
        read_volume(path)
    beside.unlink()
    with pytest.raises(InputError, match="cut short or damaged"):
        read_volume(path)


def test_a_nifti_with_a_broken_checksum_is_refused(tmp_path: Path, head: CTVolume) -> None:
    data = bytearray(gzip.compress(save(tmp_path / "ct.nii", head).read_bytes()))
    data[-6] ^= 1
    (tmp_path / "ct.nii.gz").write_bytes(data)
    with pytest.raises(InputError, match="cut short or damaged"):
        read_volume(tmp_path / "ct.nii.gz")


@given(data=st.data(), ending=st.sampled_from(ALL))
def test_a_damaged_file_gives_an_input_error_or_a_valid_volume(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, ending: str
) -> None:
    path = save(tmp_path_factory.mktemp("damaged") / f"ct{ending}", head_volume())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 800)) % len(content)] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content[: len(content) // 2] if data.draw(st.booleans()) else content)
    try:
        assert np.isfinite(read_volume(path).hu).all()
    except InputError as error:
        assert "\n" not in str(error) and str(path.parent) not in str(error)
