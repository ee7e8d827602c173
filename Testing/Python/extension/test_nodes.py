"""MRML <-> numpy: values, places and segments survive both ways, on any grid; what is no CT is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from extension.scenes import add_volume, ct_with_air, matrix, new_scene
from ichhpinet.errors import InputError
from ichhpinet.volume import CTVolume
from ICHHPINetSlicer.nodes import (
    BACKGROUND_ID,
    FOREGROUND_ID,
    node_from_volume,
    painted_strokes,
    segment_mask,
    set_segment,
    take_as_hounsfield,
    volume_from_node,
    voxels,
)

RED = (1.0, 0.0, 0.0)


def segmentation(scene: Any, volume: Any) -> Any:
    """An empty segmentation on the volume's grid."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segmentation")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    return node


def turned(angles: tuple[float, float, float]) -> NDArray[np.float64]:
    """A rotation about x, then y, then z."""
    out = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [other for other in range(3) if other != axis]
        step = np.eye(3)
        step[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        out = step @ out
    return out


@given(
    angles=st.tuples(*[st.floats(-3, 3)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 8)] * 3),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
)
def test_values_and_place_of_any_volume_are_read_as_they_are(
    angles: tuple[float, float, float], spacing: tuple[float, float, float], origin: tuple[float, float, float]
) -> None:
    hu = ct_with_air((3, 4, 5)).hu
    ct = CTVolume.from_array(np.rint(hu), spacing, origin, turned(angles))
    read = volume_from_node(add_volume(new_scene(), ct))
    assert np.array_equal(read.hu, ct.hu)
    assert np.allclose(read.spacing_mm, ct.spacing_mm) and np.allclose(read.origin, ct.origin)
    assert np.allclose(read.direction, ct.direction)


masks = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random((5, 16, 16)) < seed % 7 / 60)


@given(first=masks, second=masks, again=masks)
def test_segments_hold_exactly_what_they_were_given_and_do_not_touch_each_other(
    first: NDArray[np.bool_], second: NDArray[np.bool_], again: NDArray[np.bool_]
) -> None:
    scene = new_scene()
    volume = add_volume(scene)
    node = segmentation(scene, volume)
    set_segment(node, "a", first, volume, "A", RED)
    set_segment(node, "b", second, volume, "B", RED)
    assert np.array_equal(segment_mask(node, "a", volume), first)
    set_segment(node, "a", again, volume, "A", RED)
    assert np.array_equal(segment_mask(node, "a", volume), again)
    assert np.array_equal(segment_mask(node, "b", volume), second)


def test_a_segment_of_a_shared_labelmap_can_be_replaced_alone(scene: Any, volume: Any) -> None:
    node, rng = segmentation(scene, volume), np.random.default_rng(1)
    first = rng.random((5, 16, 16)) < 0.2
    second = (rng.random((5, 16, 16)) < 0.2) & ~first
    set_segment(node, "a", first, volume, "A", RED)
    set_segment(node, "b", second, volume, "B", RED)
    node.GetSegmentation().CollapseBinaryLabelmaps(False)
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    set_segment(node, "a", ~first & ~second, volume, "A", RED)
    assert np.array_equal(segment_mask(node, "a", volume), ~first & ~second)
    assert np.array_equal(segment_mask(node, "b", volume), second)


def test_a_segment_on_a_finer_grid_is_brought_onto_the_volumes(scene: Any, volume: Any) -> None:
    fine = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "fine")
    image = vtk.vtkImageData()
    image.SetDimensions(32, 32, 5)
    image.AllocateScalars(vtk.VTK_SHORT, 1)
    fine.SetAndObserveImageData(image)
    coarse = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(coarse)
    half = np.diag([0.5, 0.5, 1.0, 1.0])
    half[:2, 3] = -0.25  # the first of two fine voxels in each coarse one
    to_ras = np.array([[coarse.GetElement(r, c) for c in range(4)] for r in range(4)]) @ half
    fine.SetIJKToRASMatrix(matrix(to_ras))
    coarse_mask = np.zeros((5, 16, 16), bool)
    coarse_mask[2, 3:7, 8:10] = True
    node = segmentation(scene, volume)
    set_segment(node, "a", coarse_mask.repeat(2, 1).repeat(2, 2), fine, "A", RED)
    assert np.array_equal(segment_mask(node, "a", volume), coarse_mask)


def test_what_reaches_beyond_the_volume_is_cut_off(scene: Any, volume: Any) -> None:
    node = segmentation(scene, volume)
    image = slicer.vtkOrientedImageData()
    image.SetExtent(-3, 2, -1, 20, 4, 9)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    voxels(image)[:] = 1
    place = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(place)
    image.SetImageToWorldMatrix(place)
    node.AddSegmentFromBinaryLabelmapRepresentation(image, "A", RED, "a")
    found = segment_mask(node, node.GetSegmentation().GetNthSegmentID(0), volume)
    expected = np.zeros((5, 16, 16), bool)
    expected[4:, :, :3] = True
    assert np.array_equal(found, expected)


def test_a_segment_that_is_not_there_is_empty(scene: Any, volume: Any) -> None:
    assert not segment_mask(segmentation(scene, volume), "nobody", volume).any()


def test_voxels_painted_both_ways_are_refused(scene: Any, volume: Any) -> None:
    node, mask = segmentation(scene, volume), np.zeros((5, 16, 16), bool)
    mask[1, 2, 3] = True
    set_segment(node, FOREGROUND_ID, mask, volume, "F", RED)
    set_segment(node, BACKGROUND_ID, mask, volume, "B", RED)
    with pytest.raises(InputError, match="1 voxels are painted foreground and background"):
        painted_strokes(node, volume)


def test_a_segmentation_under_another_transform_is_refused(scene: Any, volume: Any) -> None:
    node = segmentation(scene, volume)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    node.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match="different transforms"):
        segment_mask(node, "a", volume)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    assert not segment_mask(node, "a", volume).any()


def test_a_mask_on_another_grid_is_refused(scene: Any, volume: Any) -> None:
    with pytest.raises(InputError, match=r"the mask is \(5, 16, 15\); the volume is \(5, 16, 16\)"):
        set_segment(segmentation(scene, volume), "a", np.zeros((5, 16, 15), bool), volume, "A", RED)


def test_what_is_no_ct_is_refused_by_name(scene: Any, volume: Any) -> None:
    with pytest.raises(InputError, match="holds no image"):
        volume_from_node(None)
    with pytest.raises(InputError, match="holds no image"):
        volume_from_node(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"))
    colour = vtk.vtkImageData()
    colour.SetDimensions(4, 4, 4)
    colour.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    volume.SetAndObserveImageData(colour)
    with pytest.raises(InputError, match="3 values a voxel"):
        volume_from_node(volume)


def test_values_that_are_not_hu_are_refused_with_a_way_out_that_slicer_has(scene: Any, volume: Any) -> None:
    voxels(volume.GetImageData())[:] = np.arange(voxels(volume.GetImageData()).size).reshape(5, 16, 16)
    with pytest.raises(InputError, match="not HU: its values run from 0 to 1279; .*choose a head CT"):
        volume_from_node(volume)
    take_as_hounsfield(volume)
    read = volume_from_node(volume)
    assert np.array_equal(read.hu, voxels(volume.GetImageData()))
    assert read.notes == ("values 0 to 1279 were taken as HU, as asked",)


def test_a_sheared_grid_is_refused(scene: Any, volume: Any) -> None:
    sheared = np.eye(4)
    sheared[0, 1] = 0.3
    volume.SetIJKToRASMatrix(matrix(sheared))
    with pytest.raises(InputError, match="not perpendicular"):
        volume_from_node(volume)


def test_a_windowed_picture_is_taken_with_a_note(scene: Any, volume: Any) -> None:
    rng = np.random.default_rng(0)
    voxels(volume.GetImageData())[:] = rng.integers(0, 256, (5, 16, 16))
    voxels(volume.GetImageData())[0, 0, :2] = 0, 255
    read = volume_from_node(volume)
    assert "brain window" in read.notes[0]
    assert read.hu.min() == 0 and read.hu.max() == 80
    again = volume_from_node(node_from_volume(scene, read, "as it was read"))
    assert np.array_equal(again.hu, read.hu) and again.notes == ()


@pytest.mark.parametrize("whole", [True, False])
def test_a_ct_becomes_a_node_and_comes_back_the_same(scene: Any, whole: bool) -> None:
    ct = ct_with_air()
    swapped = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    hu = np.rint(ct.hu) if whole else np.array(ct.hu)
    there = CTVolume.from_array(hu, (5.0, 0.7, 0.4), (-11.0, 7.0, 30.0), swapped)
    back = volume_from_node(node_from_volume(scene, there, "CT"))
    assert np.array_equal(back.hu, there.hu) and np.allclose(back.direction, there.direction)
    assert np.allclose(back.spacing_mm, there.spacing_mm) and np.allclose(back.origin, there.origin)
