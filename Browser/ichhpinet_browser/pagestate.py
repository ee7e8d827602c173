"""What the page is told: the values behind page.html, by name. Plain values from the work on a CT."""

from __future__ import annotations

from typing import Any

from ICHHPINetSlicer.controls import WINDOWS
from ICHHPINetSlicer.logic import Row

from .brushes import LARGEST_MM, SMALLEST_MM, USUAL_MM
from .settings import PageSettings
from .work import PREPARING, Shown, Work

State = dict[str, Any]


def at_first(settings: PageSettings, views: State) -> State:
    """An empty page. stage: 'empty', 'loading', 'choose' (the user is asked) or 'ready'."""
    return {
        "trame__title": "ICHHPINet",
        "trame__favicon": "page/icon.svg",
        "trame__client_only": ["trame__busy", "uploading"],
        "uploading": -1,  # percent, told by page.js to its own page
        "loading": {"what": "", "percent": 0},
        "offer": {"question": "", "lead": "", "ways": [], "none": ""},  # what is asked, and the answers, in words
        "message": {"kind": "", "text": "", "count": 0},
        "brush": "",
        "brush_mm": USUAL_MM,
        "brush_limits": [SMALLEST_MM, LARGEST_MM],
        "window": "brain",
        "windows": {name: list(window) for name, window in WINDOWS.items()},
        "layout": "four",
        "views": views,
        "most_mb": settings.most_upload_mb,
        "local": settings.local,
    } | without_case()


def without_case() -> State:
    """No CT is open."""
    return {
        "stage": "empty",
        "notes": [],
        "grid": "",
        "busy": False,
        "progress": {"what": "", "percent": 0},
        "rows": [],
        "seen": 0,
        "goes_on_from": 0,
        "unsaved": False,
        "volume_ml": None,
        "can": {"refine": False, "propose": False, "undo": False, "redo": False, "save": False, "start_anew": False},
        "shown": vars(Shown()).copy(),
        "auto_refine": False,
    }


def of_case(ct: Any) -> State:
    """A CT that has just been opened."""
    depth, height, width = ct.shape
    z, y, x = ct.spacing_mm
    return without_case() | {
        "stage": "ready",
        "window": "brain",
        "notes": list(ct.notes),
        "grid": f"{width} × {height} × {depth} · {x:.2f} × {y:.2f} × {z:.2f} mm",
    }


def of_work(work: Work, notes: tuple[str, ...]) -> State:
    """Everything that depends on the rounds."""
    logic, volume, idle = work.logic, work.volume, not work.busy
    current, seen = work.current(), work.seen()
    fraction, what = work.progress
    return {
        "busy": work.busy,
        "progress": {"what": what or PREPARING, "percent": round(100 * fraction)},
        "rows": [_row(row) for row in logic.table(volume)][::-1],
        "seen": seen.number if seen is not None else 0,
        "goes_on_from": current.number if current is not None else 0,
        "unsaved": work.changes != work.kept,
        "volume_ml": None if seen is None else round(seen.volume_ml, 1),
        "shown": vars(work.shown).copy(),
        "notes": list(dict.fromkeys((*notes, *logic.notes(volume)))),
        "can": {
            "refine": idle and work.has_strokes(),
            "propose": idle and current is None,
            "undo": idle and logic.can_undo(volume),
            "redo": idle and logic.can_redo(volume),
            "save": seen is not None or current is not None,
            "start_anew": work.stuck and not logic.busy,
        },
    }


def _row(row: Row) -> State:
    return {
        "number": row.number,
        "ml": f"{row.volume_ml:.1f}",
        "delta": "" if row.delta_ml is None else f"{row.delta_ml:+.1f}",
        "percent": "" if row.delta_percent is None else f"{row.delta_percent:+.0f}",
        "strokes": row.strokes,
        "seconds": f"{row.seconds:.1f}",
        "exact_seconds": row.seconds,
        "current": row.current,
        "on_line": row.on_line,
    }
