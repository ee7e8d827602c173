"""One case's maps beside what was wrong, slice by slice, for the eye."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ichhpinet.volume import CTVolume

from ..gallery import MASK, TRUTH, WINDOW_HU, turned, window_of
from ..regions import Bool
from ..study.plots import new_figure
from .maps import PLAIN, Map

SLICES = 3  # those on which most is wrong


def draw_maps(path: Path, volume: CTVolume, mask: Bool, truth: Bool, maps: dict[str, Map]) -> None:
    """A row a slice: the CT with mask and truth, what is wrong, then every map in the same scale, 0 to 1."""
    wrong = mask ^ truth
    chosen = sorted(np.argsort(wrong.sum(axis=(1, 2)))[::-1][:SLICES].tolist())
    columns = 2 + len(maps)
    figure = new_figure(2.6 * columns, 2.75 * len(chosen) + 0.6)
    figure.patch.set_facecolor("black")
    axes = figure.subplots(len(chosen), columns, squeeze=False)
    window = window_of((mask | truth).any(axis=0), volume)
    rows_mm, columns_mm = volume.spacing_mm[1:]
    height, width = volume.shape[1:]
    extent = (0, width * columns_mm, height * rows_mm, 0)
    centres = ((np.arange(width) + 0.5) * columns_mm, (np.arange(height) + 0.5) * rows_mm)
    for line, index in zip(axes, chosen, strict=True):
        for axis in line:
            axis.set_axis_off()
            axis.set_xlim(window[0], window[1])
            axis.set_ylim(window[2], window[3])
        low, high = WINDOW_HU
        line[0].imshow(turned(volume.hu[index], volume), cmap="gray", vmin=low, vmax=high, extent=extent)
        line[1].imshow(turned(wrong[index], volume).astype(float), cmap="gray", vmin=0, vmax=1, extent=extent)
        for axis, uncertain in zip(line[2:], maps.values(), strict=True):
            axis.imshow(turned(uncertain[index], volume), cmap="magma", vmin=0, vmax=1, extent=extent)
        for axis in line:
            for part, colour in ((truth[index], TRUTH), (mask[index], MASK)):
                if part.any():
                    shown = turned(part, volume).astype(float)
                    axis.contour(*centres, shown, levels=[0.5], colors=[colour], linewidths=0.8)
        line[0].text(0.02, 0.03, f"slice {index + 1}", transform=line[0].transAxes, color="white", fontsize=8)
    heads = ["CT, L 40 W 80", "wrong", *(PLAIN[name] for name in maps)]
    for axis, head in zip(axes[0], heads, strict=True):
        axis.set_title("\n".join(_lines(head)), color="white", fontsize=8)
    figure.suptitle("Truth blue, mask amber. Maps 0 (black) to 1. Research use.", color="0.8", fontsize=9)
    figure.savefig(path, dpi=110, facecolor="black")


def _lines(text: str, most: int = 28) -> list[str]:
    """Broken at spaces."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > most:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
