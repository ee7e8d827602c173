"""A small head's own training: rounds played once and kept, learned from quickly, a run that goes on where it was."""

from __future__ import annotations

import abc
import copy
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ichhpinet.networks import ModelConfig
from ichhpinet.paths import written_whole

from .checkpoints import load_state, save_state
from .recipe import HeadRecipe, Recipe
from .supply import Crops, Supply

logger = logging.getLogger(__name__)

PART_MINUTES = 2.0  # of play in a file: a killed run loses no more
HELD = 150  # samples by which a head is judged, of the last part
LOG_STEPS = 200
SAVE_SECONDS = 120.0
WARM_UP_STEPS = 100
DECAY = 0.995  # of the averaged weights
LARGEST_GRADIENT = 1.0  # norm

Sample = TypeVar("Sample", bound=tuple[Tensor, ...])
Part = Callable[[Crops, np.random.Generator, float], Sequence[tuple[Tensor, ...]]]


def play(part: Part, recipe: Recipe, head: HeadRecipe, config: ModelConfig, supply: Supply, folder: Path) -> list[Path]:
    """Rounds of the simulated radiologist, in files; those already in `folder` are not played again.

    part: samples of so many seconds, from crops.
    """
    wanted = max(1, math.ceil(head.play_minutes / PART_MINUTES))
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"rounds-{number:03d}.pt" for number in range(wanted)]
    missing = [number for number, file in enumerate(files) if not file.exists()]
    if not missing:
        return files
    crops = supply.crops(recipe, config, (head.seed * 100 + 50 + missing[0]) * 1_000_000)
    try:
        for number in missing:
            rng = np.random.default_rng((head.seed, number))
            samples = part(crops, rng, head.play_minutes * 60 / wanted)
            with written_whole(files[number]) as beside:
                torch.save([tuple(sample) for sample in samples], beside)
            logger.info("part %d of %d: %d crops", number + 1, wanted, len(samples))
    finally:
        crops.close()
    return files


class HeadTrainer(abc.ABC, Generic[Sample]):
    """Fits a head to samples; `run` goes on from the folder's last state."""

    def __init__(self, head: nn.Module, recipe: HeadRecipe, folder: Path) -> None:
        self.recipe, self.folder = recipe, folder
        self.head, self.averaged = head.train(), copy.deepcopy(head).eval()
        self.device = next(head.parameters()).device
        self.optimizer = torch.optim.AdamW(head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        self.step, self.seconds = 0, 0.0
        state = load_state(folder)
        if state is not None:
            for name, module in self._modules().items():
                module.load_state_dict(state[name])
            self.step, self.seconds = state["step"], state["seconds"]
            logger.info("resumed at step %d, %.1f minutes", self.step, self.seconds / 60)

    @abc.abstractmethod
    def sample(self, values: tuple[Tensor, ...]) -> Sample:
        """As it was kept."""

    @abc.abstractmethod
    def loss(self, samples: Sequence[Sample]) -> Tensor:
        """Of the head that learns, on a batch."""

    @abc.abstractmethod
    def judge(self, samples: Sequence[Sample]) -> dict[str, float]:
        """Of the averaged head, on samples that it did not learn from."""

    def _modules(self) -> dict[str, Any]:
        return {"head": self.head, "averaged": self.averaged, "optimizer": self.optimizer}

    def save(self) -> None:
        """The whole state, so that a killed run goes on."""
        modules = {name: module.state_dict() for name, module in self._modules().items()}
        save_state(self.folder, modules | {"step": self.step, "seconds": self.seconds})

    def run(self, files: Sequence[Path]) -> dict[str, float]:
        """Learn until the recipe's minutes are over; returns the judgement on samples that it did not learn from."""
        parts = [[self.sample(values) for values in torch.load(file, weights_only=True)] for file in files]
        held = parts[-1][-min(HELD, max(1, len(parts[-1]) // 2)) :]
        samples = [sample for part in parts for sample in part][: -len(held)] or held
        torch.manual_seed(self.recipe.seed + self.step)
        limit, saved, loss = self.recipe.minutes * 60, self.seconds, 0.0
        while self.seconds < limit:
            began = time.monotonic()
            loss += self._step(samples, self.seconds / limit)
            self.seconds += time.monotonic() - began
            if self.step % LOG_STEPS == 0:
                scores = self.judge(held)
                named = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
                logger.info("step %d, %.1f min: loss %.4f, %s", self.step, self.seconds / 60, loss / LOG_STEPS, named)
                loss = 0.0
            if self.seconds - saved > SAVE_SECONDS:
                self.save()
                saved = self.seconds
        self.save()
        return self.judge(held)

    def _step(self, samples: Sequence[Sample], done: float) -> float:
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, done))) + 0.003
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * min(1.0, (self.step + 1) / WARM_UP_STEPS) * fall
        picks = torch.randint(0, len(samples), (self.recipe.batch,)).tolist()
        loss = self.loss([samples[pick] for pick in picks])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.head.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self.step += 1
        with torch.no_grad():
            for mean, value in zip(self.averaged.parameters(), self.head.parameters()):
                mean.lerp_(value, 1 - min(DECAY, self.step / (self.step + 10)))
        return float(loss.detach())
