"""What a correction changes: near its strokes the line is drawn anew, far from them the last round stays in part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ichhpinet.decision import lean
from ichhpinet.itk import simpleitk

RULES_VERSION = 2  # raised whenever the same weights and strokes give another mask: figures are kept by it
HEEDED_MM = 15.0  # how far around a stroke on what was wrong the line is drawn anew; it fades over half as much again
LEAST_LINE = 0.1  # of the threshold there
STAYS = 0.4  # of the last round, in logits, where no stroke asks for a change
ASKED_MM = 20.0  # how far around a stroke on what was wrong the change that it asks for is free
LEAST_CHANGE = 1 / 512  # of probability: less is no change, kept as it is in bytes
SUREST = 1 / 512  # what was kept as 0 or 1 was this near to it
NO_LESS = 1e-6  # probabilities are kept this far from 0 and 1 to have logits

Spacing = tuple[float, float, float]
Between = Callable[[], None]
Box = tuple[slice, slice, slice]


def heeded(
    probability: Tensor,
    previous: Tensor,
    new: Tensor,
    painted: Tensor,
    spacing_mm: Spacing,
    between: Between = lambda: None,
) -> Tensor:
    """A round in which the line near each of its corrections is drawn for what that one points at alone.

    A stroke on what was missed says that there is more blood about it. The network then ranks that blood before what is
    beside it, but seldom gives it a probability of one half. So, of what was outside the mask near the stroke, the
    threshold of greatest expected Dice is taken (`decision.lean`), and the same for what was inside near a stroke on
    what was too much. Where several strokes are near, the line moves furthest that one of them asks for.

    probability, previous: (d, h, w) in [0, 1], of this round and of the one before. new, painted: (2, d, h, w) bool,
    this round's strokes and all so far, foreground and background; nothing painted moves. spacing_mm: (z, y, x).
    between: called now and then; what it raises ends the work. Returns: (d, h, w).
    """
    inside, bare = previous >= 0.5, ~painted.any(0)
    shift = torch.zeros_like(probability)
    for strokes, wrong, sign in ((new[0], ~inside, 1.0), (new[1], inside, -1.0)):
        for box, stroke in _strokes(strokes & wrong, 1.5 * HEEDED_MM, spacing_mm):
            between()
            distance, asked = _distance_mm(stroke, spacing_mm), (wrong & bare)[box]
            logits = sign * torch.logit(probability[box], NO_LESS)
            moved = lean(logits[asked & (distance < HEEDED_MM)], LEAST_LINE)
            fade = ((1.5 * HEEDED_MM - distance) / (0.5 * HEEDED_MM)).clamp(0, 1) * asked
            furthest = torch.maximum(sign * shift[box], moved * fade)
            shift[box] = sign * furthest
    moves = shift != 0
    made = probability.clone()
    made[moves] = torch.sigmoid(torch.logit(probability[moves], NO_LESS) + shift[moves])
    return made


def steadied(
    probability: Tensor, previous: Tensor, new: Tensor, spacing_mm: Spacing, between: Between = lambda: None
) -> Tensor:
    """A round in which what its strokes ask for changes at once, and everything else part of the way only.

    Paint on what was missed asks for more blood around it, paint on what was too much for less. A round sees the whole
    head anew; what else it changes, it changes for the worse nearly as often as for the better, and a mean with the
    round before does less harm.

    Takes and returns what `heeded` does; the result lies between the two rounds.
    """
    missed, extra = new[0] & (previous < 0.5), new[1] & (previous >= 0.5)
    change = probability - previous
    asked = torch.where(change > 0, _around(missed, spacing_mm, between), _around(extra, spacing_mm, between))
    held = (change.abs() > LEAST_CHANGE) & ~asked
    before, now = torch.logit(previous[held], SUREST), torch.logit(probability[held], NO_LESS)
    made = probability.clone()
    made[held] = torch.sigmoid(torch.lerp(now, before, STAYS))
    return made


def _strokes(voxels: Tensor, margin_mm: float, spacing_mm: Spacing) -> list[tuple[Box, Tensor]]:
    """The connected strokes of (d, h, w) bool: for each a box with this much around it, and the stroke in it, bool."""
    whole = _box(voxels, 0.0, spacing_mm)
    if whole is None:
        return []
    sitk = simpleitk()
    image = sitk.GetImageFromArray(voxels[whole].numpy().astype(np.uint8))
    labels = torch.zeros(voxels.shape, dtype=torch.int64)
    labels[whole] = torch.from_numpy(sitk.GetArrayFromImage(sitk.ConnectedComponent(image, True)).astype(np.int64))
    found = []
    for label in range(1, int(labels.max()) + 1):
        box = _box(labels == label, margin_mm, spacing_mm)
        if box is not None:
            found.append((box, labels[box] == label))
    return found


def _around(voxels: Tensor, spacing_mm: Spacing, between: Between) -> Tensor:
    """(d, h, w) bool: within ASKED_MM of (d, h, w) bool along each axis."""
    wide, box = torch.zeros_like(voxels), _box(voxels, ASKED_MM, spacing_mm)
    if box is None:
        return wide
    near = voxels[box]
    for axis, mm in enumerate(spacing_mm):
        between()
        steps, length = int(ASKED_MM / mm), near.shape[axis]
        count = F.pad(near.movedim(axis, -1).to(torch.int32).cumsum(-1), (1, 0))
        place = torch.arange(length)
        upper, lower = (place + steps + 1).clamp(max=length), (place - steps).clamp(min=0)
        near = (count[..., upper] > count[..., lower]).movedim(-1, axis)
    wide[box] = near
    return wide


def _box(voxels: Tensor, margin_mm: float, spacing_mm: Spacing) -> Box | None:
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
