"""report.json: what was read, with which weights, and every round's millilitres. No names, no paths, no headers."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ichhpinet.measurements import measure
from ichhpinet.orientation import Orientation
from ichhpinet.paths import written_whole
from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume

PURPOSE = "research use, not a medical device"
CT_COPIES = {"ct.nrrd", "ct.nii.gz"}
Row = dict[str, Any]


@dataclass
class Report:
    """Grows by a row a round; `write` can be called after each."""

    volume: CTVolume
    head: Row
    rounds: list[Row] = field(default_factory=list)

    @classmethod
    def begun(
        cls,
        volume: CTVolume,
        predictor: Any,
        weights: Path,
        version: str,
        notes: tuple[str, ...],
        ct_copy: str | None = None,
    ) -> Report:
        """weights: the file whose digest stands for the model. notes: what reading and opening did or assumed.
        ct_copy: the name of the file, beside the masks, that the CT is written to.

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
                **({"file": ct_copy} if ct_copy else {}),
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

    @property
    def files(self) -> set[str]:
        """The names of the files that belong to the report."""
        return {row["mask"] for row in self.rounds} | ({str(self.head["ct"].get("file"))} & CT_COPIES)

    def write(self, path: Path) -> None:
        """Written beside and renamed. Raises OSError."""
        text = json.dumps(self.head | {"rounds": self.rounds}, indent=2, ensure_ascii=False)
        with written_whole(path) as beside:
            beside.write_text(text + "\n", encoding="utf-8")


def files_of(path: Path) -> set[str]:
    """Names of the masks and of the copy of the CT that an earlier report lists, as this program names them; none where
    it is no report."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        masks = {str(row["mask"]) for row in report["rounds"]}
        copy = str(report.get("ct", {}).get("file"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return set()
    return {name for name in masks if re.fullmatch(r"round-\d+\.[a-z.]+", name)} | ({copy} & CT_COPIES)


def axial_axis(volume: CTVolume) -> int:
    """The array axis (0 slices, 1 rows, 2 columns) that lies nearest head-feet: the one that the engine works along."""
    return Orientation.from_direction(volume.direction).slice_axis


def _strokes(scribbles: Scribbles | None) -> Row:
    if scribbles is None:
        return {"foreground_voxels": 0, "background_voxels": 0, "slices": []}
    return {
        "foreground_voxels": int(scribbles.foreground.sum()),
        "background_voxels": int(scribbles.background.sum()),
        "slices": list(scribbles.touched_slices(0)),
    }
