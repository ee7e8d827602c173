"""What the extension adds to a round, and what ten rounds add to a saved scene: python -m ICHHPINetSlicer.benchmark

On slicer-core or in 3D Slicer's Python, with the bundled weights, in this process.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume

from . import overlays, rounds
from .engine import Done, Engine, Open, Refine
from .nodes import Node, image_of, volume_from_node
from .scenarios import saved

SHAPE, SPACING_MM = (40, 512, 512), (4.0, 0.49, 0.49)
ROUNDS = 10
RADIUS_MM = 22.0  # of the bleed: about 45 ml


def made_up_ct() -> tuple[CTVolume, np.ndarray]:
    """A head of brain and skull with a round bleed, and the bleed's mask."""
    rng = np.random.default_rng(0)
    z, y, x = (((np.arange(n) - n // 2) * step) for n, step in zip(SHAPE, SPACING_MM))
    inside = (y[:, None] / 95) ** 2 + (x[None] / 75) ** 2
    hu = np.where(inside > 1, -1000.0, np.where(inside > 0.88, 900.0, 33.0))[None] + rng.normal(0, 4, SHAPE)
    bleed = (z[:, None, None] ** 2 + y[None, :, None] ** 2 + (x[None, None] - 25) ** 2) < RADIUS_MM**2
    return CTVolume.from_array(np.rint(hu + 30 * bleed).astype(np.float32), SPACING_MM), bleed


def volume_node(scene: Any, ct: CTVolume) -> Node:
    """The CT as a volume node."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "head")
    node.SetAndObserveImageData(image_of(ct.hu.astype(np.int16)))
    node.SetSpacing(*reversed(ct.spacing_mm))
    node.SetIJKToRASDirections(-1, 0, 0, 0, -1, 0, 0, 0, 1)
    return node


def import_seconds() -> float:
    """Importing the extension's code in a fresh Python that has numpy, vtk and slicer already."""
    code = (
        "import time, numpy, vtk, slicer, SimpleITK; from vtk.util import numpy_support; t = time.perf_counter()\n"
        "from ICHHPINetSlicer import logic, overlays\nprint(time.perf_counter() - t)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Print the table."""
    ct, bleed = made_up_ct()
    scene = slicer.vtkMRMLScene()
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    volume = volume_node(scene, ct)
    began = time.perf_counter()
    read = volume_from_node(volume)
    lines = [("volume node to CT", time.perf_counter() - began)]
    engine = Engine(None, "cpu")
    engine.answer(Open("head", read), _silent, _never)
    spent: dict[str, list[float]] = {}
    parent, rng = None, np.random.default_rng(1)
    for _ in range(ROUNDS):
        strokes = np.zeros(SHAPE, np.uint8)
        z, y, x = np.argwhere(bleed)[rng.integers(bleed.sum())]
        strokes[z, y, max(0, x - 10) : x + 10] = 1
        answer = engine.answer(Refine("head", parent, strokes), _silent, _never)
        parent = answer.number
        for name, seconds in _land(volume, answer, strokes).items():
            spent.setdefault(name, []).append(seconds)
    lines += [(name, float(np.median(seconds))) for name, seconds in spent.items()]
    lines.append(("all of a round", float(np.median(np.sum(list(spent.values()), axis=0)))))
    lines.append(("import, without torch", import_seconds()))
    for name, seconds in lines:
        sys.stdout.write(f"{name:<26}{seconds:>8.3f} s\n")
    with tempfile.TemporaryDirectory() as folder:
        saved(scene, Path(folder))
        files = {file.name: file.stat().st_size for file in Path(folder).iterdir()}
        own = sum(size for name, size in files.items() if not name.startswith(volume.GetID()))
    sys.stdout.write(f"{'scene of ten rounds':<26}{own / 1e6:>8.1f} MB beside the CT\n")


def _land(volume: Node, answer: Done, strokes: np.ndarray) -> dict[str, float]:
    """Everything that happens in the scene after a round; seconds by name."""
    scribbles = Scribbles.from_labels(strokes)
    facts = (answer.number, answer.parent, answer.seconds, answer.mask, scribbles)
    steps = {
        "round to node": lambda: rounds.add_round(volume, *facts),
        "memory to node": lambda: rounds.keep_memory(volume, answer.saved, answer.number),
        "show it alone": lambda: rounds.show_round(volume, answer.number),
        "table": lambda: rounds.rounds_of(volume),
        "changes over the slices": lambda: overlays.show_changes(volume, rounds.rounds_of(volume)[answer.number]),
    }
    seconds = {}
    for name, step in steps.items():
        began = time.perf_counter()
        step()
        seconds[name] = time.perf_counter() - began
    return seconds


def _silent(fraction: float, what: str) -> None:
    """No progress."""


def _never() -> bool:
    """No cancel."""
    return False


if __name__ == "__main__":
    main()
