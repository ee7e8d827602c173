"""What a saved scene holds: stock nodes that Slicer reads without this extension, and no more than it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import slicer
import torch

from core.engine import QuickPredictor
from extension.scenes import DirectWorker, add_volume, paint, refine
from ichhpinet.predictor import EncodedVolume
from ichhpinet.volume import CTVolume
from ICHHPINetSlicer.logic import ICHHPINetLogic
from ICHHPINetSlicer.nodes import BACKGROUND_ID, FOREGROUND_ID
from ICHHPINetSlicer.scenarios import saved

TEN_ROUNDS_BYTES = 10_000_000


def test_a_saved_scene_is_read_without_a_word_where_the_extension_is_absent(
    logic: ICHHPINetLogic, volume: Any, scene: Any, tmp_path: Path
) -> None:
    for segment_id, voxel in ((FOREGROUND_ID, (2, 5, 5)), (BACKGROUND_ID, (3, 8, 8))):
        paint(logic, volume, segment_id, voxel)
        refine(logic, volume)
    paint(logic, volume, FOREGROUND_ID, (1, 12, 3))
    file = saved(scene, tmp_path)
    classes = {f"vtkMRML{element.tag}Node" for element in ElementTree.parse(file).getroot()}
    assert not {name for name in classes if not hasattr(slicer, name)} - {"vtkMRMLSubjectHierarchyItemNode"}
    code = (
        "import sys, slicer\n"
        "scene = slicer.vtkMRMLScene()\n"
        "slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)\n"
        f"scene.SetURL({str(file)!r})\n"
        "assert scene.Connect()\n"
        "names = [scene.GetNthNodeByClass(n, 'vtkMRMLSegmentationNode').GetName() for n in range(3)]\n"
        "assert names == ['CT ICH strokes', 'CT ICH round 1', 'CT ICH round 2'], names\n"
        "assert not [name for name in sys.modules if name.lower().startswith('ichhpinet')]\n"
    )
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path, env=alone
    )
    assert done.returncode == 0 and "ERR|" not in done.stderr and "WARN|" not in done.stderr, done.stderr


class _Bleed(QuickPredictor):
    """A probability as a network's: a bleed of 45 ml with a soft edge, a little different each round; 0 elsewhere."""

    def encode(self, volume: CTVolume, progress: Any = None, cancel: Any = None) -> EncodedVolume:
        """Features that take no memory."""
        encoded = super().encode(volume, progress, cancel)
        return EncodedVolume(encoded.grid, encoded.image, SimpleNamespace(nbytes=0))  # type: ignore[arg-type]

    def said(self, shape: tuple[int, int, int], rng: torch.Generator) -> torch.Tensor:
        """The bleed, with the round's own noise at its edge."""
        z, y, x = (torch.arange(n) - n / 2 for n in shape)
        across = (4 * z[:, None, None]) ** 2 + y[None, :, None] ** 2 + x**2
        return torch.sigmoid(-((across.sqrt() - 22) / 3 + torch.randn(shape, generator=rng) / 2))


def test_ten_rounds_add_no_more_than_ten_megabytes_to_a_saved_scene(scene: Any, weights: Path, tmp_path: Path) -> None:
    hu = np.full((40, 512, 512), 35, np.float32)
    hu[:, :100], hu[:, 100:110] = -1000, 900
    volume, worker = add_volume(scene, CTVolume.from_array(hu, (4.0, 0.49, 0.49))), DirectWorker(weights)
    worker.engine._predictor = _Bleed()
    logic = ICHHPINetLogic(scene, worker)
    for number in range(10):
        paint(logic, volume, FOREGROUND_ID, *((15 + number, 250, x) for x in range(240, 260)))
        refine(logic, volume)
    saved(scene, tmp_path)
    own = [file.stat().st_size for file in tmp_path.iterdir() if not file.name.startswith(volume.GetID())]
    assert len(logic.table(volume)) == 10 and len(own) >= 11 and 1_000_000 < sum(own) <= TEN_ROUNDS_BYTES, own
    logic.close()
