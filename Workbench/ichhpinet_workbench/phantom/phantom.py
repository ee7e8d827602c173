"""What the generator hands back: a head CT, its haemorrhage and how it was made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

# A kind's label is its place in this tuple plus one.
KINDS = ("IPH", "IVH", "SAH", "SDH", "EDH")


@dataclass(frozen=True)
class Phantom:
    """hu: (D, H, W) float32. labels: (D, H, W) uint8, 0 none, 1 IPH 2 IVH 3 SAH 4 SDH 5 EDH. spacing (z, y, x) mm."""

    hu: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """(D, H, W) bool: haemorrhage of any kind."""
        return self.labels > 0

    @property
    def volume_ml(self) -> float:
        """Labelled haemorrhage in ml."""
        z, y, x = self.spacing_mm
        return float(self.mask.sum() * z * y * x / 1000.0)
