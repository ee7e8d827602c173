"""The options of `ichhpinet evaluate --manifest`. Imports nothing heavy: `ichhpinet --help` must be quick."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_study_options(parser: argparse.ArgumentParser) -> None:
    """A group of its own: with --manifest, the papers' evaluation takes the place of the synthetic validation set."""
    group = parser.add_argument_group("on a data set", "instead of the fixed synthetic cases")
    group.add_argument("--manifest", type=Path, help="of ichhpinet data; the papers' tables are made from its cases")
    group.add_argument(
        "--contestant",
        action="append",
        default=[],
        metavar="NAME=KIND[:SOURCE]",
        help="weights[:FILE, with {fold}], grow_from_seeds, threshold_islands, random_walker, command:LINE, "
        "python:MODULE:FACTORY; again for more (the bundled weights alone)",
    )
    group.add_argument("--folds", type=int, nargs="+", help="these folds' cases alone")
    group.add_argument("--workers", type=int, default=0, help="processes; cases stream through them")
    group.add_argument("--reference", help="the contestant that others are tested against (the first)")
    group.add_argument("--samples", nargs="+", default=[], help="cases of Table 6 (the harder half)")
    group.add_argument("--seed", type=int, default=0, help="of the simulated radiologist")
