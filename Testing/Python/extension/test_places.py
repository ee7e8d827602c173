"""Where a volume lies: bent by a transform, moved, hardened, centred; its work is refused, or goes along."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from extension.scenes import DirectWorker, add_volume, bend, ct_with_air, matrix, paint, refine
from ichhpinet.dicom import read_header
from ichhpinet.errors import InputError
from ichhpinet.volume import CTVolume
from ICHHPINetSlicer import nodes, rounds
from ICHHPINetSlicer.logic import ICHHPINetLogic
from ICHHPINetSlicer.nodes import BACKGROUND_ID, FOREGROUND_ID, segment_mask, volume_from_node

FIRST, SECOND = (2, 5, 5), (3, 8, 8)


def tilted(volume: Any, mm_a_slice: float) -> None:
    """Each slice a little further to the back than the one before."""
    shifts = np.zeros((volume.GetImageData().GetDimensions()[2], 2, 2, 3))
    shifts[..., 1] = mm_a_slice * np.arange(len(shifts))[:, None, None]
    bend(volume, shifts)


def moved_by(scene: Any, x: float) -> Any:
    """A linear transform node: to the right, and a quarter turn."""
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    to_parent = np.array([[0.0, -1, 0, x], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    node.SetMatrixTransformToParent(matrix(to_parent))
    return node


# -- a transform that bends --------------------------------------------------------------------------------------------


def test_how_far_a_transform_bends_a_volume_is_measured_at_its_corners(volume: Any, scene: Any) -> None:
    assert nodes.off_grid_mm(volume) == 0
    volume.SetAndObserveTransformNodeID(moved_by(scene, 70).GetID())
    assert nodes.off_grid_mm(volume) == 0
    tilted(volume, 1.5)
    assert nodes.off_grid_mm(volume) == pytest.approx(4 * 1.5)
    assert nodes.off_grid_mm(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")) == 0


def test_a_volume_bent_by_more_than_half_a_pixel_is_refused_and_by_less_it_is_not(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    tilted(volume, 0.2)  # 0.8 mm at the last slice; pixels of 2 mm
    paint(logic, volume, FOREGROUND_ID, FIRST)
    assert logic.accepts(volume) and refine(logic, volume).number == 1
    tilted(volume, 0.3)
    assert not logic.accepts(volume)
    with pytest.raises(InputError, match=r"under a transform that bends it, by 1\.2 mm .*straighten it first"):
        logic.refine(volume, lambda one: None, lambda kind, sentence: None)
    other = add_volume(scene, name="other")
    tilted(other, 2.0)
    with pytest.raises(InputError, match="painting would miss"):
        logic.strokes_node(other)
    volume.SetAndObserveTransformNodeID(None)
    paint(logic, volume, FOREGROUND_ID, SECOND)
    assert refine(logic, volume).parent == 1


def test_a_tilted_ct_as_slicer_loads_it_is_straightened_to_what_the_core_reads(
    logic: ICHHPINetLogic, scene: Any, real_series: Path, real_volume: CTVolume
) -> None:
    headers = [read_header(file) for file in real_series.glob("*.dcm")]
    first = headers[0]
    normal = np.cross(first.row, first.column)
    headers.sort(key=lambda header: float(np.array(header.position) @ normal))
    places = np.array([header.position for header in headers])
    step = float((places[-1] - places[0]) @ normal) / (len(places) - 1)
    hu = np.stack([sitk.GetArrayFromImage(sitk.ReadImage(str(header.path)))[0] for header in headers])
    spacing, direction = (step, *first.pixel_mm), np.stack([first.row, first.column, normal], axis=1)
    node = add_volume(scene, CTVolume.from_array(hu.astype(np.float32), spacing, tuple(places[0]), direction))
    shifts = places - (places[0] + step * np.arange(len(places))[:, None] * normal)
    bend(node, np.broadcast_to((shifts * (-1, -1, 1))[:, None, None], (len(places), 2, 2, 3)))
    assert not logic.accepts(node)
    new = logic.straighten(node)
    read = volume_from_node(new)
    assert logic.accepts(new) and new.GetName() == "CT straightened" and new.GetTransformNodeID() is None
    assert read.shape == real_volume.shape and np.abs(read.hu - real_volume.hu).max() < 0.01
    assert np.allclose(read.spacing_mm, real_volume.spacing_mm) and np.allclose(read.direction, real_volume.direction)
    assert np.allclose(read.origin, real_volume.origin, atol=1e-3)


def test_slices_that_run_against_their_normal_are_straightened_in_order(logic: ICHHPINetLogic, scene: Any) -> None:
    ct = ct_with_air()
    flipped = CTVolume.from_array(np.rint(ct.hu), ct.spacing_mm, (0, 0, 0), np.diag([1.0, 1.0, -1.0]))
    node = add_volume(scene, flipped)
    tilted(node, 2.0)
    read = volume_from_node(logic.straighten(node))
    shift = [round(z * 2.0 / 2.0) for z in range(5)]  # RAS to the front: rows go to the back
    for z in range(5):
        rows = read.hu[4 - z, 4 - shift[z] : 20 - shift[z]]
        assert np.array_equal(rows, np.rint(ct.hu[z]))


def test_what_bends_the_slices_themselves_is_not_straightened(logic: ICHHPINetLogic, volume: Any) -> None:
    shifts = np.zeros((5, 2, 2, 3))
    shifts[3, 1, 1] = 0, 0, 9
    bend(volume, shifts)
    with pytest.raises(InputError, match="bends its slices"):
        logic.straighten(volume)


# -- a linear transform, a new place -----------------------------------------------------------------------------------


def test_asking_whether_a_volume_is_accepted_changes_nothing(logic: ICHHPINetLogic, volume: Any, scene: Any) -> None:
    before = scene.GetNumberOfNodes()
    assert logic.accepts(volume) and scene.GetNumberOfNodes() == before
    paint(logic, volume, FOREGROUND_ID, FIRST)
    strokes = logic.strokes_node(volume)
    strokes.SetAndObserveTransformNodeID(moved_by(scene, 3).GetID())
    assert logic.accepts(volume) and strokes.GetParentTransformNode() is not None


def test_the_work_follows_a_transform_at_once_and_without_being_asked(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    one, transform = refine(logic, volume), moved_by(scene, 30)
    mask = rounds.round_mask(one, volume)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    assert one.node.GetParentTransformNode() is transform and np.array_equal(rounds.round_mask(one, volume), mask)
    assert logic.strokes_node(volume).GetParentTransformNode() is transform
    paint(logic, volume, FOREGROUND_ID, SECOND)
    assert refine(logic, volume).parent == 1
    logic.close()
    volume.SetAndObserveTransformNodeID(None)
    assert one.node.GetParentTransformNode() is transform, "an observer is left behind"


@pytest.mark.parametrize("rounds_first", [False, True])
def test_a_hardened_transform_leaves_rounds_and_strokes_on_their_voxels(
    logic: ICHHPINetLogic, volume: Any, scene: Any, rounds_first: bool
) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    one = refine(logic, volume)
    paint(logic, volume, BACKGROUND_ID, SECOND)
    mask = rounds.round_mask(one, volume)
    volume.SetAndObserveTransformNodeID(moved_by(scene, 30).GetID())
    if rounds_first:
        one.node.HardenTransform()
    volume.HardenTransform()
    assert one.node.GetParentTransformNode() is None and volume.GetParentTransformNode() is None
    assert np.array_equal(rounds.round_mask(one, volume), mask)
    strokes = segment_mask(logic.strokes_node(volume), BACKGROUND_ID, volume)
    assert strokes[SECOND] and strokes.sum() == 1
    assert refine(logic, volume).parent == 1, "the same CT, somewhere else"


def test_a_centred_volume_takes_its_work_along_and_another_image_does_not(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    one = refine(logic, volume)

    def used() -> list[tuple[int, ...]]:
        return [tuple(voxel) for voxel in np.argwhere(segment_mask(one.node, "UsedForeground", volume))]

    volume.SetOrigin(17.0, -9.0, 40.0)
    assert used() == [FIRST]
    paint(logic, volume, FOREGROUND_ID, SECOND)
    assert refine(logic, volume).parent == 1
    volume.SetAndObserveImageData(add_volume(scene, ct_with_air(seed=5)).GetImageData())
    volume.SetOrigin(17.0, -9.0, 45.0)  # one slice up
    assert used() == [(FIRST[0] - 1, *FIRST[1:])]


def test_work_in_a_saved_scene_is_found_under_the_volumes_transform(
    logic: ICHHPINetLogic, volume: Any, scene: Any, weights: Path
) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    refine(logic, volume)
    logic.close()
    volume.SetAndObserveTransformNodeID(moved_by(scene, 30).GetID())
    again = ICHHPINetLogic(scene, DirectWorker(weights))
    assert again.current(volume) is not None
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLSegmentationNode")
        assert node.GetParentTransformNode() is volume.GetParentTransformNode()
    again.close()


def test_a_scene_that_is_collected_with_its_logic_takes_nothing_down() -> None:
    code = (
        "import gc, slicer\n"
        "from extension.scenes import add_volume, new_scene\n"
        "from ICHHPINetSlicer.logic import ICHHPINetLogic\n"
        "scene = new_scene()\n"
        "volume, logic = add_volume(scene), ICHHPINetLogic(scene)\n"
        "transform = scene.AddNewNodeByClass('vtkMRMLLinearTransformNode')\n"
        "volume.SetAndObserveTransformNodeID(transform.GetID())\n"
        "logic.strokes_node(volume)\n"
        "ring = [logic, scene, volume]\n"
        "ring.append(ring)\n"
        "del ring, logic, scene, volume, transform\n"
        "gc.collect()\n"
    )
    paths = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, env={**os.environ, "PYTHONPATH": paths}, capture_output=True
    )
    assert done.returncode == 0, done.stderr
