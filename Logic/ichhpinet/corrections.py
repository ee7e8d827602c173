"""What a correction asks for: near its strokes the line is drawn anew, and a head of its own looks about them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ichhpinet.decision import lean
from ichhpinet.networks.correction import HALO, NONE_MM, CorrectionHead, correction_maps, faded
from ichhpinet.regions import Box, Spacing, connected, distance_mm, far_mm, sides_mm, wider

HEEDED_MM = (4.0, 15.0)  # how far around a stroke on what was wrong the line is drawn anew, at least and at most;
# it fades over half as much again
TAKEN_AWAY = 0.6  # of what the head would lower counts so much: it was seen to make masks too small
SLICES = 16  # that the head looks at together: bounds the memory
LEAST_LINE = 0.1  # of the threshold there
NO_LESS = 1e-6  # probabilities are kept this far from 0 and 1 to have logits

Between = Callable[[], None]


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
        labels, boxes = connected(strokes)
        for label, stroke in boxes.items():
            given.between()
            reach = min(HEEDED_MM[1], max(HEEDED_MM[0], known, max(sides_mm(stroke, spacing_mm)) / 2))
            box = wider(stroke, 1.5 * reach, spacing_mm)
            distance, asked = distance_mm(labels[box] == label, spacing_mm), side[box] & bare[box]
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
    thickness = torch.tensor(given.spacing_mm[0], dtype=torch.float32)
    parts = [image[box], logits, given.previous[box], strokes, wrong, distance, thickness]
    maps = correction_maps(*(part[None].to(image.device) for part in parts))
    change = _said(head, maps, wrong.any(0), given) * faded(distance[None])[0]
    change = torch.where(change < 0, TAKEN_AWAY * change, change) * ~strokes.any(0)
    made = probability.clone()
    made[box] = torch.where(change == 0, made[box], torch.sigmoid(logits + change))
    return made


def _said(head: CorrectionHead, maps: Tensor, wrong: Tensor, given: Correction) -> Tensor:
    """What the head says, a few slices at a time, about the strokes near them: (d, h, w) float32, 0 where none is.

    maps: (1, MAPS, d, h, w). wrong: (d, h, w) bool, the strokes that contradict.
    """
    said, depth = torch.zeros(wrong.shape, dtype=torch.float32), len(wrong)
    near = int(NONE_MM / given.spacing_mm[0])  # slices
    for start in range(0, depth, SLICES):
        stop = min(depth, start + SLICES)
        seen = slice(max(0, start - near), stop + near)
        if not bool(wrong[seen].any()):
            continue
        _, rows, columns = _box_about(wrong[seen], given.spacing_mm)
        low, high = max(0, start - HALO), min(depth, stop + HALO)
        heard = head(maps[:, :, low:high, rows, columns], given.between)[0, start - low : stop - low]
        said[start:stop, rows, columns] = heard.float().cpu()
    return said


def _radius_mm(mask: Tensor, spacing_mm: Spacing) -> float:
    """Of a ball as large as all of the mask (d, h, w) bool; infinite where there is none: nothing is known then."""
    mm3 = float(mask.sum()) * math.prod(spacing_mm)
    return float((0.75 * mm3 / math.pi) ** (1 / 3)) if mm3 else math.inf


def _box_about(voxels: Tensor, spacing_mm: Spacing) -> Box:
    """What lies within NONE_MM of the voxels set in (d, h, w), h and w even: rows and columns are even in number."""
    found = []
    for axis, mm in enumerate(spacing_mm):
        others = [other for other in range(3) if other != axis]
        where, margin = torch.nonzero(voxels.any(others[1]).any(others[0])).flatten(), int(NONE_MM / mm)
        low, high = max(0, int(where[0]) - margin), min(voxels.shape[axis], int(where[-1]) + 1 + margin)
        found.append(slice(low, high) if axis == 0 else slice(low // 2 * 2, -(-high // 2) * 2))
    return found[0], found[1], found[2]
