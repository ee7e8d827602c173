"""What every door shares: the window presets of head CT, and the keys. Plain values."""

from __future__ import annotations

WINDOWS = {"brain": (40, 80), "subdural": (75, 215), "stroke": (32, 8), "bone": (600, 2800)}  # level, width in HU
# Free in Slicer: slice views take B F G L R T V and arrows, the Segment Editor digits, I Q W Y Z, Space, Escape.
KEYS = {"D": "foreground", "N": "background", "X": "erase", "Ctrl+Return": "refine"}
UNDO_KEYS = {"Ctrl+Z": "undo", "Ctrl+Y": "redo", "Ctrl+Shift+Z": "redo"}
