"""How a CT's array axes lie in the patient. NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Orientation:
    """How the array's axes are permuted and flipped so that they run feet-head, front-back, right-left.

    `order[i]` is the array axis that becomes working axis i; `flips[i]` says that it is then reversed.
    """

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @classmethod
    def from_direction(cls, direction: NDArray[Any]) -> Orientation:
        """`direction`: 3x3, columns are the LPS unit vectors of the x (W), y (H), z (D) index axes."""
        # cosines[i, a]: how far array axis a (D, H, W) runs along working axis i (S, P, L).
        cosines = np.asarray(direction, dtype=float)[::-1, ::-1]
        best = max(
            ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)),
            key=lambda order: sum(abs(cosines[i, order[i]]) for i in range(3)),
        )
        return cls(best, tuple(bool(cosines[i, best[i]] < 0) for i in range(3)))  # type: ignore[arg-type]

    @property
    def slice_axis(self) -> int:
        """The array axis nearest head-feet: the one that the engine calls slices."""
        return self.order[0]

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """(D, H, W) in file order -> a view in working order."""
        turned = array.transpose(self.order)
        return turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)]

    def undo(self, array: NDArray[Any]) -> NDArray[Any]:
        """The inverse of `apply`, also a view."""
        turned = array[tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)]
        return turned.transpose(tuple(int(i) for i in np.argsort(self.order)))
