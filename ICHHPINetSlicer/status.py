"""What the panel says: one sentence in its last line, in a dialog too where a click was in vain."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import qt
import slicer

from ichhpinet.errors import InputError

logger = logging.getLogger(__name__)


class Status:
    """The panel's last line."""

    def __init__(self, label: Any) -> None:
        self._label = label

    @property
    def text(self) -> str:
        """What it says."""
        return str(self._label.text)

    def say(self, sentence: str) -> None:
        """In the place of what it said; "" says nothing."""
        self._label.setText(sentence[:1].upper() + sentence[1:])

    def say_aloud(self, sentence: str) -> None:
        """In a dialog too."""
        self.say(sentence)
        show_error(self.text)

    def is_confirmed(self, question: str) -> bool:
        """What it says, and a question after it, answered with yes or no."""
        return confirmed(question.format(sentence=self.text))

    @contextlib.contextmanager
    def told(self, aloud: bool = False) -> Iterator[None]:
        """What cannot be used is said, in its own sentence; aloud: in a dialog too."""
        try:
            yield
        except InputError as error:
            place = traceback.extract_tb(error.__traceback__)[-1]  # not the sentence: it may name a patient's file
            why = type(error.__cause__ or error).__name__
            logger.warning("refused in %s, line %d (%s)", Path(place.filename).name, place.lineno, why)
            (self.say_aloud if aloud else self.say)(str(error))


def show_error(text: str) -> None:
    """A dialog. Slicer's errorDisplay would log the text, which may name a patient's file."""
    title = f"{slicer.app.applicationName} error"
    slicer.util.messageBox(text, windowTitle=title, icon=qt.QMessageBox.Critical)


def confirmed(text: str) -> bool:
    """Yes or No in a dialog; yes where the application tests itself. Not logged either."""
    both = qt.QMessageBox.Yes | qt.QMessageBox.No
    title = f"{slicer.app.applicationName} confirmation"
    answer = slicer.util.messageBox(text, windowTitle=title, icon=qt.QMessageBox.Question, standardButtons=both)
    return bool(answer == qt.QMessageBox.Yes or slicer.app.testingEnabled())
