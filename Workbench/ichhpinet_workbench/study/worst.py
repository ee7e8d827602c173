"""The sheet of worst cases: where a method failed, three slices a case, as a radiologist looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichhpinet.volume import CTVolume

from ..datasets.loading import load_entry
from ..datasets.manifest import Manifest
from ..regions import Bool, bounding_box
from .plots import new_figure
from .runner import kept_mask, mask_path
from .statistics import at_round

Row = dict[str, Any]
WINDOW_HU = (0.0, 80.0)  # level 40, width 80
MARGIN_MM = 18.0
SMALLEST_MM = 70.0
MASK, TRUTH = "#ffb000", "#4cc9ff"
MISSED, EXTRA = (0.30, 0.79, 1.0, 0.30), (1.0, 0.69, 0.0, 0.30)  # the colours of what they belong to
BESIDE = (-1, 0, 1)  # slices shown, about the worst one


def draw_worst(
    path: Path, manifest: Manifest, out: Path, method: str, rows: Sequence[Row], count: int = 6
) -> list[str]:
    """Write the sheet of the `count` lowest Dice after the last round; the cases shown, worst first.

    Masks are those that the runner kept in `out`; what is no longer there is left out.
    """
    last = at_round(rows, max((row["round"] for row in rows), default=0))
    chosen = sorted((row for row in last if row["truth_ml"] > 0), key=lambda row: row["dice"])[:count]
    entries = {entry.case: entry for entry in manifest.entries}
    shown = [row for row in chosen if mask_path(out, method, row["case"]).exists() and row["case"] in entries]
    if not shown:
        return []
    figure = new_figure(3.3 * len(BESIDE), 3.55 * len(shown) + 0.5)
    figure.patch.set_facecolor("black")
    axes = figure.subplots(len(shown), len(BESIDE), squeeze=False)
    for line, row in zip(axes, shown, strict=True):
        loaded = load_entry(manifest, entries[row["case"]])
        _draw_case(line, loaded.volume, kept_mask(mask_path(out, method, row["case"])), loaded.truth, row)
    figure.suptitle(
        "Lowest Dice. Truth blue, mask amber; missed and extra filled. L 40 W 80, seen from the feet. Research use.",
        color="white",
        fontsize=9,
    )
    figure.savefig(path, dpi=110, facecolor="black")
    return [str(row["case"]) for row in shown]


def _draw_case(axes: Sequence[Any], volume: CTVolume, mask: Bool, truth: Bool, row: Row) -> None:
    wrong = (mask ^ truth).sum(axis=(1, 2))
    middle = int(np.argmax(wrong))
    window = _window((mask | truth).any(axis=0), volume)
    about = f"{row['case']}: Dice {row['dice']:.2f}, mask {row['mask_ml']:.1f} ml, truth {row['truth_ml']:.1f} ml, "
    for axis, step in zip(axes, BESIDE, strict=True):
        index = middle + step
        axis.set_axis_off()
        heading = f"{about}HD95 {row['hd95_mm']:.0f} mm" if step == 0 else " "
        if not 0 <= index < volume.shape[0]:
            continue
        _draw_slice(axis, volume, index, mask[index], truth[index])
        axis.set_xlim(window[0], window[1])
        axis.set_ylim(window[2], window[3])
        axis.set_title(f"{heading}\nslice {index + 1} of {volume.shape[0]}", color="0.85", fontsize=8.5, pad=4)
        for letter, place in (("R", 0.03), ("L", 0.97)):
            axis.text(place, 0.5, letter, transform=axis.transAxes, color="0.8", fontsize=8, ha="center")


def _draw_slice(axis: Any, volume: CTVolume, index: int, mask: Bool, truth: Bool) -> None:
    rows_mm, columns_mm = volume.spacing_mm[1:]
    height, width = mask.shape
    extent = (0, width * columns_mm, height * rows_mm, 0)
    low, high = WINDOW_HU
    axis.imshow(_turned(volume.hu[index], volume), cmap="gray", vmin=low, vmax=high, extent=extent)
    for part, colour in ((truth & ~mask, MISSED), (mask & ~truth, EXTRA)):
        layer = np.zeros((height, width, 4))
        layer[_turned(part, volume)] = colour
        axis.imshow(layer, extent=extent, interpolation="nearest")
    centres = ((np.arange(width) + 0.5) * columns_mm, (np.arange(height) + 0.5) * rows_mm)
    for part, colour in ((truth, TRUTH), (mask, MASK)):
        if part.any():
            axis.contour(*centres, _turned(part, volume).astype(float), levels=[0.5], colors=[colour], linewidths=1.1)


def _turned(plane: NDArray[Any], volume: CTVolume) -> NDArray[Any]:
    """Patient's right on the left, front on top."""
    rows, columns = (slice(None, None, -1 if volume.direction[axis, axis] < 0 else 1) for axis in (1, 0))
    return plane[rows, columns]


def _window(shown: Bool, volume: CTVolume) -> tuple[float, float, float, float]:
    """left, right, bottom, top in mm: a square round what is set."""
    box = bounding_box(_turned(shown, volume)) or (slice(0, shown.shape[0]), slice(0, shown.shape[1]))
    edges = [(p.start * step, p.stop * step) for p, step in zip(box, volume.spacing_mm[1:], strict=True)]
    half = max(SMALLEST_MM, max(end - start for start, end in edges) + 2 * MARGIN_MM) / 2
    row, column = (sum(edge) / 2 for edge in edges)
    return column - half, column + half, row + half, row - half
