"""Rounds on the sample in 3D Slicer, with the mouse still and scrolled through, beside the command line.

make slicer-bench SLICER=/path/to/Slicer runs it inside 3D Slicer and ends that. Strokes are random, from a fixed seed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ichhpinet.volume import CTVolume
from ichhpinet.writing import write_mask
from ICHHPINetSlicer.dependencies import engine_python
from ICHHPINetSlicer.nodes import FOREGROUND_ID, segment_mask, set_segment, volume_from_node
from ICHHPINetSlicer.panelstage import idle, opened_panel, sample_bleed, until
from ICHHPINetSlicer.sample import sample_file

ROUNDS = 13  # the first one reads the volume; of the others every second one is scrolled through
REACH = 6  # voxels to either side of a stroke's middle
TURNS, PAUSE_SECONDS = 24, 0.02  # slices that are scrolled through, and the time between two
MARGIN_MM = 20.0  # that is left out at either end of the volume
WINDOW = (1500, 950)


def scroll(while_true: Callable[[], bool]) -> list[float]:
    """Seconds from the turn of the wheel to the slice, for as long as it holds."""
    widget = slicer.app.layoutManager().sliceWidget("Red")
    bounds, took = [0.0] * 6, []
    slicer.modules.ICHHPINetWidget._painting.volume.GetRASBounds(bounds)
    offsets = np.linspace(bounds[4] + MARGIN_MM, bounds[5] - MARGIN_MM, TURNS)
    while while_true():
        began = time.perf_counter()
        widget.sliceLogic().SetSliceOffset(float(offsets[len(took) % TURNS]))
        widget.sliceView().forceRender()
        slicer.app.processEvents()
        took.append(time.perf_counter() - began)
        time.sleep(PAUSE_SECONDS)
    return took


def still(while_true: Callable[[], bool]) -> list[float]:
    """Nothing is moved."""
    while while_true():
        slicer.app.processEvents()
        time.sleep(0.005)
    return []


def rounds_in_slicer(
    panel: Any, volume: Any, ct: CTVolume, folder: Path
) -> tuple[list[float], list[float], list[float]]:
    """Seconds of each round, click to table and in the engine alone, and of each slice; the strokes into the folder."""
    places, rng = np.argwhere(sample_bleed(volume)), np.random.default_rng(0)
    took, engine, turns = [], [], []
    for number in range(1, ROUNDS + 1):
        z, y, x = places[rng.integers(len(places))]
        stroke = np.zeros(ct.shape, bool)
        stroke[z, y, max(0, x - REACH) : x + REACH] = True
        write_mask(folder / f"stroke{number}.nii.gz", stroke, ct)
        node = panel.logic.strokes_node(volume)
        mask = segment_mask(node, FOREGROUND_ID, volume) | stroke
        set_segment(node, FOREGROUND_ID, mask, volume, FOREGROUND_ID, (1.0, 1.0, 0.0))
        slicer.app.processEvents()
        began = time.perf_counter()
        panel.ui.refineButton.click()
        turns += (scroll if number % 2 else still)(lambda: panel.logic.busy) if number > 1 else []
        idle(panel)
        took.append(time.perf_counter() - began)
        engine.append(panel.logic.current(volume).seconds)
    return took, engine, turns


def seconds_of_the_command_line(folder: Path) -> list[float]:
    """Of the same rounds, as `ichhpinet segment` reports them."""
    ct = sample_file(Path(slicer.app.temporaryPath) / "ICHHPINet")
    strokes = [str(folder / f"stroke{number}.nii.gz") for number in range(1, ROUNDS + 1)]
    command = [engine_python(), "-m", "ichhpinet", "segment", str(ct), "--scribbles", *strokes, "--out", str(folder)]
    logic = Path(slicer.modules.ichhpinet.path).parent / "Logic"
    paths = os.pathsep.join([str(logic), os.environ.get("PYTHONPATH", "")])
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": paths})
    return [one["seconds"] for one in json.loads((folder / "report.json").read_text(encoding="utf-8"))["rounds"]]


def main() -> None:
    """Measure, and print a line each."""
    slicer.util.mainWindow().resize(*WINDOW)
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    panel = opened_panel()
    panel.ui.sampleButton.click()
    until(lambda: panel._painting.volume is not None, "the sample is loaded")
    volume = panel._parameters.volume
    began = time.perf_counter()
    alone = scroll(lambda: time.perf_counter() - began < 5)
    with tempfile.TemporaryDirectory() as name:
        took, engine, turns = rounds_in_slicer(panel, volume, volume_from_node(volume), Path(name))
        beside = seconds_of_the_command_line(Path(name))
    lines = (
        ("first round, click to table", took[0], "s"),
        ("later rounds, mouse still, click to table (median)", np.median(took[1::2]), "s"),
        ("of these, the engine's own (median)", np.median(engine[1::2]), "s"),
        ("the same rounds, ichhpinet segment (median)", np.median(beside[1::2]), "s"),
        ("times as long", np.median(np.array(took[1::2]) / beside[1::2]), ""),
        ("a slice on, during a round (median)", 1000 * np.median(turns), "ms"),
        ("a slice on, during a round (95th percentile)", 1000 * np.percentile(turns, 95), "ms"),
        ("a slice on, without one (median)", 1000 * np.median(alone), "ms"),
    )
    for what, value, unit in lines:
        print(f"{what:<52} {value:8.2f} {unit}", file=sys.stderr)


try:
    main()
except BaseException:
    slicer.util.exit(1)
    raise
slicer.util.exit(0)
