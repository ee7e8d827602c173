"""What a correction asks for: near its strokes the line is drawn anew, far from them the mask stays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ichhpinet.decision import lean
from ichhpinet.itk import simpleitk
from ichhpinet.networks.correction import HALO, NONE_MM, CorrectionHead, correction_maps, faded

HEEDED_MM = (4.0, 15.0)  # how far around a stroke on what was wrong the line is drawn anew, at least and at most;
# it fades over half as much again
ASKED_MM = 10.0  # an island as far as this from every stroke of a round was not asked for
NEAR_MM = 6.0  # a stroke changes what lies as near as this,
NEAR_LONG = 1.5  # or so many times as far as it is long,
NEAR_DEEP = 4.0  # or so many times as far as it goes out of the mask, or into it
DEEPEST_MM = 20.0  # further out of the mask is all alike
MIDDLE = 0.6  # of an island's greatest depth within its slices: a background stroke as deep refuses it
APART_MM = 1000.0  # between slices, for distances within them
FADING = (0.8, 1.2)  # of that distance: from here on less and less, there no more
FAR_MM = 60.0  # distances are not told apart beyond
TAKEN_AWAY = 0.6  # of what the head would lower counts so much: it was seen to make masks too small
SLICES = 16  # that the head looks at together: bounds the memory, and a cancel is noticed between
LEAST_LINE = 0.1  # of the threshold there
NO_LESS = 1e-6  # probabilities are kept this far from 0 and 1 to have logits

Spacing = tuple[float, float, float]
Between = Callable[[], None]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Correction:
    """A round's strokes and what they were drawn on, in working voxels.

    previous: (d, h, w) probability in [0, 1] before the round. new, painted: (2, d, h, w) bool, the round's strokes and
    all so far, foreground and background. spacing_mm: (z, y, x). between: called now and then; what it raises ends the
    work. after_strokes: the round before had strokes; a proposal may have seen a part of the bleed, or none.
    """

    previous: Tensor
    new: Tensor
    painted: Tensor
    spacing_mm: Spacing
    between: Between = lambda: None
    after_strokes: bool = True

    @cached_property
    def inside(self) -> Tensor:
        """(d, h, w) bool, the mask before."""
        return self.previous >= 0.5

    @cached_property
    def wrong(self) -> Tensor:
        """(2, d, h, w) bool, the new strokes that contradict that mask: on what it missed, on what it had too much."""
        return self.new & torch.stack([~self.inside, self.inside])


def heeded(probability: Tensor, given: Correction) -> Tensor:
    """A round in which the line near each of its corrections is drawn for what that one points at alone.

    A stroke on what was missed says that there is more blood about it. The network then ranks that blood before what is
    beside it, but seldom gives it a probability of one half. So, of what was outside the mask near the stroke, the
    threshold of greatest expected Dice is taken (`decision.lean`), and the same for what was inside near a stroke on
    what was too much. Where several strokes are near, the line moves furthest that one of them asks for. How far "near"
    goes is a matter of size, of the mask and of half the stroke: in a small bleed a stroke on half a millimetre of rim
    would else draw the line anew for all of it. Nothing painted moves.

    probability: (d, h, w) in [0, 1], of this round. Returns: (d, h, w).
    """
    inside, bare, spacing_mm = given.inside, ~given.painted.any(0), given.spacing_mm
    known = _radius_mm(inside, spacing_mm) if given.after_strokes else math.inf
    shift = torch.zeros_like(probability)
    for strokes, side, sign in ((given.wrong[0], ~inside, 1.0), (given.wrong[1], inside, -1.0)):
        moved = torch.zeros_like(probability)
        labels, boxes = _strokes(strokes)
        for label, stroke in boxes.items():
            given.between()
            reach = min(HEEDED_MM[1], max(HEEDED_MM[0], known, max(_sides_mm(stroke, spacing_mm)) / 2))
            box = _wider(stroke, 1.5 * reach, spacing_mm)
            distance, asked = _distance_mm(labels[box] == label, spacing_mm), side[box] & bare[box]
            logits = sign * torch.logit(probability[box], NO_LESS)
            most = lean(logits[asked & (distance < reach)], LEAST_LINE)
            fade = ((1.5 * reach - distance) / (0.5 * reach)).clamp(0, 1) * asked
            moved[box] = torch.maximum(moved[box], most * fade)
        shift += sign * moved  # one kind moves what was outside the mask, the other what was inside
    moves = shift != 0
    made = probability.clone()
    made[moves] = torch.sigmoid(torch.logit(probability[moves], NO_LESS) + shift[moves])
    return made


def listened(probability: Tensor, given: Correction, head: CorrectionHead, image: Tensor) -> Tensor:
    """A round corrected by the head about the strokes that contradict the one before; elsewhere it stays as it was.

    probability: (d, h, w), as `heeded` left it; nothing painted moves. image: (d, h, w) normalised, on the head's
    device. Returns: (d, h, w).
    """
    if not bool(given.wrong.any()):
        return probability
    box = _box_about(given.wrong.any(0), given.spacing_mm)
    strokes, wrong = given.painted[(slice(None), *box)], given.wrong[(slice(None), *box)]
    given.between()
    distance = torch.stack([far_mm(kind, given.spacing_mm) for kind in wrong])
    given.between()
    logits = torch.logit(probability[box], NO_LESS)
    parts = [image[box], logits, given.previous[box], strokes, wrong, distance, torch.tensor(given.spacing_mm[0])]
    maps = correction_maps(*(part[None].to(image.device) for part in parts))
    change = _said(head, maps, given.between) * faded(distance[None])[0]
    change = torch.where(change < 0, TAKEN_AWAY * change, change) * ~strokes.any(0)
    made = probability.clone()
    made[box] = torch.where(change == 0, made[box], torch.sigmoid(logits + change))
    return made


def _said(head: CorrectionHead, maps: Tensor, between: Between) -> Tensor:
    """What the head says of (1, MAPS, d, h, w), a few slices at a time: (d, h, w) float32 on the CPU."""
    parts, depth = [], maps.shape[2]
    for start in range(0, depth, SLICES):
        between()
        low, high = max(0, start - HALO), min(depth, start + SLICES + HALO)
        parts.append(head(maps[:, :, low:high])[0, start - low : start - low + SLICES].float().cpu())
    return torch.cat(parts)


def without_unasked(probability: Tensor, given: Correction) -> Tensor:
    """A round in which no island appears that nobody asked for: each keeps the probability it had before.

    An island of the mask is asked for where some of it was in the mask or is painted, or lies within ASKED_MM of a
    stroke of this round: whoever corrects one place looks for no change in another.
    probability: (d, h, w), of this round. Returns: (d, h, w); as it was where there was no mask before.
    """
    if not bool(given.inside.any()):
        return probability
    given.between()
    sitk = simpleitk()
    mask = sitk.GetImageFromArray((probability >= 0.5).numpy().astype(np.uint8))
    islands = torch.from_numpy(sitk.GetArrayFromImage(sitk.ConnectedComponent(mask, True)).astype(np.int64))
    wanted = torch.zeros(int(islands.max()) + 1, dtype=torch.bool)
    wanted[0] = True
    wanted[islands[given.inside | given.painted[0]]] = True
    if not bool(wanted.all()):
        given.between()
        wanted[islands[_distance_mm(given.new.any(0), given.spacing_mm) < ASKED_MM]] = True
    return torch.where(wanted[islands], probability, given.previous)


def kept_elsewhere(probability: Tensor, given: Correction) -> Tensor:
    """A round in which the mask grows near strokes on what it missed, shrinks near strokes on what was too much, and
    stays elsewhere.

    Who corrects a place has looked at the rest and lets it stand. The network looks at all of it anew, and where it
    changes its mind far from the strokes it loses as often as it wins, and more where it does. How far "near" goes is
    a matter of the stroke: those on a rim are short and lie along the mask, those on a part that was missed lead away
    from it.

    probability: (d, h, w), of this round. Returns: (d, h, w); as it was where there was no mask before.
    """
    if not bool(given.inside.any()):
        return probability
    told = torch.zeros(2, *probability.shape)  # how much of what grows, and of what shrinks, is this round's
    for part, strokes, mask in zip(told, given.wrong, (given.inside, ~given.inside), strict=True):
        for near, box, some in _by_nearness(strokes, mask, given):
            given.between()
            distance = _distance_mm(some, given.spacing_mm)
            part[box] = torch.maximum(part[box], (FADING[1] - distance / near) / (FADING[1] - FADING[0]))
    before, now = torch.logit(given.previous, NO_LESS), torch.logit(probability, NO_LESS)
    share = torch.where(now > before, told[0], told[1])
    share[given.painted.any(0)] = 1
    between = torch.sigmoid(torch.lerp(before, now, share.clamp(max=1)))
    return torch.where(share > 0, torch.where(share < 1, between, probability), given.previous)


def _by_nearness(strokes: Tensor, mask: Tensor, given: Correction) -> Iterator[tuple[float, Box, Tensor]]:
    """Of strokes (d, h, w) bool that lead away from the mask: how near they change it in mm, in whole ones, a box about
    all that those strokes change, and they in it. Strokes of one nearness together: there may be hundreds."""
    if not bool(strokes.any()):
        return
    labels, boxes = _strokes(strokes)
    given.between()
    away = far_mm(mask, given.spacing_mm).clamp(max=DEEPEST_MM)[strokes]
    deepest = torch.zeros(len(boxes) + 1).scatter_reduce(0, labels[strokes], away, "amax")
    alike: dict[int, list[int]] = {}
    for label, box in boxes.items():
        long, deep = max(_sides_mm(box, given.spacing_mm, less=1)), float(deepest[label])
        alike.setdefault(math.ceil(max(NEAR_MM, NEAR_LONG * long, NEAR_DEEP * deep)), []).append(label)
    for near, group in alike.items():
        z, y, x = (
            slice(min(boxes[label][axis].start for label in group), max(boxes[label][axis].stop for label in group))
            for axis in range(3)
        )
        box = _wider((z, y, x), FADING[1] * near, given.spacing_mm)
        yield near, box, torch.isin(labels[box], torch.tensor(group))


def without_refused(probability: Tensor, given: Correction) -> Tensor:
    """A round without the islands that its strokes refuse.

    An island of the mask before that holds no foreground stroke is refused by a background stroke that goes to its
    middle, within the slices: its blood is most likely there. One on its rim alone makes it smaller.
    probability: (d, h, w), of this round. Returns: (d, h, w); 0 where an island was, and where one grew out of it.
    """
    if not bool(given.wrong[1].any()):
        return probability
    given.between()
    islands = _strokes(given.inside)[0]
    count = int(islands.max()) + 1
    depth = far_mm(~_without_holes(given.inside), (APART_MM, *given.spacing_mm[1:]))[given.inside]
    deepest = torch.zeros(count).scatter_reduce(0, islands[given.inside], depth, "amax")
    stroke = given.wrong[1][given.inside]
    reached = torch.zeros(count).scatter_reduce(0, islands[given.inside][stroke], depth[stroke], "amax")
    refused = (reached > 0) & (reached >= MIDDLE * deepest)
    refused[islands[given.inside & given.painted[0]]] = False
    if not bool(refused.any()):
        return probability
    given.between()
    gone = refused[islands]
    grown, _ = _strokes((probability >= 0.5) & ~given.inside | gone)
    sprung = torch.zeros(int(grown.max()) + 1, dtype=torch.bool)
    sprung[grown[gone]] = True
    sprung[grown[given.painted[0]]] = False
    gone |= sprung[grown] & (grown > 0)
    return torch.where(gone & ~given.painted.any(0), 0.0, probability)


def _without_holes(mask: Tensor) -> Tensor:
    """(d, h, w) bool: what the mask closes in is in it."""
    sitk = simpleitk()
    filled = sitk.BinaryFillhole(sitk.GetImageFromArray(mask.numpy().astype(np.uint8)), True)
    return torch.from_numpy(sitk.GetArrayFromImage(filled).astype(bool))


def _radius_mm(mask: Tensor, spacing_mm: Spacing) -> float:
    """Of a ball as large as all of the mask (d, h, w) bool; infinite where there is none: nothing is known then."""
    mm3 = float(mask.sum()) * math.prod(spacing_mm)
    return float((0.75 * mm3 / math.pi) ** (1 / 3)) if mm3 else math.inf


def _strokes(voxels: Tensor) -> tuple[Tensor, dict[int, Box]]:
    """The connected strokes of (d, h, w) bool: their numbers from 1, int64, and the box of each."""
    sitk = simpleitk()
    labels = sitk.ConnectedComponent(sitk.GetImageFromArray(voxels.numpy().astype(np.uint8)), True)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(labels)
    boxes = {}
    for label in shape.GetLabels():
        x, y, z, width, height, depth = shape.GetBoundingBox(label)
        boxes[label] = slice(z, z + depth), slice(y, y + height), slice(x, x + width)
    return torch.from_numpy(sitk.GetArrayFromImage(labels).astype(np.int64)), boxes


def _wider(box: Box, margin_mm: float, spacing_mm: Spacing) -> Box:
    """The box, so much wider on all sides, where the array allows."""
    margin = [int(margin_mm / mm) for mm in spacing_mm]
    z, y, x = (slice(max(0, part.start - more), part.stop + more) for part, more in zip(box, margin, strict=True))
    return z, y, x


def _sides_mm(box: Box, spacing_mm: Spacing, less: int = 0) -> list[float]:
    """How long a box is along each axis; less: so many voxels shorter."""
    return [(part.stop - part.start - less) * mm for part, mm in zip(box, spacing_mm, strict=True)]


def _box_about(voxels: Tensor, spacing_mm: Spacing) -> Box:
    """What lies within NONE_MM of the voxels set in (d, h, w), h and w even: rows and columns are even in number."""
    found = []
    for axis, mm in enumerate(spacing_mm):
        others = [other for other in range(3) if other != axis]
        where, margin = torch.nonzero(voxels.any(others[1]).any(others[0])).flatten(), int(NONE_MM / mm)
        low, high = max(0, int(where[0]) - margin), min(voxels.shape[axis], int(where[-1]) + 1 + margin)
        found.append(slice(low, high) if axis == 0 else slice(low // 2 * 2, -(-high // 2) * 2))
    return found[0], found[1], found[2]


def far_mm(voxels: Tensor, spacing_mm: Spacing) -> Tensor:
    """`_distance_mm`, no further than FAR_MM; that where nothing is set."""
    if not bool(voxels.any()):
        return torch.full(voxels.shape, FAR_MM)
    return _distance_mm(voxels, spacing_mm).clamp(max=FAR_MM)


def _distance_mm(voxels: Tensor, spacing_mm: Spacing) -> Tensor:
    """(d, h, w) float32: how far the nearest voxel is that is set in (d, h, w) bool."""
    sitk = simpleitk()
    image = sitk.GetImageFromArray(voxels.numpy().astype(np.uint8))
    image.SetSpacing(spacing_mm[::-1])
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return torch.from_numpy(sitk.GetArrayFromImage(distance)).clamp(min=0)
