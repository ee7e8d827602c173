"""The loss of equation 6: volume (VSL), slice (SSL) and feature convert (FCL) terms, each of Dice and cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ichhpinet.networks import RoundOutputs

SMOOTH_VOXELS = 20.0  # a lesion of a few voxels is no matter of all or nothing
EMPTY_SMOOTH_VOXELS = 1000.0  # without blood Dice knows only 0: gentle, or the network learns never to see any


@dataclass(frozen=True)
class LossWeights:
    """lambda_1..3 of equation 6, and alpha (Dice) and beta (cross-entropy) of each sub-loss.

    The paper: 5, 1, 4 and 0.5, 0.5. `lesion`, `wrong` and `heard` weigh voxels in the cross-entropy: blood, what the
    round before had wrong, and, of that, the components in which strokes of this round lie; all 0 in the paper.
    """

    volume: float = 5.0
    slice: float = 1.0
    convert: float = 4.0
    dice: float = 0.5
    cross_entropy: float = 0.5
    lesion: float = 0.0
    wrong: float = 0.0
    heard: float = 0.0


def dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - soft Dice, averaged over the first axis. logits, truth: (N, ...) float."""
    probability = torch.sigmoid(logits).flatten(1)
    truth = truth.flatten(1)
    overlap, blood = (probability * truth).sum(1), truth.sum(1)
    smooth = torch.where(blood > 0, SMOOTH_VOXELS, EMPTY_SMOOTH_VOXELS)
    return (1 - (2 * overlap + smooth) / (probability.sum(1) + blood + smooth)).mean()


def sub_loss(logits: Tensor, truth: Tensor, weight: Tensor, weights: LossWeights) -> Tensor:
    """alpha * Dice + beta * cross-entropy of one prediction. All (N, ...); weight is that of each voxel."""
    logits = logits.float()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    mean = (entropy * weight).sum() / weight.sum()
    return weights.dice * dice_loss(logits, truth) + weights.cross_entropy * mean


def round_loss(
    outputs: RoundOutputs,
    truth: Tensor,
    previous: Tensor,
    touched: Tensor,
    weights: LossWeights,
    pointed: Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """Equation 6 for one round, and its three terms for the log.

    truth, previous: (B, d, h, w) float in [0, 1], coverage by blood and the probability before the round.
    touched: (B, d) bool, the slices whose M_r is in `outputs.touched_logits`.
    pointed: (B, d, h, w) bool, what was wrong and connected to a new stroke; None: nothing.
    """
    weight = 1 + weights.lesion * truth + weights.wrong * ((previous >= 0.5) != (truth >= 0.5)).float()
    if pointed is not None:
        weight = weight + weights.heard * pointed
    terms = {"ssl": sub_loss(outputs.logits, truth, weight, weights)}
    if len(outputs.touched_logits):
        terms["ssl"] = terms["ssl"] + sub_loss(outputs.touched_logits, truth[touched], weight[touched], weights)
    if outputs.volume_logits is not None:
        half = (F.avg_pool2d(truth, 2), F.avg_pool2d(weight, 2))
        terms["vsl"] = sub_loss(outputs.volume_logits[:, 0], half[0], half[1], weights)
    for logits in outputs.converted_logits:
        stride = truth.shape[-1] // logits.shape[-1]
        logits = logits.view(*truth.shape[:2], *logits.shape[2:])
        part = sub_loss(logits, F.avg_pool2d(truth, stride), F.avg_pool2d(weight, stride), weights)
        terms["fcl"] = terms.get("fcl", 0.0) + part / len(outputs.converted_logits)
    scale = {"vsl": weights.volume, "ssl": weights.slice, "fcl": weights.convert}
    total = torch.stack([scale[name] * term for name, term in terms.items()]).sum() / sum(scale.values())
    return total, {name: float(term.detach()) for name, term in terms.items()}
