"""The one door to SimpleITK: imported on first use, quiet on request, and its errors told apart from ours."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

_lock = threading.Lock()
_quiet = {"inside": 0, "shown": True}  # how many want it quiet, and what it was before the first of them


def simpleitk() -> Any:
    """The SimpleITK module. Typed Any: its type hints differ between the releases that are supported."""
    import SimpleITK

    return SimpleITK


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """ITK's warnings stay off stderr inside, in all threads; they are as they were when the last one leaves."""
    switch = simpleitk().ProcessObject
    with _lock:
        if not _quiet["inside"]:
            _quiet["shown"] = switch.GetGlobalWarningDisplay()
            switch.SetGlobalWarningDisplay(False)
        _quiet["inside"] += 1
    try:
        yield
    finally:
        with _lock:
            _quiet["inside"] -= 1
            if not _quiet["inside"]:
                switch.SetGlobalWarningDisplay(_quiet["shown"])
