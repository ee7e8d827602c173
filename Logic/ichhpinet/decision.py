"""Where the line is drawn: the threshold of greatest expected Dice, what corrections say of it, and what stays."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 100  # of probability
LEAST = 0.02  # voxels less likely than this do not count: there are millions, and all are outside
THRESHOLDS = (0.2, 0.5)  # never beyond: a few faint voxels must not become a lesion

GAIN = 2.0  # logits, where corrections are many and all of one kind
STEADY_MM2 = 40.0  # so much paint moves the line by half of that: a dab or two says little
KEPT = 0.8  # of what the rounds before have said
BOLDEST = 2.0

STAYS = 0.4  # of the last round, in logits, where no stroke asks for a change
ASKED_MM = 20.0  # how far around a stroke on what was wrong the change that it asks for is free
LEAST_CHANGE = 1 / 512  # of probability: less is no change, kept as it is in bytes
SUREST = 1 / 512  # what was kept as 0 or 1 was this near to it


def lean(logits: Tensor) -> float:
    """What to add to the logits so that probability 0.5 is the best threshold for Dice.

    If probabilities mean what they say, the mask of greatest expected Dice D holds the voxels above D / 2 (Lipton et
    al., ECML 2014): a thin or faint bleed, of which no voxel is sure, is better drawn a little generously.

    logits: any shape, float. Returns: in [0, 1.39]; 0 where nothing is likely.
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
    threshold = min(THRESHOLDS[1], max(THRESHOLDS[0], expected_dice / 2))
    return -math.log(threshold / (1 - threshold))


def boldness(before: float, previous: Tensor, new: Tensor, pixel_mm2: float) -> float:
    """What to add to the logits of a round because of what its strokes contradict.

    Strokes are drawn where the mask is wrong. Where more paint goes on what was missed than on what was too much, the
    mask is too small in other places too, and the next one is drawn more generously, and the other way round. Paint
    that agrees with the mask says nothing.

    before: the last round's. previous: (d, h, w) its probability. new: (2, d, h, w) bool, this round's strokes,
    foreground and background. pixel_mm2: area of a voxel in plane. Returns: in [-2, 2].
    """
    missed, extra = new[0] & (previous < 0.5), new[1] & (previous >= 0.5)
    missed_mm2, extra_mm2 = (float(voxels.sum()) * pixel_mm2 for voxels in (missed, extra))
    told = GAIN * (missed_mm2 - extra_mm2) / (missed_mm2 + extra_mm2 + STEADY_MM2)
    return max(-BOLDEST, min(BOLDEST, KEPT * before + told))


def steadied(probability: Tensor, previous: Tensor, new: Tensor, spacing_mm: tuple[float, float, float]) -> Tensor:
    """A round in which what its strokes ask for changes at once, and everything else part of the way only.

    Paint on what was missed asks for more blood around it, paint on what was too much for less. A round sees the whole
    head anew; what else it changes, it changes for the worse nearly as often as for the better, and a mean with the
    round before does less harm.

    probability, previous: (d, h, w) in [0, 1], of this round and of the one before. new: (2, d, h, w) bool, this
    round's strokes, foreground and background. spacing_mm: (z, y, x). Returns: (d, h, w), between the two.
    """
    missed, extra = new[0] & (previous < 0.5), new[1] & (previous >= 0.5)
    change = probability - previous
    asked = torch.where(change > 0, _around(missed, spacing_mm), _around(extra, spacing_mm))
    held = (change.abs() > LEAST_CHANGE) & ~asked
    before, now = torch.logit(previous[held], SUREST), torch.logit(probability[held], 1e-6)
    made = probability.clone()
    made[held] = torch.sigmoid(torch.lerp(now, before, STAYS))
    return made


def _around(voxels: Tensor, spacing_mm: tuple[float, float, float]) -> Tensor:
    """(d, h, w) bool: within ASKED_MM of (d, h, w) bool along each axis."""
    found = torch.nonzero(voxels)
    wide = torch.zeros_like(voxels)
    if not len(found):
        return wide
    reach = [int(ASKED_MM / mm) for mm in spacing_mm]
    low, high = (found.min(0).values - torch.tensor(reach)).clamp(min=0), found.max(0).values + torch.tensor(reach) + 1
    box = tuple(slice(int(start), int(end)) for start, end in zip(low, high))
    near = voxels[box][None].float()
    for axis, steps in enumerate(reach):
        window, padding = [1, 1, 1], [0, 0, 0]
        window[axis], padding[axis] = 2 * steps + 1, steps
        near = F.max_pool3d(near, window, 1, padding)
    wide[box] = near[0] > 0
    return wide
