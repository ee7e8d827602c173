"""What SimpleITK does not tell about NIfTI, NRRD and MetaImage files: cut data, and a spacing that is not there."""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ichhpinet.errors import InputError
from ichhpinet.filevoxels import metaimage_is_whole, nrrd_is_whole

NIFTI_FIELDS = {  # header's length (its first word) -> type and place of dim, pixdim, datatype, vox_offset, form codes
    348: (("8h", 40), ("8f", 76), ("2h", 70), ("f", 108), ("2h", 252)),
    540: (("8q", 16), ("8d", 104), ("2h", 12), ("q", 168), ("2i", 344)),
}
NIFTI_FLOATS = {16: "f4", 64: "f8"}
NOT_ORIENTED = "the file does not say how the head lies; the default orientation of its format is assumed"
CHUNK_BYTES = 1 << 20
TEXT_HEADER_BYTES = 1 << 16
SPACING_WORDS = ("space directions", "spacings", "elementspacing", "elementsize")
NRRD_NEEDS = ("type", "sizes", "encoding")
NRRD_UNITS = ("space units", "units")
MM = ("mm", "millimeter", "millimeters", "millimetre", "millimetres", "", "none", "???")
METAIMAGE_NEEDS = ("ndims", "dimsize", "elementtype", "elementdatafile")
METAIMAGE_TURNS = ("transformmatrix", "rotation", "orientation")


@dataclass(frozen=True)
class NiftiFacts:
    """What a NIfTI header says: the spatial steps, where the voxels lie, whether an orientation is given."""

    steps_mm: tuple[float, ...]
    data_at: int
    data_bytes: int
    floats: str  # numpy's name of the voxels' type when they can be NaN, else ""
    oriented: bool


def check_nifti(path: Path) -> tuple[str, ...]:
    """Notes about a whole NIfTI file. ITK makes zeros of cut data and of NaN, and takes any spacing; this does not.

    Raises InputError: not NIfTI, a step of 0 or less or not finite, fewer bytes than the header announces, a bad
    checksum, voxels that are NaN.
    """
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            facts = _nifti_facts(file.read(max(NIFTI_FIELDS)))
            if not all(math.isfinite(step) and step > 0 for step in facts.steps_mm):
                shown = ", ".join(f"{step:g}" for step in facts.steps_mm)
                raise InputError(f"the spacing in {path.name} is {shown} mm; every step must be greater than 0")
            count, not_finite = _scan(file, facts)
    except (InputError, PermissionError):
        raise
    except (OSError, EOFError, zlib.error, struct.error, OverflowError, ValueError):
        count, not_finite, facts = 0, 0, NiftiFacts((), 0, 1, "", False)
    if count < facts.data_bytes:
        raise InputError(f"{path.name} cannot be read: it is cut short or damaged")
    if not_finite:
        raise InputError(f"{path.name} has {not_finite} voxels that are NaN or infinite; every one must be finite")
    return () if facts.oriented else (NOT_ORIENTED,)


def check_text_header(path: Path, kind: str) -> tuple[str, ...]:
    """Notes about an NRRD or MetaImage file.

    kind: "nrrd" or "metaimage". Raises InputError when the header is cut or states no spacing, or its data is cut or
    damaged.
    """
    with path.open("rb") as file:
        start = file.read(TEXT_HEADER_BYTES)
    fields, data_at = _metaimage_fields(start) if kind == "metaimage" else _nrrd_fields(start)
    needed = METAIMAGE_NEEDS if kind == "metaimage" else NRRD_NEEDS
    is_whole = metaimage_is_whole if kind == "metaimage" else nrrd_is_whole
    if not all(word in fields for word in needed) or not is_whole(path, fields, data_at):
        raise InputError(f"{path.name} cannot be read: it is cut short or damaged")
    if not any(word in fields for word in SPACING_WORDS) or (kind == "nrrd" and not _nrrd_spacing_is_known(fields)):
        raise InputError(f"{path.name} does not state its spacing; it must, in mm")
    other = [unit for key in NRRD_UNITS for unit in re.findall(r'"([^"]*)"', fields.get(key, "")) if unit not in MM]
    if kind == "nrrd" and other:
        raise InputError(f"{path.name} states its spacing in {other[0]!r}; it must be in mm")
    nrrd_says = "space directions" in fields and ("space" in fields or "space dimension" in fields)
    oriented = nrrd_says if kind == "nrrd" else any(word in fields for word in METAIMAGE_TURNS)
    return () if oriented else (NOT_ORIENTED,)


def _nrrd_spacing_is_known(fields: dict[str, str]) -> bool:
    """Three axes have a step, or all that there are. For 'none' and 'nan' ITK would take 1 mm, unsaid."""
    if "space directions" in fields:
        steps = re.findall(r"\([^)]*\)|none", fields["space directions"])
    else:
        steps = fields.get("spacings", "").split()
    known = [step for step in steps if "nan" not in step.lower() and step != "none"]
    return len(known) >= min(3, len(steps))


def _nrrd_fields(start: bytes) -> tuple[dict[str, str], int]:
    """The header's fields, and where its voxels begin, if they are behind it."""
    header, blank_line = start, re.search(rb"\r?\n\r?\n", start)
    if blank_line is not None:
        header = start[: blank_line.start()]
    return _fields(header, b":"), len(start) if blank_line is None else blank_line.end()


def _metaimage_fields(start: bytes) -> tuple[dict[str, str], int]:
    """The header's fields, and the number of bytes of the line with the last of them and all before it."""
    at = start.lower().find(b"elementdatafile")
    end = start.find(b"\n", at) + 1 if at >= 0 else 0
    return _fields(start[: end or None], b"="), end or len(start)


def _fields(header: bytes, divider: bytes) -> dict[str, str]:
    pairs = (line.split(divider, 1) for line in header.splitlines() if divider in line)
    return {key.decode("latin-1").strip().lower(): value.decode("latin-1").strip() for key, value in pairs}


def _nifti_facts(header: bytes) -> NiftiFacts:
    """Raises struct.error when it is no NIfTI header."""
    for order in "<>":
        fields = NIFTI_FIELDS.get(struct.unpack_from(order + "i", header)[0])
        if fields is None:
            continue
        dims, steps, types, (offset,), codes = (struct.unpack_from(order + kind, header, at) for kind, at in fields)
        if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1 or types[1] < 1:
            raise struct.error("dimensions")
        data_bytes = (math.prod(dims[1 : dims[0] + 1]) * types[1] + 7) // 8
        floats = order + NIFTI_FLOATS[types[0]] if types[0] in NIFTI_FLOATS else ""
        return NiftiFacts(steps[1 : min(dims[0], 3) + 1], int(offset), data_bytes, floats, any(c > 0 for c in codes))
    raise struct.error("length")


def _scan(file: IO[bytes] | gzip.GzipFile, facts: NiftiFacts) -> tuple[int, int]:
    """The number of bytes from the first voxel to the end of the file (whose checksum is then verified), and of NaN."""
    file.seek(facts.data_at)
    count = not_finite = 0
    while chunk := file.read(CHUNK_BYTES):
        usable = chunk[: max(facts.data_bytes - count, 0)] if facts.floats else b""
        count += len(chunk)
        if usable:
            size = np.dtype(facts.floats).itemsize
            voxels = np.frombuffer(usable[: len(usable) // size * size], dtype=facts.floats)
            not_finite += voxels.size - int(np.count_nonzero(np.isfinite(voxels)))
    return count, not_finite
