"""The brush: the Segment Editor's own paint and erase effects on a volume's strokes, without its panel."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import slicer

from .nodes import FOREGROUND_ID, Node
from .observers import Observers

ERASE = "Erase"  # beside FOREGROUND_ID and BACKGROUND_ID: what a brush may do


class Brush:
    """An editor of its own, which paints with a round brush of a size in mm on one volume's strokes."""

    def __init__(self) -> None:
        self._editor = slicer.qMRMLSegmentEditorWidget()
        self._editor.setMRMLScene(slicer.mrmlScene)
        self._editor.setMaximumNumberOfUndoStates(0)  # undo is one list of strokes and rounds, kept by the logic
        self._settings: Any = None
        self._observers = Observers()
        self._setting = False
        self.on_diameter: Callable[[float], None] | None = None  # called with mm where Shift and the wheel change it

    @property
    def volume(self) -> Node | None:
        """The volume that is painted on."""
        return self._editor.sourceVolumeNode()

    @property
    def effect(self) -> Any:
        """The Segment Editor's effect in hand; None: the mouse navigates."""
        return self._editor.activeEffect()

    def own_settings(self) -> None:
        """Its node: apart from the Segment Editor's own, not saved with the scene, reset by one that closes."""
        node = slicer.mrmlScene.GetSingletonNode("ICHHPINet", "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.vtkMRMLSegmentEditorNode()
            node.SetSingletonTag("ICHHPINet")
            node = slicer.mrmlScene.AddNode(node)
        node.SetSaveWithScene(False)
        node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
        if node is not self._settings:
            self._settings = node
            self._editor.setMRMLSegmentEditorNode(node)
            self._observers.remove()
            self._observers.add(node, node.EffectParameterModified, self._changed)

    def paint_on(self, strokes: Node | None, volume: Node | None) -> None:
        """The segmentation that takes the strokes, and the volume under it; None: nothing can be painted."""
        with self._own_setting():
            self._editor.setSegmentationNode(strokes)
            self._editor.setSourceVolumeNode(volume)

    def take(self, what: str, diameter_mm: float) -> None:
        """Take FOREGROUND_ID, BACKGROUND_ID or ERASE in hand."""
        if what != ERASE or not self._settings.GetSelectedSegmentID():
            self._settings.SetSelectedSegmentID(FOREGROUND_ID if what == ERASE else what)
        with self._own_setting():  # an effect comes with a diameter of its own
            self._editor.setActiveEffectByName("Erase" if what == ERASE else "Paint")
            self.set_diameter(diameter_mm)

    def set_diameter(self, millimetres: float) -> None:
        """Of the brush in hand, if one is."""
        effect = self.effect
        if effect is None:
            return
        with self._own_setting():
            effect.setCommonParameter("BrushDiameterIsRelative", 0)
            effect.setCommonParameter("BrushAbsoluteDiameter", millimetres)
            effect.setCommonParameter("BrushSphere", 0)
        if effect.name == "Erase":
            effect.setParameter("EraseAllSegments", 1)  # of the effect's own: a common one of this name is not read

    @contextlib.contextmanager
    def _own_setting(self) -> Iterator[None]:
        before, self._setting = self._setting, True
        try:
            yield
        finally:
            self._setting = before

    def _changed(self) -> None:
        if not self._setting and self.effect is not None and self.on_diameter is not None:
            self.on_diameter(float(self.effect.doubleParameter("BrushAbsoluteDiameter")))

    def put_away(self) -> None:
        """The mouse navigates again."""
        self._editor.setActiveEffectByName("")

    def leave_the_scene(self) -> None:
        """Nothing of a scene that closes stays in hand."""
        self.put_away()
        self.paint_on(None, None)
        self._editor.removeViewObservations()  # it keeps the brush while a scene closes; drawn then, it crashes

    def close(self) -> None:
        """End the editor."""
        self._observers.remove()
        self.put_away()
        self._editor.setMRMLSegmentEditorNode(None)
        self._editor.setMRMLScene(None)
        self._editor.deleteLater()  # it has no parent that would
