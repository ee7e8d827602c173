"""The ordered list of strokes and rounds: undo and redo are each other's inverse, whatever was done before."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ichhpinet.scribbles import Scribbles
from ICHHPINetSlicer.boxes import Boxed
from ICHHPINetSlicer.history import Bool, History, Moment, Strokes

SHAPE = (2, 3, 3)


def strokes(seed: int) -> Strokes:
    """Random strokes; 0: none."""
    labels = np.random.default_rng(seed).integers(0, 3, SHAPE) * (seed > 0)
    return Strokes.of(labels == 1, labels == 2)


moments = st.builds(lambda number, seed: Moment(number or None, strokes(seed)), st.integers(0, 3), st.integers(0, 4))
steps = st.lists(st.one_of(st.sampled_from(["undo", "redo"]), moments), max_size=30)


def played(what: list[str | Moment]) -> History:
    """A history after these steps."""
    history = History.started([], strokes(0))
    for step in what:
        if isinstance(step, Moment):
            history = history.then(step)
        else:
            history = history.undone() if step == "undo" else history.redone()
    return history


@given(steps)
def test_undo_then_redo_is_the_identity(what: list[str | Moment]) -> None:
    history = played(what)
    if history.can_undo:
        assert history.undone().redone() == history
    if history.can_redo:
        assert history.redone().undone() == history


@given(steps, moments)
def test_a_new_moment_is_the_present_one_and_undo_leads_to_the_one_before(
    what: list[str | Moment], moment: Moment
) -> None:
    before = played(what)
    after = before.then(moment)
    assert after.now == moment
    if after is not before:
        assert not after.can_redo and after.undone().now == before.now


@given(st.integers(0, 50), st.integers(0, 50))
def test_what_was_painted_since_is_what_is_left(first: int, second: int) -> None:
    used, now = strokes(first), strokes(second)
    left = now.without(used).labels()
    assert np.array_equal(left != 0, now.labels() != used.labels()) or (left[now.labels() == 0] == 0).all()
    assert np.array_equal(left[left != 0], now.labels()[left != 0])
    assert not now.without(now).labels().any()


def test_strokes_come_back_as_they_were() -> None:
    for packed in (strokes(3), strokes(0)):
        scribbles = Scribbles.from_labels(packed.labels())
        assert Strokes.of(packed.foreground, packed.background) == packed
        foreground, background = packed.foreground.whole(), packed.background.whole()
        assert np.array_equal(foreground, scribbles.foreground) and foreground.dtype == bool
        assert np.array_equal(background, scribbles.background) and packed.count == scribbles.count


def test_a_saved_line_of_rounds_can_be_undone_one_by_one() -> None:
    history = History.started([1, 3], strokes(2))
    numbers = [history.now.number]
    while history.can_undo:
        history = history.undone()
        numbers.append(history.now.number)
    assert numbers == [3, 3, 1, None]


masks = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random((3, 5, 4)) < seed % 5 / 20)


@given(masks, masks)
def test_strokes_come_out_of_their_box_as_they_were_painted(foreground: Bool, background: Bool) -> None:
    packed = Strokes.of(foreground, background)
    assert np.array_equal(packed.labels(), np.where(foreground, 1, np.where(background, 2, 0)))
    assert (packed == Strokes.none((3, 5, 4))) == (not (foreground | background).any())


@given(arrays(np.uint8, (3, 5, 4), elements=st.sampled_from([0, 0, 0, 1, 5]), fill=st.just(0)))
def test_an_array_comes_out_of_its_box_as_it_went_in(array: np.ndarray) -> None:
    boxed = Boxed.of(array)
    assert np.array_equal(boxed.whole(), array) and boxed.whole().dtype == array.dtype
    assert boxed.part.size <= array.size and bool(boxed.part.size) == bool(array.any())


small = arrays(np.uint8, (3, 5, 4), elements=st.sampled_from([0, 0, 0, 1, 5]), fill=st.just(0))


@given(small, small, small)
def test_boxed_arrays_are_summed_and_changed_as_whole_ones_are(
    one: np.ndarray, two: np.ndarray, three: np.ndarray
) -> None:
    summed = Boxed.summed(*map(Boxed.of, (one, two, three)))
    assert np.array_equal(summed.whole(), one + two + three) and summed.whole().dtype == np.uint8
    large = summed.holding(summed.part > 5)
    assert np.array_equal(large.whole(), one + two + three > 5)
    assert large.part.shape == Boxed.of(large.whole()).part.shape, "in the smallest box"


def test_only_the_box_of_the_strokes_is_kept() -> None:
    painted = np.zeros((40, 512, 512), bool)
    painted[20, 100:103, 200:240] = True
    packed = Strokes.of(painted, np.zeros_like(painted))
    assert packed.corner == (20, 100, 200) and packed.size == (1, 3, 40) and len(packed.content) < 60


PARENTS = [{1: None, 2: second, 3: third} for second in (None, 1) for third in (None, 1, 2)]


@given(steps, st.sets(st.integers(1, 3)), st.sampled_from(PARENTS))
def test_without_rounds_that_are_gone_the_strokes_stay_and_the_rest_is_in_order(
    what: list[str | Moment], numbers: set[int], parents: dict[int, int | None]
) -> None:
    before = played(what)
    after = before.only(numbers, parents)
    assert after.only(numbers, parents) is after
    line, number = [], before.now.number
    while number is not None:
        line.append(number)
        number = parents[number]
    assert after.now.number == next((one for one in line if one in numbers), None), "the nearest that it came from"
    assert all(moment.number is None or moment.number in numbers for moment in after.moments)
    assert after.now.strokes == before.now.strokes
    assert all(one != other for one, other in zip(after.moments, after.moments[1:])) or before.moments == after.moments
    if before.now.number is None or before.now.number in numbers:
        assert after.now == before.now
