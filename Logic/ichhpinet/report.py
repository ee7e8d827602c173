"""report.json: what was read, with which weights, and every round's millilitres. No names, no paths, no headers."""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ichhpinet.measurements import measure
from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume

PURPOSE = "research use, not a medical device"
Row = dict[str, Any]


@dataclass
class Report:
    """Grows by a row a round; `write` can be called after each."""

    volume: CTVolume
    head: Row
    rounds: list[Row] = field(default_factory=list)

    @classmethod
    def begun(cls, volume: CTVolume, predictor: Any, weights: Path, version: str, notes: tuple[str, ...]) -> Report:
        """weights: the file whose digest stands for the model. notes: what reading and opening did or assumed.

        Raises OSError when the weights cannot be read.
        """
        head = {
            "purpose": PURPOSE,
            "software": f"ichhpinet {version}",
            "ct": {
                "shape": list(volume.shape),
                "spacing_mm": [round(step, 6) for step in volume.spacing_mm],
                "sha256": volume.digest(),
                "notes": list(notes),
            },
            "model": {
                "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
                "device": str(getattr(predictor, "device", "unknown")),
            },
        }
        return cls(volume, head)

    def add(self, result: Any, scribbles: Scribbles | None, mask_name: str) -> Row:
        """The row of a round. result: a RoundResult. scribbles: None when proposed. mask_name: its file."""
        measured = measure(result.mask, self.volume.spacing_mm, axial_axis(self.volume)).row()
        before = {row["number"]: row["volume_ml"] for row in self.rounds}
        row: Row = {
            "number": int(result.number),
            "parent": None if result.parent is None else int(result.parent),
            "mask": mask_name,
            **measured,
            "delta_ml": round(measured["volume_ml"] - before.get(result.parent, 0.0), 3),
            "seconds": round(float(result.seconds), 3),
            "strokes": _strokes(scribbles),
        }
        self.rounds.append(row)
        return row

    def write(self, path: Path) -> None:
        """Written beside and renamed. Raises OSError."""
        beside = path.with_name(f".{uuid.uuid4().hex}.json")
        try:
            text = json.dumps(self.head | {"rounds": self.rounds}, indent=2, ensure_ascii=False)
            beside.write_text(text + "\n", encoding="utf-8")
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)


def masks_of(path: Path) -> set[str]:
    """Names of the masks that an earlier report lists, as this program names them; none where it is no report."""
    try:
        rounds = json.loads(path.read_text(encoding="utf-8"))["rounds"]
        names = {str(row["mask"]) for row in rounds}
    except (OSError, ValueError, LookupError, TypeError):
        return set()
    return {name for name in names if re.fullmatch(r"round-\d+\.[a-z.]+", name)}


def axial_axis(volume: CTVolume) -> int:
    """The array axis (0 slices, 1 rows, 2 columns) that lies nearest head-feet."""
    return 2 - int(np.abs(volume.direction[2]).argmax())


def _strokes(scribbles: Scribbles | None) -> Row:
    if scribbles is None:
        return {"foreground_voxels": 0, "background_voxels": 0, "slices": []}
    return {
        "foreground_voxels": int(scribbles.foreground.sum()),
        "background_voxels": int(scribbles.background.sum()),
        "slices": list(scribbles.touched_slices(0)),
    }
