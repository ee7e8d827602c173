"""The page: what it shows (trame's state) and what its buttons do (trame's triggers). One tab, one process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trame_client.ui.core import AbstractLayout
from trame_client.widgets import html

from ichhpinet.errors import InputError
from ICHHPINetSlicer import overlays
from ICHHPINetSlicer.logic import ICHHPINetLogic
from ICHHPINetSlicer.worker import Worker

from . import cases, downloads, pagestate, skull
from .brushes import Brushes
from .opening import Opening
from .settings import PageSettings
from .stage import LAYOUTS, Stage
from .work import Work

logger = logging.getLogger(__name__)

STATIC = Path(__file__).with_name("static")
FAILED = "Something went wrong. Nothing is lost; try again, or save the session and reload the page."
TOLD_SECONDS = 0.05  # for a sentence to reach the browser before the loop is busy
BRUSHES = ("foreground", "background", "erase")


class Page:
    """Everything behind one tab."""

    def __init__(self, server: Any, settings: PageSettings) -> None:
        self.server, self.settings = server, settings
        self.state = server.state
        self.stage = Stage(server, self._show_slices)
        self.logic = ICHHPINetLogic(self.stage.scene, Worker(settings.weights, settings.device))
        self.brushes = Brushes(self.stage.app.segmentation_editor, self._on_stroke)
        self.work: Work | None = None
        self._notes: tuple[str, ...] = ()
        self._brush: str | None = None
        warm_up = self.logic.worker.warm_up
        self.opening = Opening(self.state, self.say, warm_up, self._show_case, lambda: self.work is not None)
        server.enable_module({"serve": {"page": str(STATIC)}, "styles": ["page/page.css"], "scripts": ["page/page.js"]})
        self.state.update(pagestate.at_first(settings, self.stage.slices()))
        self._connect()
        with AbstractLayout(server, html.Div(classes="app", trame_server=server)) as layout:
            layout.root.add_child((STATIC / "page.html").read_text(encoding="utf-8"))

    def _connect(self) -> None:
        """Names that page.html and page.js trigger. Every one is `told`: what fails is said in the page."""
        triggers: dict[str, Callable[..., Any]] = {
            "sample": self.open_sample,
            "leave": self.leave,
            "choose": lambda number: self.opening.choose(int(number)),
            "choose_none": self.opening.choose_none,
            "cancel_reading": self.opening.cancel,
            "brush": self.choose_brush,
            "brush_mm": self.set_brush_mm,
            "window": self.set_window,
            "layout": self.set_layout,
            "fit": self.stage.fit,
            "slice": self.stage.go,
            "step": self.stage.step,
            "refine": lambda: self._ask("refine"),
            "propose": lambda: self._ask("propose"),
            "cancel": lambda: self._work().cancel(),
            "start_anew": lambda: self._work().start_anew(),
            "undo": lambda: self._work().undo(),
            "redo": lambda: self._work().redo(),
            "look": lambda number: self._work().look_at(int(number)),
            "go_on": lambda number: self._work().go_on_from(int(number)),
            "switch": lambda name, on: self._work().switch(name, bool(on)),
            "auto": self.set_auto,
            "uncertain": self.next_uncertain,
            "dismiss": lambda: self.say("", ""),
        }
        for name, action in triggers.items():
            self.server.controller.trigger(name)(self._told(action))

    # -- opening -----------------------------------------------------------------------------------------------------

    def open_sample(self) -> None:
        """The bundled CT, at its haemorrhage. The second click of a double click asks for nothing."""
        if self.opening.is_reading:
            return

        def go() -> None:
            overlays.jump_to(self.stage.scene, cases.sample_place())

        self.opening.open(lambda progress: cases.read_sample(Path(self.settings.samples)), then=go)

    def leave(self) -> None:
        """Close the case; the page is as at first. What is being read is not shown any more."""
        self.opening.leave()
        self._drop()
        self.state.update(pagestate.without_case())
        self.state.flush()

    def _show_case(self, found: Any) -> None:
        """The new case in the place of the old one; where that fails on the way, none: half a case misleads.

        Raises: InputError then; whatever `into_scene` raises, with the old case as it was.
        """
        volume = cases.into_scene(self.stage.scene, self.logic, found)
        try:
            self._replace(volume, getattr(found, "ct", found))
        except Exception as error:
            logger.error("a CT could not be shown: %s", type(error).__name__)
            self._drop()
            self.state.update(pagestate.without_case())
            raise InputError("the CT could not be shown, and the one before was closed; open it again") from error

    def _replace(self, volume: Any, ct: Any) -> None:
        self._drop()
        self._notes = tuple(ct.notes)
        self.work = Work(self.logic, volume, self.show, self.say)
        self.work.on_place = self._jump
        self.brushes.take(self.logic.strokes_node(volume), volume)
        self.stage.layout(self.state.layout)
        self.stage.show(volume)
        self.state.update(pagestate.of_case(ct))
        self.choose_brush("foreground")
        skull.show_skull(self.stage.scene, volume)
        self.stage.look_from_front()
        self.work.lay_over()
        self.work.prepare()
        place = self.work.mask_place()
        if place is not None:
            overlays.jump_to(self.stage.scene, place)
        self._show_slices()

    def _drop(self) -> None:
        if self.work is None:
            return
        work, self.work = self.work, None
        work.close()
        self.choose_brush(None)
        self.stage.app.segmentation_editor.clear()
        skull.hide_skull(self.stage.scene)
        cases.remove(self.stage.scene, work.volume)

    # -- controls ----------------------------------------------------------------------------------------------------

    def choose_brush(self, name: str | None) -> None:
        """One of BRUSHES; the one in the hand again, or None: the mouse navigates."""
        chosen = None if name == self._brush or name not in BRUSHES or self.work is None else name
        self.brushes.choose(chosen)
        self._brush, self.state.brush = chosen, chosen or ""

    def _ask(self, what: str) -> None:
        """A round; the second click of a double click asks for nothing."""
        if not self._work().busy:
            self._work().ask(what)

    def set_brush_mm(self, wide_mm: float) -> None:
        """The brush's diameter."""
        self.brushes.set_mm(float(wide_mm))
        self.state.brush_mm = float(wide_mm)

    def set_window(self, name: str) -> None:
        """One of WINDOWS."""
        self.stage.window(self._work().volume, name)
        self.state.window = name

    def set_layout(self, name: str) -> None:
        """One of LAYOUTS."""
        if name in LAYOUTS:
            self.stage.layout(name)
            self.state.layout = name

    def set_auto(self, on: bool) -> None:
        """A round after each stroke."""
        work = self._work()
        work.auto_refine = self.state.auto_refine = bool(on)
        work.stroke_again()

    def next_uncertain(self) -> None:
        """Jump to the most uncertain slice, then to the next most."""
        place = self._work().next_uncertain()
        if place is not None:
            self._jump(place)

    def _jump(self, place: tuple[float, float, float]) -> None:
        overlays.jump_to(self.stage.scene, place)
        self._show_slices()

    def _on_stroke(self) -> None:
        if self.work is not None:
            self._told(self.work.stroke)()

    # -- showing -----------------------------------------------------------------------------------------------------

    def say(self, kind: str, text: str) -> None:
        """One sentence in the page; the same one again is a new one."""
        self.state.message = {"kind": kind, "text": text, "count": self.state.message["count"] + 1}
        self.state.flush()

    def show(self) -> None:
        """Everything that depends on the rounds."""
        work = self.work
        if work is None:
            return
        self.state.update(pagestate.of_work(work, self._notes))
        self.state.flush()

    def _show_slices(self) -> None:
        self.state.views = self.stage.slices()
        self.state.flush()

    # -- out ---------------------------------------------------------------------------------------------------------

    async def download(self, what: str) -> tuple[downloads.Download, Callable[[], None]]:
        """One of `downloads.KINDS`, and what is to be called once it has been sent. Raises: InputError."""
        work = self._work()
        at = work.changes
        made = await self._making(what, work)

        def sent() -> None:
            if what == "session.zip":
                work.kept = at
                self.show()

        return made, sent

    async def _making(self, what: str, work: Work) -> downloads.Download:
        """What takes seconds is said meanwhile: the browser shows nothing before it is made."""
        words = downloads.MAKING.get(what)
        if words is not None:
            self.say("info", words)
            await asyncio.sleep(TOLD_SECONDS)
        said = self.state.message["count"]
        try:
            return await downloads.made(what, self.stage, work, tuple(self.state.notes), self.settings)
        finally:
            if words is not None and self.state.message["count"] == said:
                self.say("", "")

    def close(self) -> None:
        """End the engine."""
        self.logic.close()

    def _work(self) -> Work:
        if self.work is None:
            raise InputError("no CT is open; open one first")
        return self.work

    def _told(self, action: Callable[..., Any]) -> Callable[..., Any]:
        """What cannot be done is said in the page."""

        def run(*arguments: Any) -> None:
            try:
                action(*arguments)
            except InputError as error:
                self.say("error", str(error)[:1].upper() + str(error)[1:] + ".")
            except Exception as error:  # the page must outlive whatever a button meets
                logger.error("an action failed: %s", type(error).__name__, exc_info=logger.isEnabledFor(logging.DEBUG))
                self.say("error", FAILED)

        return run
