"""A session on disk: a zip of a JSON index and deflated arrays. Written whole; read without running code."""

from __future__ import annotations

import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from ichhpinet.decision import BOLDEST
from ichhpinet.errors import InputError
from ichhpinet.history import History
from ichhpinet.memory import Packed, RoundState
from ichhpinet.paths import written_whole

FORMAT = "ichhpinet session 1"
PLAIN = ("number", "parent", "seconds", "volume_ml", "corrected", "boldness")

Shape = tuple[int, ...]


@dataclass(frozen=True)
class SavedSession:
    """What a session file holds; digests name the CT and the weights that it belongs to."""

    volume_digest: str
    weights_digest: str
    history: History

    def check(self, native: Shape, working: Shape) -> None:
        """Every array must have the shape that the CT's and the working grid ask for, and unpack to it.

        Raises: InputError. Nothing is unpacked before its shape is right, so that a forged file cannot fill the memory.
        """
        for state in self.history.states.values():
            for name, expected in _expected(state, native, working).items():
                packed: Packed = getattr(state, name)
                if (packed.shape, packed.kind) != expected:
                    raise InputError(
                        f"round {state.number} of the session has {name} {packed.kind} {packed.shape}; "
                        f"this CT needs {expected[1]} {expected[0]}"
                    )
                packed.array()


def _expected(state: RoundState, native: Shape, working: Shape) -> dict[str, tuple[Shape, str]]:
    """Shape and kind of each array of a round."""
    depth, height, width = working
    strokes = ("foreground", "background", "new_foreground", "new_background")
    return {name: (tuple(native), "bool") for name in strokes} | {
        "painted": ((2, depth, height, width), "bool"),
        "probability": ((depth, height, width), "uint8"),
        "uncertainty": ((depth, height // 2, width // 2), "uint8"),
        "masks": ((len(state.corrected), height, width), "uint8"),
    }


def write_session(path: Path, saved: SavedSession) -> None:
    """Write beside `path`, then rename. Raises: InputError where the folder cannot be written to."""
    if not path.name:
        raise InputError("the session has no file name; it must be the path of a file")
    try:
        with written_whole(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive:
            index = {
                "format": FORMAT,
                "volume": saved.volume_digest,
                "weights": saved.weights_digest,
                "current": saved.history.current,
                "past": saved.history.past,
                "future": saved.history.future,
                "rounds": [_write_round(archive, state) for state in saved.history.states.values()],
            }
            archive.writestr("session.json", json.dumps(index))
    except OSError as error:
        raise InputError(f"the session cannot be written as {path.name}; its folder must exist, with room") from error


def _write_round(archive: zipfile.ZipFile, state: RoundState) -> dict[str, Any]:
    entry: dict[str, Any] = {name: getattr(state, name) for name in PLAIN}
    for name in RoundState.PACKED:
        packed: Packed = getattr(state, name)
        archive.writestr(f"{state.number}/{name}", packed.content)
        entry[name] = {"shape": packed.shape, "kind": packed.kind}
    return entry


def read_session(path: Path) -> SavedSession:
    """Read a session file; its arrays stay packed until `check`. Raises: InputError where it is damaged or not ours."""
    try:
        with zipfile.ZipFile(path) as archive:
            index = json.loads(_content(archive, "session.json"))
            if index["format"] != FORMAT:
                raise InputError(f"{path.name} is {index['format']!r}; it must be {FORMAT!r}")
            states = [_read_round(archive, entry) for entry in index["rounds"]]
        history = History(
            {state.number: state for state in states},
            _whole_or_none(index["current"]),
            tuple(_whole_or_none(number) for number in index["past"]),
            tuple(_whole_or_none(number) for number in index["future"]),
        )
        _check_links(history)
        return SavedSession(str(index["volume"]), str(index["weights"]), history)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"there is no file {path.name}; it must be a saved session") from None
    except Exception as error:  # what a forged or damaged zip and JSON can raise is an open list
        raise InputError(f"{path.name} is damaged or no session; it must be a file that `save` wrote") from error


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of an entry. `save` stores entries as they are: one that would swell on reading is not ours."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise InputError("the session holds a compressed entry; it must be a file that `save` wrote")
    return archive.read(name)


def _read_round(archive: zipfile.ZipFile, entry: dict[str, Any]) -> RoundState:
    number = _whole(entry["number"])
    packed = {
        name: Packed(
            tuple(_whole(n) for n in entry[name]["shape"]),
            str(entry[name]["kind"]),
            _content(archive, f"{number}/{name}"),
        )
        for name in RoundState.PACKED
    }
    return RoundState(
        number=number,
        parent=_whole_or_none(entry["parent"]),
        seconds=_positive(entry["seconds"]),
        volume_ml=_positive(entry["volume_ml"]),
        corrected=tuple(_whole(n) for n in entry["corrected"]),
        boldness=_bold(entry.get("boldness", 0.0)),  # older sessions have none
        **packed,
    )


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _positive(value: object) -> float:
    if not _is_number(value) or not 0 <= value < math.inf:
        raise InputError(f"the session holds {value!r} where a time or a volume must be; it must be as `save` wrote it")
    return float(value)


def _bold(value: object) -> float:
    if not _is_number(value) or not abs(value) <= BOLDEST:
        raise InputError(f"the session holds a boldness of {value!r}; it must be within {BOLDEST}, as `save` wrote it")
    return float(value)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InputError("the session holds something else where a whole number must be; it must be as `save` wrote it")
    return value


def _whole_or_none(value: object) -> int | None:
    return None if value is None else _whole(value)


def _check_links(history: History) -> None:
    """Every number that is referred to must be a round, parents come before children, corrected slices ascend."""
    states = history.states
    known = set(states) | {None}
    named = {history.current, *history.past, *history.future, *(state.parent for state in states.values())}
    late = any((state.parent or 0) >= number for number, state in states.items())
    depths = ((state.corrected, state.probability.shape[:1]) for state in states.values())
    loose = any(list(c) != sorted(set(c)) or (c and c[-1:] >= depth) for c, depth in depths)
    if not named <= known or late or loose:
        raise InputError("the session's rounds do not fit together; it must be a file that `save` wrote")
