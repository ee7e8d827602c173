"""What SimpleITK does not tell about NIfTI, NRRD and MetaImage files: cut data, and a spacing that is not there."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from ichhpinet.errors import InputError

NIFTI_FIELDS = {  # header's length (its first word) -> type and place of dim, pixdim, bitpix, vox_offset, form codes
    348: (("8h", 40), ("8f", 76), ("h", 72), ("f", 108), ("2h", 252)),
    540: (("8q", 16), ("8d", 104), ("h", 14), ("q", 168), ("2i", 344)),
}
NOT_ORIENTED = "the file does not say how the head lies; the default orientation of its format is assumed"
CHUNK_BYTES = 1 << 20
TEXT_HEADER_BYTES = 1 << 16
SPACING_WORDS = {"nrrd": (b"space directions:", b"spacings:"), "metaimage": (b"elementspacing", b"elementsize")}


def check_nifti(path: Path) -> tuple[str, ...]:
    """Notes about a NIfTI file that is whole. ITK fills cut data with zeros and takes any spacing; this does not.

    Raises InputError: not NIfTI, a step of 0 or less or not finite, fewer bytes than the header announces, a bad
    checksum.
    """
    damaged = InputError(f"{path.name} cannot be read: it is cut short or damaged")
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            header = file.read(max(NIFTI_FIELDS))
            steps, data_end, oriented = _nifti_facts(header)
            if not all(math.isfinite(step) and step > 0 for step in steps):
                shown = ", ".join(f"{step:g}" for step in steps)
                raise InputError(f"the spacing in {path.name} is {shown} mm; every step must be greater than 0")
            if len(header) + _count_rest(file) < data_end:
                raise damaged
    except InputError:
        raise
    except (OSError, EOFError, zlib.error, struct.error, OverflowError, ValueError):
        raise damaged from None
    return () if oriented else (NOT_ORIENTED,)


def check_text_header(path: Path, kind: str) -> None:
    """kind: "nrrd" or "metaimage". Raises InputError when the header does not state a spacing."""
    with path.open("rb") as file:
        start = file.read(TEXT_HEADER_BYTES)
    end = start.find(b"\n\n") if kind == "nrrd" else start.lower().find(b"elementdatafile")
    header = start[: end if end >= 0 else None].lower()
    if not any(word in header for word in SPACING_WORDS[kind]):
        raise InputError(f"{path.name} does not state its spacing; it must, in mm")


def _nifti_facts(header: bytes) -> tuple[tuple[float, ...], int, bool]:
    """The spatial steps, the number of bytes up to the end of the data, whether an orientation is stated.

    Raises struct.error when it is no NIfTI header.
    """
    for order in "<>":
        fields = NIFTI_FIELDS.get(struct.unpack_from(order + "i", header)[0])
        if fields is None:
            continue
        dims, steps, (bits,), (offset,), codes = (struct.unpack_from(order + kind, header, at) for kind, at in fields)
        if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1 or bits < 1:
            raise struct.error("dimensions")
        data_bytes = (math.prod(dims[1 : dims[0] + 1]) * bits + 7) // 8
        return steps[1 : min(dims[0], 3) + 1], int(offset) + data_bytes, any(code > 0 for code in codes)
    raise struct.error("length")


def _count_rest(file: BinaryIO | gzip.GzipFile) -> int:
    total = 0
    while chunk := file.read(CHUNK_BYTES):
        total += len(chunk)
    return total
