"""One ordered list of strokes and rounds per volume, which undo and redo walk along. Plain values; no MRML."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ichhpinet.scribbles import Scribbles

from .boxes import Boxed

BOTH_IS_FOREGROUND = np.array([0, 1, 2, 1], np.uint8)  # by the sum of 1 for foreground and 2 for background
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Strokes:
    """Strokes not yet submitted, packed: a label map (0 nothing, 1 foreground, 2 background) in its box, deflated.

    corner, size: of the box in the volume of this shape; the smallest, so that equal strokes are equal values.
    """

    shape: tuple[int, int, int]
    corner: tuple[int, int, int]
    size: tuple[int, int, int]
    content: bytes

    @classmethod
    def of(cls, foreground: Bool | Boxed, background: Bool | Boxed) -> Strokes:
        """foreground, background: (D, H, W) bool, boxed or not; where both are painted, the background gives way."""
        kinds = ((1, Boxed.of(foreground)), (2, Boxed.of(background)))
        both = Boxed.summed(*(one.holding(one.part * np.uint8(label)) for label, one in kinds))
        return cls.boxed(both.holding(BOTH_IS_FOREGROUND[both.part]))

    @classmethod
    def boxed(cls, labels: Boxed) -> Strokes:
        """Of a label map in its smallest box."""
        depth, height, width = labels.shape
        if not labels.part.size:
            return cls.none((depth, height, width))
        (z, y, x), size = labels.corner, labels.part.shape
        content = zlib.compress(labels.part.astype(np.uint8).tobytes(), 1)
        return cls((depth, height, width), (z, y, x), size, content)

    @classmethod
    def none(cls, shape: tuple[int, int, int]) -> Strokes:
        """Nothing painted."""
        return cls(shape, (0, 0, 0), (0, 0, 0), b"")

    def labels(self) -> NDArray[np.uint8]:
        """(D, H, W) uint8."""
        return self.box().whole()

    def box(self) -> Boxed:
        """The label map, boxed."""
        return Boxed(self.shape, self.corner, self._part())

    @property
    def foreground(self) -> Boxed:
        """Of bool."""
        return self.box().holding(self._part() == 1)

    @property
    def background(self) -> Boxed:
        """Of bool."""
        return self.box().holding(self._part() == 2)

    @property
    def count(self) -> int:
        """How many strokes these are, as `Scribbles` counts them."""
        return Scribbles.from_labels(self._part()).count if self.content else 0

    def _part(self) -> NDArray[np.uint8]:
        """The label map in its box."""
        return np.frombuffer(zlib.decompress(self.content) if self.content else b"", np.uint8).reshape(self.size)

    def without(self, used: Strokes) -> Strokes:
        """What was painted since `used` was submitted: everything that is not in it as it is here."""
        if self == used:
            return Strokes.none(self.shape)
        now, before = self.labels(), used.labels()
        left = np.where(now == before, 0, now)
        return Strokes.of(left == 1, left == 2)


@dataclass(frozen=True)
class Moment:
    """What the user sees: the round that the next one starts from (None: none yet), and the strokes on top of it."""

    number: int | None
    strokes: Strokes


@dataclass(frozen=True)
class History:
    """Moments in the order in which they came about; `at` is the present one. Frozen: each step gives a new history."""

    moments: tuple[Moment, ...]
    at: int = 0

    @classmethod
    def started(cls, line: list[int], strokes: Strokes) -> History:
        """From a scene that was saved: the rounds from the first to the current one, and the strokes on top."""
        none = Strokes.none(strokes.shape)
        numbers: list[int | None] = [None, *line]
        moments = [Moment(number, none) for number in numbers]
        if strokes != none:
            moments.append(Moment(numbers[-1], strokes))
        return cls(tuple(moments), len(moments) - 1)

    @property
    def now(self) -> Moment:
        """The present moment."""
        return self.moments[self.at]

    @property
    def can_undo(self) -> bool:
        """Whether there is a moment before."""
        return self.at > 0

    @property
    def can_redo(self) -> bool:
        """Whether a moment was undone."""
        return self.at + 1 < len(self.moments)

    def then(self, moment: Moment) -> History:
        """A new moment; what was undone is no longer ahead. The same moment again changes nothing."""
        return self if moment == self.now else History((*self.moments[: self.at + 1], moment), self.at + 1)

    def only(self, numbers: Collection[int], parents: Mapping[int, int | None]) -> History:
        """Without rounds that are gone: what came on top of one stands on the nearest round that it came from.

        parents: of every round, the ones that are gone among them; a parent's number is lower. Itself: none is gone.
        """
        if all(moment.number is None or moment.number in numbers for moment in self.moments):
            return self
        left: list[Moment] = []
        at = 0
        for index, moment in enumerate(self.moments):
            number = moment.number
            while number is not None and number not in numbers:
                number = parents.get(number)
            moment = replace(moment, number=number)
            if not left or left[-1] != moment:
                left.append(moment)
            if index == self.at:
                at = len(left) - 1
        return History(tuple(left), at)

    def undone(self) -> History:
        """One step back; itself where there is none."""
        return replace(self, at=self.at - 1) if self.can_undo else self

    def redone(self) -> History:
        """One step ahead; itself where there is none."""
        return replace(self, at=self.at + 1) if self.can_redo else self
