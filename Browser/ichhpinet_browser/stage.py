"""Where the CT is seen: Slicer's scene and views through trame-slicer; layouts, windows, slices. Knows no rounds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from trame_slicer.core import SlicerApp
from trame_slicer.rca_view.rca_view_factory import RemoteViewFactory
from trame_slicer.views import NoScheduleRendering, SliceView, ThreeDView, ViewLayoutDefinition, ViewType

from ICHHPINetSlicer.controls import WINDOWS
from ICHHPINetSlicer.nodes import Node, ijk_to_ras, voxels

AXIAL, CORONAL, SAGITTAL, SURFACE = "Axial", "Coronal", "Sagittal", "Surface"
SLICES = (AXIAL, CORONAL, SAGITTAL)
LAYOUTS = {"four": (AXIAL, SURFACE, CORONAL, SAGITTAL), "axial": (AXIAL,)}
FRAMES_A_SECOND = 30.0
MOVING_QUALITY, STILL_QUALITY = 75, 95  # JPEG: below 75 the noise of a brain window breaks into blocks
LETTERS = ("R", "L"), ("A", "P"), ("S", "I")  # the plus and minus end of RAS axes
AIR_HU = -300.0
COARSE = 4  # voxels: a head's box need not be exact
LEAST_SHARE = 0.04  # of a plane: the head rest and a tube are less
MARGIN = 1.08
SMALLEST_PIXELS = 60  # a view that is smaller is not shown yet
EDGES = ("right", "left", "top", "bottom")

View = dict[str, Any]


class Stage:
    """Four views on one scene. on_slices: called when a view shows another slice or another orientation."""

    def __init__(self, server: Any, on_slices: Callable[[], None]) -> None:
        self.app = SlicerApp()
        vtk.vtkObject.GlobalWarningDisplayOff()  # VTK's notes to programmers are none for who runs a page
        vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
        slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        self._on_slices = on_slices
        self._factories = [
            RemoteViewFactory(
                server,
                partial(view, scheduled_render_strategy=NoScheduleRendering()),  # nothing is drawn for nobody
                kind,
                target_fps=FRAMES_A_SECOND,
                blur_fps=FRAMES_A_SECOND,
                interactive_quality=MOVING_QUALITY,
            )
            for view, kind in ((SliceView, ViewType.SLICE_VIEW), (ThreeDView, ViewType.THREE_D_VIEW))
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
        self._seen: dict[str, View] = {}
        self._to_fit: set[str] = set()
        self._box: NDArray[np.float64] | None = None
        for name, view in self._slice_views().items():
            view.render_window().SetMultiSamples(0)  # without a graphics card, smoothing takes four fifths of a frame
            view.get_view_node().AddObserver(vtk.vtkCommand.ModifiedEvent, self._moved)
            view.interactor().AddObserver(vtk.vtkCommand.WindowResizeEvent, partial(self._resized, name))
        self.surface.render_window().SetMultiSamples(0)
        self.surface.renderer().SetUseDepthPeeling(False)  # takes most of a frame; the skull needs no sorting
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
            put_ct_below(view)
        self.window(volume, "brain")
        self._box = _head_box(volume)
        self.fit()

    def clear(self) -> None:
        """Nothing in the views."""
        for view in self._slice_views().values():
            view.set_background_volume_id(None)
            view.set_foreground_volume_id(None)

    def fit(self) -> None:
        """Every slice view shows the whole head, and does so too once it has its size."""
        self._to_fit = set(SLICES)
        for view in self._slice_views().values():
            self.fit_slice(view)

    def fit_slice(self, view: SliceView) -> None:
        """A slice view along the CT's own axes, on the middle of the head, with all of it."""
        view.reset_view()
        if self._box is None:
            return
        node, size = view.get_view_node(), view.render_window().GetSize()
        matrix = node.GetSliceToRAS()
        axes = np.array([[matrix.GetElement(row, column) for row in range(3)] for column in range(3)])
        extent = np.ptp(self._box @ axes.T, axis=0)
        mm_a_pixel = max(extent[0] / max(size[0], 1), extent[1] / max(size[1], 1)) * MARGIN
        for row, value in enumerate(self._box.mean(axis=0)):
            matrix.SetElement(row, 3, float(value))
        node.UpdateMatrices()
        node.SetFieldOfView(size[0] * mm_a_pixel, size[1] * mm_a_pixel, node.GetFieldOfView()[2])
        view._logic.SnapSliceOffsetToIJK()

    def window(self, volume: Node, name: str) -> None:
        """A window preset by its name."""
        level, width = WINDOWS[name]
        volume.GetDisplayNode().AutoWindowLevelOff()
        volume.GetDisplayNode().SetWindowLevel(width, level)

    def layout(self, name: str) -> None:
        """'four' or 'axial': views that are not seen are not drawn."""
        self.app.view_manager.set_current_view_ids(list(LAYOUTS[name]))
        self._to_fit = set(LAYOUTS[name]) & set(SLICES)

    def look_from_front(self) -> None:
        """Skull and haemorrhage, whole, seen from the patient's front left and a little above."""
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
        if self._seen and self._seen != {name: _described(view) for name, view in self._slice_views().items()}:
            self._on_slices()

    def _resized(self, name: str, *_: Any) -> None:
        """The browser gives a view its size after it was asked to fit."""
        view = self._slice_views()[name]
        if name in self._to_fit and min(view.render_window().GetSize()) > SMALLEST_PIXELS:
            self._to_fit.discard(name)
            offset = view.get_slice_value()
            self.fit_slice(view)
            view.set_slice_value(offset)

    def _adorn(self) -> None:
        """A ruler in the axial view, a cube with the patient's directions in the 3D view."""
        node = slicer.vtkMRMLAbstractViewNode
        self._slice_views()[AXIAL].set_ruler(node.RulerTypeThin)
        self.surface.set_orientation_marker(node.OrientationMarkerTypeCube, node.OrientationMarkerSizeSmall)


def put_ct_below(view: SliceView) -> None:
    """Draw the CT before what lies over it. trame-slicer adds its actor when a first CT comes; masks that were in the
    scene before would lie under it, blended with black."""
    renderer, ct = view.first_renderer(), view._render_manager.image_actor
    others = [prop for prop in renderer.GetViewProps() if prop is not ct]
    renderer.RemoveAllViewProps()
    for prop in (ct, *others):
        renderer.AddViewProp(prop)


def _head_box(volume: Node) -> NDArray[np.float64]:
    """(8, 3): the corners, in RAS mm, of the box round what is no air; the whole volume if none is."""
    inside = voxels(volume.GetImageData())[:, ::COARSE, ::COARSE] > AIR_HU
    ends = []
    for axis, step in ((2, COARSE), (1, COARSE), (0, 1)):
        share = inside.mean(axis=tuple(other for other in range(3) if other != axis))
        found = np.flatnonzero(share > LEAST_SHARE) * step
        size = volume.GetImageData().GetDimensions()[2 - axis]
        ends.append((found[0], found[-1]) if len(found) else (0, size - 1))
    corners = np.array([[*corner, 1.0] for corner in itertools.product(*ends)])
    box = (corners @ ijk_to_ras(volume).T)[:, :3]
    world = np.zeros((8, 3))
    for point, place in zip(box, world):
        volume.TransformPointToWorld(point, place)
    return world


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
