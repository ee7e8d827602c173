"""The keys of the panel, while its module is seen."""

from __future__ import annotations

from typing import Any

import qt
import slicer

from .controls import KEYS, UNDO_KEYS

SLICERS_UNDO = ("EditUndoAction", "EditRedoAction")


class Keys:
    """Shortcuts of the main window that click the panel's buttons."""

    def __init__(self) -> None:
        self.shortcuts: list[Any] = []

    def give(self, ui: Any) -> None:
        """A key for each button of KEYS and UNDO_KEYS; nothing where there is no main window (testing without one)."""
        window = slicer.util.mainWindow()
        if window is None:
            return
        for keys, name in (KEYS | UNDO_KEYS).items():
            shortcut = qt.QShortcut(qt.QKeySequence(keys), window)
            shortcut.connect("activated()", getattr(ui, f"{name}Button").click)
            self.shortcuts.append(shortcut)
        _slicers_undo(False)

    def take_back(self) -> None:
        """The keys are Slicer's again."""
        for shortcut in self.shortcuts:
            shortcut.setParent(None)
            shortcut.deleteLater()
        self.shortcuts = []
        _slicers_undo(True)


def _slicers_undo(enabled: bool) -> None:
    """Slicer's Edit > Undo has the same keys: while this module is seen, Qt would find them ambiguous."""
    window = slicer.util.mainWindow()
    for action in slicer.util.findChildren(window, className="QAction") if window is not None else ():
        if action.objectName in SLICERS_UNDO:
            action.setEnabled(enabled)
