"""The one door to SimpleITK: imported on first use, quiet on request, and its errors told apart from ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


def simpleitk() -> Any:
    """The SimpleITK module. Typed Any: its type hints differ between the releases that are supported."""
    import SimpleITK

    return SimpleITK


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """ITK's warnings stay off stderr inside; they are as they were afterwards."""
    switch = simpleitk().ProcessObject
    shown = switch.GetGlobalWarningDisplay()
    switch.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        switch.SetGlobalWarningDisplay(shown)
