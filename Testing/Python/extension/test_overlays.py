"""Changes and uncertainty over the slices: right voxels, right place, shown and hidden, never saved with the scene."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from extension.scenes import matrix, paint, refine, wait
from ichhpinet.errors import InputError
from ichhpinet.scribbles import Scribbles
from ICHHPINetSlicer import overlays, rounds
from ICHHPINetSlicer.logic import ICHHPINetLogic
from ICHHPINetSlicer.nodes import BACKGROUND_ID, FOREGROUND_ID, ijk_to_ras, segment_mask, voxels


def test_changes_are_the_difference_to_the_round_before(logic: ICHHPINetLogic, volume: Any, scene: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, (2, 5, 5))
    first = refine(logic, volume)
    node = overlays.show_changes(volume, first)
    before = rounds.round_mask(first, volume)
    assert np.array_equal(segment_mask(node, overlays.ADDED_ID, volume), before)
    assert not segment_mask(node, overlays.REMOVED_ID, volume).any()
    paint(logic, volume, BACKGROUND_ID, (2, 9, 9))
    second = refine(logic, volume)
    assert overlays.show_changes(volume, second) is node
    now = rounds.round_mask(second, volume)
    assert np.array_equal(segment_mask(node, overlays.ADDED_ID, volume), now & ~before)
    assert np.array_equal(segment_mask(node, overlays.REMOVED_ID, volume), before & ~now)
    overlays.show_changes(volume, None)
    assert not node.GetDisplayVisibility() and not node.GetSaveWithScene()


def test_a_round_whose_parent_was_deleted_has_nothing_to_be_compared_with(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    paint(logic, volume, FOREGROUND_ID, (2, 5, 5))
    first = refine(logic, volume)
    paint(logic, volume, BACKGROUND_ID, (2, 9, 9))
    second = refine(logic, volume)
    node = overlays.show_changes(volume, second)
    assert node.GetDisplayVisibility()
    scene.RemoveNode(first.node)
    assert overlays.show_changes(volume, second) is None and not node.GetDisplayVisibility()
    (row,) = logic.table(volume)
    assert row.delta_ml is None and row.delta_percent is None


def test_uncertainty_lies_over_the_views_of_its_volume_and_leaves_them_again(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    views = [scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode") for _ in range(2)]
    views[0].SetBackgroundVolumeID(volume.GetID())
    paint(logic, volume, FOREGROUND_ID, (2, 5, 5))
    refine(logic, volume)
    got: list[Any] = []
    logic.look(volume, 1, got.append, lambda kind, sentence: pytest.fail(sentence))
    wait(logic)
    node = overlays.show_uncertainty(volume, got[0])
    assert np.array_equal(voxels(node.GetImageData()), got[0])
    assert np.allclose(ijk_to_ras(node), ijk_to_ras(volume))
    assert [view.GetForegroundVolumeID() for view in views] == [node.GetID(), None]
    assert overlays.show_uncertainty(volume, got[0]) is node
    overlays.show_uncertainty(volume, None)
    assert [view.GetForegroundVolumeID() for view in views] == [None, None]
    with pytest.raises(InputError, match="there is no round 9"):
        logic.look(volume, 9, got.append, lambda kind, sentence: None)


def test_what_lay_over_the_views_before_the_uncertainty_comes_back(volume: Any, scene: Any) -> None:
    registered = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")  # an MRI that the user has laid over the CT
    view = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    view.SetBackgroundVolumeID(volume.GetID())
    view.SetForegroundVolumeID(registered.GetID())
    view.SetForegroundOpacity(0.4)
    uncertainty = np.full(voxels(volume.GetImageData()).shape, 100, np.uint8)
    for _ in range(2):
        for _ in range(2):
            overlay = overlays.show_uncertainty(volume, uncertainty)
            assert view.GetForegroundVolumeID() == overlay.GetID() and view.GetForegroundOpacity() == 0.7
        overlays.show_uncertainty(volume, None)
        assert view.GetForegroundVolumeID() == registered.GetID() and view.GetForegroundOpacity() == 0.4
    overlays.show_uncertainty(volume, uncertainty)
    scene.RemoveNode(registered)
    overlays.show_uncertainty(volume, None)
    assert view.GetForegroundVolumeID() is None and view.GetForegroundOpacity() == 0.0


def test_the_most_uncertain_slice_comes_first_and_certain_ones_not_at_all() -> None:
    uncertainty = np.zeros((4, 6, 6), np.uint8)
    uncertainty[1, 2, 2] = 200
    uncertainty[3, :2, :2] = 100
    uncertainty[2] = 30
    assert overlays.uncertain_slices(uncertainty) == [3, 1]


def test_a_view_jumps_to_the_uncertain_place_of_the_slice(volume: Any, scene: Any) -> None:
    uncertainty = np.zeros((5, 16, 16), np.uint8)
    uncertainty[3, 4, 10] = 255
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    moved = np.eye(4)
    moved[:3, 3] = 100, 0, 0
    transform.SetMatrixTransformToParent(matrix(moved))
    place = np.array(overlays.slice_centre_ras(volume, uncertainty, 3))
    assert np.allclose(place, (ijk_to_ras(volume) @ [10, 4, 3, 1])[:3])
    volume.SetAndObserveTransformNodeID(transform.GetID())
    assert np.allclose(overlays.slice_centre_ras(volume, uncertainty, 3), place + [100, 0, 0])
    view = scene.AddNewNodeByClass("vtkMRMLSliceNode")
    overlays.jump_to(scene, tuple(place))
    assert np.allclose([view.GetSliceToRAS().GetElement(2, 3)], place[2])


def test_where_slicers_colours_are_missing_uncertainty_is_drawn_from_dark_to_light(volume: Any, scene: Any) -> None:
    node = overlays.show_uncertainty(volume, np.full((5, 16, 16), 200, np.uint8))
    colours = node.GetDisplayNode().GetColorNode()
    rgba = np.zeros((256, 4))
    for level in range(256):
        colours.GetColor(level, rgba[level])
    brightness = (rgba[:, :3] @ (0.2126, 0.7152, 0.0722))[::8]
    assert (np.diff(brightness) > 0).all() and not colours.GetSaveWithScene()
    overlays.show_uncertainty(volume, np.full((5, 16, 16), 100, np.uint8))
    assert scene.GetNumberOfNodesByClass("vtkMRMLColorTableNode") == 1


def test_nothing_of_an_overlay_is_saved(volume: Any, scene: Any) -> None:
    """Its display node alone would stay without its data, two more with every save."""
    mask = np.zeros((5, 16, 16), bool)
    mask[2, 4:6, 4:6] = True
    one = rounds.add_round(volume, 1, None, 1.0, mask, Scribbles(mask))
    laid = (overlays.show_changes(volume, one), overlays.show_uncertainty(volume, np.full((5, 16, 16), 99, np.uint8)))
    assert not any(node.GetSaveWithScene() or node.GetDisplayNode().GetSaveWithScene() for node in laid if node)
