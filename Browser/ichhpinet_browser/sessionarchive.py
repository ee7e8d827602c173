"""A session as one file: the CT, the rounds, their strokes and the engine's memory, in a zip of NRRD and JSON.

Read as images and numbers only: no scene file, no code, no path of the file's own is followed.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichhpinet.errors import InputError
from ichhpinet.reading import read_labels, read_volume
from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume
from ichhpinet.writing import write_mask, write_volume

FORMAT = "ichhpinet page session 1"
INDEX, CT, MEMORY = "page.json", "ct.nrrd", "memory.hps"
MOST_ROUNDS = 1000
NOT_OURS = "the file is no session of this page, or damaged; it must be one that was downloaded here"


@dataclass(frozen=True)
class KeptRound:
    """One round. mask: (D, H, W) bool. strokes: (D, H, W) uint8, 1 foreground, 2 background."""

    number: int
    parent: int | None
    seconds: float
    mask: NDArray[np.bool_]
    strokes: NDArray[np.uint8]


@dataclass(frozen=True)
class KeptSession:
    """Everything on one CT. pending: strokes that no round has used. memory: the bytes of the engine's session file."""

    ct: CTVolume
    rounds: tuple[KeptRound, ...]
    current: int | None
    pending: NDArray[np.uint8]
    memory: bytes | None


def write_archive(path: Path, kept: KeptSession, folder: Path) -> None:
    """Write `path`. folder: an empty one for what is being packed. Raises: OSError."""
    write_volume(folder / CT, kept.ct)
    _write_labels(folder / "pending.nrrd", kept.pending, kept.ct)
    for one in kept.rounds:
        write_mask(folder / f"round-{one.number}.seg.nrrd", one.mask, kept.ct)
        _write_labels(folder / f"strokes-{one.number}.nrrd", one.strokes, kept.ct)
    if kept.memory is not None:
        (folder / MEMORY).write_bytes(kept.memory)
    rows = [{"number": one.number, "parent": one.parent, "seconds": one.seconds} for one in kept.rounds]
    index = {"format": FORMAT, "current": kept.current, "rounds": rows, "notes": list(kept.ct.notes)}
    (folder / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # what is in it is deflated already
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)


def is_archive(path: Path) -> bool:
    """Whether a zip holds a session of this page."""
    try:
        with zipfile.ZipFile(path) as archive:
            return INDEX in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def read_archive(folder: Path) -> KeptSession:
    """A session that was unpacked into `folder`. Raises: InputError for what `write_archive` did not write."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index["format"] != FORMAT:
            raise InputError(f"the session is {index['format']!r}; it must be {FORMAT!r}")
        rows = [(_whole(row["number"]), _parent(row["parent"]), float(row["seconds"])) for row in index["rounds"]]
        current, notes = _parent(index["current"]), tuple(str(note) for note in index["notes"])
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(NOT_OURS) from None
    _check_links(rows, current)
    read = read_volume(folder / CT)
    ct = CTVolume(read.hu, read.spacing_mm, read.origin, read.direction, notes)
    kept = tuple(_read_round(folder, ct, *row) for row in rows)
    memory = (folder / MEMORY).read_bytes() if (folder / MEMORY).exists() else None
    return KeptSession(ct, kept, current, read_labels(folder / "pending.nrrd", ct), memory)


def _read_round(folder: Path, ct: CTVolume, number: int, parent: int | None, seconds: float) -> KeptRound:
    mask = read_labels(folder / f"round-{number}.seg.nrrd", ct) > 0
    strokes = read_labels(folder / f"strokes-{number}.nrrd", ct)
    Scribbles.from_labels(strokes)  # refuses other labels
    return KeptRound(number, parent, seconds, mask, strokes)


def _check_links(rows: list[tuple[int, int | None, float]], current: int | None) -> None:
    numbers = [number for number, _, _ in rows]
    known = {None, *numbers}
    late = any(parent is not None and parent >= number for number, parent, _ in rows)
    loose = any(parent not in known for _, parent, _ in rows) or current not in known
    if late or loose or len(set(numbers)) < len(numbers) or len(numbers) > MOST_ROUNDS:
        raise InputError(NOT_OURS)


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(NOT_OURS)
    return value


def _parent(value: Any) -> int | None:
    return None if value is None else _whole(value)


def _write_labels(path: Path, labels: NDArray[np.uint8], ct: CTVolume) -> None:
    """A label map as the core reads it: a CT of 0, 1 and 2 would be guessed at, so it goes through SimpleITK."""
    from ichhpinet.itk import simpleitk
    from ichhpinet.volume import image_on_grid

    simpleitk().WriteImage(image_on_grid(np.ascontiguousarray(labels), ct), str(path), useCompression=True)
