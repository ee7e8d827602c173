"""A ledger on disk: one line a finished job, so that work that was stopped at any moment goes on where it was."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ichhpinet.errors import InputError

BEGINNING = b'{"setup": '
AGREED = "agreed: "  # begins the keys of what is no job


class Ledger:
    """JSON lines; the first holds what makes the lines comparable. A line cut short by a kill is taken off.

    Only one process writes. A file without a finished job is begun anew. Raises InputError: there are jobs of another
    setup, or it is no ledger.
    """

    def __init__(self, path: Path, setup: dict[str, Any]) -> None:
        self._path, self._made_for = path, _as_read(setup)
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._mend() == 0 or (self._setup() != self._made_for and not self._has_jobs()):
            self._begin()
        if self._setup() != self._made_for:
            raise _begun_otherwise(path, "setup")
        self.known = {key for key, _ in self}

    def agree(self, key: str, value: Any, what: str) -> None:
        """A fact that is learned later than the setup: kept under its key, the first time.

        what: of the value, for the user. Raises InputError: another value is kept.
        """
        key, value = AGREED + key, _as_read(value)
        kept = dict(self).get(key, value)
        if kept != value and self._has_jobs():
            raise _begun_otherwise(self._path, what)
        if kept != value:
            self._begin()
        if key not in self.known:
            self.append(key, value)

    def append(self, key: str, value: Any) -> None:
        """One more finished job; numbers that JSON has no word for (nan, inf) are kept."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, value]) + "\n")
        self.known.add(key)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """(key, value), read one line at a time; of a job that two commands did at once, the first."""
        read: set[str] = set()
        with self._path.open(encoding="utf-8") as file:
            next(file)
            for line in file:
                key, value = json.loads(line)
                if key not in read:
                    read.add(key)
                    yield key, value

    def _begin(self) -> None:
        self._path.write_text(json.dumps({"setup": self._made_for}) + "\n", encoding="utf-8")
        self.known = set()

    def _has_jobs(self) -> bool:
        return any(not key.startswith(AGREED) for key, _ in self)

    def _setup(self) -> Any:
        with self._path.open(encoding="utf-8") as file:
            try:
                return json.loads(file.readline())["setup"]
            except (ValueError, KeyError, TypeError):
                raise _no_ledger(self._path) from None

    def _mend(self) -> int:
        """Take off a last line without an end: its job is done again. How many bytes are whole."""
        content = self._path.read_bytes() if self._path.exists() else b""
        whole = content.rfind(b"\n") + 1
        if not whole and not BEGINNING.startswith(content[: len(BEGINNING)]):
            raise _no_ledger(self._path)  # what somebody else wrote is left alone
        if whole < len(content):
            with self._path.open("r+b") as file:
                file.truncate(whole)
        return whole


def _as_read(value: Any) -> Any:
    """Tuples become lists, as they will when read."""
    return json.loads(json.dumps(value))


def _begun_otherwise(path: Path, what: str) -> InputError:
    return InputError(f"{path.name} was begun with another {what}; take another folder, or delete it")


def _no_ledger(path: Path) -> InputError:
    return InputError(f"{path.name} is no ledger; its first line must hold its setup")


def plain(value: Any) -> Any:
    """For a CSV: six digits of a float, nothing for nan."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value
