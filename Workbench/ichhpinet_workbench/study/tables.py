"""Rows -> the papers' tables in Markdown, published figures beside ours and marked. No measuring, no files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import published
from .failures import Failure
from .names import OWN, label
from .statistics import agreement, at_round, interval, over_folds, paired_tests, rounds_to

Row = dict[str, Any]
Results = Mapping[str, Sequence[Row]]
OURS = (("dice", 4), ("jaccard", 4), ("hausdorff_mm", 2), ("mae", 4))
NOTHING = "–"
LOSSES = ("Cross entropy", "Dice loss")  # what Table 3 calls its rows by
LAMBDAS = ("lambda 1", "lambda 2", "lambda 3")  # and Table 4


@dataclass(frozen=True)
class Cost:
    """Of a method: parameters in millions, GFLOP of a first round."""

    millions: float
    gflop: float


def methods_table(
    results: Results,
    number: int,
    table: str,
    costs: Mapping[str, Cost] | None = None,
    first: Sequence[str] = ("Method",),
) -> str:
    """Tables 1 to 4: method by measure after a round, mean ± sd over folds; the paper's columns to the right.

    table: one of published.TABLE_1 to TABLE_4. A row whose method only the paper has is published throughout.
    costs: None leaves their columns out. first: headings of what names a row. As in the paper the best of a column is
    bold and the second underlined.
    """
    known = {line.name: line for line in published.lines(table)}
    stated = {line.name: line.groups[0] for line in published.lines(published.COSTS)} if costs is not None else {}
    lines = []
    for method in _order(results, list(known)):
        name = label(method, results)
        ours = _measured(results[method], number) if method in results else [NOTHING] * len(OURS)
        theirs = [cell for group in known[name].groups for cell in group] if name in known else [NOTHING] * 8
        lines.append([*_named(name, len(first)), *ours, *theirs, *_costs(method, name, costs, stated)])
    for column in range(len(OURS) + len(published.MEASURES) * 2):
        larger = published.MEASURES[column % len(OURS)].endswith("↑")
        _mark(lines, len(first) + column, larger)
    heads = [*first, "Dice↑", "Jaccard↑", "HD↓ mm", "MAE↓"]
    heads += [f"published {who}: {measure}" for who in ("private", "PhysioNet") for measure in published.MEASURES]
    heads += ["GFLOP", "Params M", "published FLOPs", "published Params"] if costs is not None else []
    return table_of(heads, lines)


def _order(results: Results, known: Sequence[str]) -> list[str]:
    """The paper's rows in its order, by our name where we have one; ours that it lacks stand before its own method."""
    ours = {label(method, results): method for method in results}
    rows = [ours.get(name, name) for name in known]
    cut = known.index(OWN) if OWN in known else len(known)
    return [*rows[:cut], *(method for name, method in ours.items() if name not in known), *rows[cut:]]


def _named(name: str, columns: int) -> list[str]:
    """A row's name in its columns: three weights in three; a name that is none of those in the first."""
    parts = name.split() if columns > 1 else [name]
    return parts if len(parts) == columns else [name, *[""] * (columns - 1)]


def _mark(lines: list[list[str]], column: int, larger: bool) -> None:
    """Best bold, second underlined, where there are two values to tell apart."""
    values = {index: float(line[column].split()[0]) for index, line in enumerate(lines) if line[column] != NOTHING}
    ordered = sorted(set(values.values()), reverse=larger)
    if len(ordered) < 2:
        return
    for index, value in values.items():
        if value == ordered[0]:
            lines[index][column] = f"**{lines[index][column]}**"
        elif value == ordered[1]:
            lines[index][column] = f"<ins>{lines[index][column]}</ins>"  # GitHub leaves <u> out


def rounds_table(results: Results, table: str, cases: set[str] | None = None) -> str:
    """Tables 5 and 6: measures by number of interactions; the published line under ours. cases: these alone."""
    lines = []
    numbers = rounds_of(results)
    for method, rows in results.items():
        chosen = [row for row in rows if cases is None or row["case"] in cases]
        for (measure, digits), name in zip(OURS, ("Dice↑", "Jaccard↑", "HD↓ mm", "MAE↓"), strict=True):
            cells = [_mean(at_round(chosen, n), measure, digits) for n in numbers]
            lines.append([label(method, results), name, *cells])
    for line in published.lines(table):
        cells = [*line.groups[0], *[NOTHING] * len(numbers)][: len(numbers)]
        lines.append(["ICH-HPINet, published", line.name, *cells])
    return table_of(["Method", "Number of interactions", *map(str, numbers)], lines)


def hemseg_table(results: Results, number: int) -> str:
    """HemSeg-200's Table 1: Dice %, IoU %, HD95 with 95 % bootstrap intervals; theirs to the right."""
    known = {line.name: [group[0] for group in line.groups] for line in published.lines(published.TABLE_HEMSEG)}
    order = [*results, *(name for name in known if name not in {label(method, results) for method in results})]
    lines = []
    for method in order:
        rows = at_round(results[method], number) if method in results else []
        ours = [_interval(rows, "dice", 100), _interval(rows, "jaccard", 100), _interval(rows, "hd95_mm", 1)]
        lines.append([label(method, results), *ours, *known.get(label(method, results), [NOTHING] * 3)])
    heads = ["Models", "Dice(%)", "IoU(%)", "HD95 mm", "published Dice(%)", "published IoU(%)", "published HD95"]
    return table_of(heads, lines)


def intervals_table(results: Results, measure: str, digits: int = 3) -> str:
    """A measure by round, mean over cases with its 95 % bootstrap interval."""
    numbers = rounds_of(results)
    lines = [
        [label(method, results), *(_interval(at_round(rows, n), measure, 1, digits) for n in numbers)]
        for method, rows in results.items()
    ]
    return table_of(["Method", *(f"round {n}" for n in numbers)], lines)


def tests_table(results: Results, reference: str, number: int) -> str:
    """Every other method against the reference: paired t test with Bonferroni, Wilcoxon beside it."""
    lines = [
        [
            label(test.method, results),
            str(test.pairs),
            _number(test.difference, 4, sign=True),
            p_text(test.t_p),
            p_text(test.wilcoxon_p),
            p_text(test.corrected_p),
            "yes" if test.is_significant else "no",
        ]
        for test in paired_tests(dict(results), reference, number)
    ]
    heads = [
        f"against {label(reference, results)}",
        "patients",
        "Dice",
        "t test p",
        "Wilcoxon p",
        "p × comparisons",
        "p < 0.01",
    ]
    return table_of(heads, lines) if lines else ""


def effort_table(results: Results) -> str:
    """How many rounds to Dice 0.90, how much time and how many strokes, and how many masks were empty at the end."""
    lines = []
    for method, rows in results.items():
        first = rounds_to(rows)
        if not first:
            continue
        reached = [number for number in first.values() if number is not None]
        most = max(row["round"] for row in rows)
        middle = float(np.median([most + 1 if number is None else number for number in first.values()]))
        painted = [row["seconds"] for row in rows if row["painted"]]
        last = at_round(rows, most)
        empty = sum(row["mask_ml"] == 0 for row in last)
        lines.append(
            [
                label(method, results),
                f"{len(reached)} of {len(first)}",
                f"more than {most}" if middle > most else f"{middle:g}",
                f"{len(painted) / len(first):.1f}",
                f"{np.median(painted):.2f} s" if painted else NOTHING,
                f"{empty} of {len(last)}",
            ]
        )
    heads = ["Method", "reached Dice 0.90", "median rounds to it", "rounds painted", "median round", "empty at the end"]
    return table_of(heads, lines)


def volume_table(results: Results, number: int) -> str:
    """Millilitres: mean absolute error, bias and limits of agreement."""
    lines = []
    for method, rows in results.items():
        chosen = at_round(rows, number)
        if chosen:
            bias, low, high = agreement(chosen)
            absolute = float(np.mean([abs(row["error_ml"]) for row in chosen]))
            limits = NOTHING if math.isnan(low) else f"{low:+.2f} to {high:+.2f}"
            lines.append([label(method, results), f"{absolute:.2f}", f"{bias:+.2f}", limits])
    return table_of(["Method", "mean absolute error ml", "bias ml", "limits of agreement ml"], lines)


def proposal_table(results: Results) -> str:
    """Round 0, without a stroke: Dice where there is blood, ml where there is none."""
    lines = []
    for method, rows in results.items():
        proposed = at_round(rows, 0)
        blood = [row for row in proposed if row["truth_ml"] > 0]
        clean = [row["mask_ml"] for row in proposed if row["truth_ml"] == 0]
        if proposed:
            false = f"{np.mean(clean):.2f} (largest {max(clean):.2f})" if clean else NOTHING
            lines.append([label(method, results), _interval(blood, "dice", 1, 3), str(len(clean)), false])
    return table_of(["Method", "Dice, with blood", "cases without", "mean ml proposed there"], lines) if lines else ""


def failures_table(failures: Sequence[Failure]) -> str:
    """How many cases of each method could not be judged, and why the first could not."""
    methods = dict.fromkeys(failure.method for failure in failures)
    lines = []
    for method in methods:
        mine = [failure for failure in failures if failure.method == method]
        why = mine[0].why.replace("|", "/")
        lines.append([label(method, methods), str(len(mine)), f"{mine[0].case}: {why}"])
    return table_of(["Method", "cases", "the first, and why"], lines) if lines else ""


def rounds_of(results: Results) -> list[int]:
    """The rounds that were played, the proposal left out."""
    return sorted({int(row["round"]) for rows in results.values() for row in rows if row["round"] > 0})


def table_of(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = ["| " + " | ".join(line) + " |" for line in (heads, *lines)]
    return "\n".join([rows[0], "|" + "---|" * len(heads), *rows[1:], ""])


def _measured(rows: Sequence[Row], number: int) -> list[str]:
    """Mean ± sd over folds of Dice, Jaccard, HD, MAE."""
    cells = []
    for measure, digits in OURS:
        mean, spread = over_folds(at_round(rows, number), measure)
        shown = _number(mean, digits)
        cells.append(shown if math.isnan(spread) else f"{shown} ± {spread:.{digits}f}")
    return cells


def _costs(method: str, name: str, costs: Mapping[str, Cost] | None, stated: Mapping[str, Sequence[str]]) -> list[str]:
    if costs is None:
        return []
    mine = costs.get(method)
    ours = [f"{mine.gflop:,.0f}", f"{mine.millions:.2f}"] if mine else [NOTHING] * 2
    return [*ours, *stated.get(name, (NOTHING,) * 2)]


def _mean(rows: Sequence[Row], measure: str, digits: int) -> str:
    return _number(float(np.mean([row[measure] for row in rows])), digits) if rows else NOTHING


def _interval(rows: Sequence[Row], measure: str, scale: float, digits: int = 2) -> str:
    mean, low, high = (scale * value for value in interval(rows, measure))
    return NOTHING if math.isnan(mean) else f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _number(value: float, digits: int, sign: bool = False) -> str:
    return NOTHING if math.isnan(value) else f"{value:{'+' if sign else ''}.{digits}f}"


def p_text(value: float) -> str:
    """Four digits, or that it is smaller; a dash for nan."""
    return NOTHING if math.isnan(value) else "< 0.0001" if value < 1e-4 else f"{value:.4f}"
