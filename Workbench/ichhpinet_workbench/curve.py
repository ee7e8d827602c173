"""The learning curve of a run, as a picture: loss of the training crops, Dice by round of what chooses the weights."""

from __future__ import annotations

import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen before it is loaded)


def draw_curve(folder: Path, chosen_by: str) -> Path:
    """Write `curve.png` from `log.csv` and `validation.csv` of a run's folder; its path. chosen_by: whose Dice."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    log, validation = _read(folder / "log.csv"), _read(folder / "validation.csv")
    if log:
        left.plot(log["minutes"], log["loss"], color="0.3")
    left.set(xlabel="minutes of training", ylabel="loss (equation 6, weighted)", title="training crops")
    for name in ("dice_0", "dice_1", "dice_2", "dice_3"):
        if validation:
            right.plot(validation["minutes"], validation[name], "o-", label=f"round {name[-1]}")
    right.set(xlabel="minutes of training", ylabel="mean Dice", ylim=(0, 1), title=chosen_by)
    right.legend(loc="lower right")
    path = folder / "curve.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _read(path: Path) -> dict[str, list[float]]:
    """Columns of a CSV of numbers; empty where there is none."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}
