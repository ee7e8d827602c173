"""Figures of a study: measures by round, Bland-Altman of volumes. Files in, rows in, PNG out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .names import label
from .statistics import agreement, at_round, interval
from .tables import rounds_of

Row = dict[str, Any]
Results = Mapping[str, Sequence[Row]]
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#000000")  # Okabe and Ito
MARKS = "osD^vPX*"
SHOWN = (("dice", "Dice"), ("hd95_mm", "HD95, mm"))
PANEL_INCHES = 3.6


def draw_rounds(path: Path, results: Results) -> None:
    """Dice and HD95 by round: means over cases, bands of the 95 % bootstrap interval, markers that tell in grey."""
    figure = new_figure(11.5, 4.6)
    axes = figure.subplots(1, len(SHOWN))
    numbers = rounds_of(results)
    for axis, (measure, name) in zip(axes, SHOWN, strict=True):
        for index, (method, rows) in enumerate(results.items()):
            played = [n for n in numbers if at_round(rows, n)]
            spans = np.array([interval(at_round(rows, n), measure) for n in played]).reshape(-1, 3)
            colour, mark = COLOURS[index % len(COLOURS)], MARKS[index % len(MARKS)]
            axis.plot(played, spans[:, 0], color=colour, marker=mark, markersize=5, label=label(method, results))
            axis.fill_between(played, spans[:, 1], spans[:, 2], color=colour, alpha=0.13, linewidth=0)
        axis.set(xlabel="round", ylabel=f"{name} (mean, 95 % interval)", xticks=numbers)
        axis.grid(alpha=0.25)
    axes[0].set_ylim(0, 1.02)
    axes[1].set_ylim(bottom=0)
    axes[0].legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=130)


def draw_bland_altman(path: Path, results: Results, number: int) -> None:
    """Volume error against the mean of both volumes, a panel a method, bias and limits drawn and written."""
    methods = [(method, at_round(rows, number)) for method, rows in results.items() if at_round(rows, number)]
    if not methods:
        return
    columns = min(3, len(methods))
    lines = math.ceil(len(methods) / columns)
    figure = new_figure(PANEL_INCHES * columns + 0.6, PANEL_INCHES * lines)
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for axis in axes.flat[len(methods) :]:
        axis.set_visible(False)
    for axis, (method, rows) in zip(axes.flat, methods, strict=False):
        _bland_altman(axis, label(method, results), rows)
    for axis in axes[:, 0]:
        axis.set_ylabel("mask less truth, ml")
    figure.savefig(path, dpi=130)


def _bland_altman(axis: Any, name: str, rows: Sequence[Row]) -> None:
    means = [(row["mask_ml"] + row["truth_ml"]) / 2 for row in rows]
    bias, low, high = agreement(rows)
    axis.scatter(means, [row["error_ml"] for row in rows], s=14, color=COLOURS[0], alpha=0.65, linewidth=0)
    axis.axhline(0, color="0.7", linewidth=0.8)
    if math.isfinite(low):
        for value, style in ((bias, "-"), (low, "--"), (high, "--")):
            axis.axhline(value, color=COLOURS[1], linestyle=style, linewidth=1)
    limits = f"limits {low:+.1f} to {high:+.1f}" if math.isfinite(low) else "one case: no limits"
    axis.set_title(f"{name}\nbias {bias:+.1f} ml, {limits}, n = {len(rows)}", fontsize=8)
    axis.set_xlabel("mean of mask and truth, ml")
    axis.tick_params(labelbottom=True)
    axis.grid(alpha=0.2)


def new_figure(width: float, height: float) -> Any:
    """A figure without a window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
