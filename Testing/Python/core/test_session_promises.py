"""The contract's promises: strokes obeyed for ever, rounds whole or not at all, the same result again, any CT."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import ichhpinet as hp
from core.engine import QuickPredictor, background, foreground, small_ct, stroke, tiny_checkpoint
from ichhpinet import session as session_module
from ichhpinet.orientation import Orientation
from ichhpinet.predictor import Predictor
from ichhpinet.session import Session
from ichhpinet.sessionfile import SavedSession, read_session
from ichhpinet.volume import CTVolume


def obeyed(mask: NDArray[np.bool_], so_far: NDArray[np.uint8]) -> bool:
    """Every voxel painted 1 is inside, every voxel painted 2 is outside."""
    return bool(mask[so_far == 1].all() and not mask[so_far == 2].any())


def random_strokes(shape: tuple[int, int, int], rng: np.random.Generator) -> hp.Scribbles:
    """A few blobs of either kind, anywhere, in any plane, some of them over older ones."""
    labels = np.zeros(shape, np.uint8)
    for kind in (1, 2, 1, 2)[: rng.integers(1, 5)]:
        low = [int(rng.integers(n)) for n in shape]
        size = rng.integers(1, 8, 3)
        size[rng.integers(3)] = 1
        labels[tuple(slice(a, a + s) for a, s in zip(low, size))] = kind
    return hp.Scribbles.from_labels(labels)


CTS = {
    "thick": small_ct(),
    "three slices": small_ct((3, 17, 13), (6.0, 2.3, 1.7)),
    "thin, merged": small_ct((17, 16, 16), (0.6, 2.0, 2.0)),
    "pixels far below the working ones": small_ct((4, 40, 37), (5.0, 0.3, 0.3)),
    "coronal": small_ct((16, 5, 16), (2.0, 5.0, 2.0), np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])),
}


# -- strokes are obeyed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CTS)
def test_a_painted_voxel_obeys_in_every_later_round_until_it_is_painted_otherwise(
    predictor: Predictor, name: str
) -> None:
    rng = np.random.default_rng(len(name))
    session, so_far = predictor.open(CTS[name]), np.zeros(CTS[name].shape, np.uint8)
    for _ in range(6):
        strokes = random_strokes(CTS[name].shape, rng)
        so_far[strokes.foreground], so_far[strokes.background] = 1, 2  # the newest wins
        result = session.refine(strokes)
        assert obeyed(result.mask, so_far)
        assert np.array_equal(result.mask, result.probability >= 0.5)


def test_strokes_are_obeyed_outside_of_the_head_too(predictor: Predictor) -> None:
    hu = np.full((3, 60, 60), -1000.0)
    hu[:, 24:40, 24:40] = 35.0
    session = predictor.open(CTVolume.from_array(hu, (5, 2, 2)))
    shape = hu.shape
    assert session.refine(foreground((1, 1, 1), shape=shape)).mask[1, 1, 1]  # far from the working grid
    result = session.refine(hp.Scribbles(stroke((2, 58, 3), shape=shape), stroke((1, 30, 30), shape=shape)))
    assert result.mask[1, 1, 1] and result.mask[2, 58, 3] and not result.mask[1, 30, 30]


def test_a_stroke_undone_is_no_longer_obeyed_and_one_redone_is(session: Session) -> None:
    voxel = (2, 3, 3)
    session.refine(hp.Scribbles(None, stroke(voxel)))
    session.refine(foreground(voxel))
    session.undo()
    assert not session.rounds[-1].mask[voxel]
    session.redo()
    assert session.rounds[-1].mask[voxel]


def test_a_single_voxel_a_whole_slice_and_every_slice_can_be_painted(predictor: Predictor, ct: CTVolume) -> None:
    whole, every = np.zeros(ct.shape, bool), np.zeros(ct.shape, bool)
    whole[2], every[:, 3:5, 7] = True, True
    for painted in (stroke((0, 0, 0)), stroke((4, 15, 15)), whole, every, np.ones(ct.shape, bool)):
        session = predictor.open(ct)
        inside = session.refine(hp.Scribbles(painted))
        assert inside.mask[painted].all()
        outside = session.refine(hp.Scribbles(None, painted))
        assert not outside.mask[painted].any()
        assert outside.corrected_slices == tuple(np.flatnonzero(painted.any((1, 2))))


def test_every_slice_that_a_sagittal_stroke_crosses_is_corrected(session: Session) -> None:
    sagittal = np.zeros(session.volume.shape, bool)
    sagittal[1:4, 6, 6] = True
    assert session.refine(hp.Scribbles(sagittal)).corrected_slices == (1, 2, 3)


# -- whole or not at all ---------------------------------------------------------------------------------------------


def saved(session: Session, folder: Path) -> SavedSession:
    """All that a session is."""
    session.save(folder / "state")
    return read_session(folder / "state")


@pytest.fixture
def twice(predictor: Predictor, ct: CTVolume) -> Session:
    """Two rounds, one of them undone: there is something to redo."""
    session = predictor.open(ct)
    session.refine(foreground((2, 5, 5)))
    session.refine(background((3, 9, 9)))
    session.undo()
    return session


def nothing_changed(session: Session, before: SavedSession, folder: Path) -> None:
    assert saved(session, folder) == before
    assert [r.number for r in session.rounds] == [1]
    assert session.redo() and session.undo()


def test_a_round_cancelled_at_any_step_leaves_the_session_as_it_was(twice: Session, tmp_path: Path) -> None:
    before, strokes = saved(twice, tmp_path), foreground((4, 2, 2))
    steps: list[float] = []
    twice.refine(strokes, progress=lambda fraction, what: steps.append(fraction))
    untouched = twice.rounds[-1].probability
    twice.undo()
    known = saved(twice, tmp_path)
    assert len(steps) > 10
    for last in range(len(steps)):
        asked = iter(range(len(steps)))
        with pytest.raises(hp.Cancelled):
            twice.refine(strokes, cancel=lambda asked=asked, last=last: next(asked) >= last)  # type: ignore[misc]
        assert saved(twice, tmp_path) == known
    assert np.array_equal(twice.refine(strokes).probability, untouched)
    assert before.history.states.items() <= saved(twice, tmp_path).history.states.items()


def test_a_progress_bar_that_fails_leaves_the_session_as_it_was(twice: Session, tmp_path: Path) -> None:
    before = saved(twice, tmp_path)
    for last in (0.0, 0.5, 1.0):

        def fail(fraction: float, what: str, last: float = last) -> None:
            if fraction >= last:
                raise KeyError("the window is gone")

        with pytest.raises(KeyError):
            twice.refine(foreground((4, 2, 2)), progress=fail)
        nothing_changed(twice, before, tmp_path)


@pytest.mark.parametrize("module", ["vim", "sim", "fcm", "memory_encoder", "decoder"])
@pytest.mark.parametrize("error", [MemoryError, RuntimeError("out of memory"), KeyboardInterrupt])
def test_a_failure_inside_the_network_leaves_the_session_as_it_was(
    twice: Session, predictor: Predictor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: str, error: Any
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    before = saved(twice, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(getattr(predictor._network, module), "forward", fail)
        with pytest.raises((MemoryError, RuntimeError, KeyboardInterrupt)):
            twice.refine(foreground((4, 2, 2)))
    nothing_changed(twice, before, tmp_path)
    assert twice.refine(foreground((4, 2, 2))).number == 3


@pytest.mark.parametrize("step", ["working_strokes", "render_mask", "to_bytes", "round_uncertainty", "RoundState"])
def test_a_failed_allocation_before_or_after_the_network_leaves_the_session_as_it_was(
    twice: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: str
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise MemoryError

    before = saved(twice, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(session_module, step, fail)
        with pytest.raises(MemoryError):
            twice.refine(foreground((4, 2, 2)))
    nothing_changed(twice, before, tmp_path)


def test_a_refused_round_leaves_the_session_as_it_was(twice: Session, tmp_path: Path) -> None:
    before = saved(twice, tmp_path)
    for act in (
        lambda: twice.refine(hp.Scribbles(np.zeros(twice.volume.shape, bool))),
        lambda: twice.refine(foreground((0, 0, 0), shape=(5, 16, 15))),
        lambda: twice.propose(),
        lambda: twice.return_to(99),
    ):
        with pytest.raises(hp.InputError):
            act()
        nothing_changed(twice, before, tmp_path)


# -- the same again, on any CT ---------------------------------------------------------------------------------------


def test_the_same_strokes_on_the_same_volume_give_the_same_masks(predictor: Predictor, ct: CTVolume) -> None:
    first, second = predictor.open(ct), predictor.open(small_ct())
    for strokes in (foreground((2, 5, 5)), background((3, 9, 9)), foreground((0, 1, 1), (4, 4, 4))):
        results = [session.refine(strokes) for session in (first, second)]
        assert np.array_equal(results[0].probability, results[1].probability)
        assert np.array_equal(results[0].uncertainty, results[1].uncertainty)


def test_what_torch_makes_of_numbers_elsewhere_in_the_process_changes_nothing(ct: CTVolume) -> None:
    def play() -> list[Any]:
        session = Predictor(checkpoint, "cpu").open(ct)
        session.propose()
        session.undo()
        for strokes in (foreground((2, 5, 5)), background((3, 9, 9)), foreground((0, 1, 1), (4, 4, 4))):
            session.refine(strokes)
        return [result.probability for result in session.all_rounds]

    checkpoint = tiny_checkpoint()
    wanted = play()
    torch.set_default_dtype(torch.float64)
    try:
        found = play()
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(map(np.array_equal, found, wanted))


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True), (False, True, False)])
def test_a_scan_filed_along_other_axes_gives_the_same_mask_along_them(
    predictor: Predictor, order: tuple[int, int, int], flips: tuple[bool, bool, bool]
) -> None:
    axial, spacing = small_ct((5, 16, 12)), (5.0, 2.0, 2.0)
    turned = Orientation(order, flips)
    direction = np.zeros((3, 3))
    for world, (axis, flip) in enumerate(zip(order, flips)):
        direction[2 - world, 2 - axis] = -1.0 if flip else 1.0
    filed_spacing = [spacing[order.index(axis)] for axis in range(3)]
    filed = CTVolume.from_array(turned.undo(axial.hu), filed_spacing, direction=direction)
    inside = np.zeros(axial.shape, bool)
    inside[2, 4, 4:8] = inside[1:4, 9, 9] = True
    straight, other = predictor.open(axial), predictor.open(filed)
    for _ in range(2):
        wanted = straight.refine(hp.Scribbles(inside))
        found = other.refine(hp.Scribbles(turned.undo(inside)))
        assert found.mask.shape == filed.shape
        assert np.array_equal(turned.apply(found.probability), wanted.probability)
        inside = np.roll(inside, 1, 1)
    assert any("not axial" in note for note in other.notes) is (order[0] != 0)


@pytest.mark.parametrize("depth", [2, 3, 4, 5, 17])
@pytest.mark.parametrize("thickness_mm", [0.6, 5.0])
def test_any_number_of_slices_works_thick_or_thin(predictor: Predictor, depth: int, thickness_mm: float) -> None:
    shape = (depth, 16, 16)
    session = predictor.open(small_ct(shape, (thickness_mm, 2.0, 2.0)))
    painted = stroke(*((z, 8, 8) for z in range(depth)), shape=shape)
    result = session.refine(hp.Scribbles(painted))
    assert result.mask.shape == shape and result.mask[:, 8, 8].all()
    assert any("thin" in note for note in session.notes) is (thickness_mm < 1 and depth > 3)


def test_a_round_after_many_is_computed_as_if_the_earlier_results_were_given_back_from_disk(
    predictor: Predictor, ct: CTVolume, tmp_path: Path
) -> None:
    live = predictor.open(ct)
    other = predictor.open(ct)
    for number, strokes in enumerate((foreground((2, 5, 5)), background((3, 9, 9)), foreground((0, 2, 2)))):
        wanted = live.refine(strokes)
        assert np.array_equal(other.refine(strokes).probability, wanted.probability)
        other.save(tmp_path / str(number))
        other = Session.restore(tmp_path / str(number), predictor, ct)


def test_a_kept_round_of_a_full_ct_costs_less_than_eight_mib(make: Callable[[], Any] = QuickPredictor) -> None:
    shape = (32, 512, 512)
    session = make().open(CTVolume.from_array(np.zeros(shape, np.float32), (5.0, 0.49, 0.49)))
    rng = np.random.default_rng(0)
    for _ in range(2):
        painted = np.zeros(shape, bool)
        for z in range(32):
            y, x = rng.integers(40, 400, 2)
            painted[z, y : y + 5, x : x + 70] = True
        result = session.refine(hp.Scribbles(painted))
    assert len(result.corrected_slices) == 32
    assert result.nbytes <= 8 * 1024 * 1024


def test_a_round_that_is_taken_back_has_never_been(predictor: Predictor) -> None:
    session, strokes = predictor.open(CTS["thick"]), random_strokes(CTS["thick"].shape, np.random.default_rng(1))
    first = session.refine(strokes)
    session.refine(strokes)
    session.take_back()
    assert session.current is not None and session.current.number == first.number == 1
    assert [one.number for one in session.all_rounds] == [1]
    assert session.refine(strokes).number == 2
    session.undo()
    with pytest.raises(hp.InputError, match="only the one just computed can be taken back"):
        session.take_back()


def test_what_could_be_redone_can_be_after_a_round_is_taken_back(predictor: Predictor) -> None:
    session, strokes = predictor.open(CTS["thick"]), random_strokes(CTS["thick"].shape, np.random.default_rng(1))
    session.refine(strokes)
    session.refine(strokes)
    session.undo()
    session.refine(strokes)
    session.take_back()
    assert session.current is not None and session.current.number == 1
    assert session.redo() and session.current.number == 2


def test_a_round_that_was_left_and_come_back_to_is_not_taken_back(predictor: Predictor, tmp_path: Path) -> None:
    session, strokes = predictor.open(CTS["thick"]), random_strokes(CTS["thick"].shape, np.random.default_rng(1))
    session.refine(strokes)
    session.refine(strokes)
    ways = (lambda: session.return_to(np.int64(1)), lambda: session.return_to(2)), (session.undo, session.redo)  # type: ignore[arg-type]
    for there, back in ways:
        there()
        back()
        assert session.current is not None and session.current.number == 2
        with pytest.raises(hp.InputError, match="only the one just computed"):
            session.take_back()
    session.save(tmp_path / "session")
    again = Session.restore(tmp_path / "session", predictor, CTS["thick"])
    assert [one.number for one in again.rounds] == [1, 2]
    with pytest.raises(hp.InputError, match="only the one just computed"):
        again.take_back()


def test_who_reads_meets_no_half_of_a_change(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another thread does while the rounds are read, done at every place where it could be."""
    strokes, made = random_strokes(CTS["thick"].shape, np.random.default_rng(1)), Session._result
    for read in ("rounds", "all_rounds", "current"):
        for change in (Session.take_back, Session.undo):
            session = predictor.open(CTS["thick"])
            for _ in range(2):
                session.refine(strokes)
            changes = iter([change])

            def meanwhile(self: Session, *given: Any, changes: Any = changes) -> Any:
                for change in changes:
                    change(self)
                return made(self, *given)

            monkeypatch.setattr(Session, "_result", meanwhile)
            seen = getattr(session, read)
            monkeypatch.undo()
            assert [one.number for one in seen] == [1, 2] if isinstance(seen, list) else seen.number == 2
            assert session.current is not None and session.current.number == 1
