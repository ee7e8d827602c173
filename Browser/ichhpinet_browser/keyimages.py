"""Key images for the report: the slices with most haemorrhage, drawn by a slice view that nobody sees."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from trame_slicer.views import NoScheduleRendering, SliceView, ViewProps

from ICHHPINetSlicer.nodes import Node, ijk_to_ras

from .stage import AXIAL, Stage, put_ct_below

PIXELS = 360
MOST_IMAGES = 6
NAME = "Report"


def key_slices(mask: NDArray[np.bool_], axis: int, most: int = MOST_IMAGES) -> list[int]:
    """Indices along an array axis, in order, spread over the slices with haemorrhage; the largest is among them."""
    others = tuple(other for other in range(3) if other != axis)
    areas = mask.sum(axis=others)
    bled = np.flatnonzero(areas)
    if len(bled) <= most:
        return [int(index) for index in bled]
    spread = np.linspace(0, len(bled) - 1, most + 2)[1:-1].round().astype(int)
    chosen = bled[spread]
    chosen[np.abs(chosen - areas.argmax()).argmin()] = areas.argmax()
    return sorted({int(index) for index in chosen})


def draw(stage: Stage, volume: Node, slices: list[int], axis: int) -> list[str]:
    """PNG images as data URLs, one a slice: axial, in the window and with what is laid over the views now."""
    view = _view(stage)
    view.set_background_volume_id(volume.GetID())
    put_ct_below(view)
    stage.fit_slice(view)
    pictures = []
    for index in slices:
        place = [(size - 1) / 2 for size in volume.GetImageData().GetDimensions()] + [1.0]
        place[2 - axis] = float(index)
        ras = ijk_to_ras(volume) @ place
        view.get_view_node().JumpSliceByOffsetting(*_in_world(volume, ras[:3].tolist()))
        pictures.append(_picture(view))
    return pictures


def _view(stage: Stage) -> SliceView:
    known = getattr(stage, "report_view", None)
    if known is not None:
        return known
    view = SliceView(stage.scene, stage.app.app_logic, NAME)
    view.set_scheduled_render(NoScheduleRendering())
    view.set_view_properties(ViewProps(orientation=AXIAL))
    view.get_view_node().SetRulerType(slicer.vtkMRMLAbstractViewNode.RulerTypeThin)
    view.update_size(PIXELS, PIXELS)
    view.interactor().InvokeEvent(vtk.vtkCommand.WindowResizeEvent)
    stage.report_view = view
    return view


def _in_world(volume: Node, point: list[float]) -> list[float]:
    world = [0.0, 0.0, 0.0]
    volume.TransformPointToWorld(point, world)
    return world


def _picture(view: Any) -> str:
    view.render_window().Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(view.render_window())
    grab.ReadFrontBufferOff()
    writer = vtk.vtkPNGWriter()
    writer.SetInputConnection(grab.GetOutputPort())
    writer.WriteToMemoryOn()
    writer.Write()
    return "data:image/png;base64," + base64.b64encode(bytes(memoryview(writer.GetResult()))).decode("ascii")
