"""The demo: a real head CT with a synthetic haemorrhage, and five rounds by the simulated radiologist."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ichhpinet.itk import simpleitk
from ichhpinet.metrics import dice
from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume, image_on_grid
from ichhpinet.writing import write_mask, write_volume

from .phantom import insert
from .regions import bounding_box
from .rounds import Reader, Turn, play
from .sheet import draw_sheet
from .validation import Case, Loaded, real_head_ct

Progress = Callable[[float, str], object]
CONTRAST_HU = 22.0  # over the brain: a fresh bleed of about 55 HU
VOLUME_ML = 14.0  # a little above the median of intraparenchymal haemorrhage
KINDS = ("IPH",)
BONE_HU = 200.0
MOST_BONE = 0.03  # of the lesion's box: with more it lies at the surface, which is possible, but no first look
CLEAR_VOXELS = 4
TRIES = 8
NOT_FOR_CARE = "Research use; not a medical device. The haemorrhage is synthetic and was put into a real head CT."


@dataclass(frozen=True)
class Proposal:
    """What is proposed, without a stroke, in the same CT without blood."""

    volume_ml: float
    seconds: float


def play_demo(
    predictor: Any, out: Path, rounds: int, seed: int, head_ct: Path | None = None, progress: Progress | None = None
) -> str:
    """Play the rounds, write everything into `out`, and give back the table as text.

    Written: ct.nrrd, truth.seg.nrrd, for each round round-N.seg.nrrd and scribbles-N.nrrd, report.json, sheet.png.
    predictor: opens sessions as ichhpinet.Predictor does. head_ct: another head CT without blood than the bundled one.
    """
    say = progress if progress is not None else _silent
    say(0.0, "reading the head CT")
    base = real_head_ct(head_ct)
    say(0.05, "putting a haemorrhage into it")
    loaded = with_haemorrhage(base, seed)
    out.mkdir(parents=True, exist_ok=True)
    write_volume(out / "ct.nrrd", loaded.volume)
    write_mask(out / "truth.seg.nrrd", loaded.truth, loaded.volume, name="Truth")
    say(0.1, "opening the CT")
    began = time.perf_counter()
    session = predictor.open(loaded.volume, progress=lambda part, what: say(0.1 + 0.2 * part, what))
    opened = time.perf_counter() - began
    turns = []
    for turn in play(session, loaded.volume, loaded.truth, loaded.brain, rounds, seed, Reader()):
        say(0.3 + 0.4 * turn.number / rounds, f"round {turn.number}")
        _write_round(out, turn, loaded.volume)
        turns.append(turn)
    say(0.75, "the same CT without blood")
    proposal = _propose(predictor, base)
    say(0.85, "drawing the sheet")
    draw_sheet(out / "sheet.png", loaded, turns)
    rows = table_rows(turns, loaded)
    _write_report(out / "report.json", loaded, rows, opened, proposal)
    say(1.0, "")
    return _text(rows, loaded, opened, proposal, out)


def with_haemorrhage(base: CTVolume, seed: int) -> Loaded:
    """The head CT with a synthetic haemorrhage in it, and its truth: of some seeds the first that lies deep."""
    for attempt in range(TRIES):
        made = insert(
            base.hu, base.spacing_mm, seed + attempt, kinds=KINDS, contrast_hu=CONTRAST_HU, volume_ml=VOLUME_ML
        )
        box = bounding_box(made.mask, CLEAR_VOXELS)
        if box is not None and (base.hu[box] > BONE_HU).mean() < MOST_BONE and made.volume_ml > VOLUME_ML / 2:
            break
    notes = (*base.notes, "a synthetic haemorrhage is in it")
    volume = CTVolume.from_array(np.round(made.hu), base.spacing_mm, base.origin, base.direction, notes)
    return Loaded(Case("demo", "real", KINDS, seed, None, CONTRAST_HU), volume, made.mask)


def table_rows(turns: Sequence[Turn], loaded: Loaded) -> list[dict[str, float]]:
    """round, dice, volume_ml, change_ml, seconds of each turn."""
    voxel_ml = math.prod(loaded.volume.spacing_mm) / 1000
    rows: list[dict[str, float]] = []
    for turn in turns:
        volume_ml = float(turn.mask.sum() * voxel_ml)
        rows.append(
            {
                "round": turn.number,
                "dice": dice(turn.mask, loaded.truth),
                "volume_ml": volume_ml,
                "change_ml": volume_ml - (rows[-1]["volume_ml"] if rows else 0.0),
                "seconds": turn.seconds,
            }
        )
    return rows


def _propose(predictor: Any, base: CTVolume) -> Proposal:
    session = predictor.open(base)
    began = time.perf_counter()
    mask = np.asarray(session.propose().mask)
    return Proposal(float(mask.sum() * math.prod(base.spacing_mm) / 1000), time.perf_counter() - began)


def _write_round(out: Path, turn: Turn, volume: CTVolume) -> None:
    write_mask(out / f"round-{turn.number}.seg.nrrd", turn.mask, volume, name=f"Round {turn.number}")
    labels = Scribbles(turn.foreground, turn.background).labels()
    simpleitk().WriteImage(image_on_grid(labels, volume), str(out / f"scribbles-{turn.number}.nrrd"), True)


def _write_report(
    file: Path, loaded: Loaded, rows: Sequence[dict[str, float]], opened: float, proposal: Proposal
) -> None:
    volume = loaded.volume
    report = {
        "note": NOT_FOR_CARE,
        "ct": {"shape": volume.shape, "spacing_mm": volume.spacing_mm, "notes": volume.notes},
        "truth": {"volume_ml": float(loaded.truth.sum() * math.prod(volume.spacing_mm) / 1000), "kinds": KINDS},
        "open_seconds": round(opened, 3),
        "rounds": [{key: round(value, 4) for key, value in row.items()} for row in rows],
        "proposed_without_blood": {"volume_ml": round(proposal.volume_ml, 3), "seconds": round(proposal.seconds, 3)},
    }
    file.write_text(json.dumps(report, indent=1), encoding="utf-8")


def _text(rows: Sequence[dict[str, float]], loaded: Loaded, opened: float, proposal: Proposal, out: Path) -> str:
    truth_ml = loaded.truth.sum() * math.prod(loaded.volume.spacing_mm) / 1000
    lines = [
        f"A synthetic haemorrhage of {truth_ml:.1f} ml in a real head CT; opened in {opened:.1f} s.",
        "",
        "round   Dice      ml     Δml  seconds",
    ]
    for row in rows:
        outcome = f"{row['round']:5d}  {row['dice']:.3f}  {row['volume_ml']:6.1f}  {row['change_ml']:+6.1f}"
        lines.append(f"{outcome}  {row['seconds']:7.2f}")
    lines += [
        "",
        f"Proposed without a stroke in the same CT without blood: {proposal.volume_ml:.2f} ml (right: 0).",
        f"CT, masks, strokes, report.json and sheet.png are in {out}. {NOT_FOR_CARE}",
        "",
    ]
    return "\n".join(lines)


def _silent(fraction: float, what: str) -> None:
    """No progress is wanted."""
