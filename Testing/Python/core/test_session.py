"""The session's mechanics: results, refusals, proposals, progress, undo and branches, one round at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import ichhpinet as hp
from core.engine import SHAPE, QuickPredictor, background, foreground, small_ct, stroke, tiny_checkpoint, tiny_predictor
from ichhpinet.predictor import Predictor
from ichhpinet.preprocessing import working_grid
from ichhpinet.result import RoundResult, render_probability
from ichhpinet.session import Session
from ichhpinet.volume import CTVolume

# -- results -------------------------------------------------------------------------------------------------------


def test_the_package_offers_the_names_of_the_contract() -> None:
    for name in (
        "read_volume",
        "CTVolume",
        "Predictor",
        "Session",
        "Scribbles",
        "RoundResult",
        "InputError",
        "Cancelled",
    ):
        assert hasattr(hp, name)
    assert issubclass(hp.InputError, ValueError)


def test_a_result_lies_on_the_grid_of_the_ct_exactly(predictor: Predictor) -> None:
    for shape in ((5, 16, 16), (3, 17, 23), (2, 9, 40)):
        result = predictor.open(small_ct(shape)).refine(foreground((1, 4, 4), shape=shape))
        for name in ("mask", "added", "removed"):
            array = getattr(result, name)
            assert (array.shape, array.dtype) == (shape, bool), name
        for name in ("probability", "uncertainty"):
            array = getattr(result, name)
            assert (array.shape, array.dtype) == (shape, np.float32), name
            assert 0 <= array.min() and array.max() <= 1, name


def test_rounding_does_not_carry_a_probability_out_of_its_range() -> None:
    nothing = np.zeros((3, 24, 24), bool)
    grid = working_grid(small_ct(nothing.shape, (0.9, 1.7, 1.7)), 1.0, 2.5)
    certain = torch.ones(grid.shape)
    assert grid.to_native(certain).max() > 1.0  # weights that sum to 1 but for rounding
    assert render_probability(certain, grid, nothing, nothing).max() == 1.0


def test_the_arrays_of_a_result_are_read_only(session: Session) -> None:
    result = session.refine(foreground((2, 5, 5)))
    for name in ("mask", "probability", "uncertainty", "added", "removed"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(result, name)[0, 0, 0] = 1
    with pytest.raises(AttributeError):
        result.number = 7  # type: ignore[misc]


def test_the_mask_is_the_probability_from_one_half_and_its_ml_are_counted(session: Session, ct: CTVolume) -> None:
    both = hp.Scribbles(foreground=stroke((2, 5, 5)), background=stroke((2, 10, 10)))
    for strokes in (both, background((3, 10, 10))):
        result = session.refine(strokes)
        assert np.array_equal(result.mask, result.probability >= 0.5)
        assert 0 < result.mask.sum() < result.mask.size
        assert result.volume_ml == pytest.approx(result.mask.sum() * ct.voxel_ml)
        assert result.seconds >= 0


def test_added_and_removed_are_the_difference_from_the_parent(session: Session) -> None:
    first = session.refine(foreground((2, 5, 5)))
    assert np.array_equal(first.added, first.mask) and not first.removed.any()
    second = session.refine(background((2, 5, 5), (3, 9, 9)))
    assert np.array_equal(second.added, second.mask & ~first.mask)
    assert np.array_equal(second.removed, first.mask & ~second.mask)
    assert second.removed.any()
    session.undo()
    other = session.refine(foreground((0, 1, 1)))
    assert other.parent == 1
    assert np.array_equal((first.mask | other.added) & ~other.removed, other.mask)


def test_a_result_holds_the_strokes_of_its_round_alone(session: Session) -> None:
    given = hp.Scribbles(stroke((2, 5, 5)), stroke((1, 1, 1)))
    assert np.array_equal(session.refine(given).scribbles.labels(), given.labels())
    later = session.refine(background((4, 2, 2)))
    assert np.array_equal(later.scribbles.labels(), background((4, 2, 2)).labels())


def test_uncertainty_is_zero_where_the_user_has_painted_in_any_round(session: Session) -> None:
    session.refine(foreground((2, 5, 5)))
    result = session.refine(background((3, 10, 10)))
    assert result.uncertainty[2, 5, 5] == 0 and result.uncertainty[3, 10, 10] == 0
    assert result.uncertainty.max() > 0


def test_a_result_says_its_number_ml_and_seconds(session: Session) -> None:
    result = session.refine(foreground((2, 5, 5)))
    assert repr(result).startswith("RoundResult(1, ") and "ml" in repr(result)
    assert result.corrected_slices == (2,)
    assert result.nbytes > 0


def test_a_session_passes_on_the_notes_of_its_volume(predictor: Predictor) -> None:
    volume = CTVolume.from_array(small_ct().hu, (5, 2, 2), notes=("straightened",))
    assert predictor.open(volume).notes == ("straightened",)


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strokes", "said"),
    [
        (lambda: hp.Scribbles(np.zeros(SHAPE, bool)), "there are no strokes"),
        (lambda: hp.Scribbles(np.ones((4, 16, 16), bool)), r"grid of \(4, 16, 16\); the volume is \(5, 16, 16\)"),
        (lambda: np.ones(SHAPE, bool), "they must be Scribbles"),
        (lambda: None, "they must be Scribbles"),
        (lambda: hp.Scribbles(stroke((1, 1, 1)), stroke((1, 1, 1))), "painted foreground and background"),
    ],
)
def test_strokes_that_cannot_be_used_are_refused_before_anything_is_computed(
    session: Session, monkeypatch: pytest.MonkeyPatch, strokes: Callable[[], Any], said: str
) -> None:
    def refuse(*_: Any) -> Any:
        raise RuntimeError("something was computed")

    monkeypatch.setattr(Predictor, "compute_round", refuse)
    with pytest.raises(hp.InputError, match=said) as caught:
        session.refine(strokes())
    assert "\n" not in str(caught.value)
    assert session.rounds == [] and session.current is None


@pytest.mark.parametrize("what", ["progress", "cancel"])
def test_what_cannot_be_called_is_refused_by_name(
    session: Session, predictor: Predictor, ct: CTVolume, what: str
) -> None:
    with pytest.raises(hp.InputError, match=f"{what} is a int; it must be callable"):
        session.refine(hp.Scribbles(stroke((1, 1, 1))), **{what: 5})  # type: ignore[arg-type]
    with pytest.raises(hp.InputError, match=f"{what} is a int; it must be callable"):
        predictor.open(ct, **{what: 5})  # type: ignore[arg-type]
    assert session.rounds == []


def test_what_is_no_path_or_no_predictor_is_refused_by_name(
    session: Session, predictor: Predictor, ct: CTVolume, tmp_path: Any
) -> None:
    for refused in (
        lambda: hp.read_volume(None),  # type: ignore[arg-type]
        lambda: hp.Predictor.load(5),  # type: ignore[arg-type]
        lambda: session.save(None),  # type: ignore[arg-type]
        lambda: hp.Session.restore(None, predictor, ct),  # type: ignore[arg-type]
        lambda: hp.write_volume(5, ct),  # type: ignore[arg-type]
    ):
        with pytest.raises(hp.InputError, match="it must be a path"):
            refused()
    session.save(tmp_path / "session.hps")
    with pytest.raises(hp.InputError, match="the predictor is a NoneType; it must be a Predictor"):
        hp.Session.restore(tmp_path / "session.hps", None, ct)  # type: ignore[arg-type]


def test_what_is_no_volume_is_not_opened(predictor: Predictor) -> None:
    with pytest.raises(hp.InputError, match="it must be a CTVolume"):
        predictor.open(np.zeros((3, 16, 16)))  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["cuda:77", "abacus", "", "meta", None])
def test_a_device_that_is_not_there_is_refused_by_name(device: Any) -> None:
    with pytest.raises(hp.InputError, match="this machine has cpu"):
        Predictor(tiny_checkpoint(), device)


# -- proposals -------------------------------------------------------------------------------------------------------


def test_a_proposal_is_an_ordinary_round_without_strokes(session: Session) -> None:
    result = session.propose()
    assert (result.number, result.parent, result.corrected_slices) == (1, None, ())
    assert result.scribbles.is_empty
    assert [r.number for r in session.rounds] == [1]
    assert session.refine(foreground((2, 5, 5))).parent == 1
    assert session.undo() and session.undo() and session.current is None


def test_a_proposal_is_refused_after_a_round_and_allowed_again_once_it_is_undone(session: Session) -> None:
    session.refine(foreground((2, 5, 5)))
    with pytest.raises(hp.InputError, match="this one is at round 1"):
        session.propose()
    session.undo()
    assert session.propose().number == 2


# -- progress and cancel ---------------------------------------------------------------------------------------------


def test_progress_grows_from_zero_to_one_and_says_what_is_done(predictor: Predictor, ct: CTVolume) -> None:
    reports: dict[str, list[float]] = {}

    def progress(fraction: float, what: str) -> None:
        reports.setdefault(what, []).append(fraction)

    session = predictor.open(ct, progress=progress)
    session.refine(foreground((2, 5, 5), (4, 3, 3)), progress=progress)
    assert list(reports) == ["opening the volume", "refining"]
    for fractions in reports.values():
        assert fractions == sorted(fractions)
        assert fractions[0] == 0.0 and fractions[-1] == 1.0


def test_opening_can_be_cancelled_at_every_step(predictor: Predictor, ct: CTVolume) -> None:
    steps: list[float] = []
    predictor.open(ct, progress=lambda fraction, what: steps.append(fraction))
    for last in range(len(steps)):
        asked = iter(range(len(steps)))
        with pytest.raises(hp.Cancelled):
            predictor.open(ct, cancel=lambda asked=asked, last=last: next(asked) >= last)  # type: ignore[misc]


def test_a_cancel_is_no_bad_input() -> None:
    assert not issubclass(hp.Cancelled, ValueError)


def test_every_slice_is_encoded_once_when_the_volume_is_opened_and_never_again(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    encode = predictor._network.encode
    monkeypatch.setattr(predictor._network, "encode", lambda image: encoded.append(len(image)) or encode(image))
    session = predictor.open(small_ct((19, 16, 16)))
    assert sum(encoded) == 19
    session.refine(foreground((2, 5, 5), shape=(19, 16, 16)))
    session.refine(foreground((9, 5, 5), shape=(19, 16, 16)))
    assert sum(encoded) == 19


# -- one round at a time ---------------------------------------------------------------------------------------------


def test_a_second_round_at_the_same_time_is_refused_and_does_no_harm(session: Session, tmp_path: Any) -> None:
    refused: list[str] = []
    busy = [
        lambda: session.refine(foreground((0, 1, 1))),
        lambda: session.propose(),
        lambda: session.undo(),
        lambda: session.redo(),
        lambda: session.return_to(1),
        lambda: session.save(tmp_path / "session"),
    ]

    def progress(fraction: float, what: str) -> None:
        if fraction != 0.5:
            return
        for act in busy:
            with pytest.raises(hp.InputError, match="a round is under way"):
                act()
            refused.append(what)

    result = session.refine(foreground((2, 5, 5)), progress=progress)
    assert refused and result.number == 1
    assert session.refine(foreground((0, 1, 1))).number == 2


def test_two_threads_cannot_refine_one_session_at_once(session: Session) -> None:
    inside, leave, numbers = threading.Event(), threading.Event(), []

    def wait(fraction: float, what: str) -> None:
        inside.set()
        leave.wait(30)

    def slow() -> None:
        numbers.append(session.refine(foreground((2, 5, 5)), progress=wait).number)

    thread = threading.Thread(target=slow)
    thread.start()
    try:
        assert inside.wait(30)
        with pytest.raises(hp.InputError, match="under way"):
            session.refine(foreground((0, 1, 1)))
        assert session.rounds == []  # reading goes on meanwhile
    finally:
        leave.set()
        thread.join()
    assert numbers == [1]


def test_two_sessions_of_one_predictor_do_not_see_each_other(predictor: Predictor, ct: CTVolume) -> None:
    alone, first, second = (predictor.open(volume) for volume in (ct, ct, small_ct(seed=5)))
    for strokes in (foreground((2, 5, 5)), background((3, 4, 4))):
        alone.refine(strokes)
    first.refine(foreground((2, 5, 5)))
    second.refine(foreground((1, 8, 8)))
    first.refine(background((3, 4, 4)))
    assert np.array_equal(first.rounds[-1].probability, alone.rounds[-1].probability)


# -- undo, redo, branches --------------------------------------------------------------------------------------------


def test_undo_goes_back_at_least_twenty_rounds_and_redo_all_the_way_again() -> None:
    session = QuickPredictor().open(small_ct())
    masks = [np.asarray(session.refine(foreground((i % 5, i % 16, 3))).mask) for i in range(25)]
    for done in range(25, 0, -1):
        assert np.array_equal(session.rounds[-1].mask, masks[done - 1])
        assert session.undo() is True
        assert len(session.rounds) == done - 1
    assert session.undo() is False and session.current is None
    for done in range(25):
        assert session.redo() is True
        assert np.array_equal(session.rounds[-1].mask, masks[done])
    assert session.redo() is False


def test_refining_after_an_undo_starts_a_branch_and_the_round_left_behind_can_be_returned_to(session: Session) -> None:
    session.refine(foreground((2, 5, 5)))
    left = session.refine(foreground((3, 6, 6)))
    session.undo()
    branch = session.refine(background((3, 6, 6)))
    assert (branch.number, branch.parent) == (3, 1)
    assert session.redo() is False
    assert [r.number for r in session.rounds] == [1, 3]
    session.return_to(2)
    assert [r.number for r in session.rounds] == [1, 2]
    assert np.array_equal(session.rounds[-1].mask, left.mask)
    assert session.undo() and [r.number for r in session.rounds] == [1, 3]
    assert [r.number for r in session.all_rounds] == [1, 2, 3]


def test_a_branch_knows_nothing_of_the_rounds_it_left(predictor: Predictor, ct: CTVolume) -> None:
    straight, branched = predictor.open(ct), predictor.open(ct)
    straight.refine(foreground((2, 5, 5)))
    branched.refine(foreground((2, 5, 5)))
    branched.refine(background((2, 6, 6), (4, 1, 1)))
    branched.undo()
    last = [s.refine(foreground((0, 9, 9))) for s in (straight, branched)]
    assert (last[0].number, last[1].number) == (2, 3)
    assert np.array_equal(last[0].probability, last[1].probability)
    assert last[0].corrected_slices == last[1].corrected_slices


@pytest.mark.parametrize("number", [0, 2, -1, "1", None, [1], True, 1.0])
def test_returning_to_a_round_that_is_not_there_is_refused(session: Session, number: Any) -> None:
    session.refine(foreground((2, 5, 5)))
    with pytest.raises(hp.InputError, match="the rounds are 1"):
        session.return_to(number)
    assert [r.number for r in session.rounds] == [1]


class Undoing(RuleBasedStateMachine):
    """Any order of refine, propose, failure, undo, redo and return_to, against a list of what should be there."""

    predictor = QuickPredictor()
    volume = small_ct((2, 8, 8))

    def __init__(self) -> None:
        super().__init__()
        self.session = self.predictor.open(self.volume)
        self.known: dict[int, tuple[int | None, bytes]] = {}
        self.current: int | None = None
        self.past: list[int | None] = []
        self.future: list[int | None] = []

    def committed(self, result: RoundResult) -> None:
        """A new round, from the current one; its number was never used."""
        assert result.number == len(self.known) + 1
        assert result.parent == self.current
        self.known[result.number] = (self.current, result.probability.tobytes())
        self.past, self.future, self.current = [*self.past, self.current], [], result.number

    @rule(z=st.integers(0, 1), y=st.integers(0, 7), inside=st.booleans())
    def refine(self, z: int, y: int, inside: bool) -> None:
        make = foreground if inside else background
        self.committed(self.session.refine(make((z, y, 3), shape=(2, 8, 8))))

    @rule()
    def propose(self) -> None:
        if self.current is None:
            self.committed(self.session.propose())
            return
        with pytest.raises(hp.InputError):
            self.session.propose()

    @rule()
    def fail(self) -> None:
        self.predictor.fails = True
        try:
            with pytest.raises(MemoryError):
                self.session.refine(foreground((0, 0, 0), shape=(2, 8, 8)))
        finally:
            self.predictor.fails = False

    @rule()
    def undo(self) -> None:
        assert self.session.undo() is bool(self.past)
        if self.past:
            self.future, self.current, self.past = [*self.future, self.current], self.past[-1], self.past[:-1]

    @rule()
    def redo(self) -> None:
        assert self.session.redo() is bool(self.future)
        if self.future:
            self.past, self.current, self.future = [*self.past, self.current], self.future[-1], self.future[:-1]

    @rule()
    def undo_then_redo(self) -> None:
        before = [r.number for r in self.session.rounds]
        if self.session.undo():
            assert self.session.redo()
        assert [r.number for r in self.session.rounds] == before

    @precondition(lambda self: self.known)
    @rule(choice=st.integers(0, 99))
    def return_to(self, choice: int) -> None:
        number = 1 + choice % len(self.known)
        self.session.return_to(number)
        if number != self.current:
            self.past, self.future, self.current = [*self.past, self.current], [], number

    @invariant()
    def every_round_is_as_it_was_and_the_line_leads_to_the_current_one(self) -> None:
        line = []
        number = self.current
        while number is not None:
            line.append(number)
            number = self.known[number][0]
        assert [r.number for r in self.session.rounds] == line[::-1]
        assert [r.number for r in self.session.all_rounds] == sorted(self.known)
        now = self.session.current
        assert (None if now is None else now.number) == self.current
        if now is not None:
            assert now.probability.tobytes() == self.known[now.number][1]


Undoing.TestCase.settings = settings(max_examples=12, stateful_step_count=30)
TestUndoing = Undoing.TestCase


def test_threads_are_not_changed_by_a_round(session: Session) -> None:
    before = torch.get_num_threads()
    session.refine(foreground((2, 5, 5)))
    assert torch.get_num_threads() == before


def test_switches_come_from_the_weights_own_configuration(ct: CTVolume) -> None:
    for switch in ({"volume_only": True}, {"slice_only": True}, {"use_memory": False}, {"use_affinity": False}):
        session = tiny_predictor(**switch).open(ct)
        assert session.propose().probability.shape == SHAPE
        result = session.refine(foreground((2, 5, 5)))
        assert result.mask[2, 5, 5] and result.uncertainty.max() <= 1
