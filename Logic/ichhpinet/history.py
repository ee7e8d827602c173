"""The rounds of a session as a tree, and the way through it. Every step gives another history: none ever changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ichhpinet.memory import RoundState


@dataclass(frozen=True)
class History:
    """Rounds by number, the current one, and the current ones before and after it, for undo and redo; None: no round.

    Whoever holds a history can read it while another thread makes the next one.
    """

    states: Mapping[int, RoundState] = field(default_factory=dict)
    current: int | None = None
    past: tuple[int | None, ...] = ()
    future: tuple[int | None, ...] = ()

    @property
    def state(self) -> RoundState | None:
        """Of the current round."""
        return None if self.current is None else self.states[self.current]

    @property
    def line(self) -> list[int]:
        """The numbers from the first round to the current one."""
        numbers = []
        number = self.current
        while number is not None:
            numbers.append(number)
            number = self.states[number].parent
        return numbers[::-1]

    @property
    def next_number(self) -> int:
        """The number of the next round."""
        return max(self.states, default=0) + 1

    def with_round(self, state: RoundState) -> History:
        """After a round, which becomes the current one."""
        return replace(self.at(state.number), states={**self.states, state.number: state})

    def at(self, number: int) -> History:
        """With another current round; nothing is left to redo."""
        return replace(self, current=number, past=(*self.past, self.current), future=())

    def undone(self) -> History | None:
        """A step back; None where there is none."""
        if not self.past:
            return None
        return replace(self, current=self.past[-1], past=self.past[:-1], future=(*self.future, self.current))

    def redone(self) -> History | None:
        """A step forth again; None where there is none."""
        if not self.future:
            return None
        return replace(self, current=self.future[-1], past=(*self.past, self.current), future=self.future[:-1])
