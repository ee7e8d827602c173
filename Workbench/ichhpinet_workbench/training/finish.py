"""After the loop: the mean of good points and the start, then the small heads' training. What `export` writes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ichhpinet.checkpoint import load_checkpoint
from ichhpinet.networks import HPINet, ModelConfig

from .border import BorderTrainer, border_part
from .checkpoints import load_state, save_state
from .correcting import CorrectionTrainer, correction_part
from .headtrainer import HeadTrainer, play
from .recipe import HeadRecipe, Recipe
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
    asked = recipe.soup or recipe.border.minutes or recipe.correction.minutes or recipe.before
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
    if not (config.volume_only or config.slice_only):
        plays = partial(play, recipe=recipe, config=config, supply=supply)
        if recipe.border.minutes and network.boundary is not None:
            part = border_part(network, network.boundary, recipe)
            state |= _taught("border", BorderTrainer, network.boundary, recipe.border, partial(plays, part), place)
        if recipe.correction.minutes and find_spec("SimpleITK") is None:  # which knows strokes and distances
            logger.warning("SimpleITK is not installed: the correction head stays as it is")
        elif recipe.correction.minutes and network.correction is not None:
            part = correction_part(network, recipe)
            state |= _taught(
                "correction", CorrectionTrainer, network.correction, recipe.correction, partial(plays, part), place
            )
    save_state(place, state | {"network": {k: v.cpu() for k, v in network.state_dict().items()}})


def _taught(
    name: str,
    trainer: type[HeadTrainer[Any]],
    head: nn.Module,
    recipe: HeadRecipe,
    plays: Callable[..., list[Path]],
    place: Path,
) -> dict[str, float]:
    """Train a head in as many passes as its recipe says; what it was judged at last, by names that begin with its own.

    From the second pass on the rounds are played with the head as the one before left it; none are forgotten.
    """
    files: list[Path] = []
    judged: dict[str, float] = {}
    for number in range(recipe.passes):
        mine = replace(recipe, seed=recipe.seed * recipe.passes + number)
        files += plays(head=mine, folder=place / f"rounds-{name}-{number}")
        learner = trainer(head, mine, place / f"{name}-{number}")
        judged = learner.run(files)
        head.load_state_dict(learner.averaged.state_dict())
    return {f"{name}_{key}": value for key, value in judged.items()}


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
