"""What is laid over the volume in the panel: changes and uncertainty of the round that is seen, each made only once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import overlays
from .nodes import Node
from .rounds import Round, rounds_of


class Looks:
    """Of one volume at a time: the uncertainty of one round, and what of it is laid over the slices."""

    def __init__(self) -> None:
        self._uncertainty: NDArray[np.uint8] | None = None
        self._of: tuple[str, int] | None = None  # node and number of the round that it is of
        self._refused: tuple[str, int] | None = None
        self._next = 0
        self._laid: dict[str, tuple[str, int] | None] = {}

    def known(self, one: Round | None) -> bool:
        """Whether this round's uncertainty is at hand."""
        return one is not None and self._uncertainty is not None and self._of == _key(one)

    def refused(self, one: Round) -> bool:
        """Whether it was asked for in vain: it is not asked for again by itself."""
        return self._refused == _key(one)

    def take(self, one: Round, uncertainty: NDArray[np.uint8] | None) -> None:
        """A round's uncertainty; None: it was refused."""
        self._uncertainty, self._of, self._next = uncertainty, _key(one), 0
        self._refused = _key(one) if uncertainty is None else None

    def lay(self, volume: Node, one: Round | None, changes: bool, uncertainty: bool) -> None:
        """Over the volume: the round's changes and its uncertainty, as far as they are wanted and known."""
        if not uncertainty:
            self._refused = None
        compared = one is not None and one.delta_ml(rounds_of(volume)) is not None
        self._lay(volume, one if changes and compared else None, one if uncertainty and self.known(one) else None)

    def lift(self, volume: Node) -> None:
        """Take off the volume what is laid over it, until `lay` is called."""
        self._lay(volume, None, None)

    def _lay(self, volume: Node, changed: Round | None, uncertain: Round | None) -> None:
        wanted = {
            "changes": None if changed is None else _key(changed),
            "uncertainty": None if uncertain is None else _key(uncertain),
        }
        if self._differs("changes", wanted["changes"]):
            overlays.show_changes(volume, changed)
        if self._differs("uncertainty", wanted["uncertainty"]):
            overlays.show_uncertainty(volume, None if uncertain is None else self._uncertainty)
        self._laid = wanted

    def jump(self, volume: Node) -> bool:
        """Bring the views to the most uncertain slice, then to the next most; False where none is uncertain."""
        order = overlays.uncertain_slices(self._uncertainty) if self._uncertainty is not None else []
        if not order:
            return False
        index = order[self._next % len(order)]
        self._next += 1
        overlays.jump_to(volume.GetScene(), overlays.slice_centre_ras(volume, self._uncertainty, index))
        return True

    def _differs(self, what: str, wanted: tuple[str, int] | None) -> bool:
        return what not in self._laid or self._laid[what] != wanted


def _key(one: Round) -> tuple[str, int]:
    return str(one.node.GetID()), one.number
