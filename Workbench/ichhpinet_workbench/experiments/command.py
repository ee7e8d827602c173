"""`ichhpinet experiment NAME`: the paper's experiments, each from one command."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ..counts import at_least

NAMES = ("ablation", "choices", "loss-weights", "lambda", "interaction", "comparison", "analysis", "uncertainty")


def register(subparsers: Any) -> None:
    """Add `experiment` to the command line."""
    from ..train import add_plan_options

    parser = subparsers.add_parser("experiment", help="the paper's experiments by name: train, judge, write its tables")
    parser.add_argument("name", choices=NAMES)
    add_plan_options(parser)
    group = parser.add_argument_group("judging")
    group.add_argument("--rounds", type=at_least(1), default=8)
    group.add_argument(
        "--contestant",
        action="append",
        default=[],
        metavar="NAME=KIND[:SOURCE]",
        help="judged as it is (of comparison: the three classic methods)",
    )
    group.add_argument("--weights", help="of interaction or uncertainty: trained already ({fold}: each fold's own)")
    group.add_argument("--judges", type=at_least(0), default=0, help="processes that judge")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train, judge and report; goes on where it was stopped."""
    import torch

    from ..alone import alone_in
    from ..bar import Bar
    from ..study.contestants import CLASSIC, Contestant
    from ..study.runner import Rules
    from ..train import plan_of
    from ..training.engine import launched
    from .run import Setting, run_experiment
    from .variants import experiment_named

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    plan = plan_of(arguments)
    given = arguments.contestant or (CLASSIC if arguments.name == "comparison" else ())
    extra = tuple(Contestant.parse(text) for text in given)
    rules = Rules(arguments.rounds, device=plan.device)
    setting = Setting(plan, arguments.out, rules, extra, arguments.judges, arguments.weights)
    experiment = experiment_named(arguments.name)
    _ = setting.manifest  # refused now if there is none
    engine = launched(plan.device, plan.precision, plan.devices, plan.nodes)
    with alone_in(arguments.out) if engine.is_first else nullcontext(), Bar(arguments.name) as bar:
        path: Path = run_experiment(experiment, setting, engine, bar)
    if engine.is_first:
        sys.stdout.write(path.read_text(encoding="utf-8"))
    return 0
