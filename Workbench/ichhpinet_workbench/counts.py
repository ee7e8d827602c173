"""Whole numbers on the command line, refused where they cannot be meant. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def at_least(least: int) -> Callable[[str], int]:
    """What argparse takes as a `type`: a whole number, `least` or more."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number; it must be {least} or more") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is too few; it must be {least} or more")
        return number

    return read
