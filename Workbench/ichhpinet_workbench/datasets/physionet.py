"""PhysioNet CT-ICH 1.3.1: `ct_scans/049.nii`, `masks/049.nii`, and two tables. The paper's filter of lesion slices.

Hssayeni et al., 2020, doi:10.13026/4nae-zg36. Masks hold 0 and 255. 75 patients, numbered 49 to 130 with gaps.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

from ichhpinet.errors import InputError

from .loading import lesion_slices
from .manifest import Entry, Manifest

NAME = "physionet-ct-ich"
SCANS, MASKS = "ct_scans", "masks"
DIAGNOSIS, PATIENTS = "hemorrhage_diagnosis_raw_ct.csv", "Patient_demographics.csv"
KINDS = {  # columns of the diagnosis table, in its order
    "Intraventricular": "IVH",
    "Intraparenchymal": "IPH",
    "Subarachnoid": "SAH",
    "Epidural": "EDH",
    "Subdural": "SDH",
}
PATIENT, SLICE, NONE = "PatientNumber", "SliceNumber", "No_Hemorrhage"
LEAST_LESION_SLICES = 3  # the paper: "only cases with three or more slices containing hemorrhage regions"
ENDINGS = (".nii", ".nii.gz")


def read_physionet(root: Path, least_lesion_slices: int = LEAST_LESION_SLICES) -> Manifest:
    """The data set unpacked at root. Cases with fewer lesion slices than asked for are kept, marked as excluded.

    Raises InputError: a folder, table or column is missing, or no scan has a mask.
    """
    for name in (SCANS, MASKS):
        if not (root / name).is_dir():
            raise InputError(f"{root.name} has no folder {name}; it must be PhysioNet CT-ICH 1.3.1, unpacked")
    kinds, slices = _diagnoses(root / DIAGNOSIS)
    listed = _patients(root / PATIENTS)
    scans, masks = (_numbered(root / name) for name in (SCANS, MASKS))
    notes = [
        _missing("scan without a mask", scans.keys() - masks),
        _missing("mask without a scan", masks.keys() - scans),
    ]
    strangers = (scans.keys() & masks) - listed
    notes += [f"{len(strangers)} scan of a patient who is not in {PATIENTS}: used" if strangers else ""]
    entries = []
    for number in sorted(scans.keys() & masks):
        count = lesion_slices(masks[number])
        entries.append(
            Entry(
                case=f"{NAME}-{number:03d}",
                dataset=NAME,
                patient=f"physionet:{number:03d}",
                image=scans[number].resolve().as_posix(),
                mask=masks[number].resolve().as_posix(),
                kinds=kinds.get(number, ()),
                declared_blood_slices=slices.get(number, -1),
                excluded=_too_few(count, least_lesion_slices),
            )
        )
    if not entries:
        raise InputError(f"no scan in {root.name}/{SCANS} has its mask in {MASKS}; the names must be 049.nii and so on")
    return Manifest(tuple(entries), root, notes=tuple(note for note in notes if note))


def _too_few(count: int, least: int) -> str:
    return "" if count >= least else f"{count} slices with lesion; {least} or more are asked for"


def _numbered(folder: Path) -> dict[int, Path]:
    """Patient number -> file."""
    found = {}
    for path in sorted(folder.iterdir()):
        stem = path.name.split(".")[0]
        if path.name.endswith(ENDINGS) and stem.isdigit():
            found[int(stem)] = path
    return found


def _diagnoses(path: Path) -> tuple[dict[int, tuple[str, ...]], dict[int, int]]:
    """By patient: the kinds of haemorrhage on any slice, and on how many slices there is one."""
    kinds: dict[int, set[str]] = defaultdict(set)
    slices: dict[int, int] = defaultdict(int)
    for row in _rows(path, (PATIENT, SLICE, NONE, *KINDS)):
        number = _whole(row[PATIENT])
        if number is None:  # the table ends in empty rows
            continue
        here = {kind for column, kind in KINDS.items() if _whole(row[column]) == 1}
        kinds[number] |= here
        slices[number] += bool(here)
    return {number: tuple(k for k in KINDS.values() if k in found) for number, found in kinds.items()}, dict(slices)


def _patients(path: Path) -> set[int]:
    """The patients' numbers; age and sex are not read. The table's heading is two rows high."""
    rows = _rows(path, ("Patient Number",))
    return {number for number in (_whole(row["Patient Number"]) for row in rows) if number is not None}


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    if not path.is_file():
        raise InputError(f"{path.name} is missing; it must lie beside {SCANS}")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        reader.fieldnames = [(name or "").strip() for name in reader.fieldnames or ()]
        missing = [column for column in columns if column not in reader.fieldnames]
        if missing:
            raise InputError(f"{path.name} has no column {', '.join(missing)}; it must be that of version 1.3.1")
        return list(reader)


def _whole(text: str | None) -> int | None:
    try:
        return int(float(text or ""))
    except (ValueError, OverflowError):
        return None


def _missing(what: str, numbers: set[int]) -> str:
    return f"{len(numbers)} {what}: left out" if numbers else ""
