"""Reading what was given to the page: a CT, a session, or a question to the user with the ways to go on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ichhpinet.dicom import SeriesChoice, SeveralSeries
from ichhpinet.errors import InputError
from ichhpinet.reading import OTHERWISE
from ICHHPINetSlicer.controls import WINDOWS

from . import cases
from .uploads import UNKNOWN, own_names

PICTURES = ("brain", "subdural")  # windows of controls.WINDOWS in which a picture still tells blood from brain
How = Mapping[str, Any]  # what `cases.read` is given beside the path and the progress


@dataclass(frozen=True)
class Way:
    """One answer. words: on its button."""

    words: str
    how: How


@dataclass(frozen=True)
class Offer:
    """What the user is asked. uploaded: deleted when the user is done with it. none: the words of no way at all."""

    path: Path
    uploaded: Path | None
    question: str
    lead: str
    ways: tuple[Way, ...]
    none: str


Read = Callable[[Callable[[float, str], None]], Any]  # given where to tell its progress: a CT, a session or an Offer


def reader(path: Path, uploaded: Path | None, how: How, keep: bool = False) -> Read:
    """Reads, and deletes what was uploaded, but where there is something to choose from, or with `keep`."""

    def read(progress: Callable[[float, str], None]) -> Any:
        left = uploaded
        try:
            return cases.read(path, progress, **how)
        except SeveralSeries as error:
            left = None
            return _which_series(path, uploaded, error.choices)
        except InputError as error:
            sentence = _in_the_page(str(error), path, uploaded is not None)
            if OTHERWISE not in sentence:
                raise InputError(sentence) from error
            left = None
            return _what_values(path, uploaded, sentence, how)
        finally:
            if not keep:
                delete(left)

    return read


def _which_series(path: Path, uploaded: Path | None, choices: tuple[SeriesChoice, ...]) -> Offer:
    return Offer(
        path,
        uploaded,
        "Which series?",
        f"There are {len(choices)} CT series. Take one without contrast agent, with the soft (brain) kernel.",
        tuple(Way(f"Series {one.number}: {one}", {"series": one.uid}) for one in choices),
        "None of them",
    )


def _what_values(path: Path, uploaded: Path | None, sentence: str, how: How) -> Offer:
    """What was guessed can be overruled: who exported the file may know."""
    pictures = tuple(
        Way(f"A picture of the {name} window (level {level}, width {width} HU)", {**how, "window": (level, width)})
        for name in PICTURES
        for level, width in (WINDOWS[name],)
    )
    said = sentence.partition("; they must be HU")[0]
    return Offer(
        path,
        uploaded,
        "What are its values?",
        f"{said[:1].upper()}{said[1:]}. If you know what they are, say so. If that is wrong, so will be the masks.",
        (Way("HU, as they are", {**how, "hounsfield": True}), *pictures),
        "Do not open it",
    )


def _in_the_page(sentence: str, path: Path, uploaded: bool) -> str:
    """The sentence for who has a page, and does not know the names that we gave to what came."""
    if not uploaded:
        return sentence
    if sentence.startswith(f"the folder {path.name} holds no DICOM image"):
        return UNKNOWN
    return own_names(sentence.replace(path.name, "the file"))


def delete(uploaded: Path | None) -> None:
    """What was uploaded, if anything was."""
    if uploaded is not None:
        shutil.rmtree(uploaded, ignore_errors=True)
