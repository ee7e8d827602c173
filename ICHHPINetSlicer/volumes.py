"""Volumes in the application: which one the user sees, its window, and the bundled sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

from .nodes import Node
from .sample import NAME, sample_file


def volume_in_view() -> Node | None:
    """The scene's volume in the red slice view, else the scene's first; None where there is none."""
    layout = slicer.app.layoutManager()
    view = layout.sliceWidget("Red") if layout is not None else None
    shown = view.sliceLogic().GetBackgroundLayer().GetVolumeNode() if view is not None else None
    if not slicer.mrmlScene.IsNodePresent(shown):  # a view holds on to a closed scene's until it is drawn anew
        shown = None
    if shown is not None and shown.IsA("vtkMRMLScalarVolumeNode") and not shown.IsA("vtkMRMLLabelMapVolumeNode"):
        return shown
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")


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
