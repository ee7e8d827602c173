"""The boundary head's own training, on what the frozen network says: many rounds seen once, then learned from quickly.

Trained with the rest, the head follows logits that change under it; afterwards they stand still, and a step costs a
fiftieth.
"""

from __future__ import annotations

import copy
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ichhpinet.decision import lean
from ichhpinet.networks import HPINet, Memory, RoundInputs
from ichhpinet.networks.boundary import BoundaryHead

from .checkpoints import load_state, save_state
from .partner import Partner
from .recipe import BorderRecipe, Recipe
from .supply import Crops, Supply

logger = logging.getLogger(__name__)

PART_MINUTES = 2.0  # of play in a file: a killed run loses no more
SHARE = 0.6  # of the rounds are kept: consecutive ones are much alike
POSSIBLE = -2.2  # a logit above which a slice is kept though it holds no blood
HELD = 150  # samples by which the head is judged, of the last part
SMOOTH_VOXELS = 5.0
NEAR_PIXELS = 3  # the cross-entropy is that of voxels so near to a border, true or seen
FAR_WEIGHT = 0.1  # and a little of all others: what is far must stay as it is
LOG_STEPS = 200
SAVE_SECONDS = 120.0
WARM_UP_STEPS = 100
DECAY = 0.995  # of the averaged weights


class Sample(NamedTuple):
    """The slices of one crop in one round that have something to decide: half floats."""

    prompts: Tensor  # (n, P, h, w) the CHANNELS
    said: Tensor  # (n, 2, h, w) logits of slices and volume
    truth: Tensor  # (n, h, w) share of the voxel that is blood


def play(
    network: HPINet, head: BoundaryHead, recipe: Recipe, border: BorderRecipe, supply: Supply, folder: Path
) -> list[Path]:
    """Rounds of the simulated radiologist with the network as it is; parts already in `folder` are not played again.

    head: the network's own, as it is before its training.
    """
    wanted = max(1, math.ceil(border.play_minutes / PART_MINUTES))
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"rounds-{number:03d}.pt" for number in range(wanted)]
    missing = [number for number, file in enumerate(files) if not file.exists()]
    if not missing:
        return files
    crops = supply.crops(recipe, network.config, (border.seed * 100 + 50 + missing[0]) * 1_000_000)
    try:
        for number in missing:
            rng = np.random.default_rng((border.seed, number))
            samples = _play_part(network, head, recipe, crops, rng, border.play_minutes * 60 / wanted)
            beside = files[number].with_suffix(".writing")
            torch.save([tuple(sample) for sample in samples], beside)
            os.replace(beside, files[number])
            logger.info("part %d of %d: %d crops", number + 1, wanted, len(samples))
    finally:
        crops.close()
    return files


def _play_part(
    network: HPINet, head: BoundaryHead, recipe: Recipe, crops: Crops, rng: np.random.Generator, seconds: float
) -> list[Sample]:
    samples: list[Sample] = []
    began = time.monotonic()
    while not samples or time.monotonic() - began < seconds:
        partner = Partner(crops.batch(recipe.batch, recipe.crop, rng), recipe, rng)
        for number in range(int(rng.integers(1, recipe.rounds + 1))):
            seen = _round(network, head, partner, number == 0)
            if rng.random() < SHARE:
                samples += _kept(partner, *seen)
    return samples


@torch.no_grad()
def _round(network: HPINet, head: BoundaryHead, partner: Partner, first: bool) -> tuple[Tensor, Tensor]:
    """One round, committed as the predictor does it; returns what the boundary head was told and had heard."""
    told: list[tuple[Tensor, Tensor]] = []
    device = next(network.parameters()).device
    hook = head.register_forward_pre_hook(lambda _, arguments: told.append(arguments[:2]))
    inputs = RoundInputs(*(tensor.to(device) for tensor in partner.inputs(first)))
    memory = Memory(*(tensor.to(device) for tensor in partner.memory))
    try:
        with torch.autocast(device.type, torch.bfloat16):
            outputs = network(inputs, network.encode(inputs.image.flatten(0, 1)), memory)
    finally:
        hook.remove()
    logits = outputs.logits.float().cpu()
    for sample in range(len(logits)):
        if partner.painted[sample, 0].any():
            logits[sample] += lean(logits[sample])
    partner.commit(logits, Memory(*(tensor.cpu() for tensor in outputs.memory)))
    return told[0][0].cpu(), told[0][1].cpu()


def _kept(partner: Partner, prompts: Tensor, said: Tensor) -> list[Sample]:
    """The crops that have been painted on, and of each the slices that hold blood or may."""
    found = []
    for told, heard, truth, painted in zip(
        prompts.view(*partner.image.shape[:2], *prompts.shape[1:]),
        said.view(*partner.image.shape[:2], *said.shape[1:]),
        partner.truth,
        partner.painted,
    ):
        keep = (truth > 0.05).flatten(1).any(1) | (heard.mean(1) > POSSIBLE).flatten(1).any(1)
        if keep.any() and painted[0].any():
            found.append(Sample(told[keep].half(), heard[keep].half(), truth[keep].half()))
    return found


class BorderTrainer:
    """Fits a boundary head to samples; `run` goes on from the folder's last state."""

    def __init__(self, head: BoundaryHead, recipe: BorderRecipe, folder: Path) -> None:
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

    def _modules(self) -> dict[str, Any]:
        return {"head": self.head, "averaged": self.averaged, "optimizer": self.optimizer}

    def save(self) -> None:
        """The whole state, so that a killed run goes on."""
        modules = {name: module.state_dict() for name, module in self._modules().items()}
        save_state(self.folder, modules | {"step": self.step, "seconds": self.seconds})

    def run(self, files: Sequence[Path]) -> dict[str, float]:
        """Learn until the recipe's minutes are over; returns the judgement on samples that it did not learn from."""
        parts = [[Sample(*values) for values in torch.load(file, weights_only=True)] for file in files]
        held = parts[-1][-min(HELD, max(1, len(parts[-1]) // 2)) :]
        samples = [sample for part in parts for sample in part][: -len(held)] or held
        torch.manual_seed(self.recipe.seed + self.step)
        limit, saved, loss = self.recipe.minutes * 60, self.seconds, 0.0
        while self.seconds < limit:
            began = time.monotonic()
            loss += self._step(samples, self.seconds / limit)
            self.seconds += time.monotonic() - began
            if self.step % LOG_STEPS == 0:
                scores = judge(self.averaged, held)
                named = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
                logger.info("step %d, %.1f min: loss %.4f, %s", self.step, self.seconds / 60, loss / LOG_STEPS, named)
                loss = 0.0
            if self.seconds - saved > SAVE_SECONDS:
                self.save()
                saved = self.seconds
        self.save()
        return judge(self.averaged, held)

    def _step(self, samples: Sequence[Sample], done: float) -> float:
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, done))) + 0.003
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * min(1.0, (self.step + 1) / WARM_UP_STEPS) * fall
        picks = torch.randint(0, len(samples), (self.recipe.batch,)).tolist()
        counts = [len(samples[pick].truth) for pick in picks]
        batch = Sample(*(torch.cat(parts).float().to(self.device) for parts in zip(*(samples[pick] for pick in picks))))
        batch = _turned(batch)
        with torch.autocast(self.device.type, torch.bfloat16):
            correction = self.head.correct(batch.prompts, batch.said)
        loss = border_loss(batch.said.mean(1) + correction.float(), batch.truth, counts)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        with torch.no_grad():
            for mean, value in zip(self.averaged.parameters(), self.head.parameters()):
                mean.lerp_(value, 1 - min(DECAY, self.step / (self.step + 10)))
        return float(loss.detach())


def _turned(batch: Sample) -> Sample:
    """One of the eight ways to lay a slice."""
    turns: list[Callable[[Tensor], Tensor]] = [
        lambda x: x.flip(-1),
        lambda x: x.flip(-2),
        lambda x: x.transpose(-1, -2),
    ]
    for turn in turns:
        if torch.rand(()) < 0.5:
            batch = Sample(*(turn(tensor) for tensor in batch))
    return batch


def border_loss(logits: Tensor, truth: Tensor, counts: Sequence[int]) -> Tensor:
    """Dice of each crop (its slices together, as a case is judged), and cross-entropy along the borders.

    logits, truth: (N, h, w). counts: slices of each crop, N in all.
    """
    probability = torch.sigmoid(logits)
    dice = logits.new_zeros(())
    for seen, true in zip(probability.split(list(counts)), truth.split(list(counts))):
        if float(true.sum()) > SMOOTH_VOXELS:
            overlap = 2 * (seen * true).sum() + SMOOTH_VOXELS
            dice = dice + 1 - overlap / (seen.sum() + true.sum() + SMOOTH_VOXELS)
    inside, outside = torch.maximum(truth, probability.detach()), 1 - torch.minimum(truth, probability.detach())
    width = 2 * NEAR_PIXELS + 1
    around = [F.max_pool2d(part[:, None], width, 1, NEAR_PIXELS)[:, 0] > 0.1 for part in (inside, outside)]
    weight = (around[0] & around[1]).float() + FAR_WEIGHT
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return 2 * dice / len(counts) + (entropy * weight).sum() / weight.sum()


@torch.inference_mode()
def judge(head: nn.Module, samples: Sequence[Sample]) -> dict[str, float]:
    """Mean Dice of crops with blood: `before` the head's correction and `after`; `worse`: share that lose over 0.03."""
    found = []
    device = next(head.parameters()).device
    for sample in samples:
        prompts, said, truth = (tensor.float().to(device) for tensor in sample)
        blood = truth >= 0.5
        if not bool(blood.any()):
            continue
        joined = said.mean(1)
        masks = (joined > 0, joined + head.correct(prompts, said) > 0)  # type: ignore[operator]
        found.append([float(2 * (mask & blood).sum() / (mask.sum() + blood.sum())) for mask in masks])
    if not found:
        return {}
    before, after = np.array(found).T
    return {
        "before": float(before.mean()),
        "after": float(after.mean()),
        "worse": float((after < before - 0.03).mean()),
    }
