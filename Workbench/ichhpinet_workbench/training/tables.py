"""The CSV files of a run: a row at a time, and cut back to where the run goes on."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from ichhpinet.paths import written_whole


def append_row(path: Path, row: Mapping[str, float]) -> None:
    """One more row, with a heading in a new file. Five digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow({key: round(value, 5) for key, value in row.items()})


def cut_rows(path: Path, step: int) -> None:
    """Take off rows of a later `step` than this, and a last one that a kill cut: a run that goes on does them again."""
    if not path.exists():
        return
    lines = path.read_text().splitlines(keepends=True)
    kept = lines[:1] + [line for line in lines[1:] if line.endswith("\n") and int(line.split(",")[0]) <= step]
    if len(kept) < 2:
        path.unlink()
    elif len(kept) < len(lines):
        with written_whole(path) as beside:
            beside.write_text("".join(kept))
