"""The correction head's own training: rounds that contradict the one before, with all that comes before the head.

Trained with the rest it would cost a round of the whole network a step; the strokes are drawn on what the network, the
rules and the head as it was have made, so they are where the tool's users will draw them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ichhpinet.corrections import NO_LESS, Correction, heeded, listened
from ichhpinet.decision import boldness, lean
from ichhpinet.elsewhere import kept_elsewhere, without_refused, without_unasked
from ichhpinet.networks import HPINet, Memory, RoundInputs
from ichhpinet.networks.correction import correction_maps, faded
from ichhpinet.regions import far_mm

from ..regions import under
from .headtrainer import HeadTrainer, Part
from .partner import Partner
from .recipe import Recipe
from .supply import Crops

WINDOW = 64  # rows and columns of a sample, about a contradicting stroke
OFF_CENTRE = 8  # pixels
LISTEN = 0.1  # of the loss: what is right of the components pointed at; more listens more, and spoils more (model card)
SURE = 4.0  # logits beyond which a voxel that is right counts little
FAR_WEIGHT = 0.1
SMOOTH_VOXELS = 5.0
HEARD = 0.8  # of a component that must be right for its stroke to count as heard


class Sample(NamedTuple):
    """A window (d, h, w) of a crop in a round that contradicts the one before."""

    image: Tensor  # (d, h, w) half
    logits: Tensor  # (d, h, w) half, of the round without the head
    previous: Tensor  # (d, h, w) uint8, probability
    painted: Tensor  # (2, d, h, w) bool
    wrong: Tensor  # (2, d, h, w) bool, the strokes that contradict
    distance_mm: Tensor  # (2, d, h, w) half
    truth: Tensor  # (d, h, w) uint8, share of the voxel that is blood
    pointed: Tensor  # (d, h, w) bool, the wrong components in which the strokes lie
    slice_mm: Tensor  # ()


def correction_part(network: HPINet, recipe: Recipe) -> Part:
    """What `headtrainer.play` plays: rounds with the network as it is, its correction head among it."""
    plain = replace(recipe, zero_stroke_start=0.0, refuse=0.0, paper_points=0.0)

    def part(crops: Crops, rng: np.random.Generator, seconds: float) -> list[Sample]:
        samples: list[Sample] = []
        began = time.monotonic()
        while not samples or time.monotonic() - began < seconds:
            partner = Partner(crops.batch(recipe.batch, recipe.crop, rng), plain, rng)
            bold = [0.0] * len(partner.image)
            for number in range(max(2, recipe.rounds)):
                samples += _round(network, partner, bold, number == 0, rng)
        return samples

    return part


@torch.no_grad()
def _round(network: HPINet, partner: Partner, bold: list[float], first: bool, rng: np.random.Generator) -> list[Sample]:
    """One round, committed as the predictor and the session do it; what it gives to learn from. bold: brought on."""
    device = next(network.parameters()).device
    before = partner.painted.clone()
    given = partner.inputs(first)
    previous, new = partner.previous.clone(), partner.painted & ~before
    inputs = RoundInputs(*(tensor.to(device) for tensor in given))
    memory = Memory(*(tensor.to(device) for tensor in partner.memory))
    with torch.autocast(device.type, torch.bfloat16):
        outputs = network(inputs, network.encode(inputs.image.flatten(0, 1)), memory)
    logits, samples = outputs.logits.float().cpu(), []
    for number in range(len(logits)):
        z, y, x = partner.spacing_mm[number].tolist()
        correction = Correction(previous[number], new[number], partner.painted[number], (z, y, x))
        if not first:
            bold[number] = boldness(bold[number], previous[number], new[number], (z, y, x))
        if partner.painted[number, 0].any():
            logits[number] += lean(logits[number]) + bold[number]
        if first:
            continue
        made = heeded(torch.sigmoid(logits[number]), correction)
        samples += _kept(partner, number, torch.logit(made, NO_LESS), correction, rng)
        if network.correction is not None:
            made = listened(made, correction, network.correction, inputs.image[number])
        made = kept_elsewhere(without_unasked(made, correction), correction)
        logits[number] = torch.logit(without_refused(made, correction), NO_LESS)
    partner.commit(logits, Memory(*(tensor.cpu() for tensor in outputs.memory)))
    return samples


def _kept(
    partner: Partner, number: int, logits: Tensor, correction: Correction, rng: np.random.Generator
) -> list[Sample]:
    """A window of one crop, where its new strokes contradict the round before."""
    truth, mask, wrong = partner.truth[number], correction.inside, correction.wrong
    where = torch.nonzero(wrong.any(0))
    if not len(where):
        return []
    pointed = torch.zeros_like(mask)
    for stroke, errors in zip(wrong, ((truth >= 0.5) & ~mask, mask & (truth < 0.5)), strict=True):
        pointed |= torch.from_numpy(under(stroke.numpy(), errors.numpy()))
    distance = torch.stack([far_mm(stroke, correction.spacing_mm) for stroke in wrong])
    centre = where[int(rng.integers(len(where)))].tolist()
    starts = [
        int(np.clip(at - WINDOW // 2 + rng.integers(-OFF_CENTRE, OFF_CENTRE + 1), 0, max(0, size - WINDOW)))
        for at, size in zip(centre[1:], mask.shape[1:], strict=True)
    ]
    rows, columns = (slice(start, start + WINDOW) for start in starts)
    kept = (
        partner.image[number].half(),
        logits.half(),
        _bytes(correction.previous),
        correction.painted,
        wrong,
        distance.half(),
        _bytes(truth),
        pointed,
    )
    return [Sample(*(tensor[..., rows, columns].clone() for tensor in kept), torch.tensor(correction.spacing_mm[0]))]


class CorrectionTrainer(HeadTrainer[Sample]):
    """Fits a correction head to samples."""

    def sample(self, values: tuple[Tensor, ...]) -> Sample:
        """As it was kept."""
        return Sample(*values)

    def loss(self, samples: Sequence[Sample]) -> Tensor:
        """`correction_loss` of windows mirrored at random."""
        batch = _mirrored(_batch(samples, self.device))
        return correction_loss(_corrected(self.head, batch), batch)

    @torch.inference_mode()
    def judge(self, samples: Sequence[Sample]) -> dict[str, float]:
        """Of the averaged head: mean Dice without it and with it; of the strokes, how many are heard; rounds worse."""
        found = []
        for sample in samples:
            batch = _batch([sample], self.device)
            truth = batch.truth >= 0.5
            free = batch.pointed & ~batch.painted.any(1)
            masks = [_as_painted(logits, batch) >= 0 for logits in (batch.logits, _corrected(self.averaged, batch))]
            dice = [float(2 * (mask & truth).sum() / (mask.sum() + truth.sum()).clamp(min=1)) for mask in masks]
            right = [float((mask == truth)[free].float().mean()) if bool(free.any()) else np.nan for mask in masks]
            if bool(truth.any()):
                found.append([*dice, *right])
        if not found:
            return {}
        before, after, heard_before, heard_after = np.array(found).T
        counted = ~np.isnan(heard_after)
        return {
            "before": float(before.mean()),
            "after": float(after.mean()),
            "worse": float((after < before - 0.03).mean()),
            "heard_before": float((heard_before[counted] >= HEARD).mean()) if counted.any() else 0.0,
            "heard_after": float((heard_after[counted] >= HEARD).mean()) if counted.any() else 0.0,
        }


def _batch(samples: Sequence[Sample], device: torch.device) -> Sample:
    """All of one size, on the device, in float32 where they are no masks."""
    stacked = (torch.stack(parts).to(device) for parts in zip(*samples))
    return Sample(*(t / 255 if t.dtype == torch.uint8 else t if t.dtype == torch.bool else t.float() for t in stacked))


def _bytes(share: Tensor) -> Tensor:
    """[0, 1] -> uint8."""
    return (share * 255).round().to(torch.uint8)


def _mirrored(batch: Sample) -> Sample:
    """Left and right, front and back, each changed or not."""
    for axis in (-1, -2):
        if torch.rand(()) < 0.5:
            batch = Sample(*(tensor.flip(axis) for tensor in batch[:-1]), batch.slice_mm)
    return batch


def _corrected(head: torch.nn.Module, batch: Sample) -> Tensor:
    """Logits with the head's say, (B, d, h, w) float32."""
    maps = correction_maps(*batch[:6], batch.slice_mm)
    with torch.autocast(maps.device.type, torch.bfloat16):
        change = head(maps)
    return batch.logits + change.float() * faded(batch.distance_mm)


def _as_painted(logits: Tensor, batch: Sample) -> Tensor:
    """What is painted is as painted, whatever a head says."""
    sure = logits.new_tensor(2 * SURE)
    return torch.where(batch.painted[:, 0], sure, torch.where(batch.painted[:, 1], -sure, logits))


def correction_loss(logits: Tensor, batch: Sample) -> Tensor:
    """Dice of the window, cross-entropy where the head has a say, and a little for what is right where pointed at.

    logits: (B, d, h, w).
    """
    truth, free = batch.truth, (~batch.painted.any(1)).float()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    unsure = (batch.logits.abs() < SURE) | (entropy.detach() > 0.05)
    weight = faded(batch.distance_mm) * free * (FAR_WEIGHT + (1 - FAR_WEIGHT) * unsure)
    said = torch.sigmoid(_as_painted(logits, batch))
    overlap = 2 * (said * truth).flatten(1).sum(1) + SMOOTH_VOXELS
    dice = overlap / (said.flatten(1).sum(1) + truth.flatten(1).sum(1) + SMOOTH_VOXELS)
    pointed = batch.pointed * free
    right = (torch.where(truth >= 0.5, said, 1 - said) * pointed).flatten(1).sum(1)
    heard = (right + 1) / (pointed.flatten(1).sum(1) + 1)
    return (entropy * weight).sum() / weight.sum().clamp(min=1) + (1 - dice).mean() + LISTEN * (1 - heard).mean()
