"""Make the sample's haemorrhage: what the demo's synthetic bleed adds to the real head CT, as two small files.

`python -m ichhpinet_workbench.sample_haemorrhage` writes them into Resources/SampleData, where the extension and the
web page find them: they ship the CT and this difference, but not the generator.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ichhpinet.itk import simpleitk
from ichhpinet.volume import CTVolume, image_on_grid
from ichhpinet.writing import write_mask

from .demo import with_haemorrhage
from .regions import bounding_box
from .validation import real_head_ct

ADDED = "synthetic_haemorrhage.nrrd"  # int16 HU, to be added to the rounded head CT
TRUTH = "synthetic_haemorrhage.seg.nrrd"
SEED = 8  # the demo's


def added_haemorrhage(base: CTVolume, seed: int = SEED) -> tuple[np.ndarray, np.ndarray, tuple[slice, ...]]:
    """What the haemorrhage adds to `base` and where it is, cut to the box in which anything changed.

    Returns: added, int16 (d, h, w) in HU; truth, bool (d, h, w); the box in base's grid.
    """
    loaded = with_haemorrhage(base, seed)
    added = (np.round(loaded.volume.hu) - np.round(base.hu)).astype(np.int16)
    box = bounding_box((added != 0) | loaded.truth, 0)
    if box is None:
        raise RuntimeError(f"seed {seed} put no haemorrhage into the head CT; choose another seed")
    return added[box], loaded.truth[box], box


def write_sample(folder: Path, seed: int = SEED) -> None:
    """Write ADDED and TRUTH into `folder`."""
    base = real_head_ct(None)
    added, truth, box = added_haemorrhage(base, seed)
    steps_xyz = np.array([part.start for part in box])[::-1] * np.array(base.spacing_mm)[::-1]
    corner = np.asarray(base.origin) + base.direction @ steps_xyz
    part = CTVolume.from_array(added, base.spacing_mm, corner, base.direction)
    simpleitk().WriteImage(image_on_grid(added, part), str(folder / ADDED), True)
    write_mask(folder / TRUTH, truth, part, name="Haemorrhage (synthetic)")


if __name__ == "__main__":
    write_sample(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("Resources/SampleData"))
