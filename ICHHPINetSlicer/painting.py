"""Painting in the panel: what the mouse does, on which volume's strokes, and when a stroke of the user's has ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import qt
import slicer

from .brush import ERASE, Brush
from .logic import ICHHPINetLogic
from .nodes import BACKGROUND_ID, FOREGROUND_ID, Node
from .observers import Observers

SAME_MM = 0.01  # two diameters that look alike on the slider
BRUSHES = {"foregroundButton": FOREGROUND_ID, "backgroundButton": BACKGROUND_ID, "eraseButton": ERASE}


class Painting:
    """The brush in hand and the volume under it."""

    def __init__(
        self, ui: Any, logic: ICHHPINetLogic, on_stroke: Callable[[Node], None], on_moved: Callable[[Node], None]
    ) -> None:
        """on_stroke: called with the volume after each stroke of the user's. on_moved: and once it came under another
        transform."""
        self.brush = Brush()
        self._ui, self._logic, self._on_stroke, self._on_moved = ui, logic, on_stroke, on_moved
        self._watched = Observers()
        self._of: Node | None = None
        self._stepping = False
        self._ended = qt.QTimer()
        self._ended.setSingleShot(True)
        self._ended.connect("timeout()", self._take)
        ui.brushSlider.connect("valueChanged(double)", self.brush.set_diameter)
        self.brush.on_diameter = self._resized

    @property
    def volume(self) -> Node | None:
        """What is painted on."""
        return self.brush.volume

    @property
    def has_begun(self) -> bool:
        """A volume was taken up, and not let go of; it may have been deleted since."""
        return self._of is not None

    def choose(self, what: str | None, volume: Node | None) -> None:
        """FOREGROUND_ID, BACKGROUND_ID or ERASE on this volume's strokes. None of either: the mouse navigates."""
        for button, name in BRUSHES.items():
            getattr(self._ui, button).setChecked(name == what)
        if what is None or volume is None:
            self.brush.put_away()
            return
        self.take_up(volume)
        self.brush.take(what, self._ui.brushSlider.value)

    def take_up(self, volume: Node | None) -> None:
        """Paint on this volume's strokes, and be told of them; None: on nothing, and of nothing."""
        self._watched.remove()
        self._of = volume
        strokes = None if volume is None else self._logic.strokes_node(volume)
        self.brush.paint_on(strokes, volume)
        if volume is not None and strokes is not None:
            painted = slicer.vtkSegmentation.SourceRepresentationModified
            self._watched.add(strokes.GetSegmentation(), painted, self._painted)
            self._watched.add(volume, volume.TransformModifiedEvent, self._moved)

    def take_up_again(self) -> None:
        """The volume that is painted on, if it is there still, after the editor may have let go of it."""
        if self._of is not None and self._of.GetScene() is not None:
            self.take_up(self._of)

    def leave_the_scene(self) -> None:
        """Nothing of a scene that closes stays in hand."""
        self.brush.leave_the_scene()
        self._watched.remove()
        self._of = None
        self._ended.stop()

    def close(self) -> None:
        """End the brush."""
        self._ended.stop()
        self._watched.remove()
        self.brush.close()

    @contextlib.contextmanager
    def own_step(self) -> Iterator[None]:
        """What the logic does to the strokes in here is no stroke of the user's."""
        self._stepping = True
        try:
            yield
        finally:
            self._stepping = False

    def _resized(self, millimetres: float) -> None:
        """The slider follows the brush; within its limits, the brush the slider."""
        if abs(millimetres - self._ui.brushSlider.value) > SAME_MM:
            self._ui.brushSlider.value = millimetres
            self.brush.set_diameter(self._ui.brushSlider.value)  # at its end already it does not tell

    def _painted(self) -> None:
        """Painting over a stroke of the other kind is told twice: one stroke is what comes before the next event."""
        if not self._stepping:
            self._ended.start(0)

    def _take(self) -> None:
        if self.volume is not None:
            self._on_stroke(self.volume)

    def _moved(self) -> None:
        if self.volume is not None:
            self._on_moved(self.volume)
