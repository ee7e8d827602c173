"""Downloads: masks, the report, the session. What the scene holds is gathered first; files are made off the loop."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ichhpinet.errors import InputError
from ichhpinet.report import axial_axis
from ichhpinet.volume import CTVolume
from ichhpinet.writing import write_mask, write_volume
from ICHHPINetSlicer import rounds

from . import cases, keyimages, reports, sessionarchive
from .settings import PageSettings
from .stage import Stage
from .work import Work

KINDS = {
    "mask.seg.nrrd": "application/octet-stream",
    "mask.nii.gz": "application/gzip",
    "ct.nii.gz": "application/gzip",
    "report.json": "application/json",
    "report.html": "text/html; charset=utf-8",
    "session.zip": "application/zip",
}
NAMES = {
    "mask.seg.nrrd": "haemorrhage-round-{round}.seg.nrrd",
    "mask.nii.gz": "haemorrhage-round-{round}.nii.gz",
    "ct.nii.gz": "head-ct.nii.gz",
    "report.json": "haemorrhage-report.json",
    "report.html": "haemorrhage-report.html",
    "session.zip": "haemorrhage-session.zip",
}
MAKING = {
    "ct.nii.gz": "Packing the CT…",
    "report.json": "Making the report…",
    "report.html": "Making the report…",
    "session.zip": "Packing the session…",
}


@dataclass(frozen=True)
class Download:
    """What goes to the browser."""

    content: bytes
    kind: str
    name: str


async def made(what: str, stage: Stage, work: Work, notes: tuple[str, ...], settings: PageSettings) -> Download:
    """One of KINDS. Raises: InputError for another, or where there is no round yet."""
    if what not in KINDS:
        raise InputError(f"there is no download {what!r}; it must be one of {', '.join(KINDS)}")
    one = work.seen() or work.current()
    if one is None and what not in ("session.zip", "ct.nii.gz"):
        raise InputError("there is no round yet; refine or propose first")
    make = _gathered(what, one, stage, work, notes, settings)
    with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
        content = await asyncio.get_running_loop().run_in_executor(None, make, Path(folder))
    name = NAMES[what].format(round=one.number if one is not None else 0)
    return Download(content, KINDS[what], name)


def _gathered(
    what: str, one: rounds.Round | None, stage: Stage, work: Work, notes: tuple[str, ...], settings: PageSettings
) -> Callable[[Path], bytes]:
    """Read the scene, on the loop; what is given back knows no scene and may run anywhere."""
    if what == "ct.nii.gz":
        ct = cases.ct_of(work.volume, notes)
        return lambda folder: _ct(ct, folder / what)
    if what.startswith("mask"):
        ct, mask = cases.ct_of(work.volume, notes), rounds.round_mask(_needed(one), work.volume)
        return lambda folder: _mask(mask, ct, folder / what)
    kept = cases.out_of_scene(work.logic, work.volume, notes)
    if what == "session.zip":
        return lambda folder: _session(kept, folder)
    shown = _needed(one)
    if what == "report.json":
        return lambda folder: reports.as_json(reports.report(kept, settings.weights, settings.device), folder)
    axis = axial_axis(kept.ct)
    slices = keyimages.key_slices(rounds.round_mask(shown, work.volume), axis)
    with work.mask_alone():
        pictures = list(zip(slices, keyimages.draw(stage, work.volume, slices, axis)))
    return lambda folder: reports.as_html(
        reports.report(kept, settings.weights, settings.device), kept, shown.number, pictures
    )


def _needed(one: rounds.Round | None) -> rounds.Round:
    if one is None:
        raise InputError("there is no round yet; refine or propose first")
    return one


def _mask(mask: object, ct: CTVolume, file: Path) -> bytes:
    write_mask(file, mask, ct)  # type: ignore[arg-type]
    return file.read_bytes()


def _ct(ct: CTVolume, file: Path) -> bytes:
    """On the grid of the masks, where it may have been resampled."""
    write_volume(file, ct)
    return file.read_bytes()


def _session(kept: sessionarchive.KeptSession, folder: Path) -> bytes:
    packed = folder / "packed"
    packed.mkdir()
    sessionarchive.write_archive(folder / "session.zip", kept, packed)
    return (folder / "session.zip").read_bytes()
