"""Worker: the engine off the GUI thread. Starts its process, one job in flight, progress, cancel. Qt-free.

Nothing here waits: whoever owns a clock (a QTimer, an asyncio loop, a test) calls `poll`, and callbacks run inside it.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ichhpinet.errors import InputError

from .engine import Failed, Forget, Job, Knock, serve
from .parcels import sending

logger = logging.getLogger(__name__)

SHORT_WAITS = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}  # GNU's and LLVM's OpenMP: turns, milliseconds
POLL_SECONDS = 0.03  # how often `poll` is best called while busy

KNOCK_SECONDS = 0.005  # an idle engine answers within a millisecond; its job need not wait for the next `poll`
PATIENCE_SECONDS = 15.0  # for a cancel to be heard: after that the engine hangs (a driver, a disk), and is ended

NOT_STARTED = (
    "the engine's process cannot be started; its interpreter may be missing or blocked: install the extension again"
)
STOPPED = "the engine stopped; nothing is lost, and it starts again with the next round"
HUNG = "cancelled: the engine did not answer and was ended; nothing is lost, and it starts again with the next round"

Done = Callable[[Any], None]
Fail = Callable[[Failed], None]
Progress = Callable[[float, str], None]


@dataclass
class _Flight:
    job: Job
    done: Done
    failed: Fail
    progress: Progress | None


class Worker:
    """One engine process, started with the first job, and again after it died.

    python: the interpreter that runs it; in 3D Slicer its PythonSlicer.
    """

    def __init__(self, weights: str | None = None, device: str = "auto", python: str | None = None) -> None:
        self._arguments = (weights, device)
        self._context = multiprocessing.get_context("spawn")
        self._python = python or sys.executable
        self._process: Any = None
        self._pipe: Any = None
        self._pid: int | None = None  # of the interpreter, known once it has answered
        self._stop: Any = None
        self._flight: _Flight | None = None
        self._sending: Iterator[None] | None = None  # the job under way, as far as it is not sent yet
        self._forgotten: list[str] = []  # meanwhile
        self._cancelled_at: float | None = None
        self.starts = 0  # how often a process was started: sessions in an earlier one are gone

    @property
    def busy(self) -> bool:
        """True while a job is under way."""
        return self._flight is not None

    @property
    def alive(self) -> bool:
        """True while the engine's process runs."""
        return self._process is not None and bool(self._process.is_alive())

    def warm_up(self) -> None:
        """Start the process before the first job needs it. Returns at once. If it cannot start, a job says so."""
        if not self.alive:
            with contextlib.suppress(InputError):
                self._start()

    def submit(self, job: Job, done: Done, failed: Fail, progress: Progress | None = None) -> None:
        """Start a job; exactly one of `done` and `failed` is called, by a later `poll`, unless `close` comes first.

        Raises: InputError while another job is under way, and where the process cannot be started.
        """
        if self.busy:
            raise InputError("a round is under way; wait for it, or cancel it")
        if not self.alive:
            self._start()
        self._stop.clear()
        self._flight, self._cancelled_at = _Flight(job, done, failed, progress), None
        self._knock()

    def forget(self, key: str) -> None:
        """Let the engine close the session of `key`, after what it is at. No answer comes."""
        if self.alive:
            self._forgotten.append(key)
            self._send_forgotten()

    def cancel(self) -> None:
        """Ask the job under way to end; it does so within half a second, as 'cancelled'.

        An engine that has not answered after PATIENCE_SECONDS is ended by `poll`.
        """
        if self.busy and self.alive:  # one that was killed may have kept the event's lock; `poll` finds that out
            self._stop.set()
            self._cancelled_at = self._cancelled_at or time.monotonic()

    def poll(self, wait_seconds: float = 0.0) -> bool:
        """Run the callbacks of what the engine has sent; True while a job is under way."""
        while self._flight is not None:
            flight = self._flight
            try:
                if self._sending is not None:
                    self._send_on()
                    if self._sending is not None:  # the rest with later polls: a window is to live on meanwhile
                        break
                if not self._pipe.poll(wait_seconds):
                    if self._cancelled_at is not None and time.monotonic() - self._cancelled_at > PATIENCE_SECONDS:
                        self._kill()
                        self._end(Failed("cancelled", HUNG))
                    break
                message = self._pipe.recv()
            except (EOFError, OSError):
                self._end(Failed("error", STOPPED))
                break
            wait_seconds = 0.0
            if message[0] == "ready":
                self._pid = message[1]
                self._send()
            elif message[0] == "progress" and flight.progress is not None:
                flight.progress(*message[1:])
            elif message[0] == "answer":
                self._flight = None
                (flight.failed if isinstance(message[1], Failed) else flight.done)(message[1])
        return self.busy

    def close(self) -> None:
        """End the process. A job under way is dropped without a callback."""
        self._flight = self._sending = None
        self._forgotten = []
        process, pipe = self._process, self._pipe
        self._pipe = None
        if pipe is not None:
            pipe.close()
        if process is not None:
            if self._stop is not None and process.is_alive():  # one that was killed may have kept the event's lock
                self._stop.set()
            process.join(0.5)
            if process.is_alive():
                if not self._told("SIGTERM"):
                    process.terminate()
                process.join(1.0)
            if process.is_alive():  # it hangs
                self._kill()
                process.join(1.0)  # what waits for a driver or a disk ends when that answers; nobody here waits for it
        self._process = self._pid = None
        self._stop = None  # gives its semaphores back

    def _told(self, name: str) -> bool:
        """Whether a signal went to an interpreter behind a launcher, which ends with it (not the other way round)."""
        pid, process = self._pid, self._process
        if pid is None or pid == process.pid or not process.is_alive() or not hasattr(signal, name):
            return False
        with contextlib.suppress(OSError):
            os.kill(pid, getattr(signal, name))
        return True

    def _kill(self) -> None:
        self._told("SIGKILL")
        self._process.kill()

    def _knock(self) -> None:
        """Ask first whether the process reads (it starts, or it hangs): a CT is more than a pipe holds, and sending
        it would wait, with the whole window, for who does not. The job is sent once 'ready' comes."""
        with contextlib.suppress(EOFError, OSError):  # it died just now: `poll` finds that out, and says it
            self._pipe.send(Knock())
            if self._pipe.poll(KNOCK_SECONDS):
                self._pid = self._pipe.recv()[1]  # 'ready': nothing else is under way
                self._send()

    def _send(self) -> None:
        if self._flight is not None:
            self._sending = sending(self._pipe, self._flight.job)
            self._send_on()

    def _send_on(self) -> None:
        """A part of the job: all of it, but for a large CT."""
        with contextlib.suppress(OSError):  # as above
            for _ in self._sending or ():
                return
        self._sending = None
        self._send_forgotten()

    def _send_forgotten(self) -> None:
        if self._sending is None:
            with contextlib.suppress(OSError):  # it died just now, and its sessions with it
                while self._forgotten:
                    self._pipe.send(Forget(self._forgotten.pop(0)))

    def _start(self) -> None:
        flight = self._flight
        self.close()
        self._flight = flight
        self._context.set_executable(self._python)
        self._pipe, theirs = self._context.Pipe()
        self._stop = self._context.Event()
        self._process = self._context.Process(
            target=serve, args=(theirs, self._stop, *self._arguments), daemon=True, name="ichhpinet engine"
        )
        try:
            with _main_kept_out(), _threads_that_sleep():
                self._process.start()
        except OSError as error:
            self._process = None  # one that never ran cannot be joined
            self._flight = None
            self.close()
            raise InputError(NOT_STARTED) from error
        finally:
            theirs.close()
        self.starts += 1

    def _end(self, why: Failed) -> None:
        flight = self._flight
        self._stop = None  # the pipe has ended, so nobody listens: see `close`
        self.close()
        logger.warning("the engine process ended")
        if flight is not None:
            flight.failed(why)


@contextlib.contextmanager
def _threads_that_sleep() -> Iterator[None]:
    """A process started meanwhile has OpenMP threads that soon sleep while they wait, and leave the cores to the views.

    Measured on two cores: beside a round a slice is drawn in 0.07 s instead of 0.09 s, and the round takes as long;
    threads that sleep at once (OMP_WAIT_POLICY=PASSIVE) make it a tenth longer.
    """
    added = {name: value for name, value in SHORT_WAITS.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _main_kept_out() -> Iterator[None]:
    """A process that starts runs its parent's main script anew: one that was given to Slicer (--python-script) too."""
    main = sys.modules["__main__"].__dict__
    kept = {name: main.pop(name) for name in ("__file__", "__spec__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        main.pop("__spec__")
        main.update(kept)
