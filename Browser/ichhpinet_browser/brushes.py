"""The three brushes: trame-slicer's own painting on the volume's strokes, in the slice views alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer import vtkMRMLSliceNode
from trame_slicer.core import SegmentationEditor
from trame_slicer.segmentation import (
    BrushDiameterMode,
    ModificationMode,
    SegmentationEffectPaintErase,
    SegmentationOverwriteMode,
)

from ICHHPINetSlicer.nodes import BACKGROUND_ID, FOREGROUND_ID, Node
from ICHHPINetSlicer.rounds import BACKGROUND_RGB, FOREGROUND_RGB

from .stage import SLICES

SEGMENTS = {"foreground": FOREGROUND_ID, "background": BACKGROUND_ID, "erase": FOREGROUND_ID}
COLOURS = {"foreground": FOREGROUND_RGB, "background": BACKGROUND_RGB, "erase": (0.9, 0.9, 0.9)}
SMALLEST_MM, LARGEST_MM, USUAL_MM = 1.0, 30.0, 4.0


class _Strokes(SegmentationEffectPaintErase):
    """Tells when a stroke has landed; paints in slice views, never on the surface in the 3D view."""

    on_stroke: Callable[[], None] | None = None

    def paint_glyph_at_world_coordinates(self, polydata: Any, paint_coordinates_world: Any) -> None:
        """Called by trame-slicer's pipeline when the mouse button is released."""
        super().paint_glyph_at_world_coordinates(polydata, paint_coordinates_world)
        if self.on_stroke is not None:
            self.on_stroke()

    def _create_pipeline(self, view_node: Any, parameter: Any) -> Any:
        """Not for the 3D view, nor for the report's, which has no mouse: trame-slicer would find no widget there."""
        painted_in = isinstance(view_node, vtkMRMLSliceNode) and view_node.GetName() in SLICES
        return super()._create_pipeline(view_node, parameter) if painted_in else None

    def coloured(self, colour: tuple[float, float, float]) -> None:
        """The brush's outline and the trail of a stroke under way."""
        parameters = self._get_paint_parameters()
        for node in (parameters.brush_model_node, parameters.paint_feedback_model_node):
            if node is not None:
                node.GetDisplayNode().SetColor(*colour)
                node.GetDisplayNode().SetSliceIntersectionThickness(2)
                node.GetDisplayNode().SetVisibility3D(False)


class PaintStrokes(_Strokes):
    """Foreground and background."""

    def __init__(self) -> None:
        super().__init__(ModificationMode.Add)


class EraseStrokes(_Strokes):
    """Takes both kinds of strokes away."""

    def __init__(self) -> None:
        super().__init__(ModificationMode.RemoveAll)


class Brushes:
    """Which brush is in the hand, and how wide it is."""

    def __init__(self, editor: SegmentationEditor, on_stroke: Callable[[], None]) -> None:
        self._editor = editor
        self._effects = {"erase": editor.get_effect(EraseStrokes)}
        self._effects["foreground"] = self._effects["background"] = editor.get_effect(PaintStrokes)
        for effect in self._effects.values():
            effect.on_stroke = on_stroke
        self._wide_mm = USUAL_MM

    def take(self, strokes: Node, volume: Node) -> None:
        """Paint on this volume's strokes from now on; no brush is in the hand then."""
        self._editor.set_active_segmentation(strokes, volume)
        self._editor.set_overwrite_mode(SegmentationOverwriteMode.OVERWRITE_ALL)

    def choose(self, name: str | None) -> None:
        """'foreground', 'background' or 'erase'; None: the mouse navigates."""
        if name not in SEGMENTS:
            self._editor.deactivate_effect()
            return
        self._editor.set_active_segment_id(SEGMENTS[name])
        effect = self._effects[name]
        self._editor.set_active_effect(effect)
        self.set_mm(self._wide_mm)
        effect.coloured(COLOURS[name])

    def set_mm(self, wide_mm: float) -> None:
        """The brush's diameter."""
        self._wide_mm = min(max(float(wide_mm), SMALLEST_MM), LARGEST_MM)
        for effect in self._effects.values():
            effect.set_use_sphere_brush(False)
            effect.set_brush_diameter(self._wide_mm, BrushDiameterMode.Absolute)
