"""Case: one volume's work in a scene: what is painted on it, its history, and its place, which everything follows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import vtk

from ichhpinet.errors import InputError

from . import rounds
from .history import History, Strokes
from .nodes import BACKGROUND_ID, FOREGROUND_ID, Node, ijk_to_ras, segment_box, set_segment, voxels
from .observers import Observers

STROKES = "ICHHPINet.StrokesToPaint"  # attribute of the segmentation that the user paints on
NAMES = {FOREGROUND_ID: "Haemorrhage (foreground)", BACKGROUND_ID: "Not haemorrhage (background)"}
COLOURS = {FOREGROUND_ID: rounds.FOREGROUND_RGB, BACKGROUND_ID: rounds.BACKGROUND_RGB}


class Case:
    """One volume's work: as the scene has it, or new.

    stamp: of the image that the engine has; None: the engine has not opened it. notes: what opening it assumed.
    aside: whether another volume is seen: then no round is shown.
    """

    def __init__(self, volume: Node) -> None:
        self.volume = volume
        self.stamp: tuple[Any, ...] | None = None
        self.notes: tuple[str, ...] = ()
        self.aside = False
        rounds.follow_transform(volume)
        self.strokes = find_strokes(volume) or _make_strokes(volume)
        known, number = rounds.rounds_of(volume), _current(volume)
        self._parents = {one.number: _older(one) for one in known.values()}  # of every round there was
        self.history = History.started(self.line(known, number), self.painted())
        rounds.show_round(volume, number)
        self._to_ras, self._transform, self._image = ijk_to_ras(volume), volume.GetTransformNodeID(), _image(volume)
        self._observers = Observers()
        self._observers.add(volume, vtk.vtkCommand.ModifiedEvent, self._follow)

    def close(self) -> None:
        """Take the observer back; the nodes stay."""
        self._observers.remove()

    def mend(self) -> None:
        """A strokes node, or a segment of it, that the user deleted is made again; what was not submitted is gone.

        Where the round to go on from was deleted, it is the nearest one that it came from.
        """
        known = rounds.rounds_of(self.volume)
        self._parents |= {number: _older(one) for number, one in known.items()}
        before, self.history = self.history, self.history.only(known, self._parents)
        if self.history is not before:
            rounds.set_current(self.volume, self.history.now.number)
            if self.history.now.number != before.now.number or rounds.shown_round(self.volume) is None:
                self.show()
        if self.strokes.GetScene() is None:
            self.strokes = _make_strokes(self.volume)
        _add_segments(self.strokes, self.volume)

    def line(self, known: Collection[int], number: int | None) -> list[int]:
        """Of the rounds from the first to `number`, those that are known; one that was deleted breaks no line."""
        found: list[int] = []
        while number is not None:
            if number in known:
                found.append(number)
            number = self._parents.get(number)
        return found[::-1]

    def start_anew(self) -> None:
        """Remove the rounds and the memory; the strokes that are not submitted stay."""
        strokes = self.painted()
        rounds.forget(self.volume, but=self.strokes)
        self.stamp, self.history, self._image = None, History.started([], strokes), _image(self.volume)

    def note(self, sentence: str) -> None:
        """One more thing to be said of the rounds; '' is none."""
        if sentence and sentence not in self.notes:
            self.notes = (*self.notes, sentence)

    def painted(self) -> Strokes:
        """What is painted now; where both were painted (the editor may allow it), the background stroke gives way."""
        return Strokes.of(*(segment_box(self.strokes, segment_id, self.volume) for segment_id in COLOURS))

    def paint(self, strokes: Strokes) -> None:
        """Make this what is painted."""
        for segment_id, box in ((FOREGROUND_ID, strokes.foreground), (BACKGROUND_ID, strokes.background)):
            set_segment(self.strokes, segment_id, box, self.volume, NAMES[segment_id], COLOURS[segment_id])

    def show(self) -> None:
        """Show the present round alone; none while another volume is seen."""
        rounds.show_round(self.volume, None if self.aside else self.history.now.number)

    def _follow(self) -> None:
        """The volume came under another transform, or to another place: what was made for it goes along.

        A volume that got another image is no longer what the rounds were made of: they stay where they are.
        """
        to_ras = ijk_to_ras(self.volume)
        if _image(self.volume) == self._image and not np.array_equal(to_ras, self._to_ras):
            rounds.move(self.volume, to_ras @ np.linalg.inv(self._to_ras), self._transform)
        self._to_ras, self._transform = to_ras, self.volume.GetTransformNodeID()
        rounds.follow_transform(self.volume)


def shape_of(volume: Node) -> tuple[int, int, int]:
    """(D, H, W) of the volume's image."""
    depth, height, width = voxels(volume.GetImageData()).shape
    return depth, height, width


def _image(volume: Node) -> int | None:
    """Changes when the volume's image does."""
    image = volume.GetImageData()
    return None if image is None else int(image.GetMTime())


def _current(volume: Node) -> int | None:
    """The round that the next one starts from, as the scene says.

    The newest, where the memory is damaged or names a round that is not there.
    """
    known = rounds.rounds_of(volume)
    try:
        memory = rounds.kept_memory(volume)
    except InputError:
        return max(known, default=None)
    number = memory[1] if memory is not None else None
    return number if number is None or number in known else max(known, default=None)


def _older(one: rounds.Round) -> int | None:
    """What a round came from; a scene that was tampered with may name a later one."""
    return one.parent if one.parent is not None and one.parent < one.number else None


def find_strokes(volume: Node) -> Node | None:
    """The segmentation that the user paints on, where the scene has one."""
    scene = volume.GetScene()
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLSegmentationNode")
        if node.GetAttribute(STROKES) and rounds.belongs_to(node, volume):
            return node
    return None


def _make_strokes(volume: Node) -> Node:
    node = volume.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", f"{volume.GetName()} ICH strokes")
    node.SetAttribute(STROKES, "1")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    rounds.adopt(volume, node)
    _add_segments(node, volume)
    return node


def _add_segments(node: Node, volume: Node) -> None:
    """Empty ones, where they are not."""
    for segment_id, name in NAMES.items():
        if node.GetSegmentation().GetSegment(segment_id) is None:
            set_segment(node, segment_id, np.zeros(shape_of(volume), bool), volume, name, COLOURS[segment_id])
