"""Tiny data sets for the tests of studies, training and experiments: little heads with a lesion, as a manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ichhpinet.volume import CTVolume
from ichhpinet.writing import write_mask, write_volume
from ichhpinet_workbench.datasets import Manifest
from ichhpinet_workbench.datasets.folder import read_folder
from ichhpinet_workbench.datasets.folds import with_folds
from workbench.stand_in import SPACING, head


def tiny_set(root: Path, count: int = 4, folds: int = 2, *, clean: int = 0, name: str = "own") -> Manifest:
    """So many heads (8, 60, 60) with a lesion, and `clean` without, split into folds and written as manifest.json."""
    for number in range(count + clean):
        hu, truth = head(number, 30.0 if number < count else 0.0)
        volume = CTVolume.from_array(np.round(hu), SPACING)
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        write_volume(root / "images" / f"h{number}.nii.gz", volume)
        write_mask(root / "masks" / f"h{number}.nii.gz", truth & (number < count), volume)
    manifest = with_folds(read_folder(root, name), folds)
    manifest.write(root / "manifest.json")
    return manifest


def stand_in() -> object:
    """As a Python contestant: `workbench.tiny_sets:stand_in`."""
    from workbench.stand_in import StandIn

    return StandIn()
