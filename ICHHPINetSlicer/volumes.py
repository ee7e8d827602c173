"""Volumes in the application: which one the user sees, its window, and the bundled sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

from . import nodes
from .nodes import Node
from .sample import NAME, sample_file

SCALAR_VOLUME = "vtkMRMLScalarVolumeNode"


def volume_in_view(otherwise: Node | None = None) -> Node | None:
    """The scene's volume in the red slice view, else `otherwise`, else the scene's first; None where there is none."""
    layout, scene = slicer.app.layoutManager(), slicer.mrmlScene
    view = layout.sliceWidget("Red") if layout is not None else None
    shown = view.sliceLogic().GetBackgroundLayer().GetVolumeNode() if view is not None else None
    if _may_be_a_ct(shown) and scene.IsNodePresent(shown):  # a view holds on to a closed scene's until it is drawn anew
        return shown
    count = scene.GetNumberOfNodesByClass(SCALAR_VOLUME)
    there = (scene.GetNthNodeByClass(index, SCALAR_VOLUME) for index in range(count))
    return otherwise or next((node for node in there if _may_be_a_ct(node)), None)


def _may_be_a_ct(node: Node | None) -> bool:
    """No label map, no vectors, which are of derived classes, and nothing that is kept from the user."""
    return node is not None and node.GetClassName() == SCALAR_VOLUME and not node.GetHideFromEditors()


def is_tilted(volume: Node | None) -> bool:
    """Whether the volume is under a transform that bends it, as Slicer puts one over a CT of a tilted gantry."""
    return volume is not None and nodes.off_grid_mm(volume) > 0


def set_window(volume: Node | None, level: float, width: float) -> None:
    """Show a volume in this window (HU), where it is shown at all."""
    if volume is not None and volume.GetDisplayNode() is not None:
        volume.GetDisplayNode().AutoWindowLevelOff()
        volume.GetDisplayNode().SetWindowLevel(width, level)


def load_sample() -> Any:
    """The bundled head CT as a volume node."""
    return slicer.util.loadVolume(str(sample_file(Path(slicer.app.temporaryPath) / "ICHHPINet")), {"name": NAME})


def register_sample_data() -> None:
    """The bundled CT in the Sample Data module."""
    import SampleData

    icon = Path(__file__).resolve().parent.parent / "Resources" / "Icons" / "ICHHPINet.png"
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="ICHHPINet",
        sampleName=NAME,
        uris=[],  # of no files to download: left out, Slicer takes their length all the same
        fileNames=[],
        thumbnailFileName=str(icon),
        customDownloader=lambda source: [load_sample()],
    )
