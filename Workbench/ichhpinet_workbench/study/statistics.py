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
LEAST_PAIRS = 5  # fewer patients prove nothing
Row = dict[str, Any]


@dataclass(frozen=True)
class PairedTest:
    """One method against the reference, on the cases that both have, a pair a patient: the mean of the patient's scans.

    difference: mean over patients, method less reference. corrected_p: of the t test, nan for too few pairs.
    """

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
    values = _of_patients(rows, measure)
    if not values:
        return math.nan, math.nan, math.nan
    sums, counts = (np.array([of(scans) for scans in values.values()], float) for of in (sum, len))
    drawn = np.random.default_rng(seed).integers(0, len(sums), (RESAMPLES, len(sums)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [2.5, 97.5])
    return float(sums.sum() / counts.sum()), float(low), float(high)


def paired_tests(
    results: dict[str, Sequence[Row]], reference: str, number: int, measure: str = "dice"
) -> list[PairedTest]:
    """Every other method against the reference after a round, Bonferroni over the number of comparisons.

    A patient's scans are not independent of each other: they count once, by their mean.
    """
    mine = at_round(results[reference], number)
    tests = []
    others = [name for name in results if name != reference and at_round(results[name], number)]
    for name in others:
        theirs = at_round(results[name], number)
        both = {row["case"] for row in mine} & {row["case"] for row in theirs}
        first, second = (by_patient([row for row in rows if row["case"] in both], measure) for rows in (theirs, mine))
        differences = np.array([first[patient] - second[patient] for patient in sorted(first.keys() & second.keys())])
        t_p, wilcoxon_p = p_values(differences)
        mean = float(differences.mean()) if len(differences) else math.nan
        tests.append(PairedTest(name, len(differences), mean, t_p, wilcoxon_p, bonferroni(t_p, len(others))))
    return tests


def bonferroni(p: float, comparisons: int) -> float:
    """p times the number of comparisons, 1 at most; nan stays nan."""
    return p if math.isnan(p) else min(1.0, p * comparisons)


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


def by_patient(rows: Sequence[Row], measure: str) -> dict[str, float]:
    """Mean of a measure over each patient's scans, scans without a finite value left out."""
    return {patient: float(np.mean(scans)) for patient, scans in _of_patients(rows, measure).items()}


def p_values(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Of the paired t test and of Wilcoxon's; nan for too few pairs, 1 where nothing differs."""
    if len(differences) < LEAST_PAIRS:
        return math.nan, math.nan
    if not differences.any():
        return 1.0, 1.0
    spread = np.ptp(differences)
    t_p = float(stats.ttest_1samp(differences, 0.0).pvalue) if spread > 0 else 0.0
    return t_p, float(stats.wilcoxon(differences).pvalue)


def _of_patients(rows: Sequence[Row], measure: str) -> dict[str, list[float]]:
    """Patient -> the finite values of his scans, in an order that does not tell which worker was first."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if math.isfinite(row[measure]):
            values[row["patient"]].append(row[measure])
    return {patient: sorted(scans) for patient, scans in sorted(values.items())}
