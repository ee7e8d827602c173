"""What the self-tests of the panel do with it: open it, give it a volume, paint with the mouse, wait for a round."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer
import vtk

from ichhpinet.itk import simpleitk
from ichhpinet.resources import sample_data

from . import overlays, status
from .nodes import Node, ijk_to_ras, segment_mask, volume_from_node
from .sample import box_in
from .scenarios import WAIT_SECONDS, check, made_up_head

NO_TORCH = "torch is not installed: no round was tested"
Index = tuple[int, int, int]  # (z, y, x)


def opened_panel() -> Any:
    """The module is entered; its panel."""
    slicer.util.selectModule("ICHHPINet")
    slicer.app.processEvents()
    return slicer.modules.ICHHPINetWidget


def choose(panel: Any, volume: Node) -> Node:
    """Choose a volume, and wait until it can be painted on."""
    panel._parameters.volume = volume
    until(lambda: panel._painting.volume is volume, "the volume is taken up")
    return volume


def panel_with_head(name: str = "head") -> tuple[Any, Node]:
    """The panel, and a small volume with a bleed that is chosen in it."""
    panel = opened_panel()
    return panel, choose(panel, made_up_head(slicer.mrmlScene, name))


def until(kept: Any, promise: str) -> None:
    """Let the application live until this holds. Raises: ScenarioFailed after WAIT_SECONDS."""
    end = time.monotonic() + WAIT_SECONDS
    while not kept():
        check(time.monotonic() < end, promise)
        slicer.app.processEvents()
        time.sleep(0.005)  # the engine needs the core


def idle(panel: Any) -> None:
    """Until no round is under way, and what follows from it is done."""
    until(lambda: not panel.logic.busy, "the engine answers")
    slicer.app.processEvents()


def refine(panel: Any) -> None:
    """A click on Refine; waits for the round."""
    panel.ui.refineButton.click()
    check(panel.logic.busy and not panel.ui.refineButton.enabled, "one round at a time")
    idle(panel)


def stroke(volume: Node, start: Index, end: Index, view: str = "Red") -> None:
    """Drag the mouse from one voxel to another in a slice view that is brought there."""
    widget = slicer.app.layoutManager().sliceWidget(view)
    overlays.jump_to(slicer.mrmlScene, _ras(volume, start))
    slicer.app.processEvents()
    from_ras = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(widget.mrmlSliceNode().GetXYToRAS(), from_ras)
    ends = [[round(n) for n in from_ras.MultiplyPoint((*_ras(volume, at), 1.0))[:2]] for at in (start, end)]
    slicer.util.clickAndDrag(widget, start=ends[0], end=ends[1], steps=6)
    slicer.app.processEvents()


def painted(panel: Any, volume: Node, segment_id: str) -> np.ndarray:
    """(D, H, W) bool: what is painted and not yet used."""
    return segment_mask(panel.logic.strokes_node(volume), segment_id, volume)


@contextmanager
def dialogs(answer: bool = True) -> Iterator[list[str]]:
    """The texts of the errors and questions that come up; every question is answered alike."""
    said: list[str] = []

    def ask(text: str, *_: Any, **__: Any) -> bool:
        said.append(text)
        return answer

    with replaced(status, "show_error", ask), replaced(status, "confirmed", ask):
        yield said


def replaced(*what: Any, **how: Any) -> Any:
    """unittest.mock's patch.object, imported here alone: the panel's users need not wait for it."""
    from unittest.mock import patch

    return patch.object(*what, **how)


def watched_by(panel: Any) -> set[Any]:
    """Every object that calls the panel."""
    return {one[0] for one in panel.Observations} | {one[0] for one in panel._painting._watched._tags}


def sample_bleed(volume: Node) -> np.ndarray:
    """(D, H, W) bool: the haemorrhage that was put into the sample."""
    truth = simpleitk().ReadImage(str(sample_data("synthetic_haemorrhage.seg.nrrd")))
    ct = volume_from_node(volume)
    out = np.zeros(ct.shape, bool)
    out[box_in(ct, truth)] = simpleitk().GetArrayViewFromImage(truth) > 0
    return out


def _ras(volume: Node, index: Index) -> tuple[float, float, float]:
    x, y, z = (ijk_to_ras(volume) @ [*index[::-1], 1.0])[:3]
    return float(x), float(y), float(z)
