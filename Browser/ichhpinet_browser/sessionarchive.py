"""A session as one file: the CT, the rounds, their strokes and the engine's memory, in a zip of NRRD, NPZ and JSON.

Read as images and numbers only: no scene file, no code, no path of the file's own is followed.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichhpinet.errors import InputError
from ichhpinet.reading import read_volume
from ichhpinet.volume import CTVolume
from ichhpinet.writing import write_volume
from ICHHPINetSlicer.boxes import Boxed

FORMAT = "ichhpinet page session 1"
INDEX, CT, ARRAYS, MEMORY = "page.json", "ct.nrrd", "rounds.npz", "memory.hps"
FILES = (INDEX, CT, ARRAYS, MEMORY)
PENDING = "pending"  # in ARRAYS: strokes that no round has used; the others are rounds, by number
STROKES = 2  # in ARRAYS: a round's voxel is strokes * 2 + mask
LARGEST_STROKE = 2
LARGEST_LABEL = LARGEST_STROKE * STROKES + 1
ARRAY_HEADER_BYTES = 4096
MOST_ROUNDS = 1000
NOT_OURS = "the file is no session of this page, or damaged; it must be one that was downloaded here"


@dataclass(frozen=True)
class KeptRound:
    """One round. labels: uint8, strokes * 2 + mask, in their box.

    A thin-slice CT has a hundred million voxels, and a session dozens of rounds: whole grids would fill the memory.
    """

    number: int
    parent: int | None
    seconds: float
    labels: Boxed

    @classmethod
    def of(cls, number: int, parent: int | None, seconds: float, mask: Boxed, strokes: Boxed) -> KeptRound:
        """mask: of bool. strokes: of uint8, 1 foreground, 2 background."""
        both = strokes.holding(strokes.part * np.uint8(STROKES)), mask.holding(mask.part.astype(np.uint8))
        return cls(number, parent, seconds, Boxed.summed(*both))

    @property
    def mask_box(self) -> Boxed:
        """Of bool."""
        return self.labels.holding(self.labels.part % STROKES > 0)

    @property
    def strokes_box(self) -> Boxed:
        """Of uint8: 1 foreground, 2 background."""
        return self.labels.holding(self.labels.part // STROKES)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(D, H, W) bool."""
        return self.mask_box.whole()

    @property
    def strokes(self) -> NDArray[np.uint8]:
        """(D, H, W) uint8: 1 foreground, 2 background."""
        return self.strokes_box.whole()


@dataclass(frozen=True)
class KeptSession:
    """Everything on one CT. memory: the bytes of the engine's session file.

    pending: strokes that no round has used, uint8, 1 foreground, 2 background.
    """

    ct: CTVolume
    rounds: tuple[KeptRound, ...]
    current: int | None
    pending: Boxed
    memory: bytes | None


def write_archive(path: Path, kept: KeptSession, folder: Path) -> None:
    """Write `path`. folder: an empty one for what is being packed. Raises: OSError."""
    write_volume(folder / CT, kept.ct)
    with zipfile.ZipFile(folder / ARRAYS, "w", zipfile.ZIP_DEFLATED) as arrays:  # as NumPy does, but one at a time
        _add_array(arrays, PENDING, kept.pending.whole())
        for one in kept.rounds:
            _add_array(arrays, str(one.number), one.labels.whole())
    if kept.memory is not None:
        (folder / MEMORY).write_bytes(kept.memory)
    rows = [{"number": one.number, "parent": one.parent, "seconds": one.seconds} for one in kept.rounds]
    index = {"format": FORMAT, "current": kept.current, "rounds": rows, "notes": list(kept.ct.notes)}
    (folder / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # what is in it is deflated already
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)


def _add_array(archive: zipfile.ZipFile, name: str, array: NDArray[np.uint8]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


def files_in(names: list[str]) -> dict[str, str]:
    """Of the names in a zip, those of a session of this page, by file; {} where there is none, or several.

    It may lie in a folder: that is how a session comes that was unpacked and packed again.
    """
    folders = [name.removesuffix(INDEX) for name in names if name.split("/")[-1] == INDEX]
    return {file: folders[0] + file for file in FILES if folders[0] + file in names} if len(folders) == 1 else {}


def read_archive(folder: Path) -> KeptSession:
    """A session that was unpacked into `folder`. Raises: InputError for what `write_archive` did not write."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index["format"] != FORMAT:
            raise InputError(f"the session is {index['format']!r}; it must be {FORMAT!r}")
        rows = [(_whole(row["number"]), _parent(row["parent"]), _seconds(row["seconds"])) for row in index["rounds"]]
        current, notes = _parent(index["current"]), tuple(str(note) for note in index["notes"])
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(NOT_OURS) from None
    _check_links(rows, current)
    read = read_volume(folder / CT)
    ct = CTVolume(read.hu, read.spacing_mm, read.origin, read.direction, notes)
    with _arrays(folder / ARRAYS, ct.shape) as read_array:
        pending = Boxed.of(read_array(PENDING))
        kept = tuple(KeptRound(*row, Boxed.of(read_array(str(row[0])))) for row in rows)
    if pending.part.size and pending.part.max() > LARGEST_STROKE:
        raise InputError(NOT_OURS)
    memory = (folder / MEMORY).read_bytes() if (folder / MEMORY).exists() else None
    return KeptSession(ct, kept, current, pending, memory)


@contextmanager
def _arrays(path: Path, shape: tuple[int, ...]) -> Iterator[Callable[[str], NDArray[np.uint8]]]:
    """What reads an array by name, (D, H, W) uint8. Nothing is unpacked that is larger than the CT has voxels; pickles
    are refused."""
    largest = int(np.prod(shape)) + ARRAY_HEADER_BYTES
    try:
        with zipfile.ZipFile(path) as packed:
            if any(entry.file_size > largest for entry in packed.infolist()):
                raise InputError(NOT_OURS)
        with np.load(path, allow_pickle=False) as arrays:
            yield lambda name: _checked_array(arrays[name], shape)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        raise InputError(NOT_OURS) from None


def _checked_array(array: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    if array.shape != shape or array.dtype != np.uint8 or array.max() > LARGEST_LABEL:
        raise InputError(NOT_OURS)
    return array


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


def _seconds(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise InputError(NOT_OURS)
    return float(value)


def _parent(value: Any) -> int | None:
    return None if value is None else _whole(value)
