"""What callers give as a path."""

from __future__ import annotations

import os
from pathlib import Path

from ichhpinet.errors import InputError


def as_path(given: str | os.PathLike[str], what: str) -> Path:
    """The path of `what`, a file or a folder. Raises InputError for what is no path."""
    try:
        return Path(given)
    except TypeError:
        raise InputError(f"{what} is a {type(given).__name__}; it must be a path") from None
