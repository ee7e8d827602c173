"""A classic method behind the same door as the network: open(volume) -> session, refine(strokes) -> mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume

from ..regions import Bool
from ..robot import add_strokes

Method = Callable[[CTVolume, Bool, Bool], Bool]


@dataclass(frozen=True)
class ClassicResult:
    """mask: (D, H, W) bool."""

    mask: Bool


class ClassicSession:
    """Keeps all strokes so far (newest wins) and asks the method anew every round."""

    def __init__(self, method: Method, volume: CTVolume) -> None:
        self._method, self._volume = method, volume
        self._foreground, self._background = np.zeros(volume.shape, bool), np.zeros(volume.shape, bool)

    def refine(self, scribbles: Scribbles) -> ClassicResult:
        """One round."""
        self._foreground, self._background = add_strokes(
            self._foreground, self._background, scribbles.foreground, scribbles.background
        )
        return ClassicResult(self._method(self._volume, self._foreground, self._background))


@dataclass(frozen=True)
class ClassicPredictor:
    """Opens sessions with one of baselines.METHODS."""

    method: Method
    proposes = False  # nothing is found without a stroke

    def open(self, volume: CTVolume) -> ClassicSession:
        """A session with no strokes yet."""
        return ClassicSession(self.method, volume)
