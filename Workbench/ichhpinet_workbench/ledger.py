"""A ledger on disk: one line a finished job, so that work that was stopped at any moment goes on where it was."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ichhpinet.errors import InputError

BEGINNING = b'{"setup": '


class Ledger:
    """JSON lines; the first holds what makes the lines comparable. A line cut short by a kill is taken off.

    Only one process writes. Raises InputError: the file was begun with another setup, or is no ledger.
    """

    def __init__(self, path: Path, setup: dict[str, Any]) -> None:
        self._path = path
        setup = _as_read(setup)
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._mend() == 0:
            path.write_text(json.dumps({"setup": setup}) + "\n", encoding="utf-8")
        if self._setup() != setup:
            raise _begun_otherwise(path, "setup")
        self.known = {key for key, _ in self}

    def agree(self, key: str, value: Any, what: str) -> None:
        """A fact that is learned later than the setup: kept under its key, the first time.

        what: of the value, for the user. Raises InputError: another value is kept.
        """
        kept = [found for known, found in self if known == key]
        if not kept:
            self.append(key, value)
        elif kept[0] != _as_read(value):
            raise _begun_otherwise(self._path, what)

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
