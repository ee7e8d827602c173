"""After the loop: the mean of good points and the start, then the boundary head's training. What `export` writes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ichhpinet.checkpoint import load_checkpoint
from ichhpinet.networks import HPINet, ModelConfig

from .border import BorderTrainer, play
from .checkpoints import load_state, save_state
from .recipe import Recipe
from .selection import Selection
from .supply import Supply

logger = logging.getLogger(__name__)

Weights = Mapping[str, Tensor]


def finished(folder: Path, step: int) -> Path:
    """Where the state that ships is kept, of a run that ended at this step: a run that is prolonged gets another."""
    return folder / "finished" / f"step-{step}"


def finish(
    recipe: Recipe,
    folder: Path,
    supply: Supply,
    device: torch.device,
    step: int,
    half: bool = True,
    start: Weights | None = None,
) -> None:
    """Nothing where the recipe asks for nothing, or where it is done already; a cut run goes on where it was.

    half: the points are judged in mixed precision. start: the weights that the run began with, None for fresh ones.
    """
    best, place = load_state(folder / "best"), finished(folder, step)
    asked = recipe.soup or recipe.border.minutes or recipe.before
    if best is None or not asked or load_state(place) is not None:
        return
    config = ModelConfig.from_dict(best["model"])
    network = HPINet(config).to(device).eval()
    state = load_state(place / "soup")
    if state is None:
        weights, score, count = soup(network, best, folder, supply.selection(config), device, half)
        state = best | {"network": weights, "score": score, "averaged": count}
        if recipe.before and start is not None:
            mixed = mean([state["network"], start], (1 - recipe.before, recipe.before))
            network.load_state_dict(mixed)
            state |= supply.selection(config).score(network, device, half) | {"network": mixed}
        save_state(place / "soup", state)
    network.load_state_dict(state["network"])
    if recipe.border.minutes and network.boundary is not None and not (config.volume_only or config.slice_only):
        files: list[Path] = []
        judged: dict[str, float] = {}
        for number in range(recipe.border.passes):
            border = replace(recipe.border, seed=recipe.border.seed * recipe.border.passes + number)
            files += play(network, network.boundary, recipe, border, supply, place / f"rounds-{number}")
            trainer = BorderTrainer(network.boundary, border, place / f"border-{number}")
            judged = trainer.run(files)
            network.boundary.load_state_dict(trainer.averaged.state_dict())
        state = state | {f"border_{name}": value for name, value in judged.items()}
    save_state(place, state | {"network": {k: v.cpu() for k, v in network.state_dict().items()}})


def soup(
    network: nn.Module,
    best: Mapping[str, Any],
    folder: Path,
    selection: Selection,
    device: torch.device,
    half: bool = True,
) -> tuple[dict[str, Tensor], float, int]:
    """A greedy soup (Wortsman et al., ICML 2022): a point enters the mean of weights where that is no worse.

    Points: the second half of the run's snapshots. Returns the mean, its score, and how many points it holds.
    """
    chosen: list[Weights] = [best["network"]]
    score = _score(network, chosen[0], selection, device, half)
    paths = sorted((folder / "snapshots").glob("*.pt"))
    for path in paths[(len(paths) + 1) // 2 :]:
        trial = [*chosen, load_checkpoint(path).weights]
        tried = _score(network, mean(trial), selection, device, half)
        logger.info("with %s: %.4f against %.4f", path.stem, tried, score)
        if tried >= score:
            chosen, score = trial, tried
    return mean(chosen), score, len(chosen)


def mean(points: Sequence[Weights], shares: Sequence[float] | None = None) -> dict[str, Tensor]:
    """Of the same network's weights; what is no float (a counter) is the first's. shares: None counts all alike."""
    parts = [1 / len(points)] * len(points) if shares is None else shares
    return {
        name: sum(
            (part * point[name].float().cpu() for part, point in zip(parts, points, strict=True)), torch.zeros(())
        )
        if value.is_floating_point()
        else value
        for name, value in points[0].items()
    }


def _score(network: nn.Module, weights: Weights, selection: Selection, device: torch.device, half: bool) -> float:
    network.load_state_dict(weights)
    return selection.score(network, device, half)["score"]
