"""Where the CT is seen: Slicer's scene and views through trame-slicer; layouts, windows, slices. Knows no rounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from trame_slicer.core import SlicerApp
from trame_slicer.rca_view.rca_view_factory import RemoteSliceViewFactory, RemoteThreeDViewFactory
from trame_slicer.views import SliceView, ThreeDView, ViewLayoutDefinition

from ICHHPINetSlicer.controls import WINDOWS
from ICHHPINetSlicer.nodes import Node

AXIAL, CORONAL, SAGITTAL, SURFACE = "Axial", "Coronal", "Sagittal", "Surface"
SLICES = (AXIAL, CORONAL, SAGITTAL)
LAYOUTS = {"four": (AXIAL, SURFACE, CORONAL, SAGITTAL), "axial": (AXIAL,)}
FRAMES_A_SECOND = 30.0
MOVING_QUALITY, STILL_QUALITY = 75, 95  # JPEG: below 75 the noise of a brain window breaks into blocks
LETTERS = ("R", "L"), ("A", "P"), ("S", "I")  # the plus and minus end of RAS axes
EDGES = ("right", "left", "top", "bottom")

View = dict[str, Any]


class Stage:
    """Four views on one scene. on_slices: called when a view shows another slice or another orientation."""

    def __init__(self, server: Any, on_slices: Callable[[], None]) -> None:
        self.app = SlicerApp()
        slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        self._on_slices = on_slices
        self._factories = [
            kind(server, target_fps=FRAMES_A_SECOND, blur_fps=FRAMES_A_SECOND, interactive_quality=MOVING_QUALITY)
            for kind in (RemoteSliceViewFactory, RemoteThreeDViewFactory)
        ]
        for factory in self._factories:
            self.app.view_manager.register_factory(factory)
        definitions = [ViewLayoutDefinition.slice_view(name, label=name) for name in SLICES]
        definitions.append(ViewLayoutDefinition.threed_view(name=SURFACE, background_color=("#000000", "#000000")))
        for definition in definitions:
            self.app.view_manager.create_view(definition)
        for factory in self._factories:
            for name in (*SLICES, SURFACE):
                if factory.has_view(name):
                    factory.get_factory_view(name).view_adapter.update_quality(MOVING_QUALITY, STILL_QUALITY)
        for view in self._slice_views().values():
            view.get_view_node().AddObserver(vtk.vtkCommand.ModifiedEvent, self._moved)
        self._seen: dict[str, View] = {}
        self._adorn()

    @property
    def scene(self) -> Any:
        """The MRML scene."""
        return self.app.scene

    @property
    def surface(self) -> ThreeDView:
        """The 3D view."""
        return self.app.view_manager.get_view(SURFACE)

    def show(self, volume: Node) -> None:
        """The CT in all slice views, whole, in the brain window, in its middle."""
        for view in self._slice_views().values():
            view.set_background_volume_id(volume.GetID())
        self.window(volume, "brain")
        self.fit()

    def clear(self) -> None:
        """Nothing in the views."""
        for view in self._slice_views().values():
            view.set_background_volume_id(None)
            view.set_foreground_volume_id(None)

    def fit(self) -> None:
        """Every view shows all of the CT."""
        for view in self.app.view_manager.get_views():
            view.reset_view()

    def window(self, volume: Node, name: str) -> None:
        """A window preset by its name."""
        level, width = WINDOWS[name]
        volume.GetDisplayNode().AutoWindowLevelOff()
        volume.GetDisplayNode().SetWindowLevel(width, level)

    def layout(self, name: str) -> None:
        """'four' or 'axial': views that are not seen are not drawn."""
        self.app.view_manager.set_current_view_ids(list(LAYOUTS[name]))

    def look_from_front(self) -> None:
        """The surface, whole, seen from the patient's front left and a little above."""
        self.surface.fit_view_to_content()
        camera = self.surface.get_camera_node()
        if camera is not None:
            camera.GetCamera().Azimuth(30)
            camera.GetCamera().Elevation(15)
            camera.ResetClippingRange()
        self.surface.schedule_render()

    def go(self, name: str, index: int) -> None:
        """Bring a view to a slice by its number, from 0."""
        view = self._slice_views().get(name)
        if view is None:
            return
        (low, high), step = view.get_slice_range(), view.get_slice_step()
        view.set_slice_value(min(max(low + index * step, low), high))

    def step(self, name: str, slices: int) -> None:
        """Some slices on, or back."""
        if name in self._seen:
            self.go(name, self._seen[name]["index"] + slices)

    def slices(self) -> dict[str, View]:
        """For each slice view: the slice's number from 0, their count, and the letters at the four edges."""
        self._seen = {name: _described(view) for name, view in self._slice_views().items()}
        return self._seen

    def _slice_views(self) -> dict[str, SliceView]:
        return {name: self.app.view_manager.get_view(name) for name in SLICES}

    def _moved(self, *_: Any) -> None:
        if self._seen != {name: _described(view) for name, view in self._slice_views().items()}:
            self._on_slices()

    def _adorn(self) -> None:
        """A ruler in the axial view, a cube with the patient's directions in the 3D view."""
        node = slicer.vtkMRMLAbstractViewNode
        self._slice_views()[AXIAL].set_ruler(node.RulerTypeThin)
        self.surface.set_orientation_marker(node.OrientationMarkerTypeCube, node.OrientationMarkerSizeSmall)


def _described(view: SliceView) -> View:
    (low, high), step = view.get_slice_range(), view.get_slice_step()
    count = max(1, round((high - low) / step) + 1) if step > 0 else 1
    index = min(max(round((view.get_slice_value() - low) / step), 0), count - 1) if step > 0 else 0
    matrix = view.get_view_node().GetSliceToRAS()
    right, up = ([matrix.GetElement(row, column) for row in range(3)] for column in (0, 1))
    ends = _letters(right), _letters([-x for x in right]), _letters(up), _letters([-x for x in up])
    return {"index": index, "count": count, **dict(zip(EDGES, ends))}


def _letters(towards: list[float]) -> str:
    """The patient's side that a direction in RAS points to."""
    axis = max(range(3), key=lambda one: abs(towards[one]))
    return LETTERS[axis][towards[axis] < 0]
