"""Session: rounds on one open volume, atomic, undoable, restorable. Check, compute, then commit."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ichhpinet.corrections import Correction
from ichhpinet.decision import boldness
from ichhpinet.errors import InputError
from ichhpinet.history import History
from ichhpinet.memory import Packed, RoundState, from_bytes, to_bytes
from ichhpinet.networks import Memory
from ichhpinet.paths import as_path
from ichhpinet.predictor import Cancel, EncodedVolume, Predictor, Progress, axis_notes, watch
from ichhpinet.preprocessing import working_grid, working_strokes
from ichhpinet.result import RoundResult, render_mask
from ichhpinet.scribbles import Scribbles
from ichhpinet.sessionfile import SavedSession, read_session, write_session
from ichhpinet.uncertainty import round_uncertainty
from ichhpinet.volume import CTVolume

logger = logging.getLogger(__name__)

Masks = TypeVar("Masks", NDArray[np.bool_], torch.Tensor)


class Session:
    """The interaction on one volume. Made by `Predictor.open` or `Session.restore`.

    Rounds form a tree: refining after an undo or `return_to` starts a branch, and nothing is ever thrown away.
    """

    def __init__(self, predictor: Predictor, volume: CTVolume, encoded: EncodedVolume) -> None:
        self.volume = volume
        self._predictor = predictor
        self._encoded = encoded
        self._history = History()  # swapped whole: whoever reads it meets no half of a change
        self._before_newest: tuple[History, History] | None = None  # around the round just computed
        self._busy = threading.Lock()

    # -- reading -----------------------------------------------------------------------------------------------------

    @property
    def notes(self) -> tuple[str, ...]:
        """What reading and opening did or assumed, a sentence each."""
        return self.volume.notes + axis_notes(self._encoded.grid, self.volume)

    @property
    def features_bytes(self) -> int:
        """What the image's features take in memory; closing and restoring the session builds them anew."""
        return self._encoded.nbytes

    @property
    def current(self) -> RoundResult | None:
        """The round that the next one starts from; None before the first."""
        history = self._history
        return None if history.current is None else self._result(history, history.current)

    @property
    def rounds(self) -> list[RoundResult]:
        """The line from the first round to the current one."""
        history = self._history
        return [self._result(history, number) for number in history.line]

    @property
    def all_rounds(self) -> list[RoundResult]:
        """Every round there ever was, branches left behind included, by number."""
        history = self._history
        return [self._result(history, number) for number in sorted(history.states)]

    def _result(self, history: History, number: int) -> RoundResult:
        state = history.states[number]
        parent = None if state.parent is None else history.states[state.parent]
        return RoundResult(state, parent, self._encoded.grid)

    # -- rounds ------------------------------------------------------------------------------------------------------

    def refine(self, strokes: Scribbles, progress: Progress | None = None, cancel: Cancel | None = None) -> RoundResult:
        """One round from the new strokes.

        Raises: InputError (no strokes, another grid, a round already under way), Cancelled. Either way, and whatever
        else goes wrong, the session is as it was.
        """
        if not isinstance(strokes, Scribbles):
            raise InputError(f"the strokes are a {type(strokes).__name__}; they must be Scribbles")
        if strokes.shape != self.volume.shape:
            raise InputError(f"the strokes are on a grid of {strokes.shape}; the volume is {self.volume.shape}")
        if strokes.is_empty:
            raise InputError("there are no strokes; paint at least one, or ask for a proposal before the first round")
        return self._round(strokes, progress, cancel)

    def propose(self, progress: Progress | None = None, cancel: Cancel | None = None) -> RoundResult:
        """A first round with no strokes at all. Raises: InputError where there is a current round, Cancelled."""
        if (current := self._history.current) is not None:
            raise InputError(f"a proposal starts a line of rounds; this one is at round {current}: undo it first")
        return self._round(Scribbles(np.zeros(self.volume.shape, bool)), progress, cancel)

    def _round(self, strokes: Scribbles, progress: Progress | None, cancel: Cancel | None) -> RoundResult:
        with self._alone():
            began = time.perf_counter()
            tick = watch(progress, cancel, "refining")
            tick(0.0)
            state = self._compute(strokes, tick, began)
            tick(1.0)
            history = self._commit(state)
        return self._result(history, state.number)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise InputError("a round is under way on this volume; wait for it, or cancel it")
        try:
            yield
        finally:
            self._busy.release()

    def _compute(self, strokes: Scribbles, tick: Callable[[float], None], began: float) -> RoundState:
        """The next state, from the current state, the image and the strokes alone."""
        grid, before = self._encoded.grid, self._history.state
        new = working_strokes(strokes, grid, partial(tick, 0.02))
        painted, foreground, background = new, strokes.foreground, strokes.background
        previous, memory, bold = torch.zeros(grid.shape, dtype=torch.float32), Memory.empty(self._encoded.image), 0.0
        if before is not None:
            painted = torch.stack(_newest(*torch.from_numpy(before.painted.array()), *new))
            old = before.foreground.array().astype(bool), before.background.array().astype(bool)
            foreground, background = _newest(*old, foreground, background)
            previous, memory = from_bytes(before.probability), before.memory(self._encoded.image.device)
            if before.corrected:  # a proposal is timid on purpose: to contradict it says nothing about the line
                bold = boldness(before.boldness, previous, new, grid.spacing_mm)
        touched = new.any(0).flatten(1).any(1)
        within = partial(_within, tick)
        if strokes.is_empty:
            arrays = self._predictor.compute_proposal(self._encoded, within)
        else:
            arrays = self._predictor.compute_round(self._encoded, previous, painted, touched, memory, within, bold)
        corrected = before is not None and bool(before.corrected)
        given = Correction(previous, new, painted, grid.spacing_mm, partial(tick, 0.97), corrected)
        if before is None:
            arrays = self._predictor.heed_first(arrays, self._encoded, given, lambda done: tick(0.95 + 0.02 * done))
        else:
            arrays = self._predictor.heed(arrays, self._encoded, given)
        probability = to_bytes(arrays.probability)
        remembered = torch.nonzero(arrays.memory.corrected[0]).flatten().cpu()
        mask = render_mask(from_bytes(probability), grid, foreground, background, partial(tick, 0.98))
        return RoundState(
            number=self._history.next_number,
            parent=self._history.current,
            volume_ml=float(np.count_nonzero(mask)) * self.volume.voxel_ml,
            foreground=Packed.of(foreground),
            background=Packed.of(background),
            new_foreground=Packed.of(strokes.foreground),
            new_background=Packed.of(strokes.background),
            painted=Packed.of(painted.numpy()),
            probability=probability,
            uncertainty=to_bytes(round_uncertainty(arrays.probability, arrays.volume_probability, painted)),
            corrected=tuple(remembered.tolist()),
            masks=to_bytes(arrays.memory.masks[0].cpu()[remembered]),
            boldness=bold,
            seconds=time.perf_counter() - began,
        )

    def _commit(self, state: RoundState) -> History:
        before, after = self._history, self._history.with_round(state)
        self._before_newest, self._history = (before, after), after
        logger.info("round %d: %.2f ml in %.2f s", state.number, state.volume_ml, state.seconds)
        return after

    # -- going back --------------------------------------------------------------------------------------------------

    def undo(self) -> bool:
        """Go back one step (a round, or a `return_to`); False where there is nothing to undo."""
        with self._alone():
            return self._step(self._history.undone())

    def redo(self) -> bool:
        """The inverse of `undo`; False where nothing was undone, or a round came after."""
        with self._alone():
            return self._step(self._history.redone())

    def _step(self, history: History | None) -> bool:
        self._history = history or self._history
        return history is not None

    def return_to(self, number: int) -> None:
        """Make round `number` the one that the next starts from. Can be undone. Raises: InputError if there is none."""
        with self._alone():
            whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
            if not whole or number not in self._history.states:
                known = ", ".join(str(n) for n in sorted(self._history.states)) or "none yet"
                raise InputError(f"there is no round {number!r}; the rounds are {known}")
            if number != self._history.current:
                self._history = self._history.at(int(number))

    def take_back(self) -> None:
        """Make the round just computed none, for who cannot keep it: nobody has seen its number.

        All is then as before that round, what could be redone as well. Raises: InputError where the last thing that
        happened is not a round.
        """
        with self._alone():
            before, after = self._before_newest or (None, None)
            if before is None or self._history is not after:
                current = self._history.current
                raise InputError(f"the current round is {current}; only the one just computed can be taken back")
            self._history, self._before_newest = before, None

    # -- keeping -----------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the session as one file, beside and then renamed. The CT itself is not in it. Raises: InputError."""
        file = as_path(path, "the session's file")
        with self._alone():
            write_session(file, SavedSession(self.volume.digest(), self._predictor.digest, self._history))

    @classmethod
    def restore(
        cls,
        path: str | Path,
        predictor: Predictor,
        volume: CTVolume,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Session:
        """The session that was saved: past rounds bit for bit, and the same next round.

        Raises: InputError where the file is damaged, or was made on another CT or with other weights.
        """
        if not isinstance(volume, CTVolume):
            raise InputError(f"the volume is a {type(volume).__name__}; it must be a CTVolume (see read_volume)")
        if not isinstance(predictor, Predictor):
            raise InputError(f"the predictor is a {type(predictor).__name__}; it must be a Predictor")
        saved = read_session(as_path(path, "the session's file"))
        if not volume.is_digest(saved.volume_digest):
            raise InputError("the session was made on another CT; open it on the CT that it was saved with")
        if saved.weights_digest != predictor.digest:
            raise InputError(
                f"the session was made with weights {saved.weights_digest[:12]}; these are {predictor.digest[:12]}"
            )
        config = predictor.config
        saved.check(volume.shape, working_grid(volume, config.pixel_mm, config.min_slice_mm).shape)
        session = predictor.open(volume, progress, cancel)
        session._history = saved.history
        return session


def _within(tick: Callable[[float], None], fraction: float) -> None:
    """The network's share of a round's progress."""
    tick(0.05 + 0.9 * fraction)


def _newest(foreground: Masks, background: Masks, new_fg: Masks, new_bg: Masks) -> tuple[Masks, Masks]:
    """All strokes so far: where old and new overlap, the newest wins. Arrays or tensors."""
    return (foreground & ~new_bg) | new_fg, (background & ~new_fg) | new_bg
