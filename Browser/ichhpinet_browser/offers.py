"""Reading what was given to the page: a CT, a session, or several series of which the user shall choose."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ichhpinet.dicom import SeriesChoice, SeveralSeries

from . import cases


@dataclass(frozen=True)
class Offer:
    """Several series where one was expected. uploaded: what is deleted when the user is done with it."""

    path: Path
    uploaded: Path | None
    choices: tuple[SeriesChoice, ...]


Read = Callable[[Callable[[float, str], None]], Any]  # given where to tell its progress: a CT, a session or an Offer


def reader(path: Path, series: str | None, uploaded: Path | None, keep: bool = False) -> Read:
    """Reads, and deletes what was uploaded, but where there is something to choose from, or with `keep`."""

    def read(progress: Callable[[float, str], None]) -> Any:
        left = uploaded
        try:
            return cases.read(path, progress, series)
        except SeveralSeries as error:
            left = None
            return Offer(path, uploaded, error.choices)
        finally:
            if not keep:
                delete(left)

    return read


def delete(uploaded: Path | None) -> None:
    """What was uploaded, if anything was."""
    if uploaded is not None:
        shutil.rmtree(uploaded, ignore_errors=True)
