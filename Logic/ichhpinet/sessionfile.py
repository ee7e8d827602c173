"""A session on disk: a zip of one JSON index and the rounds' deflated arrays. Written whole; read without running code."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ichhpinet.errors import InputError
from ichhpinet.memory import Packed, RoundState

FORMAT = "ichhpinet session 1"
PLAIN = ("number", "parent", "seconds", "volume_ml", "corrected")


@dataclass(frozen=True)
class SavedSession:
    """What a session file holds; digests name the CT and the weights that it belongs to."""

    volume_digest: str
    weights_digest: str
    states: dict[int, RoundState]
    current: int | None
    past: tuple[int | None, ...]
    future: tuple[int | None, ...]


def write_session(path: Path, saved: SavedSession) -> None:
    """Write beside `path`, then rename. Raises: InputError where the folder cannot be written to."""
    beside = path.with_name(path.name + ".writing")
    try:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive:
            index = {
                "format": FORMAT,
                "volume": saved.volume_digest,
                "weights": saved.weights_digest,
                "current": saved.current,
                "past": saved.past,
                "future": saved.future,
                "rounds": [_write_round(archive, state) for state in saved.states.values()],
            }
            archive.writestr("session.json", json.dumps(index))
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InputError(f"the session cannot be written as {path.name}; its folder must exist and have room") from error


def _write_round(archive: zipfile.ZipFile, state: RoundState) -> dict[str, Any]:
    entry: dict[str, Any] = {name: getattr(state, name) for name in PLAIN}
    for name in RoundState.PACKED:
        packed: Packed = getattr(state, name)
        archive.writestr(f"{state.number}/{name}", packed.content)
        entry[name] = {"shape": packed.shape, "kind": packed.kind}
    return entry


def read_session(path: Path) -> SavedSession:
    """Read and check a session file; every array is unpacked once. Raises: InputError where it is damaged or not ours."""
    try:
        with zipfile.ZipFile(path) as archive:
            index = json.loads(archive.read("session.json"))
            if index["format"] != FORMAT:
                raise InputError(f"{path.name} is {index['format']!r}; it must be {FORMAT!r}")
            states = {entry["number"]: _read_round(archive, entry) for entry in index["rounds"]}
        saved = SavedSession(
            index["volume"], index["weights"], states, index["current"], tuple(index["past"]), tuple(index["future"])
        )
        _check_links(saved)
        return saved
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"there is no file {path.name}; it must be a saved session") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InputError(f"{path.name} is damaged or no session; it must be a file that `save` wrote") from error
    except (EOFError, RuntimeError, OverflowError, MemoryError) as error:
        raise InputError(f"{path.name} is damaged; it must be a file that `save` wrote") from error


def _read_round(archive: zipfile.ZipFile, entry: dict[str, Any]) -> RoundState:
    plain = {name: entry[name] for name in PLAIN} | {"corrected": tuple(entry["corrected"])}
    packed = {}
    for name in RoundState.PACKED:
        shape = tuple(int(n) for n in entry[name]["shape"])
        packed[name] = Packed(shape, str(entry[name]["kind"]), archive.read(f"{entry['number']}/{name}"))
        packed[name].array()
    return RoundState(**plain, **packed)


def _check_links(saved: SavedSession) -> None:
    """Every number that is referred to must be a round, and parents must come before their children."""
    known = set(saved.states) | {None}
    named = {saved.current, *saved.past, *saved.future, *(state.parent for state in saved.states.values())}
    if not named <= known or any((s.parent or 0) >= n for n, s in saved.states.items()):
        raise InputError("the session's rounds do not fit together; it must be a file that `save` wrote")
