"""The maps that are compared: closeness to the threshold, two branches, two directions, all. On the CT's grid."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..probe import ProbedPredictor, Seen
from .directions import directions, disagreement

Map = NDArray[np.float32]
CLOSENESS, BRANCHES, DIRECTIONS, TOGETHER, SHOWN = "closeness", "branches", "directions", "together", "shown"
PLAIN = {
    CLOSENESS: "closeness to the threshold, 1 - abs(2p - 1)",
    BRANCHES: "disagreement of slice and volume branch",
    DIRECTIONS: "disagreement of forward and backward propagation",
    TOGETHER: "mean of the three",
    SHOWN: "what the tool shows (larger of closeness and branches)",
}


def uncertainty_maps(predictor: ProbedPredictor) -> dict[str, Map]:
    """Each map of the last round, (D, H, W) float32 in [0, 1]; 0 where the user painted. No branch, no map of it.

    Raises RuntimeError where there was no round yet.
    """
    seen = predictor.seen
    if seen is None:
        raise RuntimeError("there was no round yet; refine or propose first")
    working = {CLOSENESS: 1 - (2 * seen.arrays.probability - 1).abs()}
    volume = _volume(seen)
    if volume is not None:
        working[BRANCHES] = (seen.arrays.probability - volume).abs()
    sides = directions(predictor.network, seen)
    if sides is not None:
        working[DIRECTIONS] = disagreement(sides)
    working[TOGETHER] = torch.stack(list(working.values())).mean(0)
    shown = [working[name] for name in (CLOSENESS, BRANCHES) if name in working]
    working[SHOWN] = torch.stack(shown).amax(0)
    return {name: _native(seen, values) for name, values in working.items()}


def _volume(seen: Seen) -> Tensor | None:
    """The volume branch's own probability, (d, h, w)."""
    volume = seen.arrays.volume_probability
    if volume is None:
        return None
    return F.interpolate(volume[None], seen.arrays.probability.shape[1:], mode="bilinear")[0]


def _native(seen: Seen, values: Tensor) -> Map:
    quiet = values.masked_fill(seen.painted.any(0), 0.0)
    return np.clip(seen.encoded.grid.to_native(quiet), 0.0, 1.0)
