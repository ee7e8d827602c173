"""The gallery: where a method failed, three slices a case, as a radiologist looks at them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ichhpinet.volume import CTVolume

from .regions import Bool, bounding_box
from .study.plots import new_figure

WINDOW_HU = (0.0, 80.0)  # level 40, width 80
MARGIN_MM = 18.0
SMALLEST_MM = 70.0
MASK, TRUTH = "#ffb000", "#4cc9ff"
MISSED, EXTRA = (0.30, 0.79, 1.0, 0.30), (1.0, 0.69, 0.0, 0.30)  # the colours of what they belong to
BESIDE = (-1, 0, 1)  # slices shown, about the worst one


class Shown(NamedTuple):
    """A case of the gallery. row: case, dice, mask_ml, truth_ml, hd95_mm. mask, truth: (D, H, W) bool."""

    row: Mapping[str, Any]
    volume: CTVolume
    mask: Bool
    truth: Bool


HEAD_FEET = 2  # of the patient's axes left, posterior, superior
SIDES = (("R", "L"), ("A", "P"), ("I", "S"))


def draw_gallery(path: Path, count: int, cases: Iterable[Shown], title: str = "Lowest Dice") -> None:
    """Write the sheet as PNG, `count` cases in their order; each is forgotten when it is drawn."""
    figure = new_figure(3.3 * len(BESIDE), 3.55 * count + 0.5)
    figure.patch.set_facecolor("black")
    axes = figure.subplots(count, len(BESIDE), squeeze=False)
    for line, shown in zip(axes, cases, strict=True):
        _draw_case(line, shown.volume, shown.mask, shown.truth, shown.row)
    figure.suptitle(
        f"{title}. Truth blue, mask amber; missed and extra filled. L 40 W 80. Research use.",
        color="white",
        fontsize=9,
    )
    figure.savefig(path, dpi=110, facecolor="black")


def _draw_case(axes: Sequence[Any], volume: CTVolume, mask: Bool, truth: Bool, row: Mapping[str, Any]) -> None:
    wrong = (mask ^ truth).sum(axis=(1, 2))
    middle = int(np.argmax(wrong))
    window = window_of((mask | truth).any(axis=0), volume)
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
        for letter, place in zip(sides(volume), (0.03, 0.97)):
            axis.text(place, 0.5, letter, transform=axis.transAxes, color="0.8", fontsize=8, ha="center")


def _draw_slice(axis: Any, volume: CTVolume, index: int, mask: Bool, truth: Bool) -> None:
    rows_mm, columns_mm = volume.spacing_mm[1:]
    height, width = mask.shape
    extent = (0, width * columns_mm, height * rows_mm, 0)
    low, high = WINDOW_HU
    axis.imshow(turned(volume.hu[index], volume), cmap="gray", vmin=low, vmax=high, extent=extent)
    for part, colour in ((truth & ~mask, MISSED), (mask & ~truth, EXTRA)):
        layer = np.zeros((height, width, 4))
        layer[turned(part, volume)] = colour
        axis.imshow(layer, extent=extent, interpolation="nearest")
    centres = ((np.arange(width) + 0.5) * columns_mm, (np.arange(height) + 0.5) * rows_mm)
    for part, colour in ((truth, TRUTH), (mask, MASK)):
        if part.any():
            axis.contour(*centres, turned(part, volume).astype(float), levels=[0.5], colors=[colour], linewidths=1.1)


def turned(plane: NDArray[Any], volume: CTVolume) -> NDArray[Any]:
    """As a radiologist looks at it: right on the left, front or head on top; from the side the front on the left."""
    rows, columns = (_towards(volume, axis) for axis in (1, 0))
    upside_down = rows[1] if rows[0] == HEAD_FEET else not rows[1]
    return plane[:: -1 if upside_down else 1, :: 1 if columns[1] else -1]


def sides(volume: CTVolume) -> tuple[str, str]:
    """The patient's sides at the left and the right edge of what `turned` gives."""
    return SIDES[_towards(volume, 0)[0]]


def _towards(volume: CTVolume, axis: int) -> tuple[int, bool]:
    """The patient's axis (LPS) that an array axis (0 columns, 1 rows) runs along, and whether towards its plus end."""
    along = volume.direction[:, axis]
    patient = int(np.argmax(np.abs(along)))
    return patient, bool(along[patient] > 0)


def window_of(shown: Bool, volume: CTVolume) -> tuple[float, float, float, float]:
    """left, right, bottom, top in mm: a square round what is set."""
    box = bounding_box(turned(shown, volume)) or (slice(0, shown.shape[0]), slice(0, shown.shape[1]))
    edges = [(p.start * step, p.stop * step) for p, step in zip(box, volume.spacing_mm[1:], strict=True)]
    half = max(SMALLEST_MM, max(end - start for start, end in edges) + 2 * MARGIN_MM) / 2
    row, column = (sum(edge) / 2 for edge in edges)
    return column - half, column + half, row + half, row - half
