"""A network without one of its parts: taken out of trained weights, nothing is trained.

Whoever is trained without a part learns to do without it: that is `ichhpinet experiment ablation`. Here both small
heads and the rules of `decision` and `corrections` are taken out as they were put in, after training; for the others,
what is lost is the most that the part can bring.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from ichhpinet.checkpoint import Checkpoint
from ichhpinet.corrections import Correction
from ichhpinet.decision import lean
from ichhpinet.predictor import Predictor, RoundArrays

from .names import PARTS, WHOLE


class Reduced(Predictor):
    """The network without one part. part: of PARTS."""

    def __init__(self, checkpoint: Checkpoint, device: str = "auto", part: str = WHOLE) -> None:
        super().__init__(checkpoint, device)
        self._part = part
        self._network.config = replace(self._network.config, **PARTS[part].switches)
        if part == "head":
            self._network.boundary = None
        if part == "correction":
            self._network.correction = None

    def heed(self, arrays: RoundArrays, *rest: Any) -> RoundArrays:
        """As the predictor's, where that is not what is taken out."""
        return arrays if self._part == "heed" else super().heed(arrays, *rest)

    def _elsewhere(self, probability: Tensor, given: Correction) -> Tensor:
        return probability if self._part == "elsewhere" else super()._elsewhere(probability, given)

    def _line(self, logits: Tensor, boldness: float) -> float:
        leaning = 0.0 if self._part == "lean" else lean(logits)
        return leaning + (0.0 if self._part == "boldness" else boldness)
