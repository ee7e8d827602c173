"""HemSeg-200 and HemSeg-500: RSNA 2019 slices chosen by a jsonl list, labels from a zip. Song et al., 2024.

The list names a scan's slices (`ID_<slice>.dcm`); its label lies at `<any>/{train,val,test}/label/<scan>.nii.gz`.
HemSeg-200 writes `patient`, `scan_` and a list of slices, HemSeg-500 `patient_name`, `scan_name`, slices by number.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ichhpinet.errors import InputError

from ..parallel import each
from .folds import SPLITS, regrouped
from .manifest import Entry, Manifest
from .series import Conversion, convert

SCAN_KEYS, PATIENT_KEYS = ("scan_", "scan_name", "scan"), ("patient", "patient_name")
SLICES_KEY = "slice_list"
STAGES = (".", "stage_2_train", "stage_2_test", "rsna-intracranial-hemorrhage-detection/stage_2_train")
CODE = re.compile(r"[0-9A-Za-z_]+")  # what scans, patients and slices may be called: they become names of files
Progress = Callable[[float, str], object]


@dataclass(frozen=True)
class Scan:
    """One line of the list."""

    name: str
    patient: str
    slices: tuple[str, ...]


def convert_hemseg(
    name: str,
    listed: Path,
    labels: Path,
    rsna: Path,
    out: Path,
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> Manifest:
    """Write the CT and mask of every scan that is not in `out` yet; the manifest of all of them.

    name: of the set. listed: the jsonl. labels: the zip, or the folder it was unpacked to. rsna: the folder of
    ID_*.dcm, or the one that holds stage_2_train. A scan that cannot be converted is in the manifest, excluded, with
    the reason. Patients that the published split has on several sides are put on one.

    Raises InputError: a list or labels that are not as published.
    """
    scans = read_list(listed)
    where = label_places(labels)
    folder = slice_folder(rsna, scans)
    jobs = [_job(scan, folder, labels, where.get(scan.name, ""), out) for scan in scans]
    reasons = {}
    for number, (job, reason) in enumerate(each(convert, jobs, workers)):
        reasons[job.name] = reason
        if progress is not None:
            progress((number + 1) / len(jobs), job.name)
    entries, moved = regrouped([_entry(name, scan, where, out, reasons) for scan in scans])
    notes = [f"{moved} patients had scans in more than one published split: each was put in one"] if moved else []
    left = len(where.keys() - {scan.name for scan in scans})
    notes += [f"{left} labels are of no listed scan: left out"] if left else []
    return Manifest(tuple(entries), out, notes=tuple(notes))


def read_list(path: Path) -> list[Scan]:
    """The scans of a jsonl list, of either set. Raises InputError for a line that is neither."""
    if not path.is_file():
        raise InputError(f"{path.name} does not exist; it must be annotion_file_info.jsonl or ..._500.jsonl")
    scans = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            scans.append(_scan(line, f"{path.name}, line {number}"))
    if not scans:
        raise InputError(f"{path.name} is empty; it must list scans")
    return scans


def label_places(labels: Path) -> dict[str, str]:
    """Scan -> where its label lies in the zip or folder. Raises InputError where there is none."""
    if labels.is_dir():
        names: Iterable[str] = (file.relative_to(labels).as_posix() for file in sorted(labels.rglob("*.nii.gz")))
    elif zipfile.is_zipfile(labels):
        with zipfile.ZipFile(labels) as archive:
            names = archive.namelist()
    else:
        raise InputError(f"{labels.name} is no zip and no folder; it must be the published labels")
    found = {PurePosixPath(n).name.removesuffix(".nii.gz"): n for n in names if n.endswith(".nii.gz")}
    if not found:
        raise InputError(f"{labels.name} holds no .nii.gz; it must hold train/label, val/label and test/label")
    return found


def slice_folder(rsna: Path, scans: list[Scan]) -> Path:
    """Where the slices lie. Raises InputError: not one of the first scan's slices is there."""
    for stage in STAGES:
        if any((rsna / stage / f"ID_{code}.dcm").is_file() for scan in scans for code in scan.slices[:1]):
            return rsna / stage
    raise InputError(f"{rsna.name} holds none of the listed slices; it must hold ID_*.dcm, or stage_2_train with them")


def _scan(line: str, place: str) -> Scan:
    try:
        row = json.loads(line)
        name = next(row[key] for key in SCAN_KEYS if key in row)
        patient = next(row[key] for key in PATIENT_KEYS if key in row)
        slices = row[SLICES_KEY]
        codes = [slices[key] for key in sorted(slices, key=int)] if isinstance(slices, dict) else list(slices)
    except (ValueError, KeyError, TypeError, StopIteration):
        raise InputError(f"{place} is not as published; it must hold a scan, a patient and a {SLICES_KEY}") from None
    if not codes:
        raise InputError(f"{place} has an empty {SLICES_KEY}; it must name the scan's slices")
    for code in (name, patient, *codes):
        if not (isinstance(code, str) and CODE.fullmatch(code)):
            raise InputError(f"{place} holds a code that is none; codes must be letters and digits")
    return Scan(name, patient, tuple(codes))


def _job(scan: Scan, folder: Path, labels: Path, label: str, out: Path) -> Conversion:
    slices = tuple(folder / f"ID_{code}.dcm" for code in scan.slices)
    return Conversion(scan.name, slices, labels, label, _image(out, scan.name), _mask(out, scan.name))


def _image(out: Path, scan: str) -> Path:
    return out / "images" / f"{scan}.nii.gz"


def _mask(out: Path, scan: str) -> Path:
    return out / "masks" / f"{scan}.nii.gz"


def _entry(name: str, scan: Scan, where: dict[str, str], out: Path, reasons: dict[str, str]) -> Entry:
    parts = PurePosixPath(where.get(scan.name, "")).parts
    return Entry(
        case=f"{name}-{scan.name}",
        dataset=name,
        patient=f"rsna:{scan.patient}",
        image=_image(out, scan.name).relative_to(out).as_posix(),
        mask=_mask(out, scan.name).relative_to(out).as_posix(),
        split=next((split for split in SPLITS if split in parts), ""),
        excluded=reasons[scan.name],
    )
