"""The measurements as Markdown tables, and the machine they were made on in words."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

Row = dict[str, Any]
NOT_MEASURED = "-"
TITLES = {
    "ichhpinet": "ICHHPINet, compact",
    "grow_from_seeds": "Grow from seeds (3D Slicer)",
    "threshold_islands": "threshold 45-100 HU, islands under the strokes",
    "random_walker": "random walker",
}


def machine(threads: int) -> dict[str, str]:
    """What the figures depend on: processor, threads, memory, accelerator, versions."""
    system = f"{platform.system()} {platform.machine()}"
    described = {"processor": _processor(), "threads": str(threads), "system": system}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        described["memory"] = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    if torch.cuda.is_available():
        described["accelerator"] = torch.cuda.get_device_name()
    described["versions"] = f"Python {platform.python_version()}, torch {torch.__version__}"
    return described


def markdown(described: dict[str, str], rows: Sequence[Row], growth: Sequence[Row]) -> str:
    """Both tables under one line about the machine."""
    parts = ["; ".join(f"{name}: {value}" for name, value in described.items()) + "."]
    parts.append(_table(_METHOD_HEADER, [_method_row(row) for row in rows]))
    if growth:
        parts.append(_table(_GROWTH_HEADER, [_growth_row(row) for row in growth]))
    return "\n\n".join(parts) + "\n"


_METHOD_HEADER = (
    "method",
    "volume",
    "open, s",
    "first round, s",
    "round on 1 slice, s",
    "round on 2-4 slices, s",
    "peak memory, GiB",
    "Dice, first and last round",
)
_GROWTH_HEADER = ("slices", "open, s", "first round, s", "later rounds, s", "round, ms a slice", "peak memory, GiB")


def _method_row(row: Row) -> tuple[str, ...]:
    title = TITLES[row["method"]] + (", GPU" if row["device"] == "cuda" else "")
    depth, height, width = row["shape"]
    grid = f"{width}x{height}x{depth}"
    if "failed" in row:
        return (title, grid, *[NOT_MEASURED] * 5, row["failed"])
    later = list(zip(row["slices_touched"], row["rounds_s"], strict=True))[1:]
    one = [seconds for touched, seconds in later if touched == 1]
    more = [seconds for touched, seconds in later if touched > 1]
    memory = _number(row["peak_gib"]) + (f" + {row['gpu_gib']:.2f} on the GPU" if row["gpu_gib"] is not None else "")
    scores = f"{row['dice'][0]:.2f}, {row['dice'][-1]:.2f}"
    opening, first = _number(row["open_s"]), _number(row["rounds_s"][0])
    return (title, grid, opening, first, _middle(one), _middle(more), memory, scores)


def _growth_row(row: Row) -> tuple[str, ...]:
    slices = row["shape"][0]
    if "failed" in row:
        return (str(slices), *[NOT_MEASURED] * 4, row["failed"])
    later = row["rounds_s"][1:]
    each_ms = f"{median(later) * 1000 / slices:.0f}" if later else NOT_MEASURED
    return (
        str(slices),
        _number(row["open_s"]),
        _number(row["rounds_s"][0]),
        _middle(later),
        each_ms,
        _number(row["peak_gib"]),
    )


def _number(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.2f}"


def _middle(seconds: Sequence[float]) -> str:
    """The median, and the slowest beside it when there are several."""
    if len(seconds) < 2:
        return _number(seconds[0] if seconds else None)
    return f"{median(seconds):.2f} (at most {max(seconds):.2f})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {os.cpu_count()} cores"
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
