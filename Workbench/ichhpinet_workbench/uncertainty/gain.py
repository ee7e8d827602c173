"""What the next stroke gains where a map sends the reader, against a random slice and against the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichhpinet.metrics import dice
from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume

from ..regions import Bool
from ..robot import strokes

RANDOM, ORACLE = "random slice", "oracle"
BESIDE_SLICES = 1  # a random slice is one with mask, or so near to one: nobody looks at the vertex of a basal bleed


def slice_by_map(uncertain: NDArray[np.float32]) -> int:
    """Where the map says most, summed over the slice."""
    return int(uncertain.sum(axis=(1, 2)).argmax())


def slice_by_chance(mask: Bool, rng: np.random.Generator) -> int:
    """Any slice with mask, or beside one; any at all where the mask is empty."""
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    if not len(filled):
        return int(rng.integers(len(mask)))
    low, high = max(0, filled[0] - BESIDE_SLICES), min(len(mask), filled[-1] + 1 + BESIDE_SLICES)
    return int(rng.integers(low, high))


def slice_by_oracle(mask: Bool, truth: Bool) -> int:
    """Where most is wrong."""
    return int((mask ^ truth).sum(axis=(1, 2)).argmax())


def gains(
    session: Any, volume: CTVolume, truth: Bool, mask: Bool, slices: dict[str, int], seed: int
) -> dict[str, float]:
    """Gain in Dice of one more round for each way of choosing the slice; the session is left as it was.

    A reader who is sent to a slice with nothing to correct paints nothing: the gain is 0.
    """
    before = dice(mask, truth)
    found: dict[str, float] = {}
    by_slice: dict[int, float] = {}
    for name, index in slices.items():
        if index not in by_slice:
            by_slice[index] = _gain(session, volume, truth, mask, index, seed, before)
        found[name] = by_slice[index]
    return found


def _gain(session: Any, volume: CTVolume, truth: Bool, mask: Bool, index: int, seed: int, before: float) -> float:
    foreground, background = strokes_on(volume, truth, mask, index, np.random.default_rng([seed, index]))
    if not (foreground.any() or background.any()):
        return 0.0
    after = np.asarray(session.refine(Scribbles(foreground, background)).mask)
    session.undo()
    return dice(after, truth) - before


def strokes_on(volume: CTVolume, truth: Bool, mask: Bool, index: int, rng: np.random.Generator) -> tuple[Bool, Bool]:
    """What the simulated radiologist corrects on one slice: the largest missed and the largest extra part of it."""
    only = np.zeros(truth.shape, bool)
    only[index] = True
    seen = np.where(only, mask, truth)  # elsewhere the mask is taken as right: nothing is painted there
    return strokes(truth, seen, volume.spacing_mm, rng, greedy=True)
