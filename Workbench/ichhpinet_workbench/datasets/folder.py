"""A set of one's own: a folder of image and mask pairs, or a CSV that names them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from ichhpinet.errors import InputError
from ichhpinet.reading import READERS

from .manifest import Entry, Manifest

IMAGE_FOLDERS = ("images", "image", "imagesTr", "ct", "ct_scans", "data")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "labelsTr")
MASK_ENDINGS = ("_mask", "-mask", "_label", "-label", "_seg", "-seg", ".seg")
CHANNEL = "_0000"  # nnU-Net's name of the one channel
COLUMNS = ("image", "mask")


def read_folder(path: Path, name: str, patient_letters: int = 0) -> Manifest:
    """Pairs of a folder, or of a CSV with the columns image and mask (and, if there, patient, case, kinds).

    name: of the set. patient_letters: so many first letters of a file's name are the patient's; 0: the whole name.
    In a folder, pairs lie in two folders under one name (images and masks, imagesTr and labelsTr, ...), or side by side
    (`a.nii.gz` with `a_mask.nii.gz` or `a.seg.nrrd`).

    Raises InputError: nothing there, no pair, or a row without its file.
    """
    alone: list[str] = []
    rows = list(_from_csv(path) if path.suffix.lower() == ".csv" else _from_folder(path, alone))
    if not rows:
        raise InputError(f"{path.name} holds no pair of an image and a mask (see ichhpinet data folder --help)")
    entries = []
    for row in rows:
        case = row.get("case") or _stem(Path(row["image"]))
        patient = row.get("patient") or case[: patient_letters or None]
        kinds = tuple(row.get("kinds", "").replace("+", " ").split())
        entries.append(Entry(f"{name}-{case}", name, f"{name}:{patient}", row["image"], row["mask"], kinds=kinds))
    notes = (f"{len(alone)} images without a mask, {alone[0]} first: left out",) if alone else ()
    return Manifest(tuple(entries), path.parent if path.is_file() else path, notes=notes)


def _from_csv(path: Path) -> Iterator[dict[str, str]]:
    if not path.is_file():
        raise InputError(f"{path.name} does not exist; it must be a CSV with the columns image and mask")
    try:
        path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path.name} is not in UTF-8; save it so (in a spreadsheet: CSV UTF-8)") from None
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"{path.name} has no column {' and '.join(missing)}; it must have image and mask")
        for row in reader:
            for column in COLUMNS:
                file_path = path.parent / (row[column] or "")
                if not row[column] or not row[column].strip():
                    raise InputError(f"{path.name}, line {reader.line_num} names no {column}; it must be a path")
                if not file_path.exists():
                    raise InputError(f"{path.name}, line {reader.line_num}: the {column} does not exist")
                if file_path.is_dir() and (column == "mask" or not any(map(Path.is_file, file_path.iterdir()))):
                    wanted = "a file" if column == "mask" else "a file, or a folder of DICOM files"
                    raise InputError(
                        f"{path.name}, line {reader.line_num}: the {column} is a folder; it must be {wanted}"
                    )
                row[column] = file_path.resolve().as_posix()
            yield {key: (value or "").strip() for key, value in row.items() if key}


def _from_folder(path: Path, alone: list[str]) -> Iterator[dict[str, str]]:
    """Pairs; the names of images without a mask are put into `alone`."""
    if not path.is_dir():
        raise InputError(f"{path.name} is no folder and no CSV; it must be one of them")
    images = next((path / name for name in IMAGE_FOLDERS if (path / name).is_dir()), path)
    masks = next((path / name for name in MASK_FOLDERS if (path / name).is_dir()), path)
    by_name = {_mask_stem(file): file for file in _files(masks) if masks != images or _is_mask(file)}
    for file in _files(images):
        partner = by_name.get(_stem(file).removesuffix(CHANNEL))
        if masks == images and _is_mask(file):
            continue
        if partner is None:
            alone.append(file.name)
        else:
            yield {
                "case": _stem(file).removesuffix(CHANNEL),
                "image": file.resolve().as_posix(),
                "mask": partner.resolve().as_posix(),
            }


def _files(folder: Path) -> list[Path]:
    """Images; not what macOS puts beside them, nor links that lead nowhere."""
    found = [path for path in sorted(folder.iterdir()) if path.name.lower().endswith(tuple(READERS))]
    return [path for path in found if not path.name.startswith("._") and path.is_file()]


def _stem(path: Path) -> str:
    name = path.name
    for ending in sorted(READERS, key=len, reverse=True):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def _is_mask(path: Path) -> bool:
    return _stem(path).endswith(MASK_ENDINGS)


def _mask_stem(path: Path) -> str:
    stem = _stem(path)
    ending = next((ending for ending in MASK_ENDINGS if stem.endswith(ending)), "")
    return stem.removesuffix(ending)
