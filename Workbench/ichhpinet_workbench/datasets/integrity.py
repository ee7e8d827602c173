"""Is a data set what it says it is? A row of findings a case, a report of the set, and which cases must be left out."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ichhpinet.errors import InputError
from ichhpinet.reading import are_labels, read_labels, read_volume
from ichhpinet.volume import CTVolume

from ..ledger import Ledger, plain
from ..parallel import each
from ..regions import Bool, components
from .loading import BRAIN_HU, mask_voxels
from .manifest import NO_FOLD, Entry, Manifest

CHECKS_VERSION = 2
LESION_HU = (20.0, 110.0)  # median HU of a lesion mask on blood; outside, the mask lies on something else
BRAIN_MEDIAN_HU = (15.0, 50.0)  # of all voxels of 5-60 HU
SLICE_MM, PIXEL_MM = (0.3, 12.0), (0.2, 1.5)
LARGEST_ML = 300.0
OURS = "check: "  # begins the reason of what is excluded here, and of nothing else
LEAST_OVERLAP = 0.5  # of a mask with the head
COLUMNS = (
    "case dataset shape spacing_mm lesion_slices lesion_ml components lesion_hu brain_hu values verdict findings"
).split()
Progress = Callable[[float, str], object]
Row = dict[str, Any]


@dataclass(frozen=True)
class _Job:
    manifest: Manifest
    entry: Entry


def check(
    manifest: Manifest, out: Path, *, workers: int = 0, mend: bool = False, progress: Progress | None = None
) -> tuple[list[Row], Manifest]:
    """Check every case that `out` does not know yet; write integrity.csv and integrity.md; the manifest it gives.

    In that manifest, what cannot be used is excluded with the reason, and what an earlier check excluded is used again
    once nothing is wrong with it. mend: where image and mask have the same size and their headers disagree, the case is
    used `by_index` instead.
    """
    ledger = Ledger(out / "integrity.jsonl", {"version": CHECKS_VERSION})
    waiting = [e for e in manifest.entries if _key(manifest, e) not in ledger.known]
    empty = Manifest((), manifest.folder)
    for number, (job, row) in enumerate(each(check_case, [_Job(empty, e) for e in waiting], workers)):
        ledger.append(_key(manifest, job.entry), row)
        if progress is not None:
            progress((number + 1) / len(waiting), job.entry.case)
    found = dict(ledger)
    rows = [found[_key(manifest, entry)] for entry in manifest.entries]
    judged = [_judged(entry, row, mend) for entry, row in zip(manifest.entries, rows, strict=True)]
    changed = tuple(_without_twins(_with_folds(judged, manifest.entries, rows), rows))
    _write_csv(out / "integrity.csv", rows)
    (out / "integrity.md").write_text(report(rows, changed), encoding="utf-8")
    return rows, replace(manifest, entries=changed)


def check_case(job: _Job) -> Row:
    """Everything that is looked at in one case. Findings: 'fault: ...' must not be used, 'note: ...' may be."""
    entry = job.entry
    row: Row = {"case": entry.case, "dataset": entry.dataset, "patient": entry.patient, "mismatch": ""}
    try:
        volume = read_volume(job.manifest.path(entry.image))
    except InputError as error:
        return row | {"findings": [f"fault: the CT: {error}"]}
    row |= {"shape": list(volume.shape), "spacing_mm": list(volume.spacing_mm), "digest": volume.digest()}
    findings = [f"note: {note}" for note in volume.notes]
    try:
        values = mask_voxels(job.manifest.path(entry.mask))
    except InputError as error:
        return row | {"findings": [*findings, f"fault: the mask: {error}"]}
    row["mismatch"], fault = _mismatch(job, volume)
    if row["mismatch"] and not are_labels(values):
        fault = "its values are no labels; every one must be a whole number from 0 to 255"
    findings += [f"fault: the mask: {fault}"] if fault else []
    if values.shape != volume.shape:
        return row | {"findings": [*findings, f"fault: the mask is {values.shape}; the CT is {volume.shape}"]}
    measured, more = _look(volume, values > 0, entry)
    levels = np.unique(values)
    if len(levels) > 2:
        more.append(f"note: the mask holds {len(levels)} values; all but 0 are taken as haemorrhage")
    return row | measured | {"values": [float(v) for v in levels[:6]], "findings": findings + more}


def report(rows: Sequence[Row], entries: Sequence[Entry]) -> str:
    """Markdown: what there is, what is wrong, case by case."""
    used = sum(not entry.excluded for entry in entries)
    ml = [row["lesion_ml"] for row in rows if row.get("lesion_ml", 0) > 0]
    lines = [
        "# Integrity\n",
        f"{len(rows)} cases of {len({row['patient'] for row in rows})} patients; {used} can be used.\n",
    ]
    if ml:
        low, middle, high = np.percentile(ml, [5, 50, 95])
        lines.append(f"Lesions: median {middle:.1f} ml, 5th to 95th percentile {low:.1f} to {high:.1f} ml.\n")
    for word, heading in (("fault", "Faults: not used as they are"), ("note", "Notes: used")):
        counts = Counter(_kind(text) for row in rows for text in row["findings"] if text.startswith(word))
        lines.append(f"## {heading}\n")
        lines += [f"- {count} x {kind}" for kind, count in counts.most_common()] or ["None."]
        lines.append("")
    lines.append("## Case by case\n\n| case | used | findings |\n|---|---|---|")
    for row, entry in zip(rows, entries, strict=True):
        if row["findings"] or entry.excluded:
            lines.append(f"| {row['case']} | {'no' if entry.excluded else 'yes'} | {'; '.join(row['findings'])} |")
    return "\n".join(lines) + "\n"


def _look(volume: CTVolume, mask: Bool, entry: Entry) -> tuple[Row, list[str]]:
    """Figures and findings of a readable pair of one size."""
    lesion = volume.hu[mask]
    brain = volume.hu[(volume.hu > BRAIN_HU[0]) & (volume.hu < BRAIN_HU[1])]
    slices = int(mask.any(axis=(1, 2)).sum())
    measured: Row = {
        "lesion_slices": slices,
        "lesion_ml": float(mask.sum() * volume.voxel_ml),
        "components": len(components(mask)[1]),
        "lesion_hu": float(np.median(lesion)) if lesion.size else math.nan,
        "brain_hu": float(np.median(brain)) if brain.size else math.nan,
    }
    return measured, [text for text in _findings(volume, mask, entry, measured) if text]


def _findings(volume: CTVolume, mask: Bool, entry: Entry, measured: Row) -> list[str]:
    thickness, *pixel = volume.spacing_mm
    steps = ", ".join(f"{step:.2f}" for step in volume.spacing_mm)
    odd = not (_within(thickness, SLICE_MM) and all(_within(step, PIXEL_MM) for step in pixel))
    brain, hu, declared = measured["brain_hu"], measured["lesion_hu"], entry.declared_blood_slices
    found = [
        f"note: unusual spacing {steps} mm" if odd else "",
        f"fault: brain has a median of {brain:.0f} HU; it must be 15 to 50"
        if not _within(brain, BRAIN_MEDIAN_HU)
        else "",
    ]
    if not mask.any():
        return [*found, "note: the mask is empty"]
    inside = float((volume.hu[mask] > -200).mean())
    return [
        *found,
        f"note: lesion has a median of {hu:.0f} HU; blood has {LESION_HU[0]:.0f} to {LESION_HU[1]:.0f}"
        if not _within(hu, LESION_HU)
        else "",
        f"fault: {1 - inside:.0%} of the mask lie in air" if inside < LEAST_OVERLAP else "",
        f"note: {measured['lesion_ml']:.0f} ml is more than a lesion has" if measured["lesion_ml"] > LARGEST_ML else "",
        f"note: {measured['lesion_slices']} slices have a mask; the set's table says {declared}"
        if declared not in (-1, measured["lesion_slices"])
        else "",
    ]


def _mismatch(job: _Job, volume: CTVolume) -> tuple[str, str]:
    """(how the mask's grid differs from the CT's, what else keeps it from being read), each in words, '' if nothing."""
    path = job.manifest.path(job.entry.mask)
    try:
        read_labels(path, volume)
    except InputError as error:
        _, elsewhere, how = str(error).partition("is on another grid than the CT: ")
        return (how, "") if elsewhere else ("", str(error))
    return "", ""


def _judged(entry: Entry, row: Row, mend: bool) -> Entry:
    """The entry as it may be used, of itself."""
    faults = [text for text in row["findings"] if text.startswith("fault")]
    same_size = bool(row["mismatch"]) and not row["mismatch"].startswith("its size")
    if same_size and mend and not faults:
        entry = replace(entry, by_index=True)
    elif same_size and not entry.by_index:
        text = f"fault: image and mask are on two grids: {row['mismatch']} (--mend-grids takes them voxel by voxel)"
        row["findings"] = [*row["findings"], text]
        faults.append(text)
    if entry.excluded and not entry.excluded.startswith(OURS):
        return entry
    return replace(entry, excluded=OURS + faults[0].removeprefix("fault: ") if faults else "")


def _with_folds(judged: Sequence[Entry], before: Sequence[Entry], rows: Sequence[Row]) -> list[Entry]:
    """What is used again after a split that left it out: in its patient's fold, or in none until the next split."""
    folds = {entry.patient: entry.fold for entry in before if not entry.excluded and entry.fold != NO_FOLD}
    found = []
    for entry, old, row in zip(judged, before, rows, strict=True):
        if folds and old.excluded and not entry.excluded and entry.fold != folds.get(entry.patient, entry.fold):
            entry = replace(entry, fold=folds[entry.patient])
        if folds and not entry.excluded and entry.fold == NO_FOLD:
            row["findings"] = [*row["findings"], "note: in no fold; split the manifest anew (ichhpinet data split)"]
        found.append(entry)
    return found


def _without_twins(entries: Sequence[Entry], rows: Sequence[Row]) -> Iterator[Entry]:
    """Of one image under several patients, which would sit on both sides of a split, the first that can be used."""
    first: dict[str, Entry] = {}
    for entry, row in zip(entries, rows, strict=True):
        twin = entry if entry.excluded else first.setdefault(row["digest"], entry)
        if twin.patient != entry.patient:
            text = f"the CT is also {twin.case}, of another patient"
            row["findings"] = [*row["findings"], f"fault: {text}"]
            entry = replace(entry, excluded=OURS + text)
        yield entry


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            faults = any(text.startswith("fault") for text in row["findings"])
            shown = row | {"verdict": "fault" if faults else "good", "findings": "; ".join(row["findings"])}
            writer.writerow([_cell(shown.get(column, "")) for column in COLUMNS])


def _cell(value: Any) -> Any:
    return " ".join(f"{part:g}" for part in value) if isinstance(value, list) else plain(value)


def _kind(text: str) -> str:
    """A finding without its numbers, to count by."""
    words = [word for word in text.split(": ", 1)[1].split() if not any(sign.isdigit() for sign in word)]
    return " ".join(words)[:80]


def _key(manifest: Manifest, entry: Entry) -> str:
    """Changes with either file, so that a mended file is checked again."""
    return f"{entry.case} {manifest.stamp(entry)}"


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]
