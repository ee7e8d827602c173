"""Tables and figures of an uncertainty study."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..study.names import label
from ..study.plots import COLOURS, MARKS, new_figure
from ..study.statistics import bonferroni, by_patient, interval, p_values
from ..study.tables import NOTHING, p_text, table_of
from .gain import ORACLE, RANDOM
from .maps import PLAIN
from .measures import BINS, NEAR_MM
from .study import calibration_of

Row = dict[str, Any]
RULES = f"""Maps are those of the round, on the CT's grid, 0 where the user painted. AUC: chance that a wrong voxel is
more uncertain than a right one, within {NEAR_MM:g} mm of the border of mask or truth; mean over the cases with an error
there. Gain: Dice after one more round less Dice before, when the simulated radiologist corrects the slice that the map
sums highest on; on a slice with nothing to correct nothing is painted and the gain is 0. A random slice is one with
mask or beside one. The oracle knows on which slice most is wrong; that is not always where a stroke gains most. [95 %
bootstrap intervals over patients]; p: paired t test against the random slice, a pair a patient, after Bonferroni's
correction for the number of ways."""


def write_uncertainty(out: Path, rows: Sequence[Row], budget: str = "") -> Path:
    """Write uncertainty.md and a calibration figure a method; the report's path. budget: what training cost."""
    out.mkdir(parents=True, exist_ok=True)
    parts = ["# Uncertainty\n", *([budget] if budget else []), RULES + "\n"]
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        for number in sorted({row["round"] for row in mine}):
            parts += _section(method, number, [row for row in mine if row["round"] == number])
        draw_calibration(out / f"calibration-{method}.png", mine)
        parts.append(f"![calibration](calibration-{method}.png)\n\n![maps of one case](maps-{method}.png)\n")
    path = out / "uncertainty.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def _section(method: str, number: int, rows: Sequence[Row]) -> list[str]:
    near, head = calibration_of(rows), calibration_of(rows, "head")
    best = near.temperature
    mean = float(np.mean([row["dice"] for row in rows]))
    return [
        f"## {label(method)}. After round {number}: {len(rows)} cases, Dice {mean:.3f}\n",
        f"Expected calibration error within {NEAR_MM:g} mm of the border {near.error:.3f} "
        f"({near.error_at(best):.3f} with a temperature of {best:.2f}, fitted to these cases); "
        f"over the head {head.error:.4f}, and {head.error_of_the_unsure:.3f} over its voxels said to be 10 to 90 %.\n",
        table_of(["Map", "AUC of finding errors"], _auc_lines(rows)),
        table_of(["Next stroke on the slice of", "gain in Dice", "share of the oracle's", "p"], _gain_lines(rows)),
    ]


def draw_calibration(path: Path, rows: Sequence[Row]) -> None:
    """Near the border: what was said against what was true, and how many voxels said it, round by round."""
    figure = new_figure(9.6, 4.4)
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="0.6", linewidth=0.9, linestyle=":", label="as said")
    for index, number in enumerate(sorted({row["round"] for row in rows})):
        calibration = calibration_of([row for row in rows if row["round"] == number])
        said, true = calibration.curve()
        style = {"color": COLOURS[index % len(COLOURS)], "marker": MARKS[index % len(MARKS)], "markersize": 5}
        left.plot(said, true, label=f"after round {number}", **style)
        right.plot((np.arange(BINS) + 0.5) / BINS, np.maximum(calibration.counts(), 0.5), **style)
    left.set(xlabel="probability said", ylabel="share that was blood", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    left.legend(fontsize=8, loc="upper left")
    right.set(
        xlabel="probability said", ylabel=f"voxels within {NEAR_MM:g} mm of the border", yscale="log", xlim=(0, 1)
    )
    for axis in (left, right):
        axis.grid(alpha=0.25)
    figure.savefig(path, dpi=130)


def _auc_lines(rows: Sequence[Row]) -> list[list[str]]:
    return [[PLAIN[name], _interval(_flat(rows, "auc", name))] for name in rows[0]["auc"]]


def _gain_lines(rows: Sequence[Row]) -> list[list[str]]:
    found = {name: _flat(rows, "gain", name) for name in rows[0]["gain"]}
    best = float(np.mean([row["value"] for row in found[ORACLE]]))
    chance = by_patient(found[RANDOM], "value")
    lines = []
    for name, flat in found.items():
        share = f"{np.mean([row['value'] for row in flat]) / best:.0%}" if best > 0 else NOTHING
        p = ""
        if name != RANDOM:
            mine = by_patient(flat, "value")
            t_p, _ = p_values(np.array([mine[patient] - chance[patient] for patient in mine]))
            p = p_text(bonferroni(t_p, len(found) - 1))
        lines.append([PLAIN.get(name, name), _interval(flat), share, p])
    return lines


def _flat(rows: Sequence[Row], what: str, name: str) -> list[Row]:
    """`auc` or `gain` of one map or way, as rows that the statistics take."""
    return [{"patient": row["patient"], "value": row[what][name]} for row in rows]


def _interval(rows: Sequence[Row]) -> str:
    mean, low, high = interval(rows, "value")
    return NOTHING if math.isnan(mean) else f"{mean:.3f} [{low:.3f}, {high:.3f}]"
