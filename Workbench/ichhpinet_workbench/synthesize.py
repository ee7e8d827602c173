"""`ichhpinet synthesize`: synthetic head CTs with haemorrhage, written as files that 3D Slicer opens."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .counts import at_least

KINDS = ("IPH", "IVH", "SAH", "SDH", "EDH")  # as phantom.KINDS, which is imported only when the command runs
NO_BLOOD = "none"
FORMATS = (".nii.gz", ".nrrd")
LEAST_MM, MOST_MM = 0.1, 20.0  # of a voxel: finer fills the memory, coarser shows no head


def register(subparsers: Any) -> None:
    """Add `synthesize` to the command line."""
    parser = subparsers.add_parser("synthesize", help="make synthetic head CTs with known haemorrhage")
    parser.add_argument("--out", type=Path, required=True, help="folder for the CTs, masks and synthetic.json")
    parser.add_argument(
        "--seed", type=at_least(0), default=0, help="seed of the first head; the same seed, the same head"
    )
    parser.add_argument("--count", type=at_least(1), default=1, help="how many heads: seed, seed + 1, ...")
    parser.add_argument("--kind", nargs="+", choices=(*KINDS, NO_BLOOD), help="types of haemorrhage (default: drawn)")
    parser.add_argument("--spacing", nargs=3, type=float, metavar=("Z", "Y", "X"), help="mm (default: drawn)")
    parser.add_argument("--family", choices=("train", "validation"), default="train", help="which stream of heads")
    parser.add_argument("--format", choices=FORMATS, default=".nii.gz", help="of the CT (default .nii.gz)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write `head-SEED` CT and `head-SEED.seg.nrrd` for each seed, and what is in them to synthetic.json.

    Raises InputError for arguments that cannot be meant.
    """
    from ichhpinet.errors import InputError
    from ichhpinet.predictor import choose_device
    from ichhpinet.volume import checked_spacing

    if arguments.kind and NO_BLOOD in arguments.kind and len(arguments.kind) > 1:
        raise InputError(f"--kind {' '.join(arguments.kind)}: 'none' stands alone")
    choose_device(arguments.device)
    if arguments.spacing is not None:
        steps = checked_spacing(arguments.spacing)
        if not (LEAST_MM <= min(steps) and max(steps) <= MOST_MM):
            raise InputError(f"--spacing is {steps} mm; every step must be from {LEAST_MM:g} to {MOST_MM:g}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(arguments.count):
        rows.append(_write_one(arguments, arguments.seed + number))
        row = rows[-1]
        print(f"[{number + 1}/{arguments.count}] {row['ct']}: {row['volume_ml']:.1f} ml", file=sys.stderr, flush=True)
    (arguments.out / "synthetic.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 0


def _write_one(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    from ichhpinet.volume import CTVolume
    from ichhpinet.writing import write_mask, write_volume
    from ichhpinet_workbench import phantom

    kinds = None if arguments.kind is None else tuple(kind for kind in arguments.kind if kind != NO_BLOOD)
    made = phantom.generate(
        seed, spacing_mm=arguments.spacing, kinds=kinds, family=arguments.family, device=arguments.device
    )
    volume = CTVolume.from_array(np.rint(made.hu), made.spacing_mm)
    name = f"head-{seed:05d}"
    write_volume(arguments.out / (name + arguments.format), volume)
    write_mask(arguments.out / f"{name}.seg.nrrd", made.mask, volume)
    voxel_ml = float(np.prod(made.spacing_mm)) / 1000
    by_kind = {kind: float((made.labels == label).sum() * voxel_ml) for label, kind in enumerate(KINDS, 1)}
    return {
        "ct": name + arguments.format,
        "mask": f"{name}.seg.nrrd",
        "seed": seed,
        "family": arguments.family,
        "shape": list(made.hu.shape),
        "spacing_mm": list(made.spacing_mm),
        "volume_ml": float(made.mask.sum() * voxel_ml),
        "volume_ml_by_kind": by_kind,
    }
