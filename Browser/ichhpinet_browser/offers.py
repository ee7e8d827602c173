"""Reading what was given to the page: a CT, a session, or several series of which the user shall choose."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ichhpinet.dicom import SeriesChoice, SeveralSeries
from ichhpinet.errors import InputError
from ichhpinet.reading import OTHERWISE

from . import cases
from .uploads import UNKNOWN


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
        except InputError as error:
            raise InputError(_in_the_page(str(error), path, uploaded is not None)) from error
        finally:
            if not keep:
                delete(left)

    return read


def _in_the_page(sentence: str, path: Path, uploaded: bool) -> str:
    """The sentence for who has a page, not a command line, and does not know the names that we gave to what came."""
    sentence = sentence.replace(OTHERWISE, "or be said to be on the command line (ichhpinet segment --hu)")
    if not uploaded:
        return sentence
    if sentence.startswith(f"the folder {path.name} holds no DICOM image"):
        return UNKNOWN
    return sentence.replace(path.name, "the file")


def delete(uploaded: Path | None) -> None:
    """What was uploaded, if anything was."""
    if uploaded is not None:
        shutil.rmtree(uploaded, ignore_errors=True)
