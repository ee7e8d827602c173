"""Rows -> the papers' tables in Markdown, published figures beside ours and marked. No measuring, no files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import published
from .statistics import agreement, at_round, interval, over_folds, paired_tests, rounds_to

Row = dict[str, Any]
Results = Mapping[str, Sequence[Row]]
OURS = (("dice", 4), ("jaccard", 4), ("hausdorff_mm", 2), ("mae", 4))
OWN = "ICH-HPINet"
NAMES = {  # contestants' names -> as the papers write them
    "ichhpinet": OWN,
    "weights": OWN,
    "grow_from_seeds": "Grow from seeds (3D Slicer)",
    "threshold_islands": "45–100 HU, islands under strokes",
    "random_walker": "Random walker",
    "volume-only": "Volume-Pro",
    "slice-only": "Slice-Pro",
    "no-memory": "w/o Memory",
    "monai-unet": "U-Net",
    "monai-vnet": "V-Net",
    "monai-segresnet": "SegResNet",
    "monai-attention-unet": "Attention U-Net",
    "monai-unetr": "UNETR",
    "monai-swin-unetr": "Swin UNETR",
    "monai-dynunet": "nnU-Net",
    "unet-2d": "2D U-Net (thesis)",
    "slex-net": "SLEX-Net",
}
for _line in published.lines(published.TABLE_3):
    NAMES["ce-{:g}-dice-{:g}".format(*map(float, _line.name.split()))] = _line.name
for _line in published.lines(published.TABLE_4):
    NAMES["lambda-{:g}-{:g}-{:g}".format(*map(float, _line.name.split()))] = _line.name
NOTHING = "–"


@dataclass(frozen=True)
class Cost:
    """Of a method: parameters in millions, GFLOP of a first round."""

    millions: float
    gflop: float


def methods_table(
    results: Results, number: int, table: str, costs: Mapping[str, Cost] | None = None, first: str = "Method"
) -> str:
    """Tables 1 to 4: method by measure after a round, mean ± sd over folds; the paper's columns to the right.

    table: one of published.TABLE_1 to TABLE_4. A row whose method only the paper has is published throughout.
    costs: None leaves their columns out. first: the heading of the first column.
    """
    known = {line.name: line for line in published.lines(table)}
    stated = {line.name: line.groups[0] for line in published.lines(published.COSTS)} if costs is not None else {}
    lines = []
    for method in _order(results, list(known)):
        name = label(method)
        ours = _measured(results[method], number) if method in results else [NOTHING] * len(OURS)
        theirs = [cell for group in known[name].groups for cell in group] if name in known else [NOTHING] * 8
        lines.append([name, *ours, *theirs, *_costs(method, name, costs, stated)])
    heads = [first, "Dice↑", "Jaccard↑", "HD↓ mm", "MAE↓"]
    heads += [f"published {who}: {measure}" for who in ("private", "PhysioNet") for measure in published.MEASURES]
    heads += ["GFLOP", "Params M", "published FLOPs", "published Params"] if costs is not None else []
    return table_of(heads, lines)


def _order(results: Results, known: Sequence[str]) -> list[str]:
    """The paper's rows in its order, by our name where we have one; ours that it lacks stand before its own method."""
    ours = {label(method): method for method in results}
    rows = [ours.get(name, name) for name in known]
    cut = known.index(OWN) if OWN in known else len(known)
    return [*rows[:cut], *(method for name, method in ours.items() if name not in known), *rows[cut:]]


def rounds_table(results: Results, table: str, cases: set[str] | None = None) -> str:
    """Tables 5 and 6: measures by number of interactions; the published line under ours. cases: these alone."""
    lines = []
    numbers = rounds_of(results)
    for method, rows in results.items():
        chosen = [row for row in rows if cases is None or row["case"] in cases]
        for (measure, digits), name in zip(OURS, ("Dice↑", "Jaccard↑", "HD↓ mm", "MAE↓"), strict=True):
            cells = [_mean(at_round(chosen, n), measure, digits) for n in numbers]
            lines.append([label(method), name, *cells])
    for line in published.lines(table):
        cells = [*line.groups[0], *[NOTHING] * len(numbers)][: len(numbers)]
        lines.append(["ICH-HPINet, published", line.name, *cells])
    return table_of(["Method", "Number of interactions", *map(str, numbers)], lines)


def hemseg_table(results: Results, number: int) -> str:
    """HemSeg-200's Table 1: Dice %, IoU %, HD95 with 95 % bootstrap intervals; theirs to the right."""
    known = {line.name: [group[0] for group in line.groups] for line in published.lines(published.TABLE_HEMSEG)}
    order = [*results, *(name for name in known if name not in {label(method) for method in results})]
    lines = []
    for method in order:
        rows = at_round(results[method], number) if method in results else []
        ours = [_interval(rows, "dice", 100), _interval(rows, "jaccard", 100), _interval(rows, "hd95_mm", 1)]
        lines.append([label(method), *ours, *known.get(label(method), [NOTHING] * 3)])
    heads = ["Models", "Dice(%)", "IoU(%)", "HD95 mm", "published Dice(%)", "published IoU(%)", "published HD95"]
    return table_of(heads, lines)


def intervals_table(results: Results, measure: str, digits: int = 3) -> str:
    """A measure by round, mean over cases with its 95 % bootstrap interval."""
    numbers = rounds_of(results)
    lines = [
        [label(method), *(_interval(at_round(rows, n), measure, 1, digits) for n in numbers)]
        for method, rows in results.items()
    ]
    return table_of(["Method", *(f"round {n}" for n in numbers)], lines)


def tests_table(results: Results, reference: str, number: int) -> str:
    """Every other method against the reference: paired t test with Bonferroni, Wilcoxon beside it."""
    lines = [
        [
            label(test.method),
            str(test.pairs),
            _number(test.difference, 4, sign=True),
            p_text(test.t_p),
            p_text(test.wilcoxon_p),
            p_text(test.corrected_p),
            "yes" if test.is_significant else "no",
        ]
        for test in paired_tests(dict(results), reference, number)
    ]
    heads = [f"against {label(reference)}", "patients", "Dice", "t test p", "Wilcoxon p", "p × comparisons", "p < 0.01"]
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
                label(method),
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
            lines.append([label(method), f"{absolute:.2f}", f"{bias:+.2f}", limits])
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
            lines.append([label(method), _interval(blood, "dice", 1, 3), str(len(clean)), false])
    return table_of(["Method", "Dice, with blood", "cases without", "mean ml proposed there"], lines) if lines else ""


def rounds_of(results: Results) -> list[int]:
    """The rounds that were played, the proposal left out."""
    return sorted({int(row["round"]) for rows in results.values() for row in rows if row["round"] > 0})


def label(method: str) -> str:
    """A contestant's name as the papers write it."""
    return NAMES.get(method, method)


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
