"""Measured rows -> Markdown tables: means with bootstrap intervals, by round, source, kind and size. No measuring."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
Results = Mapping[str, Sequence[Row]]  # method -> its rows
RESAMPLES = 2000
DROP = 0.03  # a round that lowers Dice by more than this is a fault
HEARD = {"slice": 0.8, "3d": 0.5}  # of the wrong component under a stroke, right after the round
DEEP_MM = 2.0  # a component no deeper than this is less than about 4 mm wide: a rim of the mask, or a speck
HEARD_RULE = (
    "Share of strokes in a missed (extra) component after which at least 80 % of it is right on the stroke's slice / "
    "at least 50 % in 3D, without what was painted itself; (n) strokes. Deep: some of the component lies more than "
    f"{DEEP_MM:g} mm from its border on the stroke's slice, so it is no rim."
)
FALSE_ML = 0.5  # more than this proposed in a head without blood would be seen
SMALL_DROP = 0.02  # a case should have no round that loses more
LARGE_ML = 5.0  # a bleed that a proposal should find
SHOWN_ROUNDS = (1, 3, 5, 8)
MOST_DROPS = 40  # listed by name
BELOW = 0.02  # ending a round so far below another method is worth a look
BELOW_ROUND = 3
NETWORK = "ichhpinet"
CLASSES: Mapping[
    str, tuple[str, tuple[tuple[float, str], ...]]
] = {  # column, and the classes: below the number, so named
    "volume": ("truth_ml", ((1.0, "< 1 ml"), (5.0, "1–5 ml"), (30.0, "5–30 ml"), (math.inf, "> 30 ml"))),
    "over brain": ("contrast_hu", ((10.0, "5–10 HU"), (20.0, "10–20 HU"), (math.inf, "> 20 HU"))),
    "slices": ("spacing_z_mm", ((2.0, "< 2 mm"), (4.25, "2–4 mm"), (math.inf, "> 4 mm"))),
    "noise": ("noise_hu", ((4.0, "< 4 HU"), (7.0, "4–7 HU"), (math.inf, "> 7 HU"))),
    "kernel": ("noise_1mm", ((0.2, "sharp"), (0.45, "usual"), (math.inf, "smooth"))),  # noise alike 1 mm apart
}
PLAIN = {
    "ichhpinet": "ICH-HPINet",
    "grow_from_seeds": "Grow from seeds (3D Slicer)",
    "threshold_islands": "45–100 HU, islands under strokes",
    "random_walker": "Random walker",
}


def markdown(results: Results) -> str:
    """The whole report."""
    parts = [
        "# Validation\n",
        _cases_line(results),
        "## Dice by round\n\nMean over cases [95 % bootstrap interval].\n",
        dice_table(results),
        "## Dice by group\n",
        group_table(results, "source"),
        group_table(results, "kind"),
        *(group_table(classed(results, by), by) for by in CLASSES),
        "## Surface distance and volume\n\nMean HD95 in mm (cases with a mask); median absolute volume error in ml.\n",
        distance_table(results),
        "## How much a stroke does\n\nOf the missed (extra) component under a stroke, the share that is right after the"
        " round, without what was painted itself; mean over strokes.\n",
        effect_table(results),
        f"## Strokes that are heard\n\n{HEARD_RULE}\n",
        heard_table(results),
        f"## Rounds that lower a case's Dice by more than {DROP}\n",
        drop_table(results),
        below_table(results),
        proposal_table(results),
    ]
    return "\n".join(part for part in parts if part) + "\n"


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Mean and the 95 % bootstrap interval of it over cases; nan without values.

    The same values, the same interval, in whatever order they were measured.
    """
    known = np.sort(np.asarray([value for value in values if np.isfinite(value)], dtype=float))
    if not known.size:
        return np.nan, np.nan, np.nan
    drawn = np.random.default_rng(seed).integers(0, known.size, (RESAMPLES, known.size))
    low, high = np.percentile(known[drawn].mean(axis=1), [2.5, 97.5])
    return float(known.mean()), float(low), float(high)


def drops(rows: Sequence[Row], least: float = DROP) -> list[tuple[str, int, float, float]]:
    """(case, round, Dice before, Dice after) of every round that lowered a case's Dice by more than `least`."""
    found, before = [], {}
    for row in rows:
        if row["round"] < 1:
            continue
        last = before.get(row["case"], 0.0)
        if row["dice"] < last - least:
            found.append((row["case"], int(row["round"]), last, row["dice"]))
        before[row["case"]] = row["dice"]
    return found


def dice_table(results: Results) -> str:
    """Method by round."""
    rounds = _rounds(results)
    lines = [
        [_name(method)] + [with_interval(_values(rows, "dice", lambda row, n=n: row["round"] == n)) for n in rounds]
        for method, rows in results.items()
    ]
    return table(["Dice after round", *map(str, rounds)], lines)


def group_table(results: Results, by: str) -> str:
    """Mean Dice and its 95 % bootstrap interval by group and method at SHOWN_ROUNDS."""
    rounds = [number for number in SHOWN_ROUNDS if number in _rounds(results)]
    found = {row[by] for rows in results.values() for row in rows if row["round"] > 0}
    order = [name for _, name in CLASSES[by][1]] if by in CLASSES else sorted(found)
    groups = [name for name in order if name in found]
    lines = []
    for group in groups:
        for method, rows in results.items():
            mine = [row for row in rows if row[by] == group and row["round"] > 0]
            means = [with_interval(_values(mine, "dice", lambda row, n=n: row["round"] == n)) for n in rounds]
            lines.append([group, str(len({row["case"] for row in mine})), _name(method), *means])
    return table([by, "cases", "method", *(f"round {number}" for number in rounds)], lines)


def distance_table(results: Results) -> str:
    """HD95 and volume error by method at SHOWN_ROUNDS."""
    rounds = [number for number in SHOWN_ROUNDS if number in _rounds(results)]
    lines = []
    for method, rows in results.items():
        cells = []
        for number in rounds:
            at_round = [row for row in rows if row["round"] == number]
            errors = [abs(row["error_ml"]) for row in at_round]
            if not errors:
                cells.append("")
                continue
            cells.append(f"{_mean([row['hd95_mm'] for row in at_round], 1)} mm, {np.median(errors):.1f} ml")
        seconds = [row["seconds"] for row in rows if row["painted"]]
        lines.append([_name(method), *cells, f"{np.median(seconds):.2f} s" if seconds else ""])
    return table(["method", *(f"round {number}" for number in rounds), "median round"], lines)


def effect_table(results: Results) -> str:
    """Share of the component under a stroke that the round mends, on the stroke's slice and in 3D."""
    rounds = _rounds(results)
    kinds = (("missed", "missed_slice", "missed_3d"), ("extra", "extra_slice", "extra_3d"))
    lines = []
    for method, rows in results.items():
        for what, on_slice, in_3d in kinds:
            cells = []
            for number in rounds:
                at_round = [row for row in rows if row["round"] == number]
                shares = [_mean([row[column] for row in at_round]) for column in (on_slice, in_3d)]
                cells.append(" / ".join(shares) if shares[0] else "")
            lines.append([_name(method), what, *cells])
    return table(["slice / 3D", "component", *(f"round {number}" for number in rounds)], lines)


def heard_table(results: Results) -> str:
    """Share of strokes that are heard: at least HEARD of the component under them is right after the round."""
    rounds = _rounds(results)
    lines = []
    for method, rows in results.items():
        for what in ("missed", "extra"):
            deep = [row for row in rows if row.get(f"{what}_depth_mm", math.nan) > DEEP_MM]
            for shown, mine in ((what, rows), (f"{what}, deep", deep)):
                cells = [_heard([row for row in mine if row["round"] == number], what) for number in rounds]
                lines.append([_name(method), shown, *cells])
    return table(["slice / 3D", "component", *(f"round {number}" for number in rounds)], lines)


def _heard(rows: Sequence[Row], what: str) -> str:
    """Both shares, and of how many strokes."""
    shares, count = [], 0
    for part, least in HEARD.items():
        known = [row[f"{what}_{part}"] for row in rows if math.isfinite(row.get(f"{what}_{part}", math.nan))]
        count = max(count, len(known))
        shares.append(f"{np.mean([value >= least for value in known]):.2f}" if known else "")
    return f"{' / '.join(shares)} ({count})" if count else ""


def drop_table(results: Results) -> str:
    """How many rounds did harm, and which."""
    lines, listed = [], []
    for method, rows in results.items():
        found = drops(rows)
        later = sum(row["round"] > 1 and row["painted"] > 0 for row in rows)
        worst = min((after - before for _, _, before, after in found), default=0.0)
        hurt = {case for case, *_ in drops(rows, SMALL_DROP)}
        cases = {row["case"] for row in rows if row["round"] > 0}
        told = f"{len(found)} of {later}", f"{worst:.2f}" if found else "", f"{len(hurt)} of {len(cases)}"
        lines.append([_name(method), *told])
        if method == NETWORK:
            listed = [f"- {case}, round {n}: {before:.2f} → {after:.2f}" for case, n, before, after in found]
    if len(listed) > MOST_DROPS:
        listed = [*listed[:MOST_DROPS], f"- and {len(listed) - MOST_DROPS} more"]
    heads = ["method", "rounds that did harm", "worst", f"cases with a round that lost more than {SMALL_DROP}"]
    return table(heads, lines) + "\n" + "\n".join(listed) + "\n"


def below_table(results: Results) -> str:
    """The cases that the network ends round BELOW_ROUND with below the best of the other methods; empty alone."""
    after: dict[str, dict[str, float]] = {}
    for method, rows in results.items():
        for row in rows:
            if row["round"] == BELOW_ROUND:
                after.setdefault(row["case"], {})[method] = row["dice"]
    lines = []
    for case, dices in after.items():
        others = {method: dice for method, dice in dices.items() if method != NETWORK}
        if NETWORK not in dices or not others:
            continue
        best = max(others, key=others.__getitem__)
        if dices[NETWORK] < others[best] - BELOW:
            lines.append([case, f"{dices[NETWORK]:.3f}", f"{others[best]:.3f}", _name(best)])
    if len(results) < 2 or NETWORK not in results:
        return ""
    title = f"## Cases that end round {BELOW_ROUND} more than {BELOW} below the best other method\n\n"
    told = f"{len(lines)} of {len(after)}.\n"
    return title + told + ("\n" + table(["case", _name(NETWORK), "best", "method"], lines) if lines else "")


def proposal_table(results: Results) -> str:
    """What is proposed without a stroke; empty if nobody proposes."""
    lines = []
    for method, rows in results.items():
        proposed = [row for row in rows if row["round"] == 0]
        if proposed:
            blood = [row["dice"] for row in proposed if row["truth_ml"] > 0]
            clean = [row["mask_ml"] for row in proposed if row["truth_ml"] == 0]
            large = [row["dice"] for row in proposed if row["truth_ml"] > LARGE_ML]
            false = f"{sum(ml > FALSE_ML for ml in clean)} of {len(clean)}"
            largest = f"{max(clean):.2f}" if clean else ""
            lines.append([_name(method), with_interval(blood), with_interval(large), _mean(clean, 2), largest, false])
    if not lines:
        return ""
    heads = ["method", "Dice, heads with blood", f"over {LARGE_ML:g} ml", "mean ml, without blood"]
    heads += ["largest ml", f"above {FALSE_ML} ml"]
    return "## Proposed without a stroke\n\n" + table(heads, lines)


def _cases_line(results: Results) -> str:
    rows = [row for rows in results.values() for row in rows]
    cases = {row["case"]: row for row in rows}
    blood = [row for row in cases.values() if row["truth_ml"] > 0]
    real = sum(row["source"] == "real" for row in blood)
    volumes = [row["truth_ml"] for row in blood]
    spread = f", {min(volumes):.1f}–{max(volumes):.0f} ml, median {np.median(volumes):.1f} ml" if volumes else ""
    return f"{len(blood)} cases with blood ({real} in the real head CT){spread}; {len(cases) - len(blood)} without.\n"


def classed(results: Results, by: str) -> Results:
    """The rows with blood, each with the class that its figure falls into, under the class's name."""
    column, bounds = CLASSES[by]
    return {
        method: [
            {**row, by: next(name for below, name in bounds if row[column] < below)}
            for row in rows
            if row["truth_ml"] > 0 and math.isfinite(row[column])
        ]
        for method, rows in results.items()
    }


def _rounds(results: Results) -> list[int]:
    return sorted({int(row["round"]) for rows in results.values() for row in rows if row["round"] > 0})


def _values(rows: Sequence[Row], column: str, wanted: Callable[[Row], bool]) -> list[float]:
    return [row[column] for row in rows if wanted(row)]


def with_interval(values: Sequence[float]) -> str:
    mean, low, high = interval(values)
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]" if np.isfinite(mean) else ""


def _mean(values: Sequence[float], digits: int = 3) -> str:
    known = [value for value in values if np.isfinite(value)]
    return f"{np.mean(known):.{digits}f}" if known else ""


def _name(method: str) -> str:
    return PLAIN.get(method, method)


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|".join(["---"] * len(heads))
    rows = ["| " + " | ".join(line) + " |" for line in (heads, *lines)]
    return "\n".join([rows[0], f"|{rule}|", *rows[1:], ""])
