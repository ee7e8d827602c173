"""A stand-in for the network, and small heads to try it on: everything above 50 HU near the strokes is blood."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume
from ichhpinet_workbench.regions import components
from ichhpinet_workbench.validation import Case, Loaded

SPACING = (5.0, 1.0, 1.0)


def head(seed: int = 0, contrast: float = 30.0) -> tuple[np.ndarray, np.ndarray]:
    """hu float32 and truth bool, (8, 60, 60): brain of 30 HU in bone, with one round lesion."""
    rng = np.random.default_rng(seed)
    grid = np.indices((8, 60, 60)).astype(np.float32)
    away = np.hypot(grid[1] - 29.5, grid[2] - 29.5)
    hu = np.where(away < 24, 30.0, np.where(away < 28, 900.0, -1000.0)) + rng.normal(0, 2, grid[0].shape)
    centre = (4, rng.uniform(25, 35), rng.uniform(25, 35))
    distance = np.sqrt(((grid[0] - centre[0]) * 5) ** 2 + (grid[1] - centre[1]) ** 2 + (grid[2] - centre[2]) ** 2)
    truth = distance < 9
    return (hu + contrast * truth).astype(np.float32), truth


def loaded(case: Case) -> Loaded:
    """A small head for a case; no blood if it has no kinds."""
    hu, truth = head(case.seed, 30.0 if case.kinds else 0.0)
    return Loaded(case, CTVolume.from_array(hu, SPACING), truth & bool(case.kinds))


def some_cases(count: int = 3) -> list[Case]:
    """The last one is said to be in the real CT, and one more has no blood."""
    cases = [Case(f"c{n}", "synthetic", ("IPH",), n) for n in range(count - 1)]
    return [*cases, Case("r1", "real", ("IVH",), 50), Case("n1", "synthetic", (), 60)]


class StandInSession:
    """Components above 50 HU that a foreground stroke touches; background strokes are taken out."""

    def __init__(self, volume: CTVolume) -> None:
        self._bright = (volume.hu > 50) & (volume.hu < 100)
        self._labels, _ = components(self._bright)
        self._strokes: list[Scribbles] = []

    def refine(self, scribbles: Scribbles) -> Any:
        self._strokes.append(scribbles)
        mask = np.zeros(self._bright.shape, bool)
        for stroke in self._strokes:
            mask |= np.isin(self._labels, np.setdiff1d(self._labels[stroke.foreground], [0])) | stroke.foreground
        for stroke in self._strokes:
            mask &= ~stroke.background
        return SimpleNamespace(mask=mask)

    def propose(self) -> Any:
        return SimpleNamespace(mask=self._bright)

    def undo(self) -> bool:
        self._strokes.clear()
        return True


@dataclass
class StandIn:
    """A predictor that counts what it opened."""

    opened: int = 0

    def open(self, volume: CTVolume, progress: Any = None, cancel: Any = None) -> StandInSession:
        self.opened += 1
        if progress is not None:
            progress(1.0, "opened")
        return StandInSession(volume)
