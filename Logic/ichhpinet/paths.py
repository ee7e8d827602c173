"""What callers give as a path, and files that are written whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ichhpinet.errors import InputError


def as_path(given: str | os.PathLike[str], what: str) -> Path:
    """The path of `what`, a file or a folder. Raises InputError for what is no path."""
    try:
        path = Path(given)
    except TypeError:
        raise InputError(f"{what} is a {type(given).__name__}; it must be a path") from None
    if "\0" in str(path):
        raise InputError(f"{what} has a null character in its path; it must be one that the system takes")
    return path


@contextmanager
def written_whole(path: Path, ending: str = ".writing") -> Iterator[Path]:
    """A new file beside `path` to write to; at the end it takes the place of `path`. An error leaves `path` as it was.

    ending: of the new file's name, for writers that go by it.
    """
    beside = path.with_name(f".{uuid.uuid4().hex}{ending}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
