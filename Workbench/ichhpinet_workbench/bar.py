"""A progress bar on stderr: one line that is rewritten on a terminal, a line every tenth elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

WIDTH = 28
REDRAW_SECONDS = 0.1


class Bar:
    """Call it with (fraction, what), as the engine's progress callables are; `with` ends its line in any case."""

    def __init__(self, title: str, stream: TextIO | None = None) -> None:
        self._title, self._stream = title, sys.stderr if stream is None else stream
        self._began, self._drawn, self._tenth, self._open = time.monotonic(), 0.0, -1, False

    def __call__(self, fraction: float, what: str = "") -> None:
        """fraction: done, in [0, 1]; what: the step at hand."""
        fraction = min(max(fraction, 0.0), 1.0)
        if self._stream.isatty():
            self._redraw(fraction, what)
        elif int(fraction * 10) > self._tenth:
            self._tenth = int(fraction * 10)
            self._stream.write(f"{self._title}: {fraction:.0%} {what}\n")
            self._stream.flush()

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open:
            self._stream.write("\n")
            self._stream.flush()
            self._open = False

    def _redraw(self, fraction: float, what: str) -> None:
        now = time.monotonic()
        if fraction < 1 and now - self._drawn < REDRAW_SECONDS:
            return
        self._drawn, self._open = now, True
        filled = round(WIDTH * fraction)
        left = (now - self._began) * (1 - fraction) / fraction if fraction > 0.02 else 0.0
        line = f"{self._title} [{'=' * filled}{' ' * (WIDTH - filled)}] {fraction:4.0%} {_clock(left)} {what}"
        self._stream.write("\r" + line[:118].ljust(118))
        self._stream.flush()


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} left" if seconds >= 1 else ""
