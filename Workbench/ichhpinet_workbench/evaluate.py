"""Judge a predictor on cases, round by round, and keep each figure in a CSV as it is measured. No tables."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ichhpinet.errors import InputError
from ichhpinet.metrics import dice, hd95_mm
from ichhpinet.paths import written_whole

from .effects import effects
from .keptmasks import keep_mask, mask_path
from .regions import Bool, bounding_box
from .rounds import Predictor, Reader, play
from .texture import noise_texture
from .validation import VALIDATION_VERSION, Case, Loaded, contrast_hu, generator

KEPT_ROUND = 5  # the gallery shows what is wrong after it
HD95_ROUNDS = (1, 3, 5, 8)  # surface distances cost more than the round itself
COLUMNS = (
    "case source kind spacing_z_mm truth_ml contrast_hu noise_hu noise_1mm round painted dice mask_ml error_ml hd95_mm "
    "seconds missed_slice missed_3d missed_depth_mm extra_slice extra_3d extra_depth_mm"
).split()
TEXT = ("case", "source", "kind")
Row = dict[str, Any]
Progress = Callable[[float, str], object]


@dataclass(frozen=True)
class Setup:
    """What makes two runs comparable; kept beside the CSV. identity: what was judged, e.g. the weights' SHA-256."""

    rounds: int = 8
    reader: Reader = Reader()
    identity: str = ""

    def record(self) -> dict[str, Any]:
        """As JSON."""
        made = {"validation_version": VALIDATION_VERSION, "generator": generator(), "columns": COLUMNS}
        return {**asdict(self), **made}


@dataclass(frozen=True)
class Contestant:
    """Who is judged, how, and the CSV that keeps the figures."""

    predictor: Predictor
    file: Path
    setup: Setup = Setup()

    def is_judged_on(self, case: Case) -> bool:
        """A head without blood judges only those who can propose."""
        return bool(case.kinds) or bool(getattr(self.predictor, "proposes", True))


def evaluate(
    contestants: Mapping[str, Contestant],
    cases: Iterable[Case],
    load: Callable[[Case], Loaded],
    progress: Progress | None = None,
) -> dict[str, list[Row]]:
    """Judge all on the cases that are not in their files yet; all rows of these cases come back, by contestant.

    A case is loaded once, judged, written and forgotten. Without blood there is the row of round 0 (`propose`) alone.

    Raises InputError: a file was measured with another setup.
    """
    cases = list(cases)
    kept = {name: _open_results(one.file, one.setup) for name, one in contestants.items()}
    for index, case in enumerate(cases):
        loaded = None
        for name, one in contestants.items():
            if not one.is_judged_on(case) or any(row["case"] == case.name for row in kept[name]):
                continue
            if progress is not None:
                progress(index / len(cases), f"{case.name}: {name}")
            loaded = load(case) if loaded is None else loaded
            rows = judge(one.predictor, loaded, one.setup, mask_path(one.file.parent, name, case.name))
            _append(one.file, rows)
            kept[name] += rows
    if progress is not None:
        progress(1.0, "")
    wanted = {case.name for case in cases}
    return {name: [row for row in rows if row["case"] in wanted] for name, rows in kept.items()}


def judge(predictor: Predictor, loaded: Loaded, setup: Setup, keep: Path | None = None) -> list[Row]:
    """Rows of one case: round 0 if the predictor can propose, then rounds 1.. if there is blood.

    keep: where the mask of round KEPT_ROUND (the last, where there are fewer) is written.
    """
    case, volume, truth = loaded.case, loaded.volume, loaded.truth
    voxel_ml = math.prod(volume.spacing_mm) / 1000
    truth_ml = float(truth.sum() * voxel_ml)
    noise_hu, noise_1mm = noise_texture(volume.hu, volume.spacing_mm)
    about = {
        "case": case.name,
        "source": case.source,
        "kind": case.kind,
        "spacing_z_mm": volume.spacing_mm[0],
        "truth_ml": truth_ml,
        "contrast_hu": contrast_hu(volume.hu, truth, volume.spacing_mm),
        "noise_hu": noise_hu,
        "noise_1mm": noise_1mm,
    }
    session: Any = predictor.open(volume)
    rows = []
    if hasattr(session, "propose"):
        began = time.perf_counter()
        proposed = np.asarray(session.propose().mask)
        rows.append({**about, **_scores(0, proposed, truth, volume.spacing_mm, time.perf_counter() - began)})
        if truth.any():
            session.undo()
    if truth.any():
        for turn in play(session, volume, truth, loaded.brain, setup.rounds, case.seed, setup.reader):
            scored = _scores(turn.number, turn.mask, truth, volume.spacing_mm, turn.seconds)
            rows.append({**about, **scored, "painted": int(turn.painted), **effects(turn, truth, volume.spacing_mm)})
            if keep is not None and turn.number == min(KEPT_ROUND, setup.rounds):
                keep_mask(keep, turn.mask)
    return rows


def _scores(number: int, mask: Bool, truth: Bool, spacing_mm: tuple[float, float, float], seconds: float) -> Row:
    voxel_ml = math.prod(spacing_mm) / 1000
    blood = bool(truth.any())
    wanted = blood and number in HD95_ROUNDS and mask.any()
    return {
        "round": number,
        "painted": 0,
        "dice": dice(mask, truth) if blood else math.nan,
        "mask_ml": float(mask.sum() * voxel_ml),
        "error_ml": float((int(mask.sum()) - int(truth.sum())) * voxel_ml),
        "hd95_mm": _hd95(mask, truth, spacing_mm) if wanted else math.nan,
        "seconds": seconds,
    }


def _hd95(mask: Bool, truth: Bool, spacing_mm: tuple[float, float, float]) -> float:
    box = bounding_box(mask | truth, 1)
    return float(hd95_mm(mask[box], truth[box], spacing_mm))


def _open_results(file: Path, setup: Setup) -> list[Row]:
    """Rows already measured with the same setup; a new file gets its heading."""
    about = file.with_suffix(".json")
    record = setup.record()
    rows = read_rows(file) if file.exists() else []
    if rows:
        if not about.exists() or json.loads(about.read_text(encoding="utf-8")) != record:
            raise InputError(f"{file.name} was measured with another setup; take another folder, or measure again")
        return rows
    file.parent.mkdir(parents=True, exist_ok=True)
    about.write_text(json.dumps(record, indent=1), encoding="utf-8")
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerow(COLUMNS)
    return []


def read_rows(file: Path) -> list[Row]:
    """The rows of a CSV, numbers as numbers; columns that are not of COLUMNS are left out.

    Raises InputError where it is damaged.
    """
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        try:
            return [{key: row[key] if key in TEXT else float(row[key]) for key in COLUMNS} for row in reader]
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{file.name} is damaged at line {reader.line_num}; delete it, so that it is measured again"
            ) from None


def _append(file: Path, rows: Sequence[Row]) -> None:
    """Beside and renamed, so that a stopped run leaves whole cases."""
    lines = []
    for row in rows:
        values = (row.get(column, math.nan) for column in COLUMNS)
        lines.append(",".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in values) + "\n")
    with written_whole(file) as beside:
        beside.write_bytes(file.read_bytes() + "".join(lines).encode())
