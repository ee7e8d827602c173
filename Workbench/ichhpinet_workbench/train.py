"""`ichhpinet train`: train a recipe, go on from its last checkpoint, write the weights that ship."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from .training.loop import Trainer
from .training.recipe import RECIPES, named_recipe


def register(subparsers: Any) -> None:
    """Add the `train` command to the command line."""
    parser = subparsers.add_parser("train", help="train a network on synthetic head CT, or go on with a run")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder: log, checkpoints, best weights")
    parser.add_argument("--recipe", default="compact", choices=sorted(RECIPES))
    parser.add_argument("--minutes", type=float, help="training time in all, resumed parts included")
    parser.add_argument("--steps", type=int, help="at most this many optimiser steps now")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--workers", type=int, help="processes that synthesise heads; 0: in the training process")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, help="CPU threads of the network")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train as asked; the folder's last checkpoint is taken up if there is one."""
    import torch

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    recipe = named_recipe(
        arguments.recipe,
        minutes=arguments.minutes,
        learning_rate=arguments.learning_rate,
        batch=arguments.batch,
        workers=arguments.workers,
        seed=arguments.seed,
    )
    trainer = Trainer(recipe, arguments.out, arguments.device)
    trainer.run(arguments.steps)
    return 0
