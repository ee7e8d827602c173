"""One command at a time in a folder: a second one is told so, and writes nothing between the lines of the first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ichhpinet.errors import InputError

try:
    import fcntl
except ImportError:  # Windows cannot lock a folder; nothing is locked there
    fcntl = None  # type: ignore[assignment]


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """The folder, made where it is not there yet, held until the end; the system lets go of it even after a kill.

    A folder that was made for nothing is taken away again. Raises InputError where another command holds it, or it
    cannot be made. Folders of a network drive that knows no locks are not held.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the folder {folder.name} cannot be made: {error.strerror}; --out must name another"
        ) from None
    held = _hold(folder)
    try:
        yield
    finally:
        if held is not None:
            os.close(held)
        if made and not any(folder.iterdir()):
            folder.rmdir()


def _hold(folder: Path) -> int | None:
    """What to close at the end. Raises InputError where another command holds it."""
    if fcntl is None:
        return None
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise InputError(
            f"another command is at work in {folder.name}; wait for its end, or name another folder"
        ) from None
    except OSError:  # the drive knows no locks
        pass
    return held
