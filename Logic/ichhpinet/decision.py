"""Where the line is drawn: the threshold of greatest expected Dice, and what corrections say about it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BINS = 100  # of probability
LEAST = 0.02  # voxels less likely than this do not count: there are millions, and all are outside
THRESHOLDS = (0.2, 0.5)  # never beyond: a few faint voxels must not become a lesion

GAIN = 2.0  # logits, where corrections are many and all of one kind
STEADY_MM2 = 40.0  # so much paint moves the line by half of that: a dab or two says little
STEADY_MM3 = 1000.0  # a mask of this size halves what is said, a smaller one leaves less: it has no other places
KEPT = 0.8  # of what the rounds before have said
BOLDEST = 2.0


def lean(logits: Tensor, least: float = THRESHOLDS[0]) -> float:
    """What to add to the logits so that probability 0.5 is the best threshold for Dice.

    If probabilities mean what they say, the mask of greatest expected Dice D holds the voxels above D / 2 (Lipton et
    al., ECML 2014): a thin or faint bleed, of which no voxel is sure, is better drawn a little generously.

    logits: any shape, float. least: the threshold goes no lower. Returns: 0 or more, 1.39 at most for the usual least;
    0 where nothing is likely.
    """
    probability = torch.sigmoid(logits.float().flatten())
    counts = (
        torch.histc(probability[probability > LEAST], BINS, 0.0, 1.0).cpu().double()
    )  # a hundred numbers; not every device has doubles
    if not bool(counts.any()):
        return 0.0
    middle = (torch.arange(BINS, dtype=torch.float64) + 0.5) / BINS
    voxels = counts.flip(0).cumsum(0)  # above each threshold, the highest first
    blood = (counts * middle).flip(0).cumsum(0)  # of them, expected to be blood
    expected_dice = float((2 * blood / (voxels + blood[-1])).max())
    threshold = min(THRESHOLDS[1], max(least, expected_dice / 2))
    return -math.log(threshold / (1 - threshold))


def boldness(before: float, previous: Tensor, new: Tensor, spacing_mm: tuple[float, float, float]) -> float:
    """What to add to the logits of a round because of what its strokes contradict.

    Strokes are drawn where the mask is wrong. Where more paint goes on what was missed than on what was too much, the
    mask is too small in other places too, and the next one is drawn more generously, and the other way round. Paint
    that agrees with the mask says nothing, and the smaller the mask is, the less is said; of one that is empty nothing
    is known.

    before: the last round's. previous: (d, h, w) its probability. new: (2, d, h, w) bool, this round's strokes,
    foreground and background. spacing_mm: (z, y, x). Returns: in [-2, 2].
    """
    pixel_mm2 = spacing_mm[1] * spacing_mm[2]
    missed, extra = new[0] & (previous < 0.5), new[1] & (previous >= 0.5)
    missed_mm2, extra_mm2 = (float(voxels.sum()) * pixel_mm2 for voxels in (missed, extra))
    mask_mm3 = float((previous >= 0.5).sum()) * math.prod(spacing_mm)
    told = GAIN * (missed_mm2 - extra_mm2) / (missed_mm2 + extra_mm2 + STEADY_MM2)
    if mask_mm3:
        told *= mask_mm3 / (mask_mm3 + STEADY_MM3)
    return max(-BOLDEST, min(BOLDEST, KEPT * before + told))
