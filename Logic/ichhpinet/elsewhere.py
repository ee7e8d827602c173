"""What a correction leaves as it was: it changes the mask near its strokes, and takes away the islands it refuses."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ichhpinet.corrections import NO_LESS, Correction
from ichhpinet.regions import Box, box_of, connected, distance_mm, far_mm, sides_mm, wider, without_holes

ASKED_MM = 10.0  # an island as far as this from every stroke of a round was not asked for
NEAR_MM = 8.0  # a stroke changes what lies as near as this,
NEAR_LONG = 2.0  # or so many times as far as it is long,
NEAR_DEEP = 5.0  # or so many times as far as it goes out of the mask, or into it;
TOO_MUCH = 2.0  # so many times as near where it was too much: what is false there is mostly false as a whole
DEEPEST_MM = 20.0  # further out of the mask is all alike
FADING = (0.8, 1.2)  # of that distance: from here on less and less, there no more
MIDDLE = 0.6  # of an island's greatest depth within its slices: a background stroke as deep refuses it
SMALL_MM, SMALL_ML = 4.0, 1.0  # and an island no deeper and no larger by any stroke of which so much lies on it:
ROOM_MM = 8.0  # about a background stroke the network makes room in a first round, but not so much
ON_IT = 0.3  # a stroke is as wide as the working voxels that it touches
APART_MM = 1000.0  # between slices, for distances within them


def without_unasked(probability: Tensor, given: Correction) -> Tensor:
    """A round in which no island appears that nobody asked for: each keeps the probability it had before.

    An island of the mask is asked for where some of it was in the mask or is painted, or lies within ASKED_MM of a
    stroke of this round: whoever corrects one place looks for no change in another.
    probability: (d, h, w), of this round. Returns: (d, h, w); as it was where there was no mask before.
    """
    if not bool(given.inside.any()):
        return probability
    given.between()
    islands = connected(probability >= 0.5)[0]
    wanted = torch.zeros(int(islands.max()) + 1, dtype=torch.bool)
    wanted[0] = True
    wanted[islands[given.inside | given.painted[0]]] = True
    if not bool(wanted.all()):
        given.between()
        wanted[islands[distance_mm(given.new.any(0), given.spacing_mm) < ASKED_MM]] = True
    return torch.where(wanted[islands], probability, given.previous)


def kept_elsewhere(probability: Tensor, given: Correction) -> Tensor:
    """A round in which the mask grows near strokes on what it missed, shrinks near strokes on what was too much, and
    stays elsewhere.

    Who corrects a place has looked at the rest and lets it stand. The network looks at all of it anew, and where it
    changes its mind far from the strokes it loses as often as it wins, and more where it does. How far "near" goes is
    a matter of the stroke: those on a rim are short and lie along the mask, those on a part that was missed lead away
    from it. Working voxels that were painted in any round take this round's probability too: many are larger than the
    paint, and what the rest of them holds is settled by and by.

    probability: (d, h, w), of this round. Returns: (d, h, w); as it was where there was no mask before.
    """
    if not bool(given.inside.any()):
        return probability
    # How much of what grows, and of what shrinks, is this round's.
    told = torch.zeros(2, *probability.shape, dtype=torch.float32)
    for kind, (mask, times) in enumerate(((given.inside, 1.0), (~given.inside, TOO_MUCH))):
        part = told[kind]
        for near, box, some in _by_nearness(given.wrong[kind], mask, given, times):
            given.between()
            distance = distance_mm(some, given.spacing_mm)
            part[box] = torch.maximum(part[box], (FADING[1] - distance / near) / (FADING[1] - FADING[0]))
    told[:, given.painted.any(0)] = 1
    made = given.previous.clone()
    if bool(told.any()):
        box = box_of(told.any(0))
        now, (grows, shrinks) = probability[box], told[(slice(None), *box)].clamp(max=1)
        before, after = torch.logit(given.previous[box], NO_LESS), torch.logit(now, NO_LESS)
        share = torch.where(after > before, grows, shrinks)
        between = torch.sigmoid(torch.lerp(before, after, share))
        made[box] = torch.where(share > 0, torch.where(share < 1, between, now), made[box])
    return made


def _by_nearness(strokes: Tensor, mask: Tensor, given: Correction, times: float) -> Iterator[tuple[float, Box, Tensor]]:
    """Of strokes (d, h, w) bool that lead away from the mask: how near they change it in mm, in whole ones, a box about
    all that those strokes change, and they in it. Strokes of one nearness together: there may be hundreds."""
    if not bool(strokes.any()):
        return
    labels, boxes = connected(strokes)
    given.between()
    seen = wider(box_of(strokes), DEEPEST_MM + max(given.spacing_mm), given.spacing_mm)
    away = far_mm(mask[seen], given.spacing_mm).clamp(max=DEEPEST_MM)[strokes[seen]]
    deepest = torch.zeros(len(boxes) + 1, dtype=torch.float32)
    deepest = deepest.scatter_reduce(0, labels[seen][strokes[seen]], away, "amax")
    alike: dict[int, list[int]] = {}
    for label, box in boxes.items():
        long, deep = max(sides_mm(box, given.spacing_mm, less=1)), float(deepest[label])
        alike.setdefault(math.ceil(round(times * max(NEAR_MM, NEAR_LONG * long, NEAR_DEEP * deep), 3)), []).append(
            label
        )
    for near, group in alike.items():
        z, y, x = (
            slice(min(boxes[label][axis].start for label in group), max(boxes[label][axis].stop for label in group))
            for axis in range(3)
        )
        box = wider((z, y, x), FADING[1] * near, given.spacing_mm)
        yield near, box, torch.isin(labels[box], torch.tensor(group))


def without_refused(probability: Tensor, given: Correction) -> Tensor:
    """A round without the islands that its strokes refuse.

    An island of the mask before that holds no foreground stroke is refused by a background stroke that goes to its
    middle, within the slices: its blood is most likely there. One on the rim of an island makes it smaller, but where
    the island is so small that it is all rim, and not the largest of the mask: that goes as well.
    probability: (d, h, w), of this round. Returns: (d, h, w); 0 where an island was, and where one grew out of it.
    """
    if not bool(given.wrong[1].any()):
        return probability
    given.between()
    box = wider(box_of(given.inside | (probability >= 0.5) | given.new[1]), max(given.spacing_mm), given.spacing_mm)
    inside, now, painted = given.inside[box], probability[box], given.painted[(slice(None), *box)]
    islands, wrong = connected(inside)[0], given.wrong[1][box]
    depth = far_mm(~without_holes(inside), (APART_MM, *given.spacing_mm[1:]))
    deepest, reached = (
        torch.zeros(int(islands.max()) + 1, dtype=torch.float32).scatter_reduce(0, islands[part], depth[part], "amax")
        for part in (inside, wrong)
    )
    refused = (reached > 0) & (reached >= MIDDLE * deepest)
    few = torch.bincount(islands.flatten()) * math.prod(given.spacing_mm) <= 1000 * SMALL_ML
    refused |= (deepest <= SMALL_MM) & few & _lain_on(islands, wrong, given.new[1][box])
    refused[islands[inside & painted[0]]] = False
    refused[0] = False
    if not bool(refused.any()):
        return probability
    given.between()
    gone = refused[islands]
    grown = connected((now >= 0.5) & ~inside | gone)[0]
    sprung = torch.zeros(int(grown.max()) + 1, dtype=torch.bool)
    sprung[grown[gone]] = True
    sprung[grown[painted[0]]] = False
    gone |= sprung[grown] & (grown > 0)
    made = probability.clone()
    made[box] = torch.where(gone & ~painted[0], 0.0, now)
    return made


def may_refuse(probability: Tensor, given: Correction) -> bool:
    """Whether a background stroke lies by an island of this round (d, h, w) that holds no foreground stroke."""
    if not bool(given.new[1].any()):
        return False
    given.between()
    islands = connected(probability >= 0.5)[0]
    near = wider(box_of(given.new[1]), ROOM_MM, given.spacing_mm)
    given.between()
    by = islands[near][distance_mm(given.new[1][near], given.spacing_mm) <= ROOM_MM]
    return not set(by.unique().tolist()) <= {0, *islands[given.painted[0]].unique().tolist()}


def _lain_on(islands: Tensor, strokes: Tensor, drawn: Tensor) -> Tensor:
    """Which of the numbered islands (d, h, w), but for the largest, have a stroke on them: bool each.

    strokes: (d, h, w) bool, what of them lies on the mask. drawn: the same, whole.
    """
    sizes = torch.bincount(islands.flatten())
    parts = connected(drawn)[0]
    whole = torch.bincount(parts.flatten())
    pairs, on = torch.unique(torch.stack([parts[strokes], islands[strokes]]), dim=1, return_counts=True)
    lain = torch.zeros(len(sizes), dtype=torch.bool)
    lain[pairs[1, on >= ON_IT * whole[pairs[0]]]] = True
    lain[1 + int(sizes[1:].argmax())] = False
    return lain
