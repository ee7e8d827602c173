"""The sheet of a study's worst cases, from the masks that the runner kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..datasets.loading import load_entry
from ..datasets.manifest import Manifest
from ..gallery import Shown, draw_gallery
from ..keptmasks import kept_mask, mask_path
from .statistics import at_round

Row = dict[str, Any]


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

    def cases() -> Iterator[Shown]:
        for row in shown:
            loaded = load_entry(manifest, entries[row["case"]])
            yield Shown(row, loaded.volume, kept_mask(mask_path(out, method, row["case"])), loaded.truth)

    draw_gallery(path, len(shown), cases())
    return [str(row["case"]) for row in shown]
