"""Tables and figures of an uncertainty study."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ..study.plots import COLOURS, MARKS, new_figure
from ..study.tables import NOTHING, table_of
from .gain import ORACLE, RANDOM
from .maps import PLAIN
from .measures import BINS, NEAR_MM
from .study import by_name, calibration_of

Row = dict[str, Any]
RESAMPLES = 5000
RULES = f"""Maps are those of the round, on the CT's grid, 0 where the user painted. AUC: chance that a wrong voxel is
more uncertain than a right one, within {NEAR_MM:g} mm of the border of mask or truth; mean over cases. Gain: Dice after
one more round less Dice before, when the simulated radiologist corrects the slice that the map sums highest on; on a
slice with nothing to correct nothing is painted and the gain is 0. A random slice is one with mask or beside one. The
oracle knows on which slice most is wrong; that is not always where a stroke gains most. [95 % bootstrap intervals over
cases]; p: paired t test against the random slice."""


def write_uncertainty(out: Path, rows: Sequence[Row]) -> Path:
    """Write uncertainty.md and calibration.png; the report's path."""
    out.mkdir(parents=True, exist_ok=True)
    numbers = sorted({row["round"] for row in rows})
    parts = ["# Uncertainty\n", RULES + "\n"]
    for number in numbers:
        chosen = [row for row in rows if row["round"] == number]
        calibration = calibration_of(chosen)
        mean = float(np.mean([row["dice"] for row in chosen]))
        parts += [
            f"## After round {number}: {len(chosen)} cases, Dice {mean:.3f}\n",
            f"Expected calibration error {calibration.error:.4f} over the head; "
            f"{calibration.error_of_the_unsure:.3f} over voxels said to be 10 to 90 %.\n",
            table_of(["Map", "AUC of finding errors"], _auc_lines(chosen)),
            table_of(
                ["Next stroke on the slice of", "gain in Dice", "share of the oracle's", "p"], _gain_lines(chosen)
            ),
        ]
    if rows:
        draw_calibration(out / "calibration.png", rows)
        parts.append("![calibration](calibration.png)\n\n![maps of one case](maps.png)\n")
    path = out / "uncertainty.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def draw_calibration(path: Path, rows: Sequence[Row]) -> None:
    """What was said against what was true, and how many voxels said it, round by round."""
    figure = new_figure(9.6, 4.4)
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="0.6", linewidth=0.9, linestyle=":", label="as said")
    for index, number in enumerate(sorted({row["round"] for row in rows})):
        calibration = calibration_of([row for row in rows if row["round"] == number])
        said, true = calibration.curve()
        style = {"color": COLOURS[index % len(COLOURS)], "marker": MARKS[index % len(MARKS)], "markersize": 5}
        left.plot(said, true, label=f"after round {number}", **style)
        right.plot((np.arange(BINS) + 0.5) / BINS, np.maximum(calibration.count, 0.5), **style)
    left.set(xlabel="probability said", ylabel="share that was blood", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    left.legend(fontsize=8, loc="upper left")
    right.set(xlabel="probability said", ylabel="voxels of the head", yscale="log", xlim=(0, 1))
    for axis in (left, right):
        axis.grid(alpha=0.25)
    figure.savefig(path, dpi=130)


def _auc_lines(rows: Sequence[Row]) -> list[list[str]]:
    return [[PLAIN[name], _interval(values)] for name, values in by_name(rows, "auc").items()]


def _gain_lines(rows: Sequence[Row]) -> list[list[str]]:
    found = by_name(rows, "gain")
    best = float(np.mean(found[ORACLE]))
    lines = []
    for name, values in found.items():
        share = f"{np.mean(values) / best:.0%}" if best > 0 else NOTHING
        p = "" if name == RANDOM else _p(np.array(values) - np.array(found[RANDOM]))
        lines.append([PLAIN.get(name, name), _interval(values), share, p])
    return lines


def _interval(values: Sequence[float]) -> str:
    if not values:
        return NOTHING
    drawn = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(np.array(values)[drawn].mean(axis=1), [2.5, 97.5])
    return f"{np.mean(values):.3f} [{low:.3f}, {high:.3f}]"


def _p(differences: np.ndarray) -> str:
    if len(differences) < 2 or not np.ptp(differences) > 0:
        return NOTHING
    value = float(stats.ttest_1samp(differences, 0.0).pvalue)
    return NOTHING if math.isnan(value) else "< 0.0001" if value < 1e-4 else f"{value:.4f}"
