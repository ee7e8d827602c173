"""What a proposal paints for itself, and the second look from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import ichhpinet as hp
from core.engine import QuickPredictor, small_ct
from ichhpinet.networks import Memory
from ichhpinet.predictor import RoundArrays
from ichhpinet.proposal import DOT_VOXELS, FEWEST_VOXELS, MOST_DOTS, SEEN, dots

GRID = (4, 16, 16)


def seen(*places: tuple[int, slice, slice, float]) -> Tensor:
    """A probability with blocks in it: slice, rows, columns, how likely."""
    probability = torch.full(GRID, 0.01)
    for index, rows, columns, likely in places:
        probability[index, rows, columns] = likely
    return probability


def test_each_place_gets_a_dot_on_the_slice_that_shows_most_of_it() -> None:
    large, small = slice(1, 7), slice(10, 12)
    probability = seen((1, large, large, 0.6), (2, large, large, 0.9), (0, small, small, 0.7))
    probability[2, 3:6, 3:6] = 0.95
    painted = dots(probability)
    assert painted.dtype == torch.bool and painted.shape == GRID
    assert not painted[1].any() and not painted[3].any()
    assert DOT_VOXELS <= int(painted[2].sum()) and painted[2, 3:6, 3:6].all()
    assert int(painted[0].sum()) == 4


def test_nothing_seen_is_no_dot_and_a_faint_place_is_one() -> None:
    block = slice(4, 8)
    assert not dots(seen((1, block, block, SEEN - 0.01))).any()
    assert dots(seen((1, block, block, SEEN + 0.01))).any()
    assert not dots(torch.zeros(GRID)).any()


def test_specks_get_none() -> None:
    assert not dots(seen((1, slice(4, 5), slice(4, 4 + FEWEST_VOXELS - 1), 0.9))).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_dots_lie_where_blood_is_likely_and_are_few(seed: int) -> None:
    probability = torch.rand(GRID, generator=torch.Generator().manual_seed(seed % 2**31)) ** 4
    painted = dots(probability)
    if painted.any():
        assert float(probability[painted].min()) >= min(0.5, float(probability.max()) / 2)
        assert int(painted.flatten(1).any(1).sum()) <= MOST_DOTS


class Seer(QuickPredictor):
    """Says a block of blood: faintly without strokes, surely with. Keeps what it was asked."""

    def __init__(self, likely: float) -> None:
        super().__init__()
        self.likely = likely
        self.asked: list[Tensor] = []

    def compute_round(
        self,
        encoded: Any,
        previous: Any,
        painted: Any,
        touched: Any,
        memory: Memory,
        tick: Any,
        boldness: float = 0.0,
    ) -> RoundArrays:
        """The block."""
        self.asked.append(painted.clone())
        tick(0.0)
        tick(1.0)
        probability = torch.zeros(encoded.grid.shape)
        probability[2, 4:9, 4:9] = 0.9 if painted.any() else self.likely
        corrected = memory.corrected | touched[None]
        return RoundArrays(probability, None, Memory(corrected, probability[None]))


def test_where_blood_is_seen_a_proposal_looks_again_with_a_dot_there() -> None:
    predictor, progress = Seer(0.3), list[float]()
    session = predictor.open(small_ct())
    result = session.propose(progress=lambda fraction, _: progress.append(fraction))
    first, second = predictor.asked
    assert not first.any() and second[0, 2, 4:9, 4:9].any() and not second[1].any()
    assert result.mask.any() and float(np.asarray(result.probability).max()) > 0.8
    assert result.scribbles.is_empty and result.corrected_slices == ()  # nobody has painted anything
    assert progress == sorted(progress) and progress[-1] == 1.0


def test_where_nothing_is_seen_it_does_not() -> None:
    predictor = Seer(0.1)
    assert not predictor.open(small_ct()).propose().mask.any()
    assert len(predictor.asked) == 1


def test_a_proposal_cancelled_at_its_second_look_leaves_nothing() -> None:
    predictor = Seer(0.3)
    session = predictor.open(small_ct())
    with pytest.raises(hp.Cancelled):
        session.propose(cancel=lambda: len(predictor.asked) == 2)
    assert session.current is None and len(predictor.asked) == 2
