"""What a correction changes: near its strokes the line is drawn anew, far from them the last round stays in part."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ichhpinet.decision import lean
from ichhpinet.itk import simpleitk

HEEDED_MM = 15.0  # how far around a stroke on what was wrong the line is drawn anew; it fades over half as much again
LEAST_LINE = 0.1  # of the threshold there
STAYS = 0.4  # of the last round, in logits, where no stroke asks for a change
ASKED_MM = 20.0  # how far around a stroke on what was wrong the change that it asks for is free
LEAST_CHANGE = 1 / 512  # of probability: less is no change, kept as it is in bytes
SUREST = 1 / 512  # what was kept as 0 or 1 was this near to it
NO_LESS = 1e-6  # probabilities are kept this far from 0 and 1 to have logits

Spacing = tuple[float, float, float]


def heeded(probability: Tensor, previous: Tensor, new: Tensor, spacing_mm: Spacing) -> Tensor:
    """A round in which the line near its corrections is drawn for what they point at alone.

    A stroke on what was missed says that there is more blood about it. The network then ranks that blood before what is
    beside it, but seldom gives it a probability of one half. So, of what was outside the mask near the stroke, the
    threshold of greatest expected Dice is taken (`decision.lean`), and the same for what was inside near a stroke on
    what was too much. Nothing else moves.

    probability, previous: (d, h, w) in [0, 1], of this round and of the one before. new: (2, d, h, w) bool, this
    round's strokes, foreground and background. spacing_mm: (z, y, x). Returns: (d, h, w).
    """
    made, inside = probability.clone(), previous >= 0.5
    for strokes, wrong, sign in ((new[0], ~inside, 1.0), (new[1], inside, -1.0)):
        box = _box(strokes & wrong, 1.5 * HEEDED_MM, spacing_mm)
        if box is None:
            continue
        distance = _distance_mm((strokes & wrong)[box], spacing_mm)
        logits = sign * torch.logit(probability[box], NO_LESS)
        asked = wrong[box] & ~new[(slice(None), *box)].any(0)
        moved = lean(logits[asked & (distance < HEEDED_MM)], LEAST_LINE)
        fade = ((1.5 * HEEDED_MM - distance) / (0.5 * HEEDED_MM)).clamp(0, 1)
        near = asked & (fade > 0)
        made[box][near] = torch.sigmoid(sign * (logits + moved * fade))[near]
    return made


def steadied(probability: Tensor, previous: Tensor, new: Tensor, spacing_mm: Spacing) -> Tensor:
    """A round in which what its strokes ask for changes at once, and everything else part of the way only.

    Paint on what was missed asks for more blood around it, paint on what was too much for less. A round sees the whole
    head anew; what else it changes, it changes for the worse nearly as often as for the better, and a mean with the
    round before does less harm.

    Takes and returns what `heeded` does; the result lies between the two rounds.
    """
    missed, extra = new[0] & (previous < 0.5), new[1] & (previous >= 0.5)
    change = probability - previous
    asked = torch.where(change > 0, _around(missed, spacing_mm), _around(extra, spacing_mm))
    held = (change.abs() > LEAST_CHANGE) & ~asked
    before, now = torch.logit(previous[held], SUREST), torch.logit(probability[held], NO_LESS)
    made = probability.clone()
    made[held] = torch.sigmoid(torch.lerp(now, before, STAYS))
    return made


def _around(voxels: Tensor, spacing_mm: Spacing) -> Tensor:
    """(d, h, w) bool: within ASKED_MM of (d, h, w) bool along each axis."""
    wide, box = torch.zeros_like(voxels), _box(voxels, ASKED_MM, spacing_mm)
    if box is None:
        return wide
    near = voxels[box][None].float()
    for axis, mm in enumerate(spacing_mm):
        window, padding, steps = [1, 1, 1], [0, 0, 0], int(ASKED_MM / mm)
        window[axis], padding[axis] = 2 * steps + 1, steps
        near = F.max_pool3d(near, window, 1, padding)
    wide[box] = near[0] > 0
    return wide


def _box(voxels: Tensor, margin_mm: float, spacing_mm: Spacing) -> tuple[slice, slice, slice] | None:
    """What holds every voxel of (d, h, w) bool that is set, and this much around; None where none is."""
    found = torch.nonzero(voxels)
    if not len(found):
        return None
    low, high = found.min(0).values.tolist(), found.max(0).values.tolist()
    steps = [int(margin_mm / mm) for mm in spacing_mm]
    z, y, x = (slice(max(0, a - n), b + n + 1) for a, b, n in zip(low, high, steps))
    return z, y, x


def _distance_mm(voxels: Tensor, spacing_mm: Spacing) -> Tensor:
    """(d, h, w) float32: how far the nearest voxel is that is set in (d, h, w) bool."""
    sitk = simpleitk()
    image = sitk.GetImageFromArray(voxels.numpy().astype(np.uint8))
    image.SetSpacing(spacing_mm[::-1])
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return torch.from_numpy(sitk.GetArrayFromImage(distance)).clamp(min=0)
