"""Cases that could not be judged: kept beside the figures, told in the report, tried again by the next run."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

NAME = "failures.csv"


@dataclass(frozen=True)
class Failure:
    """why: in a line."""

    method: str
    case: str
    why: str


def keep_failures(out: Path, failures: Sequence[Failure]) -> None:
    """Those of the last run; no file where all went well."""
    if not failures:
        (out / NAME).unlink(missing_ok=True)
        return
    with (out / NAME).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Failure)])
        writer.writerows(map(astuple, failures))


def kept_failures(out: Path) -> list[Failure]:
    """What `keep_failures` wrote."""
    if not (out / NAME).exists():
        return []
    with (out / NAME).open(newline="", encoding="utf-8") as file:
        return [Failure(**row) for row in csv.DictReader(file)]
