"""What the values of a file are: HU, HU with an offset, a windowed picture, or nothing we can use. One table.

`read_volume` and the command line guess by TABLE, and every guess stands in the volume's notes; nothing else guesses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ichhpinet.errors import InputError

HOUNSFIELD_MARK = ("ITK_FileNotes", "HU, written by ICHHPINet")  # a field that every format keeps, and what it holds
RAW_OFFSET_HU = 1024.0  # scanners store HU + 1024 in unsigned words
BRAIN_WINDOW = (40.0, 80.0)  # level, width in HU: how a head CT is shown, and exported as a picture, by default
EIGHT_BIT_TOP = 255.0
SOFT_TISSUE_RAW = (1000.0, 1120.0)  # -24 to 96 HU, raw: brain, CSF, muscle, blood
BESIDE_SOFT_TISSUE_RAW = ((700.0, 900.0), (1200.0, 1400.0))  # fewer voxels than soft tissue, in any CT of a head
PEAK_SHARE, PEAK_RATIO = 0.02, 3.0  # soft tissue is a narrow peak: at least 2 % of the voxels, three times its sides

KEEP, OFFSET, WINDOW, REFUSE = "keep", "offset", "window", "refuse"
ANY = (-math.inf, math.inf)


@dataclass(frozen=True)
class Row:
    """When every condition holds, the row decides. low, high: closed ranges for the smallest and the largest value."""

    what: str
    action: str
    low: tuple[float, float] = ANY
    high: tuple[float, float] = ANY
    whole: bool | None = None  # every value a whole number; None: either
    raw_peak: bool | None = None  # a narrow peak where raw soft tissue lies (about 1060); None: either
    note: str = ""


TABLE = (  # the first row that fits decides
    Row("a label map, not a CT", REFUSE, low=(0, 15), high=(0, 15), whole=True),
    Row(
        "HU + 1024",
        OFFSET,
        low=(-32768, math.inf),
        high=(1500, 65535),
        raw_peak=True,
        note="values {low:g} to {high:g} with soft tissue near 1060 are HU + 1024: 1024 was subtracted",
    ),
    Row(
        "a picture with 256 grey levels",
        WINDOW,
        low=(0, 64),
        high=(200, EIGHT_BIT_TOP),
        whole=True,
        note="values {low:g} to {high:g} are not HU: taken as a brain window, level 40, width 80 HU (an assumption)",
    ),
    Row("HU", KEEP, low=(-32768, -500), high=(60, 65535)),
    Row(
        "HU without air",
        KEEP,
        low=(-500, -1e-6),
        high=(60, 65535),
        note="values {low:g} to {high:g} are taken as HU that were clipped or masked: there is no air in the image",
    ),
    Row("not HU", REFUSE),
)


def to_hounsfield(
    values: NDArray[np.float32],
    name: str,
    window: tuple[float, float] | None = None,
    otherwise: str = "or give the window (level, width) that they show",
    known: bool = False,
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """HU and the notes about how they came about.

    values: (D, H, W) float32, finite. name: what to call the file in an error.
    window: (level, width) in HU: the values are a picture of that window, see `unwindow`; None: TABLE decides.
    otherwise: the way out that ends the refusal. known: they are said to be HU already, and nothing is guessed.

    Raises InputError for values that no row accepts.
    """
    low, high = float(values.min()), float(values.max())
    if window is not None:
        level, width = checked_window(window)
        note = f"values {low:g} to {high:g} were read as a window of level {level:g}, width {width:g} HU, as asked"
        return unwindow(values, (level, width), name), (note,)
    if low == high:
        raise InputError(f"every voxel of {name} is {low:g}; it must be a CT")
    if known:
        return values, ()
    row = matching_row(values)
    if row.action == REFUSE:
        raise InputError(f"{name} is {row.what}: its values run from {low:g} to {high:g}; they must be HU, {otherwise}")
    notes = (row.note.format(low=low, high=high),) if row.note else ()
    if row.action == OFFSET:
        return values - np.float32(RAW_OFFSET_HU), notes
    if row.action == WINDOW:
        return unwindow(values, BRAIN_WINDOW, name), notes
    return values, notes


def matching_row(values: NDArray[np.float32]) -> Row:
    """The first row of TABLE that fits values."""
    low, high = float(values.min()), float(values.max())
    for row in TABLE:  # the range first: the other conditions look at every voxel
        fits = row.low[0] <= low <= row.low[1] and row.high[0] <= high <= row.high[1]
        if (
            fits
            and (row.raw_peak is None or row.raw_peak == _has_raw_peak(values))
            and (row.whole is None or row.whole == _is_whole(values))
        ):
            return row
    return TABLE[-1]


def unwindow(values: NDArray[np.float32], window: tuple[float, float], name: str) -> NDArray[np.float32]:
    """HU of a picture: 0 is the window's lower end, the top its upper end.

    The top is 1 when no value is above 1, else 255 when none is above that, else the largest value.

    Raises InputError for negative values (no picture has them) and for a picture that is black all over.
    """
    low, high = float(values.min()), float(values.max())
    if low < 0 or high <= 0:
        raise InputError(
            f"a window was given, but the values of {name} run from {low:g} to {high:g}; "
            "a windowed picture runs from 0 up (leave the window out for HU)"
        )
    top = 1.0 if high <= 1 else EIGHT_BIT_TOP if high <= EIGHT_BIT_TOP else high
    level, width = window
    return values * np.float32(width / top) + np.float32(level - width / 2)


def checked_window(window: tuple[float, float]) -> tuple[float, float]:
    """(level, width) in HU. Raises InputError unless both are finite and the width is > 0."""
    try:
        level, width = (float(number) for number in window)
    except (TypeError, ValueError):
        raise InputError(f"the window is {window!r}; it must be two numbers, level and width in HU") from None
    if not (math.isfinite(level) and math.isfinite(width) and width > 0):
        raise InputError(f"the window is level {level:g}, width {width:g} HU; the width must be greater than 0")
    return level, width


def _is_whole(values: NDArray[np.float32]) -> bool:
    return all(bool((part == np.rint(part)).all()) for part in values)


def _has_raw_peak(values: NDArray[np.float32]) -> bool:
    def density(limits: tuple[float, float]) -> float:
        inside = np.count_nonzero((values >= limits[0]) & (values <= limits[1]))
        return float(inside) / values.size / (limits[1] - limits[0])

    peak = density(SOFT_TISSUE_RAW)
    enough = peak * (SOFT_TISSUE_RAW[1] - SOFT_TISSUE_RAW[0]) >= PEAK_SHARE
    return enough and all(peak >= PEAK_RATIO * density(side) for side in BESIDE_SOFT_TISSUE_RAW)
