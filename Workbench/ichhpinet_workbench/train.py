"""`ichhpinet train`: train a recipe, go on from its last checkpoint, write the weights that ship and the curve."""

from __future__ import annotations

import argparse
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .counts import at_least

if TYPE_CHECKING:
    from .training.engine import Engine
    from .training.plan import Plan
    from .training.supply import Supply

WEIGHTS_NAME = "weights.pt"
PLAN_OPTIONS = ("manifest", "synthetic_share", "cache", "start", "device", "devices", "nodes", "precision", "snapshots")
RECIPE_OPTIONS = ("model", "minutes", "steps_in_all", "learning_rate", "batch", "crop", "workers", "seed")


def register(subparsers: Any) -> None:
    """Add the `train` command to the command line. Imports nothing heavy: `ichhpinet --help` must be quick."""
    parser = subparsers.add_parser(
        "train", help="train a network on synthetic or your own head CT, or go on with a run"
    )
    add_plan_options(parser)
    parser.add_argument("--steps", type=at_least(1), help="at most this many optimiser steps now")
    parser.set_defaults(run=run)


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """What makes a plan: recipe, data, machine."""
    parser.add_argument("--out", type=Path, required=True, help="the run's folder: log, checkpoints, best weights")
    parser.add_argument("--config", type=Path, help="a plan in JSON; options given here overrule it")
    parser.add_argument(
        "--recipe",
        help="compact (the default), further (goes on from --start), paper (the published one) or tiny",
    )
    parser.add_argument("--model", help="another model than the recipe's: compact, paper, tiny, or a peer's name")
    parser.add_argument("--start", type=Path, help="weights to begin with, to tune them or go on (fresh ones)")
    parser.add_argument("--minutes", type=float, help="training time in all, resumed parts included; of each fold")
    parser.add_argument("--steps-in-all", type=int, help="the run ends after so many steps, resumed parts included")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--batch", type=int, help="crops in a step, on each device")
    parser.add_argument("--crop", type=int, nargs=3, metavar=("D", "H", "W"), help="working voxels, H and W by 16")
    parser.add_argument("--workers", type=int, help="processes that synthesise heads; 0: in the training process")
    parser.add_argument("--seed", type=int)
    _add_data(parser)
    _add_machine(parser)


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data", "without a manifest: synthetic heads")
    group.add_argument("--manifest", type=Path, help="of ichhpinet data; a folder fold-N for each fold")
    group.add_argument("--folds", type=int, nargs="+", help="these held-out folds alone (all, one after the other)")
    group.add_argument("--synthetic-share", type=float, help="of the crops, from synthetic heads (0)")
    group.add_argument("--cache", type=Path, help="folder of the prepared heads (OUT/cache)")


def _add_machine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("machine", "or start the same command with torchrun")
    group.add_argument("--device", help="cpu (the default) or cuda")
    group.add_argument("--devices", type=int, help="GPUs (or CPU processes) of this machine (1)")
    group.add_argument("--nodes", type=int, help="machines (1)")
    group.add_argument("--precision", help="bf16 (mixed, the default) or 32")
    group.add_argument("--threads", type=at_least(1), help="CPU threads of the network")
    group.add_argument("--snapshots", type=int, help="keep the weights aside so many times over the run (0)")


def run(arguments: argparse.Namespace) -> int:
    """Train as asked; each folder's last checkpoint is taken up if there is one. Everything is checked first."""
    import torch

    from .alone import alone_in
    from .training.engine import launched
    from .training.plan import check_resumes

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    plan = plan_of(arguments)
    runs, start = list(plan.runs(arguments.out)), plan.begin()
    for folder, supply in runs:
        check_resumes(plan.recipe, folder, supply, start)
    engine = launched(plan.device, plan.precision, plan.devices, plan.nodes)
    with alone_in(arguments.out) if engine.is_first else nullcontext():
        for folder, supply in runs:
            train(plan, folder, supply, engine, arguments.steps)
    return 0


def plan_of(arguments: argparse.Namespace) -> Plan:
    """The plan of a file and the options. Raises InputError for what cannot be meant."""
    from .training.plan import make_plan, read_plan

    values: dict[str, Any] = {} if arguments.config is None else read_plan(arguments.config)
    folder = Path(".") if arguments.config is None else arguments.config.parent
    if arguments.recipe is not None:
        values["recipe"] = arguments.recipe
    for name in PLAN_OPTIONS:
        value = getattr(arguments, name)
        if value is not None:
            values[name] = value.resolve() if isinstance(value, Path) else value
    if arguments.folds is not None:
        values["folds"] = arguments.folds
    changes = {"steps" if n == "steps_in_all" else n: getattr(arguments, n) for n in RECIPE_OPTIONS}
    changes = {name: value for name, value in changes.items() if value is not None}
    if isinstance(values.get("changes", {}), dict):
        values["changes"] = values.get("changes", {}) | changes
    return make_plan(values, folder)


def train(plan: Plan, folder: Path, supply: Supply, engine: Engine, steps: int | None = None) -> None:
    """One run: train, write weights.pt and the curve."""
    from .training.export import export
    from .training.finish import finish
    from .training.loop import Trainer

    start = plan.begin()
    trainer = Trainer(
        plan.recipe,
        folder,
        supply=supply,
        start=start,
        engine=engine,
        snapshots=plan.snapshots,
        validate_minutes=plan.validate_minutes,
    )
    trainer.run(steps)
    if engine.is_first:
        if trainer.done:
            weights = None if start is None else start.weights
            finish(plan.recipe, folder, supply, engine.device, trainer.step, engine.is_half, weights)
        digest = export(folder, folder / WEIGHTS_NAME)
        logging.getLogger(__name__).info("%s: SHA-256 %s", WEIGHTS_NAME, digest)
        _draw(folder, supply)
    engine.wait()


def _draw(folder: Path, supply: Supply) -> None:
    """The learning curve, where matplotlib is installed; the CSV files hold the same figures."""
    try:
        from .curve import draw_curve
    except ImportError:
        return
    draw_curve(folder, supply.chosen_by)
