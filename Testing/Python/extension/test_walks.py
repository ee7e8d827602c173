"""Any walk through strokes, rounds, undo, redo and coming back, beside a list that remembers and the core's session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from extension.scenes import SHAPE, DirectWorker, add_volume, new_scene, wait
from ichhpinet.errors import InputError
from ichhpinet.predictor import Predictor
from ichhpinet.scribbles import Scribbles
from ICHHPINetSlicer import rounds
from ICHHPINetSlicer.logic import ICHHPINetLogic
from ICHHPINetSlicer.nodes import BACKGROUND_ID, FOREGROUND_ID, segment_mask, set_segment, volume_from_node

SEGMENTS = {1: FOREGROUND_ID, 2: BACKGROUND_ID}
places = st.tuples(*(st.integers(0, count - 3) for count in SHAPE))
Labels = Any  # (D, H, W) uint8: what is painted, 1 foreground, 2 background


class Walk(RuleBasedStateMachine):
    """moments: (round, what is painted), as a user would remember them; at: the present one."""

    weights: Path

    def __init__(self) -> None:
        super().__init__()
        self.scene = new_scene()
        self.volume = add_volume(self.scene)
        self.logic = ICHHPINetLogic(self.scene, DirectWorker(self.weights))
        self.logic.strokes_node(self.volume)
        self.core = Predictor.load(self.weights, "cpu").open(volume_from_node(self.volume))
        self.moments: list[tuple[int | None, Labels]] = [(None, np.zeros(SHAPE, np.uint8))]
        self.at = 0
        self.parents: dict[int, int | None] = {}

    def teardown(self) -> None:
        self.logic.close()

    @property
    def number(self) -> int | None:
        return self.moments[self.at][0]

    @property
    def painted(self) -> Labels:
        return self.moments[self.at][1]

    def then(self, number: int | None, painted: Labels) -> None:
        if number != self.number or not np.array_equal(painted, self.painted):
            self.moments = [*self.moments[: self.at + 1], (number, painted)]
            self.at += 1

    @rule(place=places, label=st.sampled_from((0, 1, 2)))
    def a_stroke(self, place: tuple[int, int, int], label: int) -> None:
        """As the editor paints: what is painted anew, or erased (0), is nothing else any more."""
        z, y, x = place
        painted = self.painted.copy()
        painted[z : z + 2, y : y + 2, x : x + 3] = label
        node = self.logic.strokes_node(self.volume)
        for value, name in SEGMENTS.items():
            set_segment(node, name, painted == value, self.volume, name, (1, 1, 0))
        assert self.logic.strokes_changed(self.volume) is not np.array_equal(painted, self.painted)
        self.then(self.number, painted)

    @precondition(lambda self: self.painted.any())
    @rule(cancelled=st.booleans())
    def a_round(self, cancelled: bool) -> None:
        self.asked(lambda *calls: self.logic.refine(self.volume, *calls), self.painted, cancelled)

    @precondition(lambda self: self.number is None)
    @rule()
    def a_proposal(self) -> None:
        self.asked(lambda *calls: self.logic.propose(self.volume, *calls), None, False)

    def asked(self, ask: Any, used: Labels | None, cancelled: bool) -> None:
        made: list[Any] = []
        failed: list[str] = []
        ask(made.append, lambda kind, _: failed.append(kind))
        if cancelled:
            self.logic.cancel()
        wait(self.logic)
        if cancelled:
            assert failed == ["cancelled"] and not made
            return
        assert not failed
        parent, number = self.number, made[0].number
        self.to_core(parent)
        core = self.core.propose() if used is None else self.core.refine(Scribbles.from_labels(used))
        assert core.number == number and core.parent == parent == made[0].parent
        assert np.array_equal(rounds.round_mask(made[0], self.volume), core.mask)
        self.parents[number] = parent
        self.then(number, np.zeros(SHAPE, np.uint8))
        if used is None:
            self.then(number, self.moments[self.at - 1][1])  # what was painted before a proposal is still there

    def to_core(self, number: int | None) -> None:
        if number is not None:
            self.core.return_to(number)
        while number is None and self.core.current is not None:
            self.core.undo()

    @rule()
    def an_undo(self) -> None:
        assert self.logic.undo(self.volume) is (self.at > 0)
        self.at = max(0, self.at - 1)

    @rule()
    def a_redo(self) -> None:
        assert self.logic.redo(self.volume) is (self.at + 1 < len(self.moments))
        self.at = min(len(self.moments) - 1, self.at + 1)

    @precondition(lambda self: self.parents)
    @rule(data=st.data())
    def a_return(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.parents)))
        self.logic.return_to(self.volume, number)
        self.then(number, self.painted)

    @rule(number=st.integers(40, 50))
    def what_is_not_there(self, number: int) -> None:
        with pytest.raises(InputError, match=f"no round {number}"):
            self.logic.return_to(self.volume, number)
        if not self.painted.any():
            with pytest.raises(InputError, match="no strokes"):
                self.logic.refine(self.volume, print, print)

    @rule()
    def coming_back(self) -> None:
        """Another logic on the same scene, as when it was saved: the line of rounds and the strokes are there."""
        self.logic.close()
        self.logic = ICHHPINetLogic(self.scene, DirectWorker(self.weights))
        line: list[int | None] = [None]
        number = self.number
        while number is not None:
            line.insert(1, number)
            number = self.parents[number]
        painted, nothing = self.painted, np.zeros(SHAPE, np.uint8)
        self.moments, self.at = [(one, nothing) for one in line], len(line) - 1
        self.then(line[-1], painted)

    @invariant()
    def the_scene_is_as_remembered(self) -> None:
        node = self.logic.strokes_node(self.volume)
        for value, name in SEGMENTS.items():
            assert np.array_equal(segment_mask(node, name, self.volume), self.painted == value)
        current = self.logic.current(self.volume)
        assert (None if current is None else current.number) == self.number == rounds.shown_round(self.volume)
        assert self.logic.has_strokes(self.volume) == bool(self.painted.any())
        assert self.logic.can_undo(self.volume) == (self.at > 0)
        assert self.logic.can_redo(self.volume) == (self.at + 1 < len(self.moments))
        table = self.logic.table(self.volume)
        assert {row.number: rounds.rounds_of(self.volume)[row.number].parent for row in table} == self.parents
        assert [row.number for row in table if row.current] == [n for n in [self.number] if n is not None]


def test_any_walk_leaves_the_scene_as_a_user_remembers_it(weights: Path) -> None:
    Walk.weights = weights
    Walk.TestCase.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
    Walk.TestCase("runTest").runTest()
