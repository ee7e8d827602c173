"""Seats: a page process a tab, at most N; one is kept warm, those that are left are ended. Knows no HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes.util
import logging
import os
import secrets
import shutil
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .pageprocess import READY
from .settings import AWAY_SECONDS, LEFT_SECONDS, RELOAD_SECONDS, START_SECONDS, UNSEEN_SECONDS, PageSettings

logger = logging.getLogger(__name__)

REAP_SECONDS = 1.0
SETTLE_SECONDS = 4.0  # after a page was given, before the next spare is started beside it
PIPE_BYTES = 1 << 16
STALE_SECONDS = 60.0  # a connection ends within moments of its page's goodbye: an older one was another tab's


class Full(Exception):
    """All seats are taken."""


class NotStarted(Exception):
    """A page process did not come up."""


@dataclass
class Seat:
    """One tab's process. sockets: how many connections its page has; left_at: when the page said that it was closed."""

    name: str
    settings: PageSettings
    process: asyncio.subprocess.Process
    port: int
    since: float = field(default_factory=time.monotonic)
    sockets: int = 0
    socket: Any = None  # the newest of them
    seen: bool = False
    left_at: float | None = None
    requests: int = 0  # under way: what is being saved, or sent

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process.returncode is None

    def connected(self) -> None:
        """A page's connection came."""
        self.sockets += 1
        self.seen, self.left_at = True, None

    def disconnected(self) -> None:
        """A page's connection went."""
        self.sockets -= 1
        self.since = time.monotonic()
        if self.left_at is not None and self.since - self.left_at > STALE_SECONDS:
            self.left_at = None  # another tab said so long ago, and this one stayed

    def is_left(self, now: float) -> bool:
        """Its page was closed; a page that only reloads is back by then."""
        at_rest = self.sockets == 0 and self.requests == 0
        return at_rest and self.left_at is not None and now - self.left_at > RELOAD_SECONDS

    def is_over(self, now: float) -> bool:
        """Nobody will come back to it."""
        if not self.alive:
            return True
        if self.sockets > 0 or self.requests > 0:
            return False
        if self.left_at is not None:
            return now - self.left_at > LEFT_SECONDS
        return now - self.since > (AWAY_SECONDS if self.seen else UNSEEN_SECONDS)


class Seats:
    """Every seat. folder: private, holds theirs. likeness: the settings that each page gets, but key and folder."""

    def __init__(self, most: int, folder: Path, likeness: PageSettings) -> None:
        self.most, self.folder, self._likeness = most, folder, likeness
        self._taken: dict[str, Seat] = {}
        self._spare: asyncio.Task[Seat] | None = None
        self._reaper: asyncio.Task[None] | None = None
        self._ends: set[asyncio.Task[None]] = set()
        self._starting = 0

    def open(self) -> None:
        """Begin to keep one seat warm."""
        self._reaper = asyncio.get_running_loop().create_task(self._reap())
        self._warm()

    async def close(self) -> None:
        """End every process and delete every folder."""
        if self._reaper is not None:
            self._reaper.cancel()
        if self._spare is not None:
            with contextlib.suppress(NotStarted, asyncio.CancelledError):
                self._taken["spare"] = await self._spare
        await asyncio.gather(*(self._end(seat) for seat in list(self._taken.values())), *self._ends)
        self._taken = {}

    def find(self, name: str) -> Seat | None:
        """The seat of this name, while its process runs."""
        seat = self._taken.get(name)
        return seat if seat is not None and seat.alive else None

    def taken(self) -> list[Seat]:
        """Every seat that a page has."""
        return list(self._taken.values())

    async def take(self) -> Seat:
        """A seat. Raises: Full, NotStarted."""
        self._free(force=len(self._taken) + self._starting >= self.most)
        if len(self._taken) + self._starting >= self.most:
            raise Full
        self._starting += 1
        try:
            seat = await self._warm_one()
        finally:
            self._starting -= 1
        seat.since = time.monotonic()
        self._taken[seat.name] = seat
        return seat

    async def _warm_one(self) -> Seat:
        spare, self._spare = self._spare, None
        if spare is not None:
            with contextlib.suppress(NotStarted):
                seat = await spare
                if seat.alive:
                    return seat
        return await self._start()

    def _warm(self) -> None:
        """Start a spare, but not while the page that came last is still settling in."""
        settling = any(time.monotonic() - seat.since < SETTLE_SECONDS for seat in self._taken.values())
        if self._spare is None and len(self._taken) < self.most and not settling and not self._starting:
            self._spare = asyncio.get_running_loop().create_task(self._start())
            self._spare.add_done_callback(lambda task: task.cancelled() or task.exception())  # told when it is taken

    async def _start(self) -> Seat:
        name, key = secrets.token_hex(16), secrets.token_hex(32)  # lower case: trame lowers addresses
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir(mode=0o700)
        samples = self._likeness.samples or str(self.folder / "sample")
        settings = replace(self._likeness, key=key, folder=str(folder), samples=samples)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ichhpinet_browser.pageprocess",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=PIPE_BYTES,
            start_new_session=True,  # Ctrl+C in the terminal is for the front door, which ends it in order
            env=_environment(),
        )
        seat = Seat(name, settings, process, 0)
        try:
            process.stdin.write((settings.to_line() + "\n").encode())  # type: ignore[union-attr]
            seat.port = await asyncio.wait_for(_port(process), START_SECONDS)
        except (asyncio.TimeoutError, OSError, ValueError) as error:
            await self._end(seat)
            raise NotStarted from error
        return seat

    def _free(self, force: bool = False) -> None:
        """End the seats that are over; with force, those too whose page was closed, and does not only reload."""
        now = time.monotonic()
        for name, seat in list(self._taken.items()):
            if seat.is_over(now) or (force and seat.is_left(now)):
                del self._taken[name]
                task = asyncio.get_running_loop().create_task(self._end(seat))
                self._ends.add(task)
                task.add_done_callback(self._ends.discard)

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(REAP_SECONDS)
            self._free()
            self._warm()

    async def _end(self, seat: Seat) -> None:
        if seat.alive:
            if seat.process.stdin is not None:
                seat.process.stdin.close()
            try:
                await asyncio.wait_for(seat.process.wait(), 3.0)
            except asyncio.TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    seat.process.kill()
                await seat.process.wait()
        shutil.rmtree(seat.settings.folder, ignore_errors=True)


async def _port(process: asyncio.subprocess.Process) -> int:
    """From the line that the process writes when it serves. Raises: ValueError when it ended before."""
    while line := (await process.stdout.readline()).decode():  # type: ignore[union-attr]
        if line.startswith(READY):
            return int(line[len(READY) :])
    raise ValueError("the page process ended")


def _environment() -> dict[str, str]:
    """Ours; without a screen, VTK is told to draw without one at once, instead of complaining first."""
    environment = dict(os.environ)
    if sys.platform == "linux" and not environment.get("DISPLAY") and ctypes.util.find_library("EGL"):
        environment.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    return environment
