"""`ichhpinet train`: train a recipe, go on from its last checkpoint, write the weights that ship and the curve."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

WEIGHTS_NAME = "weights.pt"


def register(subparsers: Any) -> None:
    """Add the `train` command to the command line. Imports nothing heavy: `ichhpinet --help` must be quick."""
    parser = subparsers.add_parser("train", help="train a network on synthetic head CT, or go on with a run")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder: log, checkpoints, best weights")
    parser.add_argument("--recipe", default="compact", help="compact (what ships), paper (the published one) or tiny")
    parser.add_argument("--minutes", type=float, help="training time in all, resumed parts included")
    parser.add_argument("--steps", type=int, help="at most this many optimiser steps now")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--batch", type=int, help="crops in a step")
    parser.add_argument("--crop", type=int, nargs=3, metavar=("D", "H", "W"), help="working voxels, H and W by 16")
    parser.add_argument("--workers", type=int, help="processes that synthesise heads; 0: in the training process")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, help="CPU threads of the network")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train as asked; the folder's last checkpoint is taken up if there is one."""
    import torch

    from .training.export import export
    from .training.loop import Trainer
    from .training.recipe import named_recipe

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    recipe = named_recipe(
        arguments.recipe,
        minutes=arguments.minutes,
        learning_rate=arguments.learning_rate,
        batch=arguments.batch,
        crop=tuple(arguments.crop) if arguments.crop else None,
        workers=arguments.workers,
        seed=arguments.seed,
    )
    trainer = Trainer(recipe, arguments.out, arguments.device)
    trainer.run(arguments.steps)
    digest = export(arguments.out, arguments.out / WEIGHTS_NAME)
    logging.getLogger(__name__).info("%s: SHA-256 %s", WEIGHTS_NAME, digest)
    _draw(arguments.out)
    return 0


def _draw(folder: Path) -> None:
    """The learning curve, where matplotlib is installed; the CSV files hold the same figures."""
    try:
        from .curve import draw_curve
    except ImportError:
        return
    draw_curve(folder)
