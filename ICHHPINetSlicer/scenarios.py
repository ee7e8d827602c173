"""What must hold with a real scene, written once: pytest runs these on slicer-core, ICHHPINetTest inside 3D Slicer.

A scenario is a function of a `Stage`; it raises ScenarioFailed with a sentence where a promise is not kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ichhpinet.errors import InputError

from . import rounds
from .logic import ICHHPINetLogic
from .nodes import BACKGROUND_ID, FOREGROUND_ID, Node, image_of, labelmap_of, segment_mask, set_segment
from .rounds import Round

SHAPE = (6, 24, 24)
BLEED = (slice(2, 5), slice(6, 12), slice(6, 12))
ON_BLEED, BESIDE = (3, 8, 8), (3, 18, 18)
WAIT_SECONDS = 300.0


class ScenarioFailed(Exception):
    """A promise that was not kept, in a sentence."""


@dataclass(frozen=True)
class Stage:
    """Where a scenario plays. make_logic: a new logic on a scene. opened: what was saved; the scene may be another."""

    scene: Any
    make_logic: Callable[[Any], ICHHPINetLogic]
    saved: Callable[[Any, Path], Path]
    opened: Callable[[Path], Any]
    folder: Path


def check(kept: bool, promise: str) -> None:
    """Raises: ScenarioFailed with the promise where it is not kept."""
    if not kept:
        raise ScenarioFailed(promise)


def made_up_head(scene: Any, name: str = "head") -> Node:
    """A small volume node: brain with a bright bleed, a corner of air."""
    hu = np.random.default_rng(0).normal(35, 3, SHAPE)
    hu[BLEED] += 30
    hu[:, 0, 0] = -1000
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetAndObserveImageData(image_of(np.rint(hu).astype(np.int16)))
    node.SetSpacing(2.0, 2.0, 5.0)
    node.SetIJKToRASDirections(-1, 0, 0, 0, -1, 0, 0, 0, 1)
    node.CreateDefaultDisplayNodes()
    return node


def paint(logic: ICHHPINetLogic, volume: Node, segment_id: str, *indices: tuple[int, int, int]) -> None:
    """A stroke in one of the two segments; the logic is told of it."""
    node = logic.strokes_node(volume)
    mask = segment_mask(node, segment_id, volume)
    for index in indices:
        mask[index] = True
    set_segment(node, segment_id, mask, volume, segment_id, (1.0, 1.0, 0.0))
    logic.strokes_changed(volume)


def brush(logic: ICHHPINetLogic, volume: Node, segment_id: str, *indices: tuple[int, int, int]) -> None:
    """A stroke by the Segment Editor, which takes what it covers from the other segment; the logic is told of it."""
    mask = np.zeros(SHAPE, bool)
    for index in indices:
        mask[index] = True
    strokes, editor = logic.strokes_node(volume), slicer.vtkSlicerSegmentEditorLogic()
    settings = volume.GetScene().AddNode(slicer.vtkMRMLSegmentEditorNode())
    settings.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
    editor.SetMRMLScene(volume.GetScene())
    editor.SetSegmentEditorNode(settings)
    editor.SetSegmentationNode(strokes)
    editor.SetSourceVolumeNode(volume)
    painted = labelmap_of(mask, volume)
    editor.ModifySegmentByLabelmap(strokes, segment_id, painted, editor.ModificationModeAdd, False, False)
    editor.SetMRMLScene(None)
    volume.GetScene().RemoveNode(settings)
    logic.strokes_changed(volume)


def wait(logic: ICHHPINetLogic) -> None:
    """Until the engine is idle. Raises: ScenarioFailed after WAIT_SECONDS."""
    end = time.monotonic() + WAIT_SECONDS
    while logic.poll(0.02):
        check(time.monotonic() < end, "the engine answers")


def refine(logic: ICHHPINetLogic, volume: Node) -> Round:
    """A round, waited for. Raises: ScenarioFailed with what it failed with."""
    made: list[Round] = []
    said: list[str] = []
    logic.refine(volume, made.append, lambda kind, sentence: said.append(sentence))
    wait(logic)
    check(bool(made), f"a round is made, not: {said}")
    return made[0]


def three_rounds_undo_and_redo(stage: Stage) -> None:
    """Each round is a node, strokes are obeyed, undo and redo walk over strokes and rounds alike."""
    volume, logic = made_up_head(stage.scene), stage.make_logic(stage.scene)
    for segment_id, index in ((FOREGROUND_ID, ON_BLEED), (BACKGROUND_ID, BESIDE), (FOREGROUND_ID, (1, 3, 3))):
        paint(logic, volume, segment_id, index)
        refine(logic, volume)
    known = rounds.rounds_of(volume)
    check(list(known) == [1, 2, 3], "three rounds are three nodes")
    mask = rounds.round_mask(known[3], volume)
    check(bool(mask[ON_BLEED] and mask[1, 3, 3] and not mask[BESIDE]), "strokes are obeyed")
    steps = 0
    while logic.undo(volume):
        steps += 1
    check(steps == 6 and rounds.shown_round(volume) is None, "three strokes and three rounds are undone one by one")
    while logic.redo(volume):
        steps -= 1
    check(steps == 0 and rounds.shown_round(volume) == 3, "and done again")


def strokes_of_the_segment_editor(stage: Stage) -> None:
    """Three rounds from strokes that the Segment Editor paints, one of them over another; undone, and done again."""
    volume, logic = made_up_head(stage.scene), stage.make_logic(stage.scene)
    brush(logic, volume, FOREGROUND_ID, ON_BLEED, (3, 8, 9))
    refine(logic, volume)
    brush(logic, volume, FOREGROUND_ID, BESIDE)
    brush(logic, volume, BACKGROUND_ID, BESIDE)
    strokes = logic.strokes_node(volume)
    check(not segment_mask(strokes, FOREGROUND_ID, volume).any(), "what is painted over changes sides")
    refine(logic, volume)
    brush(logic, volume, BACKGROUND_ID, (3, 8, 9))
    one = refine(logic, volume)
    mask = rounds.round_mask(one, volume)
    check(bool(mask[ON_BLEED] and not mask[BESIDE] and not mask[3, 8, 9]), "the newest stroke is obeyed")
    steps = 0
    while logic.undo(volume):
        steps += 1
    check(steps == 7, "four strokes and three rounds are undone one by one")
    while logic.redo(volume):
        steps -= 1
    check(steps == 0 and rounds.shown_round(volume) == 3, "and done again")
    check(not logic.has_strokes(volume), "and the brush is empty")


def two_volumes(stage: Stage) -> None:
    """Work on one volume is there when the user comes back from another."""
    logic = stage.make_logic(stage.scene)
    first, second = made_up_head(stage.scene, "first"), made_up_head(stage.scene, "second")
    paint(logic, first, FOREGROUND_ID, ON_BLEED)
    refine(logic, first)
    paint(logic, second, FOREGROUND_ID, ON_BLEED)
    refine(logic, second)
    paint(logic, first, BACKGROUND_ID, BESIDE)
    check(refine(logic, first).parent == 1, "the next round goes on from the last")
    check([len(logic.table(one)) for one in (first, second)] == [2, 1], "volumes do not share rounds")


def tomorrow(stage: Stage) -> None:
    """A scene that is saved and opened again goes on as if it had never been closed."""
    volume, logic = made_up_head(stage.scene), stage.make_logic(stage.scene)
    paint(logic, volume, FOREGROUND_ID, ON_BLEED)
    refine(logic, volume)
    paint(logic, volume, BACKGROUND_ID, BESIDE)
    kept = stage.saved(stage.scene, stage.folder)
    live = refine(logic, volume)
    mask = rounds.round_mask(live, volume)
    other = stage.opened(kept)
    again = stage.make_logic(other)
    copy = other.GetFirstNodeByName("head")
    restored = refine(again, copy)
    same = np.array_equal(mask, rounds.round_mask(restored, copy))
    check(same and live.number == restored.number == 2, "the next round is the same")


def closed_mid_round(stage: Stage) -> None:
    """A scene closed while the engine works leaves nothing, and the next volume works."""
    volume, logic = made_up_head(stage.scene), stage.make_logic(stage.scene)
    paint(logic, volume, FOREGROUND_ID, ON_BLEED)
    called: list[Any] = []
    logic.refine(volume, called.append, lambda kind, sentence: called.append(sentence))
    stage.scene.Clear(False)
    wait(logic)
    check(not called, "nobody is called for a volume that is gone")
    fresh = made_up_head(stage.scene)
    paint(logic, fresh, FOREGROUND_ID, ON_BLEED)
    check(refine(logic, fresh).number == 1, "the next volume starts at round 1")


def bad_input(stage: Stage) -> None:
    """What cannot be used is refused by name, and nothing is lost."""
    volume, logic = made_up_head(stage.scene), stage.make_logic(stage.scene)
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731
    for action, words in (
        (lambda: logic.refine(volume, nothing, nothing), "there are no strokes"),
        (lambda: logic.return_to(volume, 9), "there is no round 9"),
        (lambda: logic.strokes_node(None), "no volume is chosen"),
    ):
        try:
            action()
        except InputError as error:
            check(words in str(error), f"it says: {words}")
        else:
            check(False, f"it is refused: {words}")
    paint(logic, volume, FOREGROUND_ID, ON_BLEED)
    check(refine(logic, volume).number == 1, "the next round works")


SCENARIOS: tuple[Callable[[Stage], None], ...] = (
    three_rounds_undo_and_redo,
    strokes_of_the_segment_editor,
    two_volumes,
    tomorrow,
    closed_mid_round,
    bad_input,
)


def saved(scene: Any, folder: Path) -> Path:
    """Write a scene with all its files into a folder; MRML classes alone."""
    scene.SetRootDirectory(str(folder))
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLStorableNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLStorableNode")
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        if storage is not None and node.GetSaveWithScene():
            storage.SetFileName(str(folder / f"{node.GetID()}.{storage.GetDefaultWriteFileExtension()}"))
            check(bool(storage.WriteData(node)), f"{node.GetName()} is written")
    file = folder / "scene.mrml"
    scene.SetURL(str(file))
    check(bool(scene.Commit()), "the scene is written")
    return file


def opened(file: Path) -> Any:
    """Read a scene into another one; MRML classes alone."""
    read = slicer.vtkMRMLScene()
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(read)
    read.SetURL(str(file))
    check(bool(read.Connect()), "the scene is read")
    return read
