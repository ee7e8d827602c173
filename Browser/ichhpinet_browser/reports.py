"""The report of a case: JSON as the command line writes it, and one page of HTML with key images, ready to print."""

from __future__ import annotations

import html
import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from string import Template
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichhpinet.cli import version
from ichhpinet.report import Report, axial_axis
from ichhpinet.resources import bundled_weights
from ichhpinet.scribbles import Scribbles

from .sessionarchive import KeptSession

TEMPLATE = Path(__file__).with_name("static") / "report.html"


@dataclass(frozen=True)
class _Result:
    """A round as `Report.add` reads it."""

    number: int
    parent: int | None
    seconds: float
    mask: NDArray[np.bool_]


def report(kept: KeptSession, weights: str | None, device: str) -> Report:
    """Every round, measured. Slow: each mask's parts and diameters are sought."""
    from ichhpinet.predictor import choose_device  # torch, which the page itself does not need

    file = Path(weights) if weights is not None else bundled_weights()
    made = Report.begun(kept.ct, SimpleNamespace(device=choose_device(device)), file, version(), kept.ct.notes)
    made.head["model"]["weights_sha256"] = _weights_of(kept.memory) or made.head["model"]["weights_sha256"]
    for one in kept.rounds:
        strokes = Scribbles.from_labels(one.strokes)
        proposed = None if strokes.is_empty else strokes
        name = f"haemorrhage-round-{one.number}.seg.nrrd"  # as the page saves it
        made.add(_Result(one.number, one.parent, one.seconds, one.mask), proposed, name)
    return made


def _weights_of(memory: bytes | None) -> str | None:
    """The SHA-256 of the weights that made the rounds: a session may have been made with others than the page has."""
    try:
        with zipfile.ZipFile(io.BytesIO(memory or b"")) as archive:
            return str(json.loads(archive.read("session.json"))["weights"])
    except (zipfile.BadZipFile, zlib.error, ValueError, LookupError, TypeError, RuntimeError, NotImplementedError):
        return None


def as_json(made: Report, folder: Path) -> bytes:
    """The bytes of report.json."""
    file = folder / "report.json"
    made.write(file)
    return file.read_bytes()


def as_html(made: Report, kept: KeptSession, number: int | None, pictures: list[tuple[int, str]]) -> bytes:
    """One page. number: the round it is about. pictures: (slice, data URL) of its key images."""
    row = next((one for one in made.rounds if one["number"] == number), None)
    depth, height, width = kept.ct.shape
    z, y, x = kept.ct.spacing_mm
    slices = kept.ct.shape[axial_axis(kept.ct)]
    filled = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        volume="–" if row is None else f"{row['volume_ml']:.1f}",
        facts=_facts(row),
        rounds="".join(_row(one, one["number"] == number) for one in made.rounds),
        pictures="".join(_picture(index, slices, url) for index, url in pictures),
        grid=f"{width} × {height} × {depth} voxels, {x:.2f} × {y:.2f} × {z:.2f} mm",
        digest=html.escape(str(made.head["ct"]["sha256"])[:16]),
        weights=html.escape(str(made.head["model"]["weights_sha256"])[:16]),
        software=html.escape(str(made.head["software"])),
        date=date.today().isoformat(),
        notes="".join(f"<li>{html.escape(note)}</li>" for note in made.head["ct"]["notes"]),
    )
    return filled.encode("utf-8")


def _facts(row: dict[str, Any] | None) -> str:
    if row is None:
        return "<dt>Rounds</dt><dd>none yet</dd>"
    facts = {
        "Round": row["number"],
        "ABC/2 of the largest part": f"{row['abc2_ml']:.1f} ml",
        "Largest part": f"{row['largest_ml']:.1f} ml",
        "Parts": row["components"],
        "Slices with haemorrhage": row["slices"],
    }
    return "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())


def _row(row: dict[str, Any], chosen: bool) -> str:
    strokes = row["strokes"]
    voxels = strokes["foreground_voxels"] + strokes["background_voxels"]
    parent = "–" if row["parent"] is None else row["parent"]
    cells = row["number"], parent, f"{row['volume_ml']:.1f}", f"{row['delta_ml']:+.1f}", voxels, f"{row['seconds']:.1f}"
    marked = ' class="chosen"' if chosen else ""
    return f"<tr{marked}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _picture(index: int, count: int, url: str) -> str:
    words = f"slice {index + 1} of {count}"
    return (
        f'<figure><img src="{url}" alt="Axial {words}, haemorrhage outlined"><figcaption>{words}</figcaption></figure>'
    )
