"""`ichhpinet visible`: how much of each validation bleed its densities give away. No network.

A bleed whose densities are those of the brain beside it cannot be outlined by anybody: what the best threshold near
the truth reaches, chosen for each case with the truth at hand, says how much of a missing Dice is there to be won.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .counts import at_least
from .regions import Bool, bounding_box

NEAR_MM = (2.0, 3.0, 5.0, 10.0)  # how far from the truth the threshold may find anything
SMOOTHED_MM = (0.0, 0.5, 1.0, 1.5, 2.0)  # sigma of the Gaussian before it, the best for each case
HIGHEST_HU = (90.0, 120.0)  # bone and calcifications above are left out, at the better of the two
CLIPPED_HU = (-20.0, 150.0)  # so that bone and air do not smear over the blood when smoothed
ROUNDS = (1, 3, 5, 8)  # of the network, when shown beside
NAMES = tuple(f"near_{near:g}mm" for near in NEAR_MM)


def best_dice(hu: NDArray[np.floating], truth: Bool, spacing_mm: tuple[float, float, float]) -> tuple[float, ...]:
    """Dice of the best threshold within each of NEAR_MM of the truth, smoothing and upper end chosen with the truth.

    Args:
        hu: (D, H, W) HU.
        truth: (D, H, W) bool, not empty.
        spacing_mm: (z, y, x).

    Returns:
        one Dice in (0, 1] for each of NEAR_MM, falling or level: a threshold that is allowed more finds more that is
        none of the bleed.
    """
    from scipy import ndimage

    margin = math.ceil((max(NEAR_MM) + 2 * max(SMOOTHED_MM)) / min(spacing_mm))
    box = bounding_box(truth, margin)
    if box is None:
        raise ValueError("truth is empty; it must hold a bleed")
    inside = truth[box]
    clipped = np.clip(hu[box].astype(np.float32), *CLIPPED_HU)
    away = ndimage.distance_transform_edt(~inside, sampling=spacing_mm)
    best = [0.0] * len(NEAR_MM)
    for sigma in SMOOTHED_MM:
        smooth = ndimage.gaussian_filter(clipped, [sigma / size for size in spacing_mm])
        for index, near in enumerate(NEAR_MM):
            allowed = away <= near
            values, wanted = smooth[allowed], inside[allowed]
            best[index] = max(best[index], *(_above(values, wanted, highest) for highest in HIGHEST_HU))
    return tuple(best)


def _above(values: NDArray[np.float32], wanted: Bool, highest: float) -> float:
    """The best Dice of all thresholds: those at and above it, up to `highest`, against `wanted`. Both (n,)."""
    kept = values <= highest
    order = np.argsort(-values[kept], kind="stable")
    hits, densities = np.cumsum(wanted[kept][order]), values[kept][order]
    if not hits.size:
        return 0.0
    last = np.append(densities[1:] != densities[:-1], True)  # equal densities are on the same side
    dices = 2 * hits / (np.arange(1, hits.size + 1) + wanted.sum())
    return float(dices[last].max())


def register(subparsers: Any) -> None:
    """Add `visible` to the command line."""
    parser = subparsers.add_parser("visible", help="how much of each validation bleed its densities give away")
    parser.add_argument("--out", type=Path, required=True, help="folder for visible.csv and visible.md")
    parser.add_argument("--cases", type=at_least(1), help="only the first so many of the 64 cases with blood")
    parser.add_argument("--beside", type=Path, metavar="CSV", help="a method's CSV of `ichhpinet evaluate`")
    parser.add_argument("--cache", type=Path, help="folder that keeps the cases once made (about 0.6 GB)")
    parser.add_argument("--head-ct", type=Path, help="another head CT without blood than the bundled real one")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure each case, write both files, print the tables. Raises: InputError."""
    from ichhpinet.paths import written_whole

    from .alone import alone_in
    from .bar import Bar
    from .evaluate import read_rows
    from .validation import contrast_hu, load, validation_cases

    beside = read_rows(arguments.beside) if arguments.beside else []
    cases, rows = validation_cases()[: arguments.cases], []
    with alone_in(arguments.out), Bar("visible") as bar:
        for index, case in enumerate(cases):
            bar(index / len(cases), case.name)
            loaded = load(case, arguments.cache, arguments.head_ct)
            spacing = loaded.volume.spacing_mm
            found = best_dice(loaded.volume.hu, loaded.truth, spacing)
            rows.append(
                {
                    "case": case.name,
                    "kind": case.kind,
                    "truth_ml": float(loaded.truth.sum() * math.prod(spacing) / 1000),
                    "contrast_hu": contrast_hu(loaded.volume.hu, loaded.truth, spacing),
                    **dict(zip(NAMES, found, strict=True)),
                }
            )
        text = markdown(rows, beside)
        for name, content in (("visible.csv", _csv(rows)), ("visible.md", text)):
            with written_whole(arguments.out / name) as file:
                file.write_text(content, encoding="utf-8")
    sys.stdout.write(text)
    return 0


def markdown(rows: Sequence[dict[str, Any]], beside: Sequence[dict[str, Any]] = ()) -> str:
    """The table: all cases, by kind, by contrast; beside a method's Dice on the same cases after ROUNDS, if given."""
    from .report import classed, interval, table, with_interval

    after = {(row["case"], int(row["round"])): row["dice"] for row in beside if row["round"] > 0}
    rounds = [number for number in ROUNDS if any(key[1] == number for key in after)]
    groups = {"all": list(rows)}
    for by in ("kind", "volume", "over brain"):
        named = rows if by == "kind" else classed({"": rows}, by)[""]
        for name in sorted({row[by] for row in named}, key=lambda name: (len(name), name)):
            groups[name] = [row for row in named if row[by] == name]
    lines = []
    for name, group in groups.items():
        shown = with_interval if name == "all" else lambda values: f"{interval(values)[0]:.3f}"
        cells = [shown([row[column] for row in group]) for column in NAMES]
        cells += [
            shown([after[row["case"], number] for row in group if (row["case"], number) in after]) for number in rounds
        ]
        lines.append([name, str(len(group)), *cells])
    heads = ["", "cases", *(f"within {near:g} mm" for near in NEAR_MM), *(f"round {number}" for number in rounds)]
    told = (
        "# What densities give away\n\nMean Dice of the best threshold on the smoothed CT, looked for no further than "
        "so far from the truth; smoothing, threshold and upper end are chosen for each case with the truth at hand. "
        "Nobody who does not know the truth reaches it by density alone; shape, anatomy and strokes tell more.\n\n"
    )
    return told + table(heads, lines)


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in row.items()} for row in rows
    )
    return out.getvalue()
