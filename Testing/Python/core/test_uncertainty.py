"""Uncertainty: closeness to the threshold, disagreement of the two branches, nothing where the user has painted."""

from __future__ import annotations

import torch

from ichhpinet.uncertainty import round_uncertainty

NOTHING = torch.zeros(2, 1, 2, 2, dtype=torch.bool)


def of(probability: float, volume: float | None = None) -> float:
    """The uncertainty of a flat block."""
    coarse = None if volume is None else torch.full((1, 1, 1), volume)
    return float(round_uncertainty(torch.full((1, 2, 2), probability), coarse, NOTHING))


def test_certain_is_zero_and_the_threshold_is_one() -> None:
    assert [round(of(p), 5) for p in (0.0, 0.25, 0.5, 0.75, 1.0)] == [0.0, 0.5, 1.0, 0.5, 0.0]


def test_two_branches_that_disagree_are_uncertain_though_each_is_sure() -> None:
    assert round(of(1.0, 0.1), 5) == 0.9
    assert round(of(0.0, 0.0), 5) == 0.0
    assert round(of(0.5, 0.5), 5) == 1.0


def test_it_is_zero_where_a_stroke_lies_and_only_there() -> None:
    painted = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    painted[0, 0, 0, 1] = painted[1, 0, 3, 3] = True
    found = round_uncertainty(torch.full((1, 4, 4), 0.5), None, painted)
    assert found.tolist() == [[[0.0, 1.0], [1.0, 0.0]]]


def test_it_lies_in_the_unit_range_on_half_the_plane() -> None:
    rng = torch.Generator().manual_seed(0)
    probability, volume = torch.rand(3, 8, 6, generator=rng), torch.rand(3, 4, 3, generator=rng)
    found = round_uncertainty(probability, volume, torch.zeros(2, 3, 8, 6, dtype=torch.bool))
    assert found.shape == (3, 4, 3)
    assert 0 <= float(found.min()) and float(found.max()) <= 1
