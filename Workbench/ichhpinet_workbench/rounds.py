"""The game that is judged: a simulated radiologist and a session take turns. No scores, no files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume

from .regions import Bool
from .robot import strokes


class Session(Protocol):
    """What is judged: a round's strokes go in, something with a `mask` (D, H, W) bool comes out."""

    def refine(self, scribbles: Scribbles) -> Any:
        """One round."""


class Predictor(Protocol):
    """What opens sessions: the network, or a classic method."""

    def open(self, volume: CTVolume) -> Session:
        """A session on a volume."""


@dataclass(frozen=True)
class Reader:
    """How the simulated radiologist draws: robot.strokes' options."""

    hand: str = "line"
    brush_mm: float = 2.0
    greedy: bool = True
    beside: float = 1.0  # the first round has a background stroke beside the lesion: two of the rivals need one
    axis: int = 0  # of the array, across which the views lie that are painted in


@dataclass(frozen=True)
class Turn:
    """One round. Masks and strokes (D, H, W) bool; before: the mask the strokes were drawn on."""

    number: int
    foreground: Bool
    background: Bool
    before: Bool
    mask: Bool
    seconds: float

    @property
    def painted(self) -> bool:
        """False: the radiologist was satisfied, and nothing was done."""
        return bool(self.foreground.any() or self.background.any())


def play(
    session: Session, volume: CTVolume, truth: Bool, brain: Bool, rounds: int, seed: int, reader: Reader
) -> Iterator[Turn]:
    """Rounds 1..rounds: strokes drawn where the session's own mask is wrong. The same seed, the same first strokes.

    A satisfied radiologist paints nothing, and the mask stays as it is.
    """
    mask = np.zeros(volume.shape, bool)
    for number in range(1, rounds + 1):
        rng = np.random.default_rng([seed, number])
        foreground, background = strokes(
            truth,
            mask,
            volume.spacing_mm,
            rng,
            hand=reader.hand,
            brush_mm=reader.brush_mm,
            greedy=reader.greedy,
            axis=reader.axis,
            beside=reader.beside if number == 1 else 0.0,
            brain=brain,
        )
        before, seconds = mask, 0.0
        if foreground.any() or background.any():
            began = time.perf_counter()
            mask = np.asarray(session.refine(Scribbles(foreground, background)).mask)
            seconds = time.perf_counter() - began
        yield Turn(number, foreground, background, before, mask, seconds)
