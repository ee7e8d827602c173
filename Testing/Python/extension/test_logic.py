"""The logic in a scene: strokes, rounds, one ordered undo, branches, two volumes, a scene that comes back or goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk

import ichhpinet as hp
from extension.scenes import DirectWorker, add_volume, ct_with_air, new_scene, paint, refine, wait
from ichhpinet.errors import InputError
from ichhpinet.predictor import Predictor
from ichhpinet.volume import CTVolume
from ICHHPINetSlicer import overlays, rounds
from ICHHPINetSlicer.case import shape_of
from ICHHPINetSlicer.history import Strokes
from ICHHPINetSlicer.logic import ICHHPINetLogic
from ICHHPINetSlicer.nodes import BACKGROUND_ID, FOREGROUND_ID, segment_mask, set_segment, volume_from_node
from ICHHPINetSlicer.scenarios import opened, saved

FIRST, SECOND, THIRD = (2, 5, 5), (3, 8, 8), (1, 12, 3)


def mask_of(logic: ICHHPINetLogic, volume: Any) -> Any:
    """The current round's mask."""
    one = logic.current(volume)
    assert one is not None
    return rounds.round_mask(one, volume)


def painted(logic: ICHHPINetLogic, volume: Any, segment_id: str = FOREGROUND_ID) -> int:
    """How many voxels are on the brush."""
    return int(segment_mask(logic.strokes_node(volume), segment_id, volume).sum())


def failures() -> tuple[list[str], Any]:
    """A list, and what to give as `failed`."""
    said: list[str] = []
    return said, lambda kind, sentence: said.append(f"{kind}: {sentence}")


def copied(node: Any) -> Any:
    """A segmentation with another's attributes and references, as a clone has them."""
    copy = node.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", "copy")
    copy.SetNodeReferenceID(rounds.VOLUME_ROLE, node.GetNodeReferenceID(rounds.VOLUME_ROLE))
    for name in node.GetAttributeNames():
        copy.SetAttribute(name, node.GetAttribute(name))
    return copy


def test_a_volume_node_without_an_image_is_not_accepted_and_one_with_is(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    assert logic.accepts(volume) and not logic.accepts(empty) and not logic.accepts(None)
    with pytest.raises(InputError, match="holds no image"):
        logic.strokes_node(empty)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


# -- rounds ----------------------------------------------------------------------------------------------------------


def test_a_round_is_what_the_core_computes_from_the_same_strokes(
    logic: ICHHPINetLogic, volume: Any, weights: Path
) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    paint(logic, volume, BACKGROUND_ID, SECOND)
    refine(logic, volume)
    session = Predictor.load(weights, "cpu").open(volume_from_node(volume))
    strokes = np.zeros((2, 5, 16, 16), bool)
    strokes[0][FIRST], strokes[1][SECOND] = True, True
    expected = session.refine(hp.Scribbles(*strokes))
    assert np.array_equal(mask_of(logic, volume), expected.mask)
    row = logic.table(volume)[0]
    assert row.volume_ml == pytest.approx(expected.volume_ml, rel=1e-4) and row.strokes == 2


def test_each_round_is_a_node_with_its_strokes_hidden_and_only_the_newest_is_seen(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    for voxel in (FIRST, SECOND, THIRD):
        paint(logic, volume, FOREGROUND_ID, voxel)
        refine(logic, volume)
    known = rounds.rounds_of(volume)
    assert [one.node.GetName() for one in known.values()] == [f"CT ICH round {n}" for n in (1, 2, 3)]
    assert [bool(one.node.GetDisplayVisibility()) for one in known.values()] == [False, False, True]
    node = known[3].node
    assert segment_mask(node, "UsedForeground", volume)[THIRD]
    assert not node.GetDisplayNode().GetSegmentVisibility("UsedForeground")
    segment = node.GetSegmentation().GetSegment(rounds.MASK_ID)
    tag = vtk.reference("")
    assert segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), tag)
    assert "SCT^49755003^" in str(tag) and "SCT^50960005^Hemorrhage" in str(tag)  # morphologically altered structure
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))
    assert hierarchy.GetItemName(folder) == "CT ICH"
    assert {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(one.node)) for one in known.values()} == {folder}


def test_the_brush_is_empty_after_a_round_and_keeps_what_was_painted_meanwhile(
    logic: ICHHPINetLogic, volume: Any
) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    logic.refine(volume, lambda one: None, lambda kind, sentence: None)
    paint(logic, volume, FOREGROUND_ID, SECOND)
    wait(logic)
    assert painted(logic, volume) == 1
    assert segment_mask(logic.strokes_node(volume), FOREGROUND_ID, volume)[SECOND]
    refine(logic, volume)
    assert painted(logic, volume) == 0


def test_a_volume_opened_ahead_needs_no_opening_in_its_first_round(logic: ICHHPINetLogic, volume: Any) -> None:
    opened: list[str] = []
    said, failed = failures()
    logic.open(volume, lambda: opened.append("open"), failed)
    wait(logic)
    logic.open(volume, lambda: opened.append("already"), failed)
    assert opened == ["open", "already"] and said == [] and not logic.busy
    what: list[str] = []
    paint(logic, volume, FOREGROUND_ID, FIRST)
    logic.refine(volume, lambda one: None, failed, lambda fraction, step: what.append(step))
    wait(logic)
    assert set(what) == {"refining"} and len(logic.table(volume)) == 1


def test_strokes_can_be_undone_while_the_volume_is_only_being_opened(logic: ICHHPINetLogic, volume: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    said, failed = failures()
    logic.open(volume, lambda: said.append("open"), failed)
    assert logic.busy and logic.undo(volume) and painted(logic, volume) == 0 and logic.redo(volume)
    with pytest.raises(InputError, match="a round is under way"):
        logic.refine(volume, lambda one: None, failed)
    wait(logic)
    assert said == ["open"]
    logic.refine(volume, lambda one: None, failed)
    with pytest.raises(InputError, match="a round is under way"):
        logic.undo(volume)
    wait(logic)
    assert len(logic.table(volume)) == 1


def test_it_is_known_whether_there_are_strokes_to_refine_from(logic: ICHHPINetLogic, volume: Any) -> None:
    assert not logic.has_strokes(volume)
    paint(logic, volume, BACKGROUND_ID, FIRST)
    assert logic.has_strokes(volume)
    refine(logic, volume)
    assert not logic.has_strokes(volume)
    logic.undo(volume)
    assert logic.has_strokes(volume)


def test_a_rounds_mask_can_be_taken_off_the_slices_while_its_surface_stays(logic: ICHHPINetLogic, volume: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    one = refine(logic, volume)
    display = one.node.GetDisplayNode()
    for visible in (False, True):
        rounds.show_mask(one, visible)
        assert bool(display.GetSegmentVisibility2DFill(rounds.MASK_ID)) is visible
        assert bool(display.GetSegmentVisibility2DOutline(rounds.MASK_ID)) is visible
        assert display.GetVisibility() and display.GetSegmentVisibility3D(rounds.MASK_ID)
        assert rounds.shown_round(volume) == 1


def test_the_strokes_that_made_a_round_are_shown_faintly_and_not_in_3d(logic: ICHHPINetLogic, volume: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    one = refine(logic, volume)
    display = one.node.GetDisplayNode()
    rounds.show_strokes(one, True)
    assert display.GetSegmentVisibility("UsedForeground") and not display.GetSegmentVisibility3D("UsedForeground")
    assert display.GetSegmentOpacity2DFill("UsedForeground") == pytest.approx(0.4)
    assert display.GetSegmentOpacity2DOutline("UsedForeground") == pytest.approx(0.4)
    rounds.show_strokes(one, False)
    assert not display.GetSegmentVisibility("UsedForeground")


def test_the_surface_is_made_when_it_is_asked_for(logic: ICHHPINetLogic, volume: Any, scene: Any) -> None:
    slicer.vtkSlicerSegmentationsModuleLogic().SetMRMLScene(scene)  # brings the conversion, as Slicer does
    paint(logic, volume, FOREGROUND_ID, FIRST)
    one = refine(logic, volume)
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    assert not one.node.GetSegmentation().ContainsRepresentation(surface)
    rounds.show_3d(one, True)
    assert one.node.GetSegmentation().ContainsRepresentation(surface) and one.node.GetDisplayNode().GetVisibility3D()
    rounds.show_3d(one, False)
    assert not one.node.GetDisplayNode().GetVisibility3D()


def test_a_copy_that_the_user_makes_of_a_round_does_not_take_its_place(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    one = refine(logic, volume)
    copy = copied(one.node)
    assert copy.GetAttribute(rounds.ROUND) == "1" and rounds.rounds_of(volume)[1].node is one.node
    logic.start_anew(volume)
    assert copy.GetScene() is scene and one.node.GetScene() is None and logic.table(volume) == []


def test_strokes_are_obeyed_in_the_scenes_mask(logic: ICHHPINetLogic, volume: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    paint(logic, volume, BACKGROUND_ID, SECOND)
    refine(logic, volume)
    paint(logic, volume, BACKGROUND_ID, THIRD)
    refine(logic, volume)
    mask = mask_of(logic, volume)
    assert mask[FIRST] and not mask[SECOND] and not mask[THIRD]


def test_propose_gives_a_first_round_without_strokes_and_only_then(logic: ICHHPINetLogic, volume: Any) -> None:
    got: list[Any] = []
    logic.propose(volume, got.append, lambda kind, sentence: got.append(sentence))
    wait(logic)
    assert got[0].number == 1 and got[0].strokes == 0
    with pytest.raises(InputError, match="a proposal comes before the first round; this is round 1"):
        logic.propose(volume, got.append, lambda kind, sentence: None)


# -- undo ------------------------------------------------------------------------------------------------------------


def test_strokes_and_rounds_are_undone_and_redone_in_the_order_in_which_they_were_made(
    logic: ICHHPINetLogic, volume: Any
) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    refine(logic, volume)
    paint(logic, volume, FOREGROUND_ID, SECOND)
    paint(logic, volume, BACKGROUND_ID, THIRD)
    refine(logic, volume)

    def seen() -> tuple[Any, ...]:
        shown = rounds.shown_round(volume)
        return shown, painted(logic, volume), painted(logic, volume, BACKGROUND_ID)

    expected = [(2, 0, 0), (1, 1, 1), (1, 1, 0), (1, 0, 0), (None, 1, 0), (None, 0, 0)]
    back = [seen()]
    while logic.undo(volume):
        back.append(seen())
    assert back == expected
    ahead = [seen()]
    while logic.redo(volume):
        ahead.append(seen())
    assert ahead == expected[::-1]
    assert not logic.can_redo(volume) and logic.can_undo(volume)


def test_refining_after_an_undo_starts_a_branch_that_can_be_left_again(logic: ICHHPINetLogic, volume: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    refine(logic, volume)
    paint(logic, volume, FOREGROUND_ID, SECOND)
    refine(logic, volume)
    left = mask_of(logic, volume)
    logic.undo(volume)
    logic.undo(volume)
    paint(logic, volume, BACKGROUND_ID, THIRD)
    assert refine(logic, volume).parent == 1
    table = logic.table(volume)
    assert [(row.number, row.on_line, row.current) for row in table] == [
        (1, True, False),
        (2, False, False),
        (3, True, True),
    ]
    logic.return_to(volume, 2)
    assert np.array_equal(mask_of(logic, volume), left)
    paint(logic, volume, FOREGROUND_ID, (0, 0, 4))
    assert refine(logic, volume).parent == 2


def test_undo_to_before_the_first_round_starts_again_from_nothing(logic: ICHHPINetLogic, volume: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    refine(logic, volume)
    first = mask_of(logic, volume)
    logic.undo(volume)
    again = refine(logic, volume)
    assert (again.number, again.parent) == (2, None)
    assert np.array_equal(mask_of(logic, volume), first)


def test_a_stroke_that_changes_nothing_is_no_step(logic: ICHHPINetLogic, volume: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    assert not logic.strokes_changed(volume)
    logic.undo(volume)
    assert not logic.can_undo(volume)


def test_the_table_says_what_changed_against_the_round_before(logic: ICHHPINetLogic, volume: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    refine(logic, volume)
    paint(logic, volume, BACKGROUND_ID, SECOND)
    refine(logic, volume)
    first, second = logic.table(volume)
    assert first.delta_ml == pytest.approx(first.volume_ml) and first.delta_percent is None
    assert second.delta_ml == pytest.approx(second.volume_ml - first.volume_ml)
    assert second.delta_percent == pytest.approx(100 * second.delta_ml / first.volume_ml)


# -- bad input, cancel -----------------------------------------------------------------------------------------------


def test_bad_input_is_refused_by_name_and_changes_nothing(logic: ICHHPINetLogic, volume: Any) -> None:
    with pytest.raises(InputError, match="no volume is chosen"):
        logic.strokes_node(None)
    with pytest.raises(InputError, match="no volume is chosen"):
        logic.undo(add_volume(new_scene()))
    with pytest.raises(InputError, match="there are no strokes"):
        logic.refine(volume, lambda one: None, lambda kind, sentence: None)
    with pytest.raises(InputError, match="there is no round 7; the rounds are none yet"):
        logic.return_to(volume, 7)
    assert logic.table(volume) == [] and not logic.can_undo(volume)


def test_while_a_round_is_under_way_a_second_is_refused(logic: ICHHPINetLogic, volume: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    logic.refine(volume, lambda one: None, lambda kind, sentence: None)
    for action in (
        lambda: logic.refine(volume, lambda one: None, lambda kind, sentence: None),
        lambda: logic.undo(volume),
        lambda: logic.return_to(volume, 1),
    ):
        with pytest.raises(InputError, match="a round is under way"):
            action()
    wait(logic)
    assert len(logic.table(volume)) == 1


def test_a_cancelled_round_leaves_everything_as_it_was(logic: ICHHPINetLogic, volume: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    refine(logic, volume)
    paint(logic, volume, FOREGROUND_ID, SECOND)
    said, failed = failures()
    logic.refine(volume, lambda one: said.append("done"), failed)
    logic.cancel()
    wait(logic)
    assert said[0].startswith("cancelled:") and len(said) == 1
    assert len(logic.table(volume)) == 1 and painted(logic, volume) == 1
    assert refine(logic, volume).number == 2


def test_a_cancel_as_the_opened_volume_is_announced_ends_the_round(logic: ICHHPINetLogic, volume: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    said, failed = failures()
    logic.refine(volume, lambda one: said.append("done"), failed)
    job, done, refused, progress = logic.worker.jobs.pop()  # type: ignore[attr-defined]
    opened = logic.worker.engine.answer(job, progress, lambda: False)  # type: ignore[attr-defined]
    logic.worker.jobs = [(job, done, refused, progress)]  # type: ignore[attr-defined]
    logic.cancel()
    logic.worker.jobs = []  # type: ignore[attr-defined]
    done(opened)
    wait(logic)
    assert said == ["cancelled: refining was cancelled; nothing has changed"]
    assert len(logic.table(volume)) == 0 and painted(logic, volume) == 1
    assert refine(logic, volume).number == 1


# -- volumes and scenes ----------------------------------------------------------------------------------------------


def test_a_round_of_a_volume_whose_image_changed_meanwhile_is_dropped_by_name(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    said, failed = failures()
    logic.refine(volume, lambda one: said.append("done"), failed)
    wait(logic)
    said.clear()
    paint(logic, volume, FOREGROUND_ID, SECOND)
    logic.refine(volume, lambda one: said.append("done"), failed)
    nodes = scene.GetNumberOfNodes()
    volume.SetAndObserveImageData(add_volume(new_scene(), ct_with_air((7, 16, 16))).GetImageData())
    wait(logic)
    assert said == ["input: the volume changed while the round was computed; the round was dropped: refine again"]
    assert scene.GetNumberOfNodes() == nodes


def test_a_round_that_cannot_land_leaves_the_scene_as_it_was(logic: ICHHPINetLogic, volume: Any, scene: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    said, failed = failures()
    strokes = logic.strokes_node(volume)
    logic.refine(volume, lambda one: said.append("done"), failed)
    strokes.SetAndObserveTransformNodeID(scene.AddNewNodeByClass("vtkMRMLLinearTransformNode").GetID())
    nodes = scene.GetNumberOfNodes()
    wait(logic)
    assert "different transforms" in said[0] and len(said) == 1 and scene.GetNumberOfNodes() == nodes
    with pytest.raises(InputError, match=r"the mask is \(5, 16, 15\)"):
        rounds.add_round(volume, 9, None, 0.1, np.zeros((5, 16, 15), bool), hp.Scribbles(np.zeros((5, 16, 16), bool)))
    assert scene.GetNumberOfNodes() == nodes


def test_strokes_that_were_deleted_while_the_round_was_computed_do_not_hinder_it(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    said, failed = failures()
    logic.refine(volume, lambda one: said.append("done"), failed)
    scene.RemoveNode(logic.strokes_node(volume))
    wait(logic)
    assert said == ["done"] and logic.strokes_node(volume).GetScene() is scene and painted(logic, volume) == 0


def test_two_volumes_do_not_see_each_others_work(logic: ICHHPINetLogic, volume: Any, scene: Any) -> None:
    other = add_volume(scene, ct_with_air(seed=3), "other")
    paint(logic, volume, FOREGROUND_ID, FIRST)
    paint(logic, other, FOREGROUND_ID, SECOND)
    refine(logic, volume)
    assert painted(logic, other) == 1 and logic.table(other) == []
    refine(logic, other)
    paint(logic, volume, FOREGROUND_ID, THIRD)
    refine(logic, volume)
    assert [len(logic.table(one)) for one in (volume, other)] == [2, 1]
    assert rounds.shown_round(other) == 1


def test_work_that_is_set_aside_is_not_seen_and_comes_back_as_it_was(logic: ICHHPINetLogic, volume: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    refine(logic, volume)
    paint(logic, volume, FOREGROUND_ID, SECOND)
    logic.set_aside(volume)
    assert rounds.shown_round(volume) is None and not logic.strokes_node(volume).GetDisplayVisibility()
    logic.take_up(volume)
    assert rounds.shown_round(volume) == 1 and logic.strokes_node(volume).GetDisplayVisibility()
    assert painted(logic, volume) == 1


def test_a_round_that_lands_on_work_that_is_set_aside_is_not_seen_before_it_is_taken_up(
    logic: ICHHPINetLogic, volume: Any
) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    got: list[Any] = []
    logic.refine(volume, got.append, lambda kind, sentence: None)
    logic.set_aside(volume)
    wait(logic)
    assert got[0].number == 1 and rounds.shown_round(volume) is None
    logic.take_up(volume)
    assert rounds.shown_round(volume) == 1


def test_a_saved_scene_is_restored_and_the_next_round_is_the_same(
    logic: ICHHPINetLogic, volume: Any, scene: Any, weights: Path, tmp_path: Path
) -> None:
    for voxel in (FIRST, SECOND):
        paint(logic, volume, FOREGROUND_ID, voxel)
        refine(logic, volume)
    logic.undo(volume)
    logic.undo(volume)
    paint(logic, volume, BACKGROUND_ID, (2, 9, 9))
    refine(logic, volume)
    paint(logic, volume, FOREGROUND_ID, THIRD)
    read = opened(saved(scene, tmp_path))
    other = read.GetFirstNodeByName("CT")
    with_restored = ICHHPINetLogic(read, DirectWorker(weights))
    assert [(row.number, row.on_line, row.current) for row in with_restored.table(other)] == [
        (1, True, False),
        (2, False, False),
        (3, True, True),
    ]
    for number, one in rounds.rounds_of(volume).items():
        assert np.array_equal(rounds.round_mask(rounds.rounds_of(other)[number], other), rounds.round_mask(one, volume))
    assert painted(with_restored, other) == 1
    live, restored = refine(logic, volume), refine(with_restored, other)
    assert (live.number, live.parent) == (restored.number, restored.parent) == (4, 3)
    assert np.array_equal(mask_of(logic, volume), mask_of(with_restored, other))
    while with_restored.undo(other):
        pass
    assert rounds.shown_round(other) is None


def test_memory_of_another_ct_is_refused_by_name_and_the_rounds_stay(logic: ICHHPINetLogic, volume: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    refine(logic, volume)
    from ICHHPINetSlicer.nodes import voxels

    voxels(volume.GetImageData())[1, 1, 1] += 50
    volume.GetImageData().Modified()
    paint(logic, volume, FOREGROUND_ID, SECOND)
    said, failed = failures()
    logic.refine(volume, lambda one: said.append("done"), failed)
    wait(logic)
    assert said == ["memory: the session was made on another CT; open it on the CT that it was saved with"]
    assert len(logic.table(volume)) == 1
    logic.start_anew(volume)
    refine(logic, volume)
    assert [(row.number, row.on_line) for row in logic.table(volume)] == [(1, True)]


def test_damaged_memory_is_refused_by_name_its_rounds_are_seen_and_one_can_start_anew(
    logic: ICHHPINetLogic, volume: Any, scene: Any, weights: Path
) -> None:
    for voxel in (FIRST, SECOND):
        paint(logic, volume, FOREGROUND_ID, voxel)
        refine(logic, volume)
    scene.GetFirstNodeByClass("vtkMRMLTextNode").SetText("not base64!")
    logic.close()
    again = ICHHPINetLogic(scene, DirectWorker(weights))
    assert again.accepts(volume) and [row.current for row in again.table(volume)] == [False, True]
    paint(again, volume, FOREGROUND_ID, THIRD)
    with pytest.raises(InputError, match="memory is damaged; its rounds can be seen, but not continued"):
        refine(again, volume)
    again.start_anew(volume)
    assert again.table(volume) == [] and painted(again, volume) == 1
    assert refine(again, volume).number == 1


def test_rounds_whose_memory_was_deleted_are_seen_and_one_can_start_anew(
    logic: ICHHPINetLogic, volume: Any, scene: Any, weights: Path
) -> None:
    for voxel in (FIRST, SECOND):
        paint(logic, volume, FOREGROUND_ID, voxel)
        refine(logic, volume)
    scene.RemoveNode(scene.GetFirstNodeByClass("vtkMRMLTextNode"))
    logic.close()
    again = ICHHPINetLogic(scene, DirectWorker(weights))
    assert [row.current for row in again.table(volume)] == [False, True]
    paint(again, volume, FOREGROUND_ID, THIRD)
    with pytest.raises(InputError, match="memory is gone; its rounds can be seen, but not continued"):
        refine(again, volume)
    again.start_anew(volume)
    assert refine(again, volume).number == 1 and len(again.table(volume)) == 1


def test_a_round_that_cannot_be_kept_is_none_and_no_reason_to_start_anew(
    logic: ICHHPINetLogic, volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise InputError("the session cannot be written as session.hps; its folder must exist, with room")

    paint(logic, volume, FOREGROUND_ID, FIRST)
    refine(logic, volume)
    paint(logic, volume, FOREGROUND_ID, SECOND)
    with monkeypatch.context() as patch:
        patch.setattr("ichhpinet.session.write_session", full)
        said, failed = failures()
        logic.refine(volume, lambda one: said.append("done"), failed)
        wait(logic)
    assert said == ["input: there is no room on the disk for temporary files; free some, then try again"]
    assert len(logic.table(volume)) == 1 and logic.has_strokes(volume)
    one = refine(logic, volume)
    assert (one.number, one.parent) == (2, 1)


def test_a_volume_deleted_mid_round_takes_its_round_with_it(logic: ICHHPINetLogic, volume: Any, scene: Any) -> None:
    other = add_volume(scene, name="other")
    paint(logic, volume, FOREGROUND_ID, FIRST)
    said, failed = failures()
    logic.refine(volume, lambda one: said.append("done"), failed)
    scene.RemoveNode(volume)
    wait(logic)
    assert said == []
    paint(logic, other, FOREGROUND_ID, FIRST)
    assert refine(logic, other).number == 1


def test_what_was_made_for_a_deleted_volume_does_not_lie_over_the_next(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    one = refine(logic, volume)
    overlays.show_changes(volume, one)
    paint(logic, volume, FOREGROUND_ID, SECOND)
    made = [scene.GetNthNodeByClass(n, "vtkMRMLSegmentationNode") for n in range(3)]
    assert all(node.GetDisplayVisibility() for node in made), "round, changes, strokes"
    scene.RemoveNode(volume)
    assert not any(node.GetDisplayVisibility() for node in made)


def test_a_scene_closed_mid_round_is_empty_and_the_next_volume_works(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    said, failed = failures()
    logic.refine(volume, lambda one: said.append("done"), failed)
    scene.Clear(False)
    wait(logic)
    assert said == [] and scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    fresh = add_volume(scene)
    paint(logic, fresh, FOREGROUND_ID, FIRST)
    assert refine(logic, fresh).number == 1


def test_a_strokes_node_that_the_user_deleted_is_made_again(logic: ICHHPINetLogic, volume: Any, scene: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    scene.RemoveNode(logic.strokes_node(volume))
    assert painted(logic, volume) == 0
    paint(logic, volume, FOREGROUND_ID, SECOND)
    assert refine(logic, volume).number == 1


def test_a_segment_of_strokes_that_the_user_deleted_is_made_again(logic: ICHHPINetLogic, volume: Any) -> None:
    paint(logic, volume, BACKGROUND_ID, SECOND)
    segments = logic.strokes_node(volume).GetSegmentation()
    segments.RemoveSegment(FOREGROUND_ID)
    logic.strokes_node(volume)
    assert segments.GetSegment(FOREGROUND_ID) is not None
    paint(logic, volume, FOREGROUND_ID, FIRST)
    assert painted(logic, volume) == painted(logic, volume, BACKGROUND_ID) == 1
    assert refine(logic, volume).number == 1


def test_closing_the_logic_leaves_no_observer_behind(volume: Any, scene: Any, weights: Path) -> None:
    events = slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, slicer.vtkMRMLScene.StartCloseEvent
    before = [scene.HasObserver(event) for event in events]
    one = ICHHPINetLogic(scene, DirectWorker(weights))
    assert all(scene.HasObserver(event) for event in events)
    one.close()
    assert [scene.HasObserver(event) for event in events] == before


# -- out -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".seg.nrrd", ".nii.gz"])
def test_the_exported_mask_lies_where_the_volume_does(
    logic: ICHHPINetLogic, volume: Any, tmp_path: Path, ending: str
) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    refine(logic, volume)
    file = tmp_path / f"mask{ending}"
    logic.export(volume, 1, file)
    image, ct = sitk.ReadImage(str(file)), volume_from_node(volume)
    assert np.array_equal(sitk.GetArrayFromImage(image) > 0, mask_of(logic, volume))
    assert np.allclose(image.GetSpacing(), ct.spacing_mm[::-1]) and np.allclose(image.GetOrigin(), ct.origin)


def test_the_final_mask_is_copied_beside_other_segments(logic: ICHHPINetLogic, volume: Any, scene: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    one = refine(logic, volume)
    target = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    own = np.zeros((5, 16, 16), bool)
    own[1:4, 2:9, 2:9] = True
    set_segment(target, "tumour", own, volume, "Tumour", (0, 1, 0))
    twice = [rounds.copy_into(one, volume, target, "Haemorrhage") for _ in range(2)]
    assert len(set(twice)) == 2
    assert np.array_equal(segment_mask(target, "tumour", volume), own)
    assert all(np.array_equal(segment_mask(target, name, volume), mask_of(logic, volume)) for name in twice)


def test_an_empty_segmentation_takes_the_mask_where_the_volume_lies_and_shows_it(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    volume.SetAndObserveTransformNodeID(scene.AddNewNodeByClass("vtkMRMLLinearTransformNode").GetID())
    paint(logic, volume, FOREGROUND_ID, FIRST)
    one = refine(logic, volume)
    target = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "new")
    name = rounds.copy_into(one, volume, target, "Haemorrhage")
    assert target.GetDisplayNode() is not None and target.GetDisplayNode().GetSegmentVisibility(name)
    assert target.GetParentTransformNode() is volume.GetParentTransformNode()
    assert np.array_equal(segment_mask(target, name, volume), mask_of(logic, volume))
    volume.SetAndObserveTransformNodeID(None)
    with pytest.raises(InputError, match="under another transform"):
        rounds.copy_into(one, volume, target, "Haemorrhage")


def test_a_round_and_strokes_are_no_place_to_copy_to_but_a_users_copy_of_a_round_is(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    one = refine(logic, volume)
    for target in (one.node, logic.strokes_node(volume)):
        with pytest.raises(InputError, match="one of ICHHPINet's rounds or strokes; it must be one of your own"):
            rounds.copy_into(one, volume, target, "Haemorrhage")
    copy = copied(one.node)
    name = rounds.copy_into(one, volume, copy, "Haemorrhage")
    assert np.array_equal(segment_mask(copy, name, volume), mask_of(logic, volume))


# -- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "slice_mm"), [((3, 16, 16), 5.0), ((400, 16, 16), 0.5)])
def test_volumes_of_few_and_of_many_slices_get_rounds(
    logic: ICHHPINetLogic, scene: Any, shape: tuple[int, int, int], slice_mm: float
) -> None:
    volume = add_volume(scene, CTVolume.from_array(ct_with_air(shape).hu, (slice_mm, 2.0, 2.0)))
    last = shape[0] - 1, 5, 5
    paint(logic, volume, FOREGROUND_ID, last)
    refine(logic, volume)
    mask = mask_of(logic, volume)
    assert mask.shape == shape and mask[last]


def test_a_coronal_volume_gets_the_round_that_the_core_computes_with_a_note(
    logic: ICHHPINetLogic, scene: Any, weights: Path
) -> None:
    coronal = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    axial = ct_with_air((16, 16, 16))
    ct = CTVolume.from_array(np.rint(axial.hu), (2.0, 2.0, 2.0), direction=coronal)
    volume = add_volume(scene, ct)
    paint(logic, volume, FOREGROUND_ID, (4, 8, 8))
    refine(logic, volume)
    session = Predictor.load(weights, "cpu").open(volume_from_node(volume))
    strokes = np.zeros((16, 16, 16), bool)
    strokes[4, 8, 8] = True
    assert np.array_equal(mask_of(logic, volume), session.refine(hp.Scribbles(strokes)).mask)
    assert any("not axial" in note for note in logic.notes(volume))


def test_the_millilitres_are_those_of_the_mask_that_is_seen(logic: ICHHPINetLogic, volume: Any) -> None:
    """Nothing keeps a hand from a round's segment: the number beside it must not be of what was there before."""
    paint(logic, volume, FOREGROUND_ID, (2, 5, 5))
    one = refine(logic, volume)
    voxel_ml = float(np.prod(volume.GetSpacing())) / 1000
    assert one.volume_ml == pytest.approx(rounds.round_mask(one, volume).sum() * voxel_ml) and one.volume_ml > 0
    edited = np.zeros_like(rounds.round_mask(one, volume))
    edited[2, 4:7, 4:9] = True
    set_segment(one.node, rounds.MASK_ID, edited, volume, "Haemorrhage", (1, 0, 0))
    assert logic.table(volume)[0].volume_ml == pytest.approx(15 * voxel_ml)
    set_segment(one.node, rounds.MASK_ID, edited & False, volume, "Haemorrhage", (1, 0, 0))
    assert logic.table(volume)[0].volume_ml == 0


def test_nothing_of_a_volume_is_left_behind_when_it_is_forgotten(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    paint(logic, volume, FOREGROUND_ID, (2, 5, 5))
    refine(logic, volume)
    assert scene.GetNumberOfNodesByClass("vtkMRMLTextNode") == 1, "the engine's memory"
    rounds.forget(volume)
    assert scene.GetNumberOfNodesByClass("vtkMRMLTextNode") == 0 and not rounds.rounds_of(volume)


def test_a_round_that_was_deleted_is_not_gone_on_from(logic: ICHHPINetLogic, volume: Any, scene: Any) -> None:
    for number, at in enumerate((FIRST, SECOND, THIRD), start=1):
        paint(logic, volume, FOREGROUND_ID, at)
        assert refine(logic, volume).number == number
    known = rounds.rounds_of(volume)
    paint(logic, volume, BACKGROUND_ID, (0, 0, 9))
    scene.RemoveNode(known[3].node)
    one = logic.current(volume)
    assert one is not None and one.number == 2 and rounds.shown_round(volume) == 2
    assert painted(logic, volume, BACKGROUND_ID) == 1, "what was painted on top of it stays"
    made = refine(logic, volume)
    assert (made.number, made.parent) == (4, 2) and made.delta_ml(rounds.rounds_of(volume)) < known[2].volume_ml
    steps = 0
    while logic.undo(volume):
        steps += 1
        now = logic.current(volume)
        assert now is None or now.number != 3
    assert steps == 8 and logic.current(volume) is None, "the strokes that made it are among them"
    for one in rounds.rounds_of(volume).values():
        scene.RemoveNode(one.node)
    assert logic.table(volume) == [] and logic.current(volume) is None


def three_rounds(logic: ICHHPINetLogic, volume: Any) -> None:
    for at in (FIRST, SECOND, THIRD):
        paint(logic, volume, FOREGROUND_ID, at)
        refine(logic, volume)


def test_a_round_that_was_gone_back_to_and_deleted_is_followed_by_its_parent_not_by_its_child(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    three_rounds(logic, volume)
    logic.return_to(volume, 2)
    scene.RemoveNode(rounds.rounds_of(volume)[2].node)
    one = logic.current(volume)
    assert one is not None and one.number == 1, "round 3 was left behind"
    paint(logic, volume, BACKGROUND_ID, (0, 0, 9))
    assert refine(logic, volume).parent == 1


def test_who_looks_at_a_round_goes_on_looking_at_it_where_another_is_deleted(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    three_rounds(logic, volume)
    logic.show(volume, 2)
    scene.RemoveNode(rounds.rounds_of(volume)[1].node)
    one = logic.current(volume)
    assert one is not None and one.number == 3 and rounds.shown_round(volume) == 2
    scene.RemoveNode(rounds.rounds_of(volume)[2].node)
    assert logic.current(volume) == one and rounds.shown_round(volume) == 3, "what was looked at is gone"


def test_a_round_that_was_deleted_breaks_no_line(logic: ICHHPINetLogic, volume: Any, scene: Any) -> None:
    three_rounds(logic, volume)
    logic.return_to(volume, 2)
    paint(logic, volume, BACKGROUND_ID, (0, 0, 9))
    assert refine(logic, volume).parent == 2
    scene.RemoveNode(rounds.rounds_of(volume)[2].node)
    assert {row.number: row.on_line for row in logic.table(volume)} == {1: True, 3: False, 4: True}


def test_a_saved_scene_whose_current_round_was_deleted_goes_on_from_the_newest(
    logic: ICHHPINetLogic, volume: Any, scene: Any, weights: Path
) -> None:
    for at in (FIRST, SECOND):
        paint(logic, volume, FOREGROUND_ID, at)
        refine(logic, volume)
    scene.RemoveNode(rounds.rounds_of(volume)[2].node)
    again = ICHHPINetLogic(scene, DirectWorker(weights))
    one = again.current(volume)
    assert one is not None and one.number == 1
    again.close()


def test_that_a_round_was_edited_by_hand_is_said_of_the_round_after_it(logic: ICHHPINetLogic, volume: Any) -> None:
    for at in (FIRST, SECOND):
        paint(logic, volume, FOREGROUND_ID, at)
        one = refine(logic, volume)
    assert not any("edited" in note for note in logic.notes(volume))
    edited = rounds.round_mask(one, volume)
    edited[2, 4:7, 4:9] ^= True
    edited[2, 5, 5] = edited[0, 0, 0] = True
    set_segment(one.node, rounds.MASK_ID, edited, volume, "Haemorrhage", (1, 0, 0))
    paint(logic, volume, FOREGROUND_ID, THIRD)
    refine(logic, volume)
    assert any("Round 2 was edited by hand" in note for note in logic.notes(volume))


def test_an_edit_that_keeps_the_volume_is_an_edit(logic: ICHHPINetLogic, volume: Any, scene: Any) -> None:
    mask = np.zeros(shape_of(volume), bool)
    mask[1:4, 3:8, 4:9] = True
    nothing = Strokes.none(mask.shape)
    one = rounds.add_round(volume, 1, None, 1.0, mask, nothing)
    assert not rounds.is_edited(one, volume)
    set_segment(one.node, rounds.MASK_ID, np.roll(mask, 1, 2), volume, "Haemorrhage", (1, 0, 0))
    assert rounds.rounds_of(volume)[1].volume_ml == one.volume_ml and rounds.is_edited(one, volume)
    set_segment(one.node, rounds.MASK_ID, mask, volume, "Haemorrhage", (1, 0, 0))
    assert not rounds.is_edited(one, volume), "as it was"
    set_segment(one.node, rounds.MASK_ID, mask & False, volume, "Haemorrhage", (1, 0, 0))
    assert rounds.is_edited(one, volume)
    empty = rounds.add_round(volume, 2, None, 1.0, mask & False, nothing)
    assert not rounds.is_edited(empty, volume)
    one.node.RemoveAttribute(rounds.CHECKSUM)
    assert rounds.is_edited(rounds.rounds_of(volume)[1], volume), "in a scene from before"
    apart = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    empty.node.SetAndObserveTransformNodeID(apart.GetID())
    assert not rounds.is_edited(empty, volume), "where it was moved away from the volume"


def test_strokes_that_were_hidden_are_seen_where_their_volume_is_taken_up(logic: ICHHPINetLogic, volume: Any) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    display = logic.strokes_node(volume).GetDisplayNode()
    display.SetAllSegmentsVisibility(False)
    logic.take_up(volume)
    assert display.GetSegmentVisibility(FOREGROUND_ID) and display.GetSegmentVisibility(BACKGROUND_ID)


def test_it_is_known_whether_work_was_begun_without_beginning_any(
    logic: ICHHPINetLogic, volume: Any, scene: Any, weights: Path
) -> None:
    assert not logic.has_work(volume) and scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    logic.strokes_node(volume)
    assert logic.has_work(volume)
    again = ICHHPINetLogic(scene, DirectWorker(weights))
    assert again.has_work(volume)
    again.close()


def test_a_segmentation_that_takes_no_labelmap_is_refused_by_name(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    paint(logic, volume, FOREGROUND_ID, FIRST)
    one = refine(logic, volume)
    target = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "of an RTSTRUCT")
    target.GetSegmentation().SetSourceRepresentationName("Planar contour")
    with pytest.raises(InputError, match="made of Planar contour and takes no binary labelmap; convert it"):
        rounds.copy_into(one, volume, target, "Haemorrhage")
    assert target.GetSegmentation().GetNumberOfSegments() == 0


def test_volumes_of_one_name_have_a_folder_each_and_a_volume_keeps_its_own(
    logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)

    def folder(node: Any) -> int:
        return int(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)))

    namesake = add_volume(scene)
    for one in (volume, namesake):
        paint(logic, one, FOREGROUND_ID, FIRST)
        refine(logic, one)
    volume.SetName("renamed")
    paint(logic, volume, FOREGROUND_ID, SECOND)
    refine(logic, volume)
    nodes = [logic.strokes_node(volume), *(one.node for one in rounds.rounds_of(volume).values())]
    assert len({folder(node) for node in nodes}) == 1
    assert folder(logic.strokes_node(namesake)) not in {folder(node) for node in nodes}
    assert folder(rounds.rounds_of(namesake)[1].node) == folder(logic.strokes_node(namesake))
