"""A ledger on disk: one line a finished job, so that work that was stopped at any moment goes on where it was."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ichhpinet.errors import InputError


class Ledger:
    """JSON lines; the first holds what makes the lines comparable. A line cut short by a kill is taken off.

    Only one process writes. Raises InputError: the file was begun with another setup, or is no ledger.
    """

    def __init__(self, path: Path, setup: dict[str, Any]) -> None:
        self._path = path
        setup = json.loads(json.dumps(setup))  # tuples become lists, as they will when read
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"setup": setup}) + "\n", encoding="utf-8")
        self._mend()
        if self._setup() != setup:
            raise InputError(f"{path.name} was begun with another setup; take another folder, or delete it")
        self.known = {key for key, _ in self}

    def append(self, key: str, value: Any) -> None:
        """One more finished job; numbers that JSON has no word for (nan, inf) are kept."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, value]) + "\n")
        self.known.add(key)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """(key, value) of every line, read one at a time."""
        with self._path.open(encoding="utf-8") as file:
            next(file)
            for line in file:
                key, value = json.loads(line)
                yield key, value

    def _setup(self) -> Any:
        with self._path.open(encoding="utf-8") as file:
            try:
                return json.loads(file.readline())["setup"]
            except (ValueError, KeyError, TypeError):
                raise InputError(f"{self._path.name} is no ledger; its first line must hold its setup") from None

    def _mend(self) -> None:
        """Take off a last line without an end: its job is done again."""
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with self._path.open("r+b") as file:
                file.truncate(whole)


def plain(value: Any) -> Any:
    """For a CSV: six digits of a float, nothing for nan."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value
