"""The options of `ichhpinet evaluate --manifest`. Imports nothing heavy: `ichhpinet --help` must be quick."""

from __future__ import annotations

import argparse
from pathlib import Path

from ichhpinet.errors import InputError

from ..counts import at_least

OF_THE_SYNTHETIC_CASES = (
    *("cases", "peer_rounds", "methods", "plane", "again", "cache"),
    *("checkpoint", "head_ct", "threads"),
)
OF_A_DATA_SET = ("contestant", "folds", "workers", "reference", "samples", "seed")


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
    group.add_argument("--workers", type=at_least(0), default=0, help="processes; cases stream through them")
    group.add_argument("--reference", help="the contestant that others are tested against (the first)")
    group.add_argument("--samples", nargs="+", default=[], help="cases of Table 6 (the harder half)")
    group.add_argument("--seed", type=at_least(0), default=0, help="of the simulated radiologist")


def refuse_others(arguments: argparse.Namespace) -> None:
    """Nothing that is given is silently left out. Raises InputError: an option of the other of the two evaluations."""
    on_data = arguments.manifest is not None
    for name in OF_THE_SYNTHETIC_CASES if on_data else OF_A_DATA_SET:
        value = getattr(arguments, name)
        if value is not None and value is not False and (on_data or value):
            option = "--" + name.replace("_", "-")
            if on_data:
                raise InputError(f"{option} is of the fixed synthetic cases; with --manifest it must be left out")
            raise InputError(f"{option} is of a data set; it needs --manifest")
