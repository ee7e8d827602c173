"""What a correction leaves as it was, and the islands that it takes away."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.strokes_in_the_middle import SPACING, WIDE, around, one_stroke, uniform
from ichhpinet.corrections import Correction
from ichhpinet.elsewhere import (
    ASKED_MM,
    FADING,
    NEAR_MM,
    TOO_MUCH,
    kept_elsewhere,
    may_refuse,
    without_refused,
    without_unasked,
)


def islands(*places: tuple[int, int]) -> torch.Tensor:
    """A mask with islands at these rows and columns of the middle slice."""
    mask = torch.zeros(WIDE, dtype=torch.bool)
    for row, column in places:
        mask[4, row : row + 3, column : column + 2] = True
    return mask


OLD, NEAR, FAR = (2, 2), (33, 15), (55, 26)  # the stroke is at (30, 15)


def probable(mask: torch.Tensor) -> torch.Tensor:
    return torch.where(mask, 0.8, 0.1)


@pytest.mark.parametrize(("mm", "appears"), [(ASKED_MM - 1, True), (ASKED_MM, False)])
def test_how_far_an_island_may_lie(mm: float, appears: bool) -> None:
    new, far = one_stroke(1), torch.zeros(WIDE, dtype=torch.bool)
    far[4, 30 + int(mm), 15] = True
    made = without_unasked(probable(islands(OLD) | far), Correction(probable(islands(OLD)), new, new, SPACING))
    assert bool(made[far] >= 0.5) == appears


def test_an_island_that_nobody_asked_for_does_not_appear() -> None:
    new = one_stroke(1)
    before, now = probable(islands(OLD)), probable(islands(OLD, NEAR, FAR))
    made = without_unasked(now, Correction(before, new, new, SPACING))
    assert torch.equal(made, probable(islands(OLD, NEAR)))
    assert not around(ASKED_MM)[islands(FAR)].any() and around(ASKED_MM)[islands(NEAR)].any()


def test_what_was_in_the_mask_grows_and_what_is_painted_stays() -> None:
    new = one_stroke(0)
    painted = new.clone()
    painted[0] |= islands(FAR)
    grown = islands(OLD, (2, 4), (5, 2))
    now = probable(grown | islands(FAR))
    assert torch.equal(without_unasked(now, Correction(probable(islands(OLD)), new, painted, SPACING)), now)


def test_where_there_was_no_mask_every_island_may_appear() -> None:
    now = probable(islands(NEAR, FAR))
    assert torch.equal(without_unasked(now, Correction(uniform(0.1), one_stroke(0), one_stroke(0), SPACING)), now)


def kept(now: torch.Tensor, before: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """What is painted is the new strokes alone."""
    return kept_elsewhere(now, Correction(before, new, new, SPACING))


def rows_from(row: int) -> torch.Tensor:
    """(d, h, w) bool; the stroke is in row 30."""
    return (torch.arange(WIDE[1]) >= row)[None, :, None].expand(WIDE)


@pytest.mark.parametrize(("kind", "inside", "outside"), [(0, 0.8, 0.4), (0, 0.6, 0.9), (1, 0.2, 0.1), (1, 0.95, 0.7)])
def test_far_from_its_strokes_a_correction_changes_nothing(kind: int, inside: float, outside: float) -> None:
    edge = 31 if kind == 0 else 30  # one or two rows from the stroke, which is on the wrong side of it
    before = torch.where(rows_from(edge), 0.9, 0.1)
    now = torch.where(rows_from(edge), inside, outside)
    made = kept(now, before, one_stroke(kind))
    far = ~around(FADING[1] * (1, TOO_MUCH)[kind] * NEAR_MM + 0.1)  # a row deep
    assert torch.equal(made[far], before[far])


def test_near_a_stroke_on_what_was_missed_the_mask_grows_and_does_not_shrink() -> None:
    before = torch.where(rows_from(32), 0.9, 0.1)
    now = torch.where(rows_from(32), 0.3, 0.8)
    made, near = kept(now, before, one_stroke(0)), around(4.5)
    assert torch.equal(made[near & ~rows_from(32)], now[near & ~rows_from(32)])
    assert torch.equal(made[rows_from(32)], before[rows_from(32)])


def test_near_a_stroke_on_what_was_too_much_the_mask_shrinks_and_does_not_grow() -> None:
    before = torch.where(rows_from(29), 0.9, 0.1)
    now = torch.where(rows_from(29), 0.3, 0.8)
    made, near = kept(now, before, one_stroke(1)), around(4.5)
    assert torch.equal(made[near & rows_from(29)], now[near & rows_from(29)])
    free = ~rows_from(29)
    assert torch.equal(made[free], before[free])


@pytest.mark.parametrize("longer", ["stroke", "way"])
def test_a_longer_stroke_and_one_that_leads_away_from_the_mask_change_more(longer: str) -> None:
    before, now = torch.where(rows_from(34), 0.9, 0.1), torch.where(rows_from(34), 0.9, 0.8)
    short, long = one_stroke(0), one_stroke(0)
    if longer == "stroke":
        long[0, 4, 30, 10:21] = True  # 22 mm along the border, no further from it
    else:
        long[0, 4, 26:31, 15] = True  # 5 mm, the last of it 8 mm from the mask
    reach = [int((kept(now, before, new) != before).any((0, 2)).sum()) for new in (short, long)]
    assert reach[1] > reach[0] > 4


def test_where_no_stroke_contradicts_only_the_painted_changes() -> None:
    before, now = torch.where(rows_from(20), 0.9, 0.1), uniform(0.4)
    new = one_stroke(0)
    made = kept(now, before, new)
    assert torch.equal(made[~new[0]], before[~new[0]]) and torch.equal(made[new[0]], now[new[0]])


def test_where_there_was_no_mask_all_may_change() -> None:
    assert torch.equal(kept(uniform(0.8), uniform(0.1), one_stroke(0)), uniform(0.8))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_what_stays_lies_between_what_was_and_what_is(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    now, before = (torch.rand(5, 14, 12, generator=random) for _ in range(2))
    new = torch.rand(2, 5, 14, 12, generator=random) < 0.02
    new[1] &= ~new[0]
    made = kept_elsewhere(now, Correction(before, new, new, (4.0, 3.0, 3.0)))
    low, high = torch.minimum(now, before), torch.maximum(now, before)
    assert ((made >= low - 1e-5) & (made <= high + 1e-5)).all()
    assert torch.equal(made[new.any(0)], now[new.any(0)]), "what is painted is said by the paint"


def per_stroke(now: torch.Tensor, before: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """As `kept_elsewhere`, each stroke by itself, and its part of the change taken."""
    made = before.clone()
    for kind in (0, 1):
        wrong = Correction(before, new, new, SPACING).wrong[kind]
        for place in torch.nonzero(wrong).tolist():  # single voxels, apart from each other
            one = torch.zeros_like(new)
            one[(kind, *place)] = True
            alone = kept_elsewhere(now, Correction(before, one, new, SPACING))
            further = (alone - before).abs() > (made - before).abs()
            made[further] = alone[further]
    return torch.where(new.any(0), now, made)


def test_hundreds_of_strokes_are_what_each_is_alone() -> None:
    random = torch.Generator().manual_seed(5)
    before = torch.where(rows_from(30), 0.9, 0.1)
    now = torch.rand(WIDE, generator=random)
    new = torch.zeros(2, *WIDE, dtype=torch.bool)
    new[:, ::2, 1::4, ::3] = torch.rand(2, 5, 15, 10, generator=random) < 0.2
    new[1] &= ~new[0]
    assert torch.allclose(kept(now, before, new), per_stroke(now, before, new), atol=1e-6)


SMALL = slice(3, 6), slice(10, 17), slice(4, 8)  # 4 mm deep
ISLAND, LARGEST = (slice(3, 6), slice(10, 19), slice(18, 23)), (slice(3, 6), slice(30, 41), slice(4, 9))


def three_islands() -> torch.Tensor:
    mask = torch.zeros(WIDE, dtype=torch.bool)
    mask[SMALL] = mask[ISLAND] = mask[LARGEST] = True
    return mask


def refusing(*strokes: tuple[int, int], painted: tuple[int, int, int] | None = None) -> Correction:
    """A background stroke of these rows and columns of the middle slice; painted: foreground of an earlier round."""
    new = torch.zeros(2, *WIDE, dtype=torch.bool)
    for row, column in strokes:
        new[1, 4, row, column] = True
    everything = new.clone()
    if painted is not None:
        everything[(0, *painted)] = True
    return Correction(probable(three_islands()), new, everything, SPACING, after_strokes=False)


def removed(island: tuple[slice, ...], made: torch.Tensor) -> bool:
    """That island and no other, under the stroke too: its voxels would show beside it."""
    left = three_islands()
    left[island] = False
    return torch.equal(made >= 0.5, left)


@pytest.mark.parametrize(
    "on", [[(13, 5)], [(10, 6)], [(16, 7)], [(16, 6), (17, 6)], [(10, 4), (9, 4), (8, 4), (11, 4)]]
)
def test_a_background_stroke_on_a_small_island_removes_it(on: list[tuple[int, int]]) -> None:
    assert removed(SMALL, without_refused(probable(three_islands()), refusing(*on)))


@pytest.mark.parametrize(("island", "on"), [(ISLAND, (14, 20)), (ISLAND, (12, 20)), (LARGEST, (35, 6))])
def test_a_background_stroke_to_the_middle_of_an_island_removes_it(
    island: tuple[slice, ...], on: tuple[int, int]
) -> None:
    assert removed(island, without_refused(probable(three_islands()), refusing(on)))


def test_the_largest_of_the_mask_is_no_small_island() -> None:
    mask = torch.zeros(WIDE, dtype=torch.bool)
    mask[SMALL] = True
    given = replace(refusing((10, 6)), previous=probable(mask))
    assert torch.equal(without_refused(probable(mask), given), probable(mask))


@pytest.mark.parametrize(
    "given",
    [
        refusing((13, 5), painted=(5, 12, 5)),  # somebody said that it is blood
        refusing((20, 6)),  # beside it
        refusing((16, 6), (17, 6), (18, 6), (19, 6)),  # beside it, and slipped over its border
        refusing((10, 20)),  # larger ones are made smaller
        refusing((18, 22)),
        refusing((40, 8)),
    ],
)
def test_beside_it_on_a_larger_ones_rim_or_where_it_was_painted_a_stroke_removes_no_island(
    given: Correction,
) -> None:
    now = probable(three_islands())
    assert torch.equal(without_refused(now, given), now)


def test_what_has_grown_out_of_a_removed_island_goes_with_it() -> None:
    grown = three_islands()
    grown[2:7, 8:19, 3:10] = True
    assert removed(SMALL, without_refused(probable(grown), refusing((13, 5))))


def test_a_thin_bleed_that_is_large_is_no_small_island() -> None:
    mask = torch.zeros(WIDE, dtype=torch.bool)
    mask[2:7, 2:58, 2:5] = True  # 5 slices, 56 mm long, 6 mm thick: 4.2 ml
    mask[2:7, 2:58, 20:28] = True  # the largest
    given = refusing((2, 4), (1, 4))
    made = without_refused(probable(mask), replace(given, previous=probable(mask)))
    assert torch.equal(made, probable(mask))


def test_what_lies_outside_of_the_masks_box_is_a_part_of_the_stroke() -> None:
    mask = torch.zeros(WIDE, dtype=torch.bool)
    mask[3:6, 50:57, 4:8] = mask[3:6, 50:57, 16:24] = True
    slipped = refusing(*((row, 4) for row in range(10, 51)))
    assert torch.equal(without_refused(probable(mask), replace(slipped, previous=probable(mask))), probable(mask))


def first_round(background: tuple[int, int, int], foreground: tuple[int, int, int]) -> Correction:
    new = torch.zeros(2, *WIDE, dtype=torch.bool)
    new[(1, *background)] = new[(0, *foreground)] = True
    return Correction(torch.zeros(WIDE), new, new, SPACING)


@pytest.mark.parametrize(
    ("background", "foreground", "may"),
    [
        ((4, 14, 20), (4, 35, 6), True),  # on an island
        ((4, 22, 20), (4, 35, 6), True),  # in the room beside one, which it may have made
        ((4, 14, 20), (4, 12, 19), False),  # on one that is said to be blood
        ((4, 55, 25), (4, 35, 6), False),  # far from all
    ],
)
def test_where_an_island_may_be_refused_in_a_first_round(
    background: tuple[int, int, int], foreground: tuple[int, int, int], may: bool
) -> None:
    assert may_refuse(probable(three_islands()), first_round(background, foreground)) == may


def test_without_a_background_stroke_or_a_mask_nothing_is_refused_in_a_first_round() -> None:
    new = one_stroke(0)
    assert not may_refuse(probable(three_islands()), Correction(torch.zeros(WIDE), new, new, SPACING))
    assert not may_refuse(uniform(0.1), first_round((4, 14, 20), (4, 35, 6)))
