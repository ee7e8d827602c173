"""Where the line is drawn: the threshold of greatest expected Dice, moved to probability 0.5."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BINS = 100  # of probability
LEAST = 0.02  # voxels less likely than this do not count: there are millions, and all are outside
THRESHOLDS = (0.2, 0.5)  # never beyond: a few faint voxels must not become a lesion


def lean(logits: Tensor) -> float:
    """What to add to the logits so that probability 0.5 is the best threshold for Dice.

    If probabilities mean what they say, the mask of greatest expected Dice D holds the voxels above D / 2 (Lipton et
    al., ECML 2014): a thin or faint bleed, of which no voxel is sure, is better drawn a little generously.

    logits: any shape, float. Returns: in [0, 1.39]; 0 where nothing is likely.
    """
    probability = torch.sigmoid(logits.float().flatten())
    counts = torch.histc(probability[probability > LEAST], BINS, 0.0, 1.0).double()
    if not bool(counts.any()):
        return 0.0
    middle = (torch.arange(BINS, dtype=torch.float64, device=counts.device) + 0.5) / BINS
    voxels = counts.flip(0).cumsum(0)  # above each threshold, the highest first
    blood = (counts * middle).flip(0).cumsum(0)  # of them, expected to be blood
    expected_dice = float((2 * blood / (voxels + blood[-1])).max())
    threshold = min(THRESHOLDS[1], max(THRESHOLDS[0], expected_dice / 2))
    return -math.log(threshold / (1 - threshold))
