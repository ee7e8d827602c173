"""The measures with their rules for empty masks, and the statistics against computations by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ichhpinet_workbench.study.scores import diagonal_mm, scores
from ichhpinet_workbench.study.statistics import (
    agreement,
    bonferroni,
    interval,
    over_folds,
    paired_tests,
    rounds_to,
)

SPACING = (5.0, 1.0, 2.0)


def block(z: slice = slice(2, 4), y: slice = slice(4, 8), x: slice = slice(4, 8)) -> np.ndarray:
    mask = np.zeros((6, 12, 12), bool)
    mask[z, y, x] = True
    return mask


def row(case: str, dice: float, fold: int = 0, number: int = 1, **more: Any) -> dict[str, Any]:
    return {"case": case, "patient": case, "fold": fold, "round": number, "dice": dice, "error_ml": 0.0} | more


# -- scores ------------------------------------------------------------------------------------------------------------


def test_a_shifted_mask_is_measured_in_mm_on_surfaces() -> None:
    found = scores(block(x=slice(5, 9)), block(), SPACING)
    assert found["dice"] == pytest.approx(0.75) and found["jaccard"] == pytest.approx(0.6)
    assert found["hausdorff_mm"] == pytest.approx(2.0) and found["hd95_mm"] <= 2.0
    assert found["mae"] == pytest.approx(2 * 8 / (6 * 12 * 12))
    assert found["error_ml"] == 0.0 and found["truth_ml"] == pytest.approx(32 * 10 / 1000)


def test_two_empty_masks_are_alike() -> None:
    found = scores(block() & False, block() & False, SPACING)
    assert (found["dice"], found["jaccard"], found["hausdorff_mm"], found["hd95_mm"], found["mae"]) == (1, 1, 0, 0, 0)


@pytest.mark.parametrize("turned", [False, True])
def test_one_empty_mask_is_as_far_as_the_volume_is_long(turned: bool) -> None:
    pair = (block(), block() & False) if turned else (block() & False, block())
    found = scores(*pair, SPACING)
    assert found["dice"] == found["jaccard"] == 0.0
    assert found["hausdorff_mm"] == found["hd95_mm"] == pytest.approx(math.hypot(30, 12, 24))
    assert diagonal_mm((6, 12, 12), SPACING) == found["hd95_mm"]
    assert math.copysign(1, found["error_ml"]) == (1 if turned else -1)


# -- statistics --------------------------------------------------------------------------------------------------------


def test_means_over_folds_weigh_folds_alike_whatever_their_size() -> None:
    rows = [row("a", 0.5), row("b", 0.7), row("c", 0.9, fold=1)]
    mean, spread = over_folds(rows, "dice")
    assert mean == pytest.approx(0.75) and spread == pytest.approx(np.std([0.6, 0.9], ddof=1))
    assert math.isnan(over_folds(rows[:2], "dice")[1]) and math.isnan(over_folds([], "dice")[0])


def test_the_interval_holds_the_mean_repeats_and_draws_patients_not_scans() -> None:
    rng = np.random.default_rng(0)
    rows = [row(f"c{n}", float(v)) for n, v in enumerate(rng.normal(0.7, 0.1, 60))]
    mean, low, high = interval(rows, "dice")
    assert low < mean < high and interval(rows, "dice") == (mean, low, high)
    expected = 1.96 * np.std([r["dice"] for r in rows]) / math.sqrt(60)
    assert (high - low) / 2 == pytest.approx(expected, rel=0.15)
    twice = [r | {"case": r["case"] + suffix} for r in rows for suffix in "xy"]  # the same patients, each twice
    assert interval(twice, "dice")[2] - interval(twice, "dice")[1] == pytest.approx(high - low, rel=0.1)
    assert interval([*twice[7:], *twice[:7]], "dice") == interval(twice, "dice"), "whichever case was judged first"
    assert math.isnan(interval([], "dice")[0])


def test_paired_tests_are_those_of_scipy_with_bonferroni() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(0.8, 0.05, 20), rng.normal(0.7, 0.05, 20)
    results = {
        "ours": [row(f"c{n}", float(v)) for n, v in enumerate(ours)],
        "a": [row(f"c{n}", float(v)) for n, v in enumerate(theirs)],
        "b": [row(f"c{n}", float(v)) for n, v in enumerate(ours)],
    }
    first, second = paired_tests(results, "ours", 1)
    assert first.t_p == pytest.approx(stats.ttest_rel(theirs, ours).pvalue)
    assert first.corrected_p == pytest.approx(2 * first.t_p) and first.is_significant
    assert first.difference == pytest.approx(float((theirs - ours).mean())) and first.pairs == 20
    assert second.corrected_p == 1.0 and not second.is_significant


def test_only_cases_that_both_have_are_compared_and_few_prove_nothing() -> None:
    results = {"ours": [row("a", 0.5), row("b", 0.6)], "x": [row("b", 0.1), row("z", 0.1)]}
    (test,) = paired_tests(results, "ours", 1)
    assert test.pairs == 1 and math.isnan(test.t_p) and math.isnan(test.corrected_p) and not test.is_significant


def test_a_patients_scans_count_once_in_a_test_by_their_mean() -> None:
    rng = np.random.default_rng(2)
    ours = [row(f"c{n}", float(v)) for n, v in enumerate(rng.normal(0.8, 0.05, 12))]
    theirs = [row(f"c{n}", float(v)) for n, v in enumerate(rng.normal(0.78, 0.05, 12))]
    (once,) = paired_tests({"ours": ours, "x": theirs}, "ours", 1)
    four = [[r | {"case": r["case"] + suffix} for r in rows for suffix in "abcd"] for rows in (ours, theirs)]
    (again,) = paired_tests({"ours": four[0], "x": four[1]}, "ours", 1)
    assert again.pairs == once.pairs == 12
    assert (again.t_p, again.wilcoxon_p) == pytest.approx((once.t_p, once.wilcoxon_p))
    assert bonferroni(0.3, 4) == 1.0 and math.isnan(bonferroni(math.nan, 4))


def test_rounds_to_a_dice_count_the_first_and_never_is_none() -> None:
    rows = [row("a", d, number=n) for n, d in enumerate((0.2, 0.92, 0.89), 1)] + [row("b", 0.5)] + [row("a", 1, 0, 0)]
    assert rounds_to(rows) == {"a": 2, "b": None}


def test_limits_of_agreement_are_bland_and_altmans() -> None:
    errors = [1.0, -1.0, 3.0, 1.0]
    bias, low, high = agreement([row(str(n), 1, error_ml=e) for n, e in enumerate(errors)])
    assert bias == 1.0 and high - low == pytest.approx(2 * 1.96 * np.std(errors, ddof=1))
    assert math.isnan(agreement([row("a", 1)])[1])
