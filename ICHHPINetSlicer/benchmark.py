"""What the extension adds to a round, and what ten rounds add to a saved scene: python -m ICHHPINetSlicer.benchmark

On slicer-core or in 3D Slicer's Python, with the bundled weights, in an engine process as in Slicer.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ichhpinet.errors import InputError

from . import overlays, rounds
from .logic import ICHHPINetLogic
from .nodes import FOREGROUND_ID, Node, image_of, segment_mask, set_segment, volume_from_node
from .rounds import Round
from .scenarios import saved
from .worker import Worker

SHAPE, SPACING_MM = (40, 512, 512), (4.0, 0.49, 0.49)
LONG_SHAPE = (400, 512, 512)  # of a volume to paint on
ROUNDS = 10
POLL_SECONDS = 0.02
RADIUS_MM = 22.0  # of the bleed: about 45 ml


def made_up_ct() -> tuple[np.ndarray, np.ndarray]:
    """HU of a head of brain and skull with a round bleed, and the bleed's mask."""
    rng = np.random.default_rng(0)
    z, y, x = (((np.arange(n) - n // 2) * step) for n, step in zip(SHAPE, SPACING_MM))
    inside = (y[:, None] / 95) ** 2 + (x[None] / 75) ** 2
    hu = np.where(inside > 1, -1000.0, np.where(inside > 0.88, 900.0, 33.0))[None] + rng.normal(0, 4, SHAPE)
    bleed = (z[:, None, None] ** 2 + y[None, :, None] ** 2 + (x[None, None] - 25) ** 2) < RADIUS_MM**2
    return np.rint(hu + 30 * bleed).astype(np.int16), bleed


def volume_node(scene: Any, hu: np.ndarray) -> Node:
    """A CT of short values as a volume node."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "head")
    node.SetAndObserveImageData(image_of(hu))
    node.SetSpacing(*reversed(SPACING_MM))
    node.SetIJKToRASDirections(-1, 0, 0, 0, -1, 0, 0, 0, 1)
    return node


def import_seconds() -> float:
    """Importing the module's file in a fresh Python that has what Slicer has when it loads modules.

    Without Qt (slicer-core): everything that needs none.
    """
    code = (
        "import importlib.util, sys, time, numpy, vtk, slicer; from vtk.util import numpy_support\n"
        "panel = importlib.util.find_spec('qt') is not None\n"
        "if panel: import qt, ctk, slicer.ScriptedLoadableModule, slicer.parameterNodeWrapper\n"
        "began = time.perf_counter()\n"
        "if panel: import ICHHPINet\n"
        "else: from ICHHPINetSlicer import controls, dependencies, logic, overlays, sample, scenarios\n"
        "print(time.perf_counter() - began)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


class Times:
    """Seconds by name, several a name."""

    def __init__(self) -> None:
        self._spent: dict[str, list[float]] = {}

    def add(self, name: str, seconds: float) -> None:
        """One more time."""
        self._spent.setdefault(name, []).append(seconds)

    def of(self, name: str, step: Callable[[], Any]) -> Any:
        """Do a step; what it gives."""
        began = time.perf_counter()
        given = step()
        self.add(name, time.perf_counter() - began)
        return given

    def lines(self) -> list[tuple[str, float]]:
        """Medians, by name."""
        return [(name, float(np.median(seconds))) for name, seconds in self._spent.items()]


def stroke(volume: Node, logic: ICHHPINetLogic, place: tuple[int, int, int]) -> None:
    """Paint 20 voxels, as the Segment Editor leaves them; the logic is not told."""
    node = logic.strokes_node(volume)
    mask = segment_mask(node, FOREGROUND_ID, volume)
    z, y, x = place
    mask[z, y, max(0, x - 10) : x + 10] = True
    set_segment(node, FOREGROUND_ID, mask, volume, FOREGROUND_ID, rounds.FOREGROUND_RGB)


def play_round(volume: Node, logic: ICHHPINetLogic, times: Times) -> None:
    """From the click on Refine to the table and the overlays."""
    landed: list[Round] = []
    began = time.perf_counter()
    times.of("click on Refine", lambda: logic.refine(volume, landed.append, _failed))
    while logic.poll(POLL_SECONDS):
        pass
    times.add("click to landing, beside the engine", time.perf_counter() - began - landed[0].seconds)
    times.of("table", lambda: logic.table(volume))
    times.of("changes over the slices", lambda: overlays.show_changes(volume, landed[0]))
    uncertainty: list[Any] = []
    logic.look(volume, landed[0].number, uncertainty.append, _failed)
    while logic.poll(POLL_SECONDS):
        pass
    times.of("uncertainty over the slices", lambda: overlays.show_uncertainty(volume, uncertainty[0]))


def main() -> None:
    """Print the table."""
    hu, bleed = made_up_ct()
    scene = slicer.vtkMRMLScene()
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    volume, logic, times = volume_node(scene, hu), ICHHPINetLogic(scene, Worker(device="cpu")), Times()
    times.of("volume node to CT", lambda: volume_from_node(volume))
    logic.open(volume, lambda: None, _failed)
    while logic.poll(POLL_SECONDS):
        pass
    places, rng = np.argwhere(bleed), np.random.default_rng(1)
    for _ in range(ROUNDS):
        stroke(volume, logic, tuple(places[rng.integers(len(places))]))
        times.of(f"end of a stroke, {SHAPE[0]} slices", lambda: logic.strokes_changed(volume))
        play_round(volume, logic, times)
    with tempfile.TemporaryDirectory() as folder:
        saved(scene, Path(folder))
        files = {file.name: file.stat().st_size for file in Path(folder).iterdir()}
        own = sum(size for name, size in files.items() if not name.startswith(volume.GetID()))
    scene.Clear(False)
    long = volume_node(scene, np.zeros(LONG_SHAPE, np.int16))
    for number in range(ROUNDS):
        stroke(long, logic, (40 * number, 250, 20 * number))
        times.of(f"end of a stroke, {LONG_SHAPE[0]} slices", lambda: logic.strokes_changed(long))
    logic.close()
    for name, seconds in (*times.lines(), ("import, without torch", import_seconds())):
        sys.stdout.write(f"{name:<37}{seconds:>8.3f} s\n")
    sys.stdout.write(f"{'scene of ten rounds':<37}{own / 1e6:>8.1f} MB beside the CT\n")


def _failed(kind: str, sentence: str) -> None:
    raise InputError(sentence)


if __name__ == "__main__":
    main()
