"""What the training of an experiment's variants really cost, in a sentence for its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..training.checkpoints import load_state
from ..training.finish import finished
from ..training.recipe import EPOCH_STEPS, HEADS

PAPER_STEPS = 500 * EPOCH_STEPS  # an epoch as the recipe `paper` takes it
SMALL = 0.1  # of the paper's steps: below, the figures do not tell which method is better


def budget_line(runs: Sequence[Path], device: str) -> str:
    """runs: the folders of all variants and folds; '' where none was trained."""
    states = [(folder, state) for folder in runs if (state := load_state(folder)) is not None]
    if not states:
        return ""
    steps = [state["step"] for _, state in states]
    network = sum(state["seconds"] for _, state in states) / 60
    heads = sum(_head_seconds(folder, state, name) for folder, state in states for name in HEADS) / 60
    spent = f"{network:.1f} minutes in all" + (f" and {heads:.1f} for the small heads" if heads else "")
    small = " A small budget: it shows that the experiment runs, not which method is better."
    return (
        f"Trained here: {len(states)} runs, {spent} on {device}, {min(steps)} to {max(steps)} optimiser steps a run "
        f"(the paper: 500 epochs).{small if max(steps) < SMALL * PAPER_STEPS else ''}\n"
    )


def _head_seconds(folder: Path, state: dict[str, Any], name: str) -> float:
    """Of one of a run's HEADS: its learning, and the play of the same passes."""
    passes = [load_state(place) for place in sorted(finished(folder, state["step"]).glob(f"{name}-*"))]
    learned = [one["seconds"] for one in passes if one is not None]
    return float(sum(learned) + len(learned) * 60 * state["recipe"].get(name, {}).get("play_minutes", 0.0))
