"""The boundary head's own training, on what the frozen network says.

Trained with the rest, the head follows logits that change under it; afterwards they stand still, and a step costs a
fiftieth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ichhpinet.decision import lean
from ichhpinet.networks import HPINet, Memory, RoundInputs
from ichhpinet.networks.boundary import BoundaryHead

from .headtrainer import HeadTrainer, Part
from .partner import Partner
from .recipe import Recipe
from .supply import Crops

SHARE = 0.6  # of the rounds are kept: consecutive ones are much alike
POSSIBLE = -2.2  # a logit above which a slice is kept though it holds no blood
SMOOTH_VOXELS = 5.0
NEAR_PIXELS = 3  # the cross-entropy is that of voxels so near to a border, true or seen
FAR_WEIGHT = 0.1  # and a little of all others: what is far must stay as it is


class Sample(NamedTuple):
    """The slices of one crop in one round that have something to decide: half floats."""

    prompts: Tensor  # (n, P, h, w) the CHANNELS
    said: Tensor  # (n, 2, h, w) logits of slices and volume
    truth: Tensor  # (n, h, w) share of the voxel that is blood


def border_part(network: HPINet, head: BoundaryHead, recipe: Recipe) -> Part:
    """What `headtrainer.play` plays: rounds with the network as it is. head: the network's own, before its training."""

    def part(crops: Crops, rng: np.random.Generator, seconds: float) -> list[Sample]:
        samples: list[Sample] = []
        began = time.monotonic()
        while not samples or time.monotonic() - began < seconds:
            partner = Partner(crops.batch(recipe.batch, recipe.crop, rng), recipe, rng)
            for number in range(int(rng.integers(1, recipe.rounds + 1))):
                seen = _round(network, head, partner, number == 0)
                if rng.random() < SHARE:
                    samples += _kept(partner, *seen)
        return samples

    return part


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


class BorderTrainer(HeadTrainer[Sample]):
    """Fits a boundary head to samples."""

    def sample(self, values: tuple[Tensor, ...]) -> Sample:
        """As it was kept."""
        return Sample(*values)

    def loss(self, samples: Sequence[Sample]) -> Tensor:
        """`border_loss` of crops turned at random."""
        counts = [len(sample.truth) for sample in samples]
        batch = _turned(Sample(*(torch.cat(parts).float().to(self.device) for parts in zip(*samples))))
        with torch.autocast(self.device.type, torch.bfloat16):
            correction = self.head.correct(batch.prompts, batch.said)  # type: ignore[operator]
        return border_loss(batch.said.mean(1) + correction.float(), batch.truth, counts)

    def judge(self, samples: Sequence[Sample]) -> dict[str, float]:
        """`judge` of the averaged head."""
        return judge(self.averaged, samples)


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
