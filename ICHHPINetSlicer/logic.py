"""ICHHPINetLogic: a volume node's strokes, rounds and the way back; the engine's jobs, and what becomes of them.

Nothing here blocks: rounds are asked for, and land in the scene when `poll` is called. One volume's work never touches
another's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from ichhpinet.errors import InputError
from ichhpinet.writing import write_mask

from . import overlays, rounds
from .case import Case, find_strokes, shape_of
from .engine import Done, Failed, Job, Look, Open, Opened, Refine
from .history import History, Moment, Strokes
from .nodes import Node, check_image, check_on_grid, ijk_to_ras, straightened_node, volume_from_node
from .observers import Observers
from .rounds import Round
from .worker import Worker

logger = logging.getLogger(__name__)

EDITED = "Round {number} was edited by hand; the round after it went on from the mask as it was computed."

Finished = Callable[[Round], None]
Looked = Callable[[NDArray[np.uint8]], None]
Fail = Callable[[str, str], None]
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Row:
    """A row of the round table. on_line: whether the current round came from it. Without a parent deltas are None."""

    number: int
    volume_ml: float
    delta_ml: float | None
    delta_percent: float | None
    strokes: int
    seconds: float
    current: bool
    on_line: bool


class ICHHPINetLogic:
    """The work on every volume of a scene. worker: the engine's; a new one by default."""

    def __init__(self, scene: Any = None, worker: Worker | None = None) -> None:
        self.scene = scene if scene is not None else slicer.mrmlScene
        self.worker = worker or Worker()
        self._cases: dict[str, Case] = {}
        self._working_on = ""
        self._cancelled = False  # of what was submitted last: the engine may have opened the volume already
        self._opening = False  # whether the engine only opens a volume: nothing of that lands in the scene
        self._applying = False
        self._observers = Observers()
        events = slicer.vtkMRMLScene
        self._observers.add(self.scene, events.NodeAboutToBeRemovedEvent, self._on_node_removed, with_node=True)
        self._observers.add(self.scene, events.StartCloseEvent, self._on_scene_close)

    def close(self) -> None:
        """End the engine and take back every observer. The scene stays as it is."""
        self._observers.remove()
        for case in self._cases.values():
            case.close()
        self._cases = {}
        self.worker.close()

    # -- painting ----------------------------------------------------------------------------------------------------

    def strokes_node(self, volume: Node) -> Node:
        """The segmentation to paint on, with the segments FOREGROUND_ID and BACKGROUND_ID. Made on first use."""
        return self._case(volume).strokes

    def strokes_changed(self, volume: Node) -> bool:
        """Note a finished stroke (or erasure) as a step of its own; False where nothing differs."""
        if self._applying:
            return False
        case = self._case(volume)
        before = case.history
        case.history = before.then(Moment(before.now.number, case.painted()))
        return case.history is not before

    # -- rounds ------------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """True while the engine works."""
        return self.worker.busy

    def open(self, volume: Node, done: Callable[[], None], failed: Fail, progress: Progress | None = None) -> None:
        """Have the engine open a volume ahead of its first round, which then need not wait for it.

        Raises: InputError for what is no head CT, or while the engine works.
        """
        case = self._idle_case(volume)

        def opened(_: Any) -> None:
            self._opening = False
            done()

        def refused(kind: str, sentence: str) -> None:
            self._opening = False
            failed(kind, sentence)

        self._submit(case, None, opened, refused, progress)
        self._opening = self.busy

    def refine(self, volume: Node, done: Finished, failed: Fail, progress: Progress | None = None) -> None:
        """Ask for a round from what is painted. `failed(kind, sentence)`; kind as of `Failed`.

        Raises: InputError at once where there are no strokes, they cannot be used, or a round is under way.
        """
        case = self._idle_case(volume)
        self.strokes_changed(volume)
        strokes = case.history.now.strokes
        if strokes == Strokes.none(shape_of(volume)):
            raise InputError("there are no strokes; paint at least one, or ask for a proposal before the first round")
        self._start(case, strokes, done, failed, progress)

    def propose(self, volume: Node, done: Finished, failed: Fail, progress: Progress | None = None) -> None:
        """Ask for a first round with no strokes. Raises: InputError where the current line has a round already."""
        case = self._idle_case(volume)
        if case.history.now.number is not None:
            raise InputError(f"a proposal comes before the first round; this is round {case.history.now.number}")
        self._start(case, None, done, failed, progress)

    def cancel(self) -> None:
        """End the round under way; nothing has changed then."""
        self._cancelled = self.busy
        self.worker.cancel()

    def poll(self, wait_seconds: float = 0.0) -> bool:
        """Let what the engine has sent land in the scene; True while it works."""
        return self.worker.poll(wait_seconds)

    def undo(self, volume: Node) -> bool:
        """One step back, a stroke or a round; False where there is none. Raises: InputError while the engine works."""
        return self._walk(volume, History.undone)

    def redo(self, volume: Node) -> bool:
        """The inverse of `undo`."""
        return self._walk(volume, History.redone)

    def return_to(self, volume: Node, number: int) -> None:
        """Continue from this round; can be undone. Raises: InputError where there is none."""
        case = self._case(volume) if self._opening else self._idle_case(volume)
        known = rounds.rounds_of(volume)
        if number not in known:
            raise InputError(f"there is no round {number}; the rounds are {', '.join(map(str, known)) or 'none yet'}")
        self.strokes_changed(volume)
        self._apply(case, case.history.then(Moment(number, case.history.now.strokes)))

    def show(self, volume: Node, number: int) -> None:
        """Look at a round without continuing from it."""
        rounds.show_round(volume, number)

    def take_up(self, volume: Node) -> None:
        """Show a volume's work as it was left: its strokes and its current round."""
        case = self._case(volume)
        case.aside = False
        case.strokes.SetDisplayVisibility(True)
        display = case.strokes.GetDisplayNode()
        if display is not None:
            display.SetAllSegmentsVisibility(True)  # Slicer hides them in a scene that is opened after another
        case.show()

    def set_aside(self, volume: Node) -> None:
        """Hide a volume's work, which would lie over another volume; it stays in the scene. So does what lands now."""
        case = self._cases.get(volume.GetID() or "")
        if case is not None and case.volume is volume:
            case.aside = True
            case.strokes.SetDisplayVisibility(False)
            case.show()

    def straighten(self, volume: Node) -> Node:
        """A new volume node on a regular grid, of one that a transform bends. Raises: InputError for what is no CT."""
        self._check_node(volume)
        return straightened_node(volume)

    def start_anew(self, volume: Node) -> None:
        """Remove the volume's rounds and memory, and keep the strokes that are not submitted."""
        case = self._idle_case(volume)
        case.start_anew()
        self.worker.forget(volume.GetID())

    # -- reading -----------------------------------------------------------------------------------------------------

    def accepts(self, volume: Node | None) -> bool:
        """Whether there can be work on this: a volume node of the scene, with one value a voxel, on a regular grid."""
        try:
            self._check(volume)
        except InputError:
            return False
        return True

    def current(self, volume: Node) -> Round | None:
        """The round that the next one starts from."""
        return rounds.rounds_of(volume).get(self._case(volume).history.now.number or 0)

    def has_work(self, volume: Node) -> bool:
        """Whether work on this volume was begun, in this scene or in one that was saved. Begins none."""
        return volume.GetID() in self._cases or find_strokes(volume) is not None or bool(rounds.rounds_of(volume))

    def has_strokes(self, volume: Node) -> bool:
        """Whether something is painted that no round has used yet."""
        return self._case(volume).history.now.strokes != Strokes.none(shape_of(volume))

    def notes(self, volume: Node) -> tuple[str, ...]:
        """What opening the volume assumed, a sentence each; empty before its first round."""
        return self._case(volume).notes

    def can_undo(self, volume: Node) -> bool:
        """Whether `undo` would do something."""
        return self._case(volume).history.can_undo

    def can_redo(self, volume: Node) -> bool:
        """Whether `redo` would do something."""
        return self._case(volume).history.can_redo

    def table(self, volume: Node) -> list[Row]:
        """Every round, by number; those left behind on another branch have `on_line` False."""
        known, case = rounds.rounds_of(volume), self._case(volume)
        now = case.history.now.number
        line = case.line(known, now)
        return [
            Row(
                one.number,
                one.volume_ml,
                one.delta_ml(known),
                one.delta_percent(known),
                one.strokes,
                one.seconds,
                one.number == now,
                one.number in line,
            )
            for one in known.values()
        ]

    def look(self, volume: Node, number: int, done: Looked, failed: Fail) -> None:
        """Ask the engine for a round's uncertainty, (D, H, W) uint8. Raises: InputError as `refine` does."""
        case = self._idle_case(volume)
        if number not in rounds.rounds_of(volume):
            raise InputError(f"there is no round {number}; it must be one of the volume's rounds")
        self._submit(case, Look(volume.GetID(), number), done, failed, None)

    def export(self, volume: Node, number: int, path: str | Path) -> None:
        """Write a round's mask: .seg.nrrd or NIfTI, in place over the CT. Raises: InputError, OSError."""
        known = rounds.rounds_of(volume)
        if number not in known:
            raise InputError(f"there is no round {number}; the rounds are {', '.join(map(str, known)) or 'none yet'}")
        write_mask(path, rounds.round_mask(known[number], volume), volume_from_node(volume))

    # -- one volume's work -------------------------------------------------------------------------------------------

    def _case(self, volume: Node) -> Case:
        """The volume's work: as it is, as the scene has it, or new. Raises: InputError for what is no volume."""
        self._check_node(volume)
        case = self._cases.get(volume.GetID())
        if case is None:
            self._check(volume)
            case = self._cases[volume.GetID()] = Case(volume)
        case.mend()
        return case

    def _idle_case(self, volume: Node) -> Case:
        if self.busy:
            raise InputError("a round is under way; wait for it, or cancel it")
        self._check(volume)
        return self._case(volume)

    def _check(self, volume: Node | None) -> None:
        """Raises: InputError for what there can be no work on. Changes nothing."""
        self._check_node(volume)
        check_image(volume)
        check_on_grid(volume)

    def _check_node(self, volume: Node | None) -> None:
        if volume is None or not volume.IsA("vtkMRMLScalarVolumeNode") or volume.GetScene() is not self.scene:
            raise InputError("no volume is chosen; it must be a head CT of this scene")

    def _walk(self, volume: Node, step: Callable[[History], History]) -> bool:
        case = self._case(volume) if self._opening else self._idle_case(volume)
        self.strokes_changed(volume)
        history = step(case.history)
        if history.at == case.history.at:
            return False
        self._apply(case, history)
        return True

    def _apply(self, case: Case, history: History) -> None:
        """Make a moment what the user sees."""
        self._applying = True
        try:
            case.paint(history.now.strokes)
            case.history = history
            case.show()
            rounds.set_current(case.volume, history.now.number)
        finally:
            self._applying = False

    # -- the engine --------------------------------------------------------------------------------------------------

    def _start(
        self, case: Case, strokes: Strokes | None, done: Finished, failed: Fail, progress: Progress | None
    ) -> None:
        job = Refine(case.volume.GetID(), case.history.now.number, None if strokes is None else strokes.labels())

        before = self.current(case.volume)
        edited = before is not None and rounds.is_edited(before, case.volume)

        def landed(answer: Done) -> None:
            try:
                made = self._land(case, strokes, answer)
                if before is not None and edited:
                    case.note(EDITED.format(number=before.number))
            except InputError as error:
                failed("input", str(error))
            else:
                done(made)

        self._submit(case, job, landed, failed, progress)

    def _submit(
        self, case: Case, job: Job | None, done: Callable[[Any], None], failed: Fail, progress: Progress | None
    ) -> None:
        """A job (None: none) on a volume, which is opened first where the engine does not have it as it is now."""
        key, self._cancelled = case.volume.GetID(), False
        self._working_on = key

        def landed(answer: Any) -> None:
            if self._cases.get(key) is case:  # the volume may be gone by now
                done(answer)

        def refused(why: Failed) -> None:
            if self._cases.get(key) is case:
                failed(why.kind, why.sentence)

        def opened(answer: Opened) -> None:
            if self._cases.get(key) is case:
                case.stamp, case.notes = (self.worker.starts, *image), answer.notes
                case.note(answer.notice)
                if self._cancelled:  # as the answer was on its way
                    failed("cancelled", "refining was cancelled; nothing has changed")
                else:
                    go_on()

        def go_on() -> None:
            if job is None:
                done(None)
            else:
                self.worker.submit(job, landed, refused, progress)

        if self.worker.alive and case.stamp == self._stamp(case.volume):
            go_on()
            return
        memory = rounds.kept_memory(case.volume)
        volume = volume_from_node(case.volume, rounds.kept_place(case.volume))
        case.stamp, image = None, self._stamp(case.volume)[1:]
        self.worker.submit(Open(key, volume, memory[0] if memory else None), opened, refused, progress)

    def _land(self, case: Case, strokes: Strokes | None, answer: Done) -> Round:
        """The round into the scene; strokes painted meanwhile stay. Raises: InputError; the scene is then as it was."""
        if case.stamp != self._stamp(case.volume):
            raise InputError("the volume changed while the round was computed; the round was dropped: refine again")
        case.mend()
        painted, used = case.painted(), strokes or Strokes.none(shape_of(case.volume))
        made = rounds.add_round(case.volume, answer.number, answer.parent, answer.seconds, answer.mask, used)
        rounds.keep_memory(case.volume, answer.saved, answer.number)
        case.history = case.history.then(Moment(answer.number, Strokes.none(shape_of(case.volume))))
        self._apply(case, case.history.then(Moment(answer.number, painted.without(used))))
        case.note(answer.notice)
        return made

    def _stamp(self, volume: Node) -> tuple[Any, ...]:
        """Changes when the engine's process, the image or its place does."""
        image = volume.GetImageData()
        return (self.worker.starts, None if image is None else image.GetMTime(), ijk_to_ras(volume).tobytes())

    # -- the scene ---------------------------------------------------------------------------------------------------

    def _on_node_removed(self, node: Any = None) -> None:
        case = self._cases.get(node.GetID()) if node is not None else None
        if case is None or case.volume is not node:
            return
        self.set_aside(node)  # what was made for it would lie over the next patient's slices
        overlays.show_changes(node, None)
        overlays.show_uncertainty(node, None)
        self._drop(node.GetID())

    def _on_scene_close(self, *_: Any) -> None:
        for key in list(self._cases):
            self._drop(key)

    def _drop(self, key: str) -> None:
        """The volume is gone: its job is cancelled, its session closed; results under way land nowhere."""
        self._cases.pop(key).close()
        if self.busy and self._working_on == key:
            self._opening = False
            self.worker.cancel()
        self.worker.forget(key)
