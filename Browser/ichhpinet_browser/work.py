"""Work on one CT in the page: strokes, rounds, overlays, through ICHHPINetLogic. Tells what to show; computes nothing.

Nothing here waits: a job is asked for, a task polls the engine, and `changed` is called when there is news to show.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichhpinet.errors import InputError
from ICHHPINetSlicer import overlays, rounds
from ICHHPINetSlicer.controls import WINDOWS
from ICHHPINetSlicer.logic import ICHHPINetLogic
from ICHHPINetSlicer.nodes import Node
from ICHHPINetSlicer.worker import POLL_SECONDS

logger = logging.getLogger(__name__)

PREPARING = "Preparing the CT"
SURFACE_SECONDS = 0.1
WAITS = "The CT is being prepared; the most uncertain slice is shown as soon as it is known."
NOTHING_FOUND = "no haemorrhage was found. That does not rule one out: paint a stroke on what you see."
NOT_SHOWN = "The result could not be shown. Nothing else has changed; try again."
NOT_CONTINUED = "The rounds can be seen and saved, not continued. Start anew removes them; strokes not yet used stay."
Say = Callable[[str, str], None]  # kind ('info', 'error'), sentence


@dataclass
class Shown:
    """The switches. strokes: those that made the shown round."""

    mask: bool = True
    changes: bool = False
    uncertainty: bool = False
    strokes: bool = False
    surface: bool = True


class Work:
    """The rounds of one volume. changed: called after everything that the page must show."""

    def __init__(self, logic: ICHHPINetLogic, volume: Node, changed: Callable[[], None], say: Say) -> None:
        self.logic, self.volume = logic, volume
        self.shown = Shown()
        self.auto_refine = False
        self.progress: tuple[float, str] = (0.0, "")
        self.asked: str | None = None  # 'refine' or 'propose': waits until the CT is prepared
        self.prepared = False
        self.stuck = False  # the rounds can be seen, but not continued
        self.seconds = 0.0  # of the last round, from click to mask
        self._changed, self._say = changed, say
        self._uncertainty: tuple[int, NDArray[np.uint8]] | None = None
        self._refused: int | None = None  # the round whose uncertainty was asked for in vain
        self._next = 0
        self._jump_when_known = self._waits = False
        self._closed = False
        self.changes = self.kept = 0  # strokes, rounds and steps so far; how many of them a saved session holds
        self._later = False  # the CT is prepared when the engine is idle
        self._watch: asyncio.Task[None] | None = None
        self._painted_meanwhile = False  # a stroke landed while a look was under way, and nothing was done since

    # -- jobs --------------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether the user waits for something; preparing the CT goes on unseen until a round is asked for."""
        return self.logic.busy and (self.prepared or self.asked is not None)

    def prepare(self) -> None:
        """Let the engine encode the CT while the user looks at it; once it is done with what it may be at."""
        if self.logic.busy:
            self._later = True
            self._start(lambda: None)
            return
        self._later = False
        self._start(lambda: self.logic.open(self.volume, self._prepared, self._failed, self._progress))

    def ask(self, what: str) -> None:
        """'refine' or 'propose', now, or as soon as the CT is prepared. Raises: InputError as the logic does."""
        self._painted_meanwhile = self._jump_when_known = self._waits = False
        if self.logic.busy and not self.prepared:
            self._check(what)
            self.asked = what
            self._changed()
            return
        ask = self.logic.refine if what == "refine" else self.logic.propose
        self._start(lambda: ask(self.volume, self._done, self._failed, self._progress))

    def cancel(self) -> None:
        """End the round under way; one that only waits is not started."""
        self.asked = None
        if self.prepared:
            self.logic.cancel()
        self._changed()

    def stroke(self) -> None:
        """A stroke has landed."""
        if not self.logic.strokes_changed(self.volume):
            return
        self.changes += 1
        self._painted_meanwhile = self.busy
        try:
            if self.auto_refine and not self.busy and self.has_strokes():  # the last one may have been erased
                self.ask("refine")
        finally:
            self._changed()

    def close(self) -> None:
        """No callbacks any more; the logic drops the volume's work with the volume."""
        if self._watch is not None:
            self._watch.cancel()
        self._changed, self._closed = (lambda: None), True

    def _check(self, what: str) -> None:
        """What the logic would refuse at once is refused before waiting."""
        self.logic.strokes_changed(self.volume)
        if what == "refine" and not self.has_strokes():
            raise InputError("there are no strokes; paint at least one, or ask for a proposal before the first round")

    def _start(self, ask: Callable[[], None]) -> None:
        self.progress = (0.0, "")
        ask()
        if self._watch is None or self._watch.done():
            self._watch = asyncio.get_running_loop().create_task(self._poll())
        self._changed()

    async def _poll(self) -> None:
        """Until the engine is idle. Between the last look and the end nothing is awaited: no job can slip in unseen."""
        while True:
            try:
                self.logic.poll()
            except Exception as error:  # a result that could not be shown must not stop the polling
                logger.error("a result could not be shown: %s", type(error).__name__)
                self._say("error", NOT_SHOWN)
            if not self.logic.busy and self._later:
                self.prepare()
            if not self.logic.busy:
                self._look_if_wanted()
            if not self.logic.busy:
                break
            await asyncio.sleep(POLL_SECONDS)
        self._changed()

    def _progress(self, fraction: float, what: str) -> None:
        self.progress = (fraction, what)
        if self.busy:
            self._changed()

    def _prepared(self) -> None:
        self.prepared = True
        what, self.asked = self.asked, None
        if what is not None:
            self.ask(what)

    def _done(self, one: Any) -> None:
        self._uncertainty = None
        self.changes += 1
        self.lay_over()
        before = rounds.rounds_of(self.volume).get(one.parent or 0)
        change = "" if before is None else f" ({one.volume_ml - before.volume_ml:+.1f} ml)"
        found = f"{one.volume_ml:.1f} ml{change} in {one.seconds:.1f} s."
        nothing = one.volume_ml == 0 and before is None
        self._say("info", f"Round {one.number}: {NOTHING_FOUND if nothing else found}")
        if self.auto_refine and self.has_strokes():
            asyncio.get_running_loop().call_soon(self.stroke_again)

    def stroke_again(self) -> None:
        """Strokes that came while a round was under way make the next one, where that is wanted."""
        if self.auto_refine and self.has_strokes() and not self.logic.busy:
            self.ask("refine")

    def _failed(self, kind: str, sentence: str) -> None:
        self._jump_when_known = self._painted_meanwhile = False
        self.prepared, self.asked = True, None  # the next round opens the CT again where that is needed
        self.stuck = self.stuck or kind == "memory"
        text = "Cancelled. Nothing has changed." if kind == "cancelled" else _sentence(sentence)
        if kind == "memory":
            text = f"{text} {NOT_CONTINUED}"
        self._say("info" if kind == "cancelled" else "error", text)
        self._changed()

    # -- going back --------------------------------------------------------------------------------------------------

    def start_anew(self) -> None:
        """Remove rounds that cannot be continued; strokes that no round has used stay. Raises: InputError when busy."""
        self.logic.start_anew(self.volume)
        self.stuck = False
        self._stepped()
        self._uncertainty = None
        self.lay_over()
        self._changed()
        self.prepare()

    def undo(self) -> None:
        """One stroke or round back."""
        self._walk(self.logic.undo)

    def redo(self) -> None:
        """One stroke or round ahead."""
        self._walk(self.logic.redo)

    def go_on_from(self, number: int) -> None:
        """The next round starts from this one."""
        self.logic.return_to(self.volume, number)
        self._stepped()
        self._uncertainty, self._painted_meanwhile = None, False
        self.lay_over()
        self._changed()

    def look_at(self, number: int) -> None:
        """See a round without continuing from it."""
        self.logic.show(self.volume, number)
        self._say("", "")
        self._uncertainty = None
        self.lay_over()
        self._changed()

    def _walk(self, step: Callable[[Node], bool]) -> None:
        step(self.volume)
        self._stepped()
        self._uncertainty, self._painted_meanwhile = None, False  # strokes that an undo brings back are not new
        self.lay_over()
        self._changed()

    def _stepped(self) -> None:
        self.changes += 1
        self._say("", "")  # what was said is of another round

    # -- reading -----------------------------------------------------------------------------------------------------

    def has_strokes(self) -> bool:
        """Whether there is something to refine from."""
        return self.logic.has_strokes(self.volume)

    def current(self) -> rounds.Round | None:
        """The round that the next one starts from."""
        return self.logic.current(self.volume)

    def seen(self) -> rounds.Round | None:
        """The round that is shown."""
        return rounds.rounds_of(self.volume).get(rounds.shown_round(self.volume) or 0)

    # -- over the slices ---------------------------------------------------------------------------------------------

    def switch(self, name: str, on: bool) -> None:
        """One of the switches of `Shown`."""
        setattr(self.shown, name, on)
        self._refused = None  # it may be asked for again
        self.lay_over()
        self._changed()

    def lay_over(self) -> None:
        """Mask, changes, uncertainty, strokes and surface, as they are switched."""
        one = self.seen()
        overlays.show_changes(self.volume, one if self.shown.changes else None)
        overlays.show_uncertainty(self.volume, self._known_uncertainty(one) if self.shown.uncertainty else None)
        if one is None:
            return
        rounds.show_mask(one, self.shown.mask)
        rounds.show_strokes(one, self.shown.strokes)
        asyncio.get_running_loop().call_later(SURFACE_SECONDS, self._lay_surface)
        if not self.logic.busy:
            self._look_if_wanted()

    def _lay_surface(self) -> None:
        """The surface, which takes longest, once the mask and the millilitres are seen."""
        one = None if self._closed else self.seen()
        if one is not None:
            rounds.show_3d(one, self.shown.surface)

    @contextlib.contextmanager
    def mask_alone(self) -> Iterator[None]:
        """For pictures: the mask over the slices in the brain window, and nothing else; all comes back after."""
        mine, self.shown = self.shown, Shown()
        strokes, ct = self.logic.strokes_node(self.volume).GetDisplayNode(), self.volume.GetDisplayNode()
        seen, by_itself = (strokes.GetVisibility2D(), ct.GetWindow(), ct.GetLevel()), ct.GetAutoWindowLevel()
        level, width = WINDOWS["brain"]
        try:
            strokes.SetVisibility2D(False)
            ct.AutoWindowLevelOff()
            ct.SetWindowLevel(width, level)
            self.lay_over()
            yield
        finally:
            self.shown = mine
            strokes.SetVisibility2D(seen[0])
            ct.SetWindowLevel(*seen[1:])
            ct.SetAutoWindowLevel(by_itself)
            self.lay_over()

    def mask_place(self) -> tuple[float, float, float] | None:
        """RAS mm: the middle of the largest slice of the mask that is seen; None where none is, or it is empty."""
        one = self.seen()
        if one is None:
            return None
        mask = rounds.round_mask(one, self.volume)
        if not mask.any():
            return None
        weight = mask.astype(np.uint8) * np.uint8(255)
        return overlays.slice_centre_ras(self.volume, weight, int(mask.sum((1, 2)).argmax()))

    def next_uncertain(self) -> tuple[float, float, float] | None:
        """Where the most uncertain slice is, then the next most; None where it is not known yet: it will be said.

        Raises: InputError where there is no round yet.
        """
        one = self.seen()
        if one is None:
            raise InputError("there is no round yet; refine or propose first")
        known = self._known_uncertainty(one)
        if known is None:
            if self.busy:
                raise InputError("the engine is at work; try again in a moment")
            self._jump_when_known, self._refused = True, None
            if self.logic.busy:
                self._waits = True
                self._say("info", WAITS)
            else:
                self._look(one.number)
            return None
        order = overlays.uncertain_slices(known)
        if not order:
            self._say("info", "No slice is uncertain.")
            return None
        index = order[self._next % len(order)]
        self._next += 1
        return overlays.slice_centre_ras(self.volume, known, index)

    on_place: Callable[[tuple[float, float, float]], None] | None = None  # told where to jump once that is known

    def _known_uncertainty(self, one: rounds.Round | None) -> NDArray[np.uint8] | None:
        known = self._uncertainty
        return known[1] if known is not None and one is not None and known[0] == one.number else None

    def _look_if_wanted(self) -> None:
        """The uncertainty of the round that is seen, where it is switched on, or jumped by, and was not refused."""
        one = self.seen()
        wanted = one is not None and (self.shown.uncertainty or self._jump_when_known)
        if one is None or not wanted or self._known_uncertainty(one) is not None or self._refused == one.number:
            return
        try:
            self._look(one.number)
        except InputError as error:
            self._refused, self._jump_when_known = one.number, False
            self._say("error", _sentence(str(error)))

    def _look(self, number: int) -> None:
        def refused(kind: str, sentence: str) -> None:
            self._refused = number
            self._failed(kind, sentence)

        def looked(uncertainty: NDArray[np.uint8]) -> None:
            self._uncertainty, self._next = (number, uncertainty), 0
            self.lay_over()
            if self._jump_when_known:
                self._jump_when_known = False
                if self._waits:
                    self._waits = False
                    self._say("", "")
                place = self.next_uncertain()
                if place is not None and self.on_place is not None:
                    self.on_place(place)
            if self._painted_meanwhile:
                asyncio.get_running_loop().call_soon(self.stroke_again)

        self._start(lambda: self.logic.look(self.volume, number, looked, refused))


def _sentence(text: str) -> str:
    """As it stands in a page: a capital and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
