"""Masks and volumes on disk: on the grid given, as 3D Slicer reads them, whole or not at all; and labels read back."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from core.ct_files import head_hu, head_volume
from ichhpinet import writing
from ichhpinet.errors import InputError
from ichhpinet.reading import read_labels, read_volume
from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume
from ichhpinet.writing import write_mask, write_volume

MASK_ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha")


@pytest.fixture
def mask(head: CTVolume) -> np.ndarray:
    return head.hu > 100


@pytest.mark.parametrize("ending", MASK_ENDINGS)
def test_a_mask_comes_back_on_the_grid_of_the_ct(tmp_path: Path, head: CTVolume, mask: np.ndarray, ending: str) -> None:
    path = tmp_path / f"mask{ending}"
    write_mask(path, mask, head)
    assert np.array_equal(read_labels(path, head), mask)
    image = sitk.ReadImage(str(path))
    assert image.GetPixelID() == sitk.sitkUInt8
    assert np.allclose(image.GetSpacing()[::-1], head.spacing_mm) and np.allclose(image.GetOrigin(), head.origin)
    assert np.allclose(image.GetDirection(), head.direction.ravel(), atol=1e-6)


def test_the_mask_of_a_straightened_series_fits_the_ct_written_beside_it(tmp_path: Path, real_volume: CTVolume) -> None:
    write_volume(tmp_path / "ct.nrrd", real_volume)
    write_mask(tmp_path / "mask.seg.nrrd", real_volume.hu > 700, real_volume)
    again = read_volume(tmp_path / "ct.nrrd")
    assert again.digest() == real_volume.digest()
    assert np.array_equal(read_labels(tmp_path / "mask.seg.nrrd", again), real_volume.hu > 700)


def test_a_seg_nrrd_carries_what_slicer_makes_a_segment_from(tmp_path: Path, head: CTVolume, mask: np.ndarray) -> None:
    write_mask(tmp_path / "mask.seg.nrrd", mask, head, name="Round 2")
    header = (tmp_path / "mask.seg.nrrd").read_bytes().split(b"\n\n")[0].decode()
    for line in (
        "type: unsigned char",
        "encoding: gzip",
        "space: left-posterior-superior",
        "Segment0_ID:=Haemorrhage",
        "Segment0_Name:=Round 2",
        "Segment0_Color:=0.737255 0.254902 0.109804",
        "Segment0_Extent:=0 19 0 23 0 5",
        "Segment0_LabelValue:=1",
        "Segment0_Layer:=0",
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|",
        "Segmentation_MasterRepresentation:=Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset:=0 0 0",
    ):
        assert line in header.splitlines()
    tags = re.search(r"Segment0_Tags:=(.*)", header)
    assert tags is not None and "~SCT^50960005^Hemorrhage~" in tags.group(1) and tags.group(1).endswith("|")


def test_a_name_with_line_breaks_cannot_break_the_header(tmp_path: Path, head: CTVolume, mask: np.ndarray) -> None:
    write_mask(tmp_path / "mask.seg.nrrd", mask, head, name="a\n\nb:=c\n")
    assert sitk.ReadImage(str(tmp_path / "mask.seg.nrrd")).GetMetaData("Segment0_Name") == "a b:=c"


def test_slicers_own_classes_open_a_seg_nrrd_in_place(tmp_path: Path, head: CTVolume, mask: np.ndarray) -> None:
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    write_mask(tmp_path / "mask.seg.nrrd", mask, head)
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(tmp_path / "mask.seg.nrrd"))
    assert storage.ReadData(node) == 1
    segment = node.GetSegmentation().GetNthSegment(0)
    assert segment.GetName() == "Haemorrhage" and segment.GetLabelValue() == 1
    labelmap = segment.GetRepresentation("Binary labelmap")
    assert labelmap.GetDimensions() == mask.shape[::-1]
    place = labelmap.GetOrigin()  # RAS
    assert np.allclose(place, np.array(head.origin) * (-1, -1, 1))


@pytest.mark.parametrize("ending", (".nii.gz", ".nii", ".nrrd", ".mha"))
def test_whole_hu_are_stored_as_int16_and_others_as_float32(tmp_path: Path, head: CTVolume, ending: str) -> None:
    path = tmp_path / f"ct{ending}"
    write_volume(path, head)
    assert sitk.ReadImage(str(path)).GetPixelID() == sitk.sitkInt16
    write_volume(path, CTVolume.from_array(head.hu + 0.5, head.spacing_mm))
    assert sitk.ReadImage(str(path)).GetPixelID() == sitk.sitkFloat32


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, head: CTVolume, mask: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mask.seg.nrrd"
    write_mask(path, mask, head)
    before = path.read_bytes()

    class Broken:
        """SimpleITK that writes half a file and fails."""

        def __getattr__(self, name: str) -> object:
            return getattr(sitk, name)

        @staticmethod
        def WriteImage(image: object, name: str, useCompression: bool) -> None:  # noqa: N802, N803
            Path(name).write_bytes(b"half")
            raise RuntimeError("disk full")

    monkeypatch.setattr(writing, "simpleitk", Broken)
    monkeypatch.setattr(writing, "image_on_grid", lambda array, volume: sitk.GetImageFromArray(array))
    with pytest.raises(OSError, match="mask.seg.nrrd could not be written"):
        write_mask(path, ~mask, head)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((6, 24, 21), bool), r"the mask is \(6, 24, 21\); the volume is \(6, 24, 20\)"),
        (np.zeros((6, 24, 20)), "the mask is of type float64"),
        (np.full((6, 24, 20), 2), "not all 0 or 1"),
    ],
)
def test_what_is_no_mask_of_the_volume_is_refused(
    tmp_path: Path, head: CTVolume, wrong: np.ndarray, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_mask(tmp_path / "mask.nrrd", wrong, head)
    assert not list(tmp_path.iterdir())


def test_an_unknown_ending_and_a_missing_folder_are_refused(tmp_path: Path, head: CTVolume, mask: np.ndarray) -> None:
    with pytest.raises(InputError, match="mask.png ends in no format that can be written; it must be .seg.nrrd"):
        write_mask(tmp_path / "mask.png", mask, head)
    with pytest.raises(InputError, match="ct.dcm ends in no format"):
        write_volume(tmp_path / "ct.dcm", head)
    with pytest.raises(InputError, match="the folder for mask.nrrd does not exist"):
        write_mask(tmp_path / "nowhere" / "mask.nrrd", mask, head)


def labels_on(path: Path, labels: np.ndarray, volume: CTVolume, **changes: object) -> Path:
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(changes.get("spacing", volume.spacing_mm[::-1]))
    image.SetOrigin(changes.get("origin", volume.origin))
    image.SetDirection(changes.get("direction", tuple(volume.direction.ravel())))
    sitk.WriteImage(image, str(path))
    return path


def test_a_scribble_file_becomes_scribbles(tmp_path: Path, head: CTVolume) -> None:
    labels = np.zeros(head.shape, np.uint8)
    labels[2, 3:6, 4], labels[3, 1, 1] = 1, 2
    for ending, kind in ((".nii.gz", np.uint8), (".nrrd", np.int16), (".nii", np.float64)):
        path = labels_on(tmp_path / f"strokes{ending}", labels.astype(kind), head)
        strokes = Scribbles.from_labels(read_labels(path, head))
        assert strokes.foreground.sum() == 3 and strokes.background.sum() == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spacing": (0.75, 0.5, 5.1)}, r"its spacing is \(5.1, 0.5, 0.75\) mm; the CT's is \(5.0, 0.5, 0.75\) mm"),
        ({"origin": (-12.5, 30.25, 7.1)}, r"its origin is .* mm; the CT's is \(-12.5, 30.25, 7.0\) mm"),
        ({"direction": tuple(np.eye(3).ravel())}, "its axes point in other directions"),
    ],
)
def test_labels_on_another_grid_are_refused_by_what_differs(
    tmp_path: Path, head: CTVolume, changes: dict[str, object], message: str
) -> None:
    path = labels_on(tmp_path / "strokes.nrrd", np.zeros(head.shape, np.uint8), head, **changes)
    with pytest.raises(InputError, match="strokes.nrrd is on another grid than the CT: " + message):
        read_labels(path, head)


def test_labels_of_another_size_are_refused(tmp_path: Path, head: CTVolume) -> None:
    path = labels_on(tmp_path / "strokes.nrrd", np.zeros((5, 24, 20), np.uint8), head)
    with pytest.raises(InputError, match=r"its size is \(5, 24, 20\); the CT's is \(6, 24, 20\)"):
        read_labels(path, head)


@pytest.mark.parametrize("value", [-1, 256, 0.5, np.nan])
def test_values_that_are_no_labels_are_refused(tmp_path: Path, head: CTVolume, value: float) -> None:
    path = labels_on(tmp_path / "strokes.nrrd", np.full(head.shape, value, np.float32), head)
    with pytest.raises(InputError, match="does not hold labels; every value must be a whole number from 0 to 255"):
        read_labels(path, head)


def test_labels_that_are_no_file_are_refused(tmp_path: Path, head: CTVolume) -> None:
    with pytest.raises(InputError, match="nothing.nrrd is not a file; it must be a label map"):
        read_labels(tmp_path / "nothing.nrrd", head)


def test_the_grid_of_a_ct_written_as_nifti_is_the_same_grid(tmp_path: Path) -> None:
    volume = head_volume()
    write_volume(tmp_path / "ct.nii.gz", volume)
    path = labels_on(tmp_path / "strokes.nrrd", (head_hu() > 0).astype(np.uint8), volume)
    assert read_labels(path, read_volume(tmp_path / "ct.nii.gz")).any()
