"""`ichhpinet bench`: speed and memory in one run, beside three other methods on the same strokes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

OURS = "ichhpinet"
PEERS = ("grow_from_seeds", "threshold_islands", "random_walker")  # functions of ichhpinet_workbench.baselines
GROWTH_SLICES = (8, 16, 32, 64, 128, 400)


def register(subparsers: Any) -> None:
    """Add `bench` to the command line."""
    parser = subparsers.add_parser("bench", help="measure speed and memory, beside three other methods")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for bench.md and bench.json")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads for every method (default 2)")
    parser.add_argument("--size", type=int, default=512, help="rows and columns (default 512)")
    parser.add_argument("--slices", type=int, default=32, help="slices of the comparison (default 32)")
    parser.add_argument("--growth", type=int, nargs="*", default=GROWTH_SLICES, help="slices of the growth table")
    parser.add_argument("--methods", nargs="*", default=(OURS, *PEERS), choices=(OURS, *PEERS), help="default: all")
    parser.add_argument("--checkpoint", help="weights other than the bundled ones")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ichhpinet_workbench.bench.command import run  # imported here, so that `ichhpinet --help` stays quick

    return run(arguments)
