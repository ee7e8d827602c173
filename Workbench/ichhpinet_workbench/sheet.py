"""The PNG sheet: a row per round; the whole head, then the lesion close up: plain, strokes, mask, truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichhpinet.metrics import dice

from .regions import Bool, bounding_box
from .rounds import Turn
from .validation import Loaded

BRAIN_WINDOW_HU = (0.0, 80.0)  # level 40, width 80
CLOSE_UP_MM = 25.0  # brain shown about the lesion
SMALLEST_MM = 80.0  # a close-up is not narrower
SKULL_HU = 300.0  # the whole head is shown as far as its skull reaches, and SCALP_MM more
SCALP_MM = 12.0
FOREGROUND, BACKGROUND, MASK, TRUTH = "#5dff5d", "#ff6bd6", "#ffb000", "#4cc9ff"
COLUMNS = ("whole head", "close up", "strokes of the round", "mask after the round", "truth")
Extent = tuple[float, float, float, float]  # left, right, bottom, top in mm


def draw_sheet(file: Path, loaded: Loaded, turns: Sequence[Turn]) -> None:
    """Write the sheet as PNG. Each row shows the painted slice that was worst (the lesion's largest if none was)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = 3.05 * len(turns) + 0.75
    figure = Figure(figsize=(14.0, height), facecolor="black")
    FigureCanvasAgg(figure)
    place = {"left": 0.035, "right": 0.995, "top": 1 - 0.72 / height, "bottom": 0.01}
    grid = figure.add_gridspec(len(turns), 5, **place, wspace=0.03, hspace=0.14)
    windows = _head(loaded), _close_up(loaded, turns)
    for row, turn in enumerate(turns):
        axes = [figure.add_subplot(grid[row, column]) for column in range(5)]
        _draw_row(axes, loaded, turn, windows)
        if row == 0:
            for axis, name in zip(axes, COLUMNS, strict=True):
                axis.annotate(name, (0.5, 1.13), xycoords="axes fraction", color="#b8b8b8", fontsize=11, ha="center")
    truth_ml = loaded.truth.sum() * math.prod(loaded.volume.spacing_mm) / 1000
    figure.text(
        0.5,
        1 - 0.2 / height,
        f"Head CT, synthetic haemorrhage of {truth_ml:.1f} ml · window L 40 W 80 · seen from the feet · research use",
        color="white",
        fontsize=13,
        ha="center",
        va="center",
    )
    figure.savefig(file, dpi=100, facecolor="black")


def _draw_row(axes: Sequence[Any], loaded: Loaded, turn: Turn, windows: tuple[Extent, Extent]) -> None:
    index = _slice_of(turn, loaded.truth)
    plane = _Plane(loaded, index)
    for axis in axes:
        plane.show(axis)
    axes[0].plot(*_frame(windows[1]), color="#909090", linewidth=0.8)
    plane.outline(axes[0], turn.mask[index], MASK, 0.9)
    for letter, place in (("R", 0.03), ("L", 0.97)):
        axes[0].text(place, 0.5, letter, transform=axes[0].transAxes, color="white", fontsize=11, ha="center")
    for axis, window in zip(axes, (windows[0], *(windows[1],) * 4), strict=True):
        axis.set_xlim(window[0], window[1])
        axis.set_ylim(window[2], window[3])
    plane.fill(axes[2], turn.foreground[index], FOREGROUND)
    plane.fill(axes[2], turn.background[index], BACKGROUND)
    plane.outline(axes[3], turn.mask[index], MASK, 1.3)
    plane.outline(axes[4], loaded.truth[index], TRUTH, 1.3)
    volume_ml = turn.mask.sum() * math.prod(loaded.volume.spacing_mm) / 1000
    axes[0].set_ylabel(f"round {turn.number}", color="white", fontsize=13)
    for axis, text in zip(axes, _titles(turn, index, loaded, volume_ml), strict=True):
        axis.set_title(text, color="white", fontsize=10, pad=4)


def _titles(turn: Turn, index: int, loaded: Loaded, volume_ml: float) -> tuple[str, str, str, str, str]:
    strokes = (("blood", turn.foreground), ("not blood", turn.background))
    painted = [_where(name, stroke, index) for name, stroke in strokes if stroke.any()]
    here = dice(turn.mask[index : index + 1], loaded.truth[index : index + 1])
    return (
        f"slice {index + 1} of {loaded.volume.shape[0]}",
        "",
        ", ".join(painted) or "none: satisfied",
        f"{volume_ml:.1f} ml, Dice {dice(turn.mask, loaded.truth):.3f}",
        f"Dice of this slice {here:.3f}",
    )


def _where(name: str, stroke: Bool, shown: int) -> str:
    """The stroke's name, and its slice if that is not the one shown."""
    index = int(np.flatnonzero(stroke.any(axis=(1, 2)))[0])
    return name if index == shown else f"{name} on slice {index + 1}"


class _Plane:
    """One slice in mm, patient's right on the left and front on top."""

    def __init__(self, loaded: Loaded, index: int) -> None:
        volume = loaded.volume
        self._flip = (volume.direction[1, 1] < 0, volume.direction[0, 0] < 0)
        self._pixel_mm = volume.spacing_mm[1:]
        self._hu = self._turned(volume.hu[index])

    def show(self, axis: Any) -> None:
        """The CT in the brain window."""
        height, width = self._hu.shape
        extent = (0, width * self._pixel_mm[1], height * self._pixel_mm[0], 0)
        low, high = BRAIN_WINDOW_HU
        axis.imshow(self._hu, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="bilinear")
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set_visible(False)

    def outline(self, axis: Any, mask: Bool, colour: str, width: float) -> None:
        """The border of a mask (H, W)."""
        if mask.any():
            inside = self._turned(mask).astype(float)
            axis.contour(*self._centres(), inside, levels=[0.5], colors=[colour], linewidths=width)

    def fill(self, axis: Any, stroke: Bool, colour: str) -> None:
        """A stroke (H, W), solid."""
        if stroke.any():
            axis.contourf(*self._centres(), self._turned(stroke).astype(float), levels=[0.5, 1.5], colors=[colour])

    def _centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        height, width = self._hu.shape
        return (np.arange(width) + 0.5) * self._pixel_mm[1], (np.arange(height) + 0.5) * self._pixel_mm[0]

    def _turned(self, plane: NDArray[Any]) -> NDArray[Any]:
        rows, columns = (slice(None, None, -1 if flip else 1) for flip in self._flip)
        return plane[rows, columns]


def _slice_of(turn: Turn, truth: Bool) -> int:
    """The painted slice on which more was wrong before the round, so that a mistake far from the lesion is seen too."""
    painted = [int(np.flatnonzero(s.any(axis=(1, 2)))[0]) for s in (turn.foreground, turn.background) if s.any()]
    if painted:
        return max(painted, key=lambda index: int((turn.before[index] ^ truth[index]).sum()))
    return int(truth.sum(axis=(1, 2)).argmax())


def _close_up(loaded: Loaded, turns: Sequence[Turn]) -> Extent:
    """A square round the lesion and every stroke, the same in all rows."""
    shown = loaded.truth.any(axis=0)
    for turn in turns:
        shown = shown | turn.foreground.any(axis=0) | turn.background.any(axis=0)
    return _square(loaded, shown, CLOSE_UP_MM / 2)


def _head(loaded: Loaded) -> Extent:
    """A square round the skull."""
    return _square(loaded, (loaded.volume.hu > SKULL_HU).any(axis=0), SCALP_MM)


def _square(loaded: Loaded, shown: Bool, margin_mm: float) -> Extent:
    """A square round what is set of (H, W), as it is displayed, at least SMALLEST_MM wide; everything if nothing is."""
    direction, pixel_mm = loaded.volume.direction, loaded.volume.spacing_mm[1:]
    shown = shown[:: -1 if direction[1, 1] < 0 else 1, :: -1 if direction[0, 0] < 0 else 1]
    box = bounding_box(shown) or (slice(0, shown.shape[0]), slice(0, shown.shape[1]))
    edges = [(part.start * step, part.stop * step) for part, step in zip(box, pixel_mm, strict=True)]
    half = max(SMALLEST_MM, max(end - start for start, end in edges) + 2 * margin_mm) / 2
    row, column = (sum(edge) / 2 for edge in edges)
    return column - half, column + half, row + half, row - half


def _frame(window: Extent) -> tuple[list[float], list[float]]:
    left, right, bottom, top = window
    return [left, right, right, left, left], [top, top, bottom, bottom, top]
