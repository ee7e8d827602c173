"""Figure and table: synthetic heads beside the real head CT and published facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..study.plots import COLOURS, new_figure
from ..study.tables import table_of
from .measures import DISTANCE_EDGES, FREQUENCY_EDGES, HU_EDGES, Measured

# 525 public cases of intracerebral haemorrhage with masks, as stated beside the project's CC0 curves.
LEVELS = (5, 25, 50, 75, 95)
PUBLIC_ML = (0.3, 1.7, 6.3, 15.0, 46.0)
PUBLIC_COMPONENTS = (None, None, 1.0, 3.0, None)
PUBLIC_SLICES = (None, None, 6.0, None, None)
TITLE = "Synthetic heads beside the real head CT"
RULES = """Real is one head CT without haemorrhage, and blood inserted into it: there is no real lesion here, so borders
can only be compared with those of insertion. Bands hold four fifths of the synthetic heads. The public figures are
those of 525 cases with masks, 2.5-6.5 mm slices; they are of hospitals' patients, ours of the generator's curves."""

Heads = Mapping[str, Sequence[Measured]]  # family -> its heads


def write_report(out: Path, real: Measured, inserted: Sequence[Measured], heads: Heads) -> Path:
    """realism.png and realism.md in `out`; the report's path."""
    out.mkdir(parents=True, exist_ok=True)
    draw(out / "realism.png", real, inserted, heads)
    path = out / "realism.md"
    text = [f"# {TITLE}\n", RULES + "\n", numbers_table(real, inserted, heads), counts_table(heads)]
    path.write_text("\n".join([*text, "![curves](realism.png)\n"]), encoding="utf-8")
    return path


def numbers_table(real: Measured, inserted: Sequence[Measured], heads: Heads) -> str:
    """One number a measure: the real head's, and median and four fifths of the synthetic heads."""
    lines = []
    for name, of in (
        ("median HU inside the skull", _median_hu),
        ("spread of HU inside the skull, quartiles", _spread_hu),
        ("noise, HU", lambda one: one.noise_hu),
        ("noise alike 1 mm apart", lambda one: one.noise_1mm),
        ("width of a lesion's border, mm", lambda one: one.border_mm),
    ):
        ours = [of(one) for one in inserted] if "border" in name else [of(real)]
        lines.append([name, _range(ours), *(_range([of(one) for one in many]) for many in heads.values())])
    return table_of(["", "real", *(f"{family} ({len(many)})" for family, many in heads.items())], lines)


def counts_table(heads: Heads) -> str:
    """Quantiles of volume, components and slices beside the public ones."""
    lines = []
    for name, of, public in (
        ("volume, ml", lambda one: one.volume_ml, PUBLIC_ML),
        ("components", lambda one: one.components, PUBLIC_COMPONENTS),
        ("slices with lesion", lambda one: one.slices, PUBLIC_SLICES),
    ):
        lines.append([name, "public", *("" if value is None else f"{value:g}" for value in public)])
        for family, many in heads.items():
            values = [of(one) for one in many if one.volume_ml > 0]
            cells = [f"{value:.2g}" if value < 10 else f"{value:.0f}" for value in np.percentile(values, LEVELS)]
            lines.append([name, family, *cells])
    return table_of(["", "", *(f"{level} %" for level in LEVELS)], lines)


def draw(path: Path, real: Measured, inserted: Sequence[Measured], heads: Heads) -> None:
    """Four panels: histogram, noise power, lesion border, volumes."""
    figure = new_figure(11.0, 8.0)
    (histogram, power), (border, volume) = figure.subplots(2, 2)
    middles = [(edges[1:] + edges[:-1]) / 2 for edges in (HU_EDGES, FREQUENCY_EDGES, DISTANCE_EDGES)]
    panels = (
        (histogram, middles[0], "histogram", real.histogram, "HU inside the skull, lesions left out", "share"),
        (power, middles[1], "power", real.power, "cycles per mm", "noise power, HU² mm²"),
        (border, middles[2], "border", None, "mm from the lesion's border", "0 outside, 1 inside"),
    )
    for axis, x, what, measured, across, up in panels:
        for index, (family, many) in enumerate(heads.items()):
            _band(axis, x, [getattr(one, what) for one in many], COLOURS[index], family)
        if measured is None:
            _band(axis, x, [one.border for one in inserted], "black", "inserted into the real CT")
        else:
            axis.plot(x, measured, color="black", linewidth=1.8, label="real head CT")
        axis.set(xlabel=across, ylabel=up)
    power.set(yscale="log", xlim=(0, 1))
    for index, (family, many) in enumerate(heads.items()):
        ml = np.sort([one.volume_ml for one in many if one.volume_ml > 0])
        volume.plot(ml, (np.arange(len(ml)) + 1) / max(1, len(ml)), color=COLOURS[index], label=family)
    volume.plot(PUBLIC_ML, np.array(LEVELS) / 100, "ko", label="525 public cases")
    volume.set(xscale="log", xlabel="haemorrhage a head, ml", ylabel="share of heads below", ylim=(0, 1))
    for axis in (histogram, power, border, volume):
        axis.grid(alpha=0.25)
        axis.legend(fontsize=8)
    figure.suptitle(TITLE)
    figure.savefig(path, dpi=120)


def _band(axis: Any, x: Any, curves: Sequence[Any], colour: str, name: str) -> None:
    known = np.array([curve for curve in curves if np.isfinite(curve).any()])
    if not len(known):
        return
    seen = np.isfinite(known).any(axis=0)  # coarse pixels have no high frequencies
    low, middle, high = np.nanpercentile(known[:, seen], (10, 50, 90), axis=0)
    axis.plot(x[seen], middle, color=colour, label=f"{name}, median of {len(known)}")
    axis.fill_between(x[seen], low, high, color=colour, alpha=0.15, linewidth=0)


def _range(values: Sequence[float]) -> str:
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return ""
    low, middle, high = np.percentile(known, (10, 50, 90))
    return f"{middle:.2f}" if len(known) == 1 else f"{middle:.2f} ({low:.2f} to {high:.2f})"


def _median_hu(one: Measured) -> float:
    return float(np.interp(0.5, one.histogram.cumsum(), HU_EDGES[1:]))


def _spread_hu(one: Measured) -> float:
    low, high = np.interp((0.25, 0.75), one.histogram.cumsum(), HU_EDGES[1:])
    return float(high - low)
