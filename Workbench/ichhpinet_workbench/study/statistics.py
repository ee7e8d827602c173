"""Means over folds, bootstrap intervals by patient, paired tests with Bonferroni's correction. No tables."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .scores import DICE_WANTED

RESAMPLES = 5000  # as HemSeg-200's evaluation
SIGNIFICANT = 0.01  # as the paper: p < 0.01 after correction
LEAST_PAIRS = 5  # fewer cases prove nothing
Row = dict[str, Any]


@dataclass(frozen=True)
class PairedTest:
    """One method against the reference, on the cases that both have. Means are method less reference."""

    method: str
    pairs: int
    difference: float
    t_p: float
    wilcoxon_p: float
    corrected_p: float

    @property
    def is_significant(self) -> bool:
        """By the paired t test after correction."""
        return self.corrected_p < SIGNIFICANT


def at_round(rows: Sequence[Row], number: int) -> list[Row]:
    """The rows of one round. A radiologist who is satisfied earlier leaves the mask as it is, so every case has one."""
    return [row for row in rows if row["round"] == number]


def over_folds(rows: Sequence[Row], measure: str) -> tuple[float, float]:
    """Mean and standard deviation of the folds' means; nan without rows, nan sd with one fold."""
    folds: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        folds[row["fold"]].append(row[measure])
    means = [float(np.mean(values)) for values in folds.values()]
    if not means:
        return math.nan, math.nan
    return float(np.mean(means)), float(np.std(means, ddof=1)) if len(means) > 1 else math.nan


def interval(rows: Sequence[Row], measure: str, seed: int = 0) -> tuple[float, float, float]:
    """Mean over cases and its 95 % bootstrap interval; patients are drawn, with all their scans. nan without rows."""
    sums, counts = _by_patient(rows, measure)
    if not len(sums):
        return math.nan, math.nan, math.nan
    drawn = np.random.default_rng(seed).integers(0, len(sums), (RESAMPLES, len(sums)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [2.5, 97.5])
    return float(sums.sum() / counts.sum()), float(low), float(high)


def paired_tests(
    results: dict[str, Sequence[Row]], reference: str, number: int, measure: str = "dice"
) -> list[PairedTest]:
    """Every other method against the reference after a round, Bonferroni over the number of comparisons."""
    mine = {row["case"]: row[measure] for row in at_round(results[reference], number)}
    tests = []
    others = [name for name in results if name != reference and at_round(results[name], number)]
    for name in others:
        theirs = {row["case"]: row[measure] for row in at_round(results[name], number)}
        cases = sorted(mine.keys() & theirs.keys())
        first, second = np.array([theirs[c] for c in cases]), np.array([mine[c] for c in cases])
        t_p, wilcoxon_p = _p_values(first - second)
        difference = float((first - second).mean()) if cases else math.nan
        tests.append(PairedTest(name, len(cases), difference, t_p, wilcoxon_p, min(1.0, t_p * len(others))))
    return tests


def rounds_to(rows: Sequence[Row], wanted: float = DICE_WANTED) -> dict[str, int | None]:
    """Case -> the first round whose Dice is `wanted` or more; None: in none that was played."""
    first: dict[str, int | None] = {}
    for row in sorted(rows, key=lambda row: row["round"]):
        if row["round"] > 0:
            known = first.setdefault(row["case"], None)
            if known is None and row["dice"] >= wanted:
                first[row["case"]] = int(row["round"])
    return first


def agreement(rows: Sequence[Row]) -> tuple[float, float, float]:
    """Bland and Altman: bias of the volumes in ml, and the lower and upper limit of agreement (1.96 sd)."""
    errors = np.array([row["error_ml"] for row in rows])
    if len(errors) < 2:
        return (float(errors.mean()) if len(errors) else math.nan, math.nan, math.nan)
    bias, spread = float(errors.mean()), 1.96 * float(errors.std(ddof=1))
    return bias, bias - spread, bias + spread


def _by_patient(rows: Sequence[Row], measure: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum of the measure and number of scans, a patient."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if math.isfinite(row[measure]):
            values[row["patient"]].append(row[measure])
    listed = list(values.values())
    return np.array([sum(v) for v in listed], float), np.array([len(v) for v in listed], float)


def _p_values(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Of the paired t test and of Wilcoxon's; nan for too few pairs, 1 where nothing differs."""
    if len(differences) < LEAST_PAIRS:
        return math.nan, math.nan
    if not differences.any():
        return 1.0, 1.0
    spread = np.ptp(differences)
    t_p = float(stats.ttest_1samp(differences, 0.0).pvalue) if spread > 0 else 0.0
    return t_p, float(stats.wilcoxon(differences).pvalue)
