"""The engine process: holds the predictor and a session a volume, and answers one job at a time. No Slicer, no VTK.

A process of its own, because Qt's event loop starves Python threads in 3D Slicer, and because an engine that runs out
of memory must not take the application with it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ichhpinet.errors import Cancelled, InputError

from .boxes import Boxed
from .parcels import Parcel, received

if TYPE_CHECKING:  # torch is imported in the engine process alone, on its first job
    from ichhpinet.predictor import Predictor
    from ichhpinet.session import Session
    from ichhpinet.volume import CTVolume

logger = logging.getLogger(__name__)

FEATURES_CAP_BYTES = 1 << 30  # image features of volumes that are not in use; the oldest go first, rounds never
TICK_SECONDS = 0.25  # progress is told no more often: each time Slicer draws its whole window anew
ON_THE_CPU = "rounds are computed on the CPU from now on"


@dataclass(frozen=True)
class Open:
    """Have a session for `key`: new, or as `saved` (the bytes of a session file)."""

    key: str
    volume: CTVolume
    saved: bytes | None = None


class _SentByBox:
    """Arrays cross the pipe as the box of what is set in them: they are as large as the CT, and all but empty."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: Boxed.of(value) if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value.whole() if isinstance(value, Boxed) else value)


@dataclass(frozen=True)
class Refine(_SentByBox):
    """A round on `key` from round `parent` (None: from nothing).

    strokes: (D, H, W) uint8, 1 foreground, 2 background; None: propose.
    """

    key: str
    parent: int | None
    strokes: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Look:
    """The uncertainty of a round."""

    key: str
    number: int


@dataclass(frozen=True)
class Forget:
    """Close the session of `key`; a key that is not known is no mistake. Not answered."""

    key: str


@dataclass(frozen=True)
class Knock:
    """Asks whether the process reads; answered with ('ready', its ID)."""


Job = Open | Refine | Look


@dataclass(frozen=True)
class Opened:
    """Answer to Open. rounds: every round of a restored session, by number. notice: what to tell the user, or ''."""

    notes: tuple[str, ...]
    current: int | None
    numbers: tuple[int, ...]
    notice: str = ""


@dataclass(frozen=True)
class Done(_SentByBox):
    """Answer to Refine. mask: (D, H, W) bool. saved: the session file with this round in it. notice: as of Opened."""

    number: int
    parent: int | None
    seconds: float
    volume_ml: float
    mask: NDArray[np.bool_]
    saved: bytes
    notice: str = ""


@dataclass(frozen=True)
class Failed:
    """The job changed nothing. kind: 'cancelled', 'input' (the sentence is for the user), 'memory' or 'error'.

    'memory': the rounds in the scene cannot be continued, and the sentence says why.
    """

    kind: str
    sentence: str


class MemoryRefused(InputError):
    """The saved session of a volume is not one of this CT and these weights, or damaged."""


def refusal(error: InputError) -> Failed:
    """What is answered for a job that was refused."""
    return Failed("memory" if isinstance(error, MemoryRefused) else "input", str(error))


@dataclass
class _Volume:
    volume: CTVolume
    session: Session | None = None
    saved: bytes | None = None
    features_bytes: int = 0


@dataclass
class Engine:
    """Answers jobs. weights: a file, None for the bundled ones; device as `Predictor.load` takes it."""

    weights: str | None = None
    device: str = "auto"
    features_cap_bytes: int = FEATURES_CAP_BYTES
    _predictor: Predictor | None = None
    _volumes: OrderedDict[str, _Volume] = field(default_factory=OrderedDict)
    _notice: str = ""  # not told yet

    def answer(self, job: Job, progress: Any, cancel: Any) -> Any:
        """Do a job; where the GPU fails, on the CPU, with a notice.

        Raises: InputError, Cancelled, and whatever else goes wrong; the sessions are then as they were.
        """
        try:
            return self._with_notice(self._do(job, progress, cancel))
        except RuntimeError as error:
            if self.device == "cpu" or not _of_the_gpu(error):
                raise
            logger.warning("the GPU failed: %s", error)
            self._notice = f"{'the memory of the GPU ran out' if _of_memory(error) else 'the GPU failed'}; {ON_THE_CPU}"
        self._to_cpu()  # outside of the handler: the error's frames hold tensors in the GPU's memory
        return self._with_notice(self._do(job, progress, cancel))

    def _do(self, job: Job, progress: Any, cancel: Any) -> Any:
        if isinstance(job, Open):
            return self._open(job, progress, cancel)
        if isinstance(job, Refine):
            return self._refine(job, progress, cancel)
        return self._look(job, progress, cancel)

    def forget(self, key: str) -> None:
        """Close the session of `key`, if there is one."""
        self._volumes.pop(key, None)

    def _with_notice(self, answer: Any) -> Any:
        if not self._notice or not isinstance(answer, Opened | Done):
            return answer
        notice, self._notice = self._notice, ""
        return replace(answer, notice=notice)

    def _to_cpu(self) -> None:
        """Every session is kept as its file's bytes, and restored on the CPU when it is needed."""
        for entry in self._volumes.values():
            _let_go(entry)
        self._predictor, self.device = None, "cpu"
        import torch

        with contextlib.suppress(RuntimeError):  # of a GPU that does nothing any more
            torch.cuda.empty_cache()

    def _open(self, job: Open, progress: Any, cancel: Any) -> Opened:
        entry = _Volume(job.volume, saved=job.saved)
        session = self._wake(entry, progress, cancel)
        self._volumes[job.key] = entry
        self._use(job.key)
        now = session.current
        return Opened(
            session.notes, None if now is None else now.number, tuple(one.number for one in session.all_rounds)
        )

    def _refine(self, job: Refine, progress: Any, cancel: Any) -> Done:
        from ichhpinet.scribbles import Scribbles

        session = self._session(job.key, progress, cancel)
        began = time.perf_counter()
        _go_to(session, job.parent)
        if job.strokes is None:
            result = session.propose(progress, cancel)
        else:
            result = session.refine(Scribbles.from_labels(job.strokes), progress, cancel)
        try:
            mask, saved = result.mask, _saved(session)
        except BaseException:
            session.take_back()  # a round that cannot be kept is none
            raise
        seconds = time.perf_counter() - began  # from the strokes to the mask on the CT's grid, as the benchmark counts
        return Done(result.number, result.parent, seconds, result.volume_ml, mask, saved)

    def _look(self, job: Look, progress: Any, cancel: Any) -> NDArray[np.uint8]:
        """(D, H, W) uint8, 255 = 1."""
        session = self._session(job.key, progress, cancel)
        found = [one for one in session.all_rounds if one.number == job.number]
        if not found:
            raise InputError(f"there is no round {job.number} on this volume; it must be one of its rounds")
        return np.rint(found[0].uncertainty * 255).astype(np.uint8)

    def _session(self, key: str, progress: Any, cancel: Any) -> Session:
        if key not in self._volumes:
            raise InputError("the volume is not open; it must be opened first")
        session = self._wake(self._volumes[key], progress, cancel)
        self._use(key)
        return session

    def _wake(self, entry: _Volume, progress: Any, cancel: Any) -> Session:
        """The session, opened or restored where its features were let go."""
        from ichhpinet.predictor import Predictor
        from ichhpinet.session import Session

        if entry.session is not None:
            return entry.session
        if self._predictor is None:
            progress(0.0, "loading the network")
            self._predictor = Predictor.load(self.weights, self.device)
        if entry.saved is None:
            entry.session = self._predictor.open(entry.volume, progress, cancel)
        else:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "session.hps"
                file.write_bytes(entry.saved)
                try:
                    entry.session = Session.restore(file, self._predictor, entry.volume, progress, cancel)
                except InputError as error:
                    raise MemoryRefused(str(error)) from None
        entry.features_bytes = entry.session.features_bytes
        return entry.session

    def _use(self, key: str) -> None:
        """This volume is in use; of the others, features above the cap are let go, the longest idle first."""
        self._volumes.move_to_end(key)
        idle = list(self._volumes.values())[:-1]
        held = sum(entry.features_bytes for entry in idle)
        for entry in idle:
            if held <= self.features_cap_bytes:
                return
            held -= entry.features_bytes
            _let_go(entry)


def _let_go(entry: _Volume) -> None:
    """Keep the session as its file's bytes; the image's features are made anew when it is needed."""
    if entry.session is not None:
        entry.saved, entry.session, entry.features_bytes = _saved(entry.session), None, 0


def _of_the_gpu(error: RuntimeError) -> bool:
    return _of_memory(error) or any(word in str(error) for word in ("CUDA", "cuDNN", "CUBLAS"))


def _of_memory(error: RuntimeError) -> bool:
    """torch's OutOfMemoryError, and what libraries under it say when they get no memory on the GPU."""
    text = str(error)
    return type(error).__name__ == "OutOfMemoryError" or ("CU" in text and ("memory" in text or "ALLOC_FAILED" in text))


def _go_to(session: Session, number: int | None) -> None:
    if number is not None:
        session.return_to(number)
        return
    while session.current is not None and session.undo():
        pass


def _saved(session: Session) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "session.hps"
        try:
            session.save(file)
        except InputError:
            raise InputError("there is no room on the disk for temporary files; free some, then try again") from None
        return file.read_bytes()


def serve(pipe: Connection, stop: Any, weights: str | None, device: str) -> None:
    """The process's main: jobs in, ('progress', fraction, what) and ('answer', ...) out, until the pipe closes.

    A `Knock` is answered with ('ready', its ID). stop: a multiprocessing Event, set to cancel the job under way.
    """
    engine, told = Engine(weights, device), 0.0

    def progress(fraction: float, what: str) -> None:
        nonlocal told
        if time.monotonic() - told >= TICK_SECONDS:
            told = time.monotonic()
            if not _sent(pipe, ("progress", fraction, what)):
                stop.set()  # nobody waits for this job any more

    while True:
        try:
            job = pipe.recv()
            if isinstance(job, Parcel):
                job = received(pipe, job)
        except (EOFError, OSError):
            return
        if isinstance(job, Knock):
            if not _sent(pipe, ("ready", os.getpid())):
                return
            continue
        if isinstance(job, Forget):
            engine.forget(job.key)
            continue
        try:
            answer = engine.answer(job, progress, stop.is_set)
        except Cancelled as error:
            answer = Failed("cancelled", str(error))
        except InputError as error:
            answer = refusal(error)
        except BrokenPipeError:  # nobody is there any more: a reload, the end of Slicer
            return
        except MemoryError:
            answer = Failed("error", "the memory of this machine ran out; close other volumes, and try again")
        except Exception as error:  # the process must outlive whatever a job meets
            logger.exception("a job failed")
            answer = Failed("error", f"the engine failed ({type(error).__name__}); nothing has changed")
        if not _sent(pipe, ("answer", answer)):
            return


def _sent(pipe: Connection, message: tuple[Any, ...]) -> bool:
    """False where whoever started this process is gone."""
    try:
        pipe.send(message)
    except OSError:
        return False
    return True
