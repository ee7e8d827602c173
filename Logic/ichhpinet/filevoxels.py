"""Are the voxels that an NRRD or MetaImage header announces there, whole and undamaged? ITK goes on without asking."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

CHUNK_BYTES = 1 << 20
ZLIB_OR_GZIP = 47  # of zlib: 32 tells the two apart, 15 is the largest window
NRRD_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"), 4),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), 8),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), 8),
    "float": 4,
    "double": 8,
}
METAIMAGE_BYTES = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_LONG", "MET_ULONG", "MET_FLOAT"), 4),
    **dict.fromkeys(("MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"), 8),
}
METAIMAGE_LISTS = {  # fields with as many numbers as there are axes, to this power; ITK's memory goes with their number
    **dict.fromkeys(
        ("dimsize", "elementspacing", "elementsize", "offset", "origin", "position", "centerofrotation"), 1
    ),
    **dict.fromkeys(("transformmatrix", "rotation", "orientation"), 2),
}
MOST_AXES = 4

Fields = Mapping[str, str]  # of a header, keys in lower case


def nrrd_is_whole(path: Path, fields: Fields, data_at: int) -> bool:
    """False where compressed voxels are not those that the header announces. Raw ones are ITK's: it counts them.

    data_at: of the first byte behind the header, where the voxels are in the same file.
    """
    if fields["encoding"].lower() not in ("gzip", "gz") or "line skip" in fields or "byte skip" in fields:
        return True
    try:
        bytes_each = NRRD_BYTES[fields["type"].lower()]
        announced = math.prod(int(size) for size in fields["sizes"].split()) * bytes_each
    except (ValueError, KeyError):
        return True  # ITK knows other types, or says that it does not
    elsewhere = fields.get("data file", fields.get("datafile"))
    if elsewhere is None:
        return _inflates_to(path, data_at, announced)
    data = path.parent / elsewhere
    return not data.is_file() or _inflates_to(data, 0, announced)


def metaimage_is_whole(path: Path, fields: Fields, data_at: int) -> bool:
    """False where fields contradict one another, or voxels are missing, too many (compressed ones) or damaged.

    data_at: as of `nrrd_is_whole`.
    """
    try:
        axes = int(fields["ndims"])
        counts = {key: len(fields[key].split()) for key in METAIMAGE_LISTS if key in fields}
        sizes = [int(size) for size in fields["dimsize"].split()]
        channels = int(fields.get("elementnumberofchannels", "1"))
        announced = math.prod(sizes) * channels * METAIMAGE_BYTES[fields["elementtype"]]
        skipped = int(fields.get("headersize", "0"))
    except (ValueError, KeyError):
        return False
    fits = all(count == axes ** METAIMAGE_LISTS[key] for key, count in counts.items())
    if not 1 <= axes <= MOST_AXES or not fits or min(sizes) < 1:
        return False
    where = fields["elementdatafile"]
    if skipped < 0 or where.upper().startswith("LIST") or "%" in where:  # from the end, or several files: ITK's
        return where.isprintable()
    data, begin = (path, data_at) if where.upper() == "LOCAL" else (path.parent / where, skipped)
    if not data.is_file():
        return False
    if fields.get("compresseddata", "False").lower() != "true":
        return data.stat().st_size - begin >= announced
    said = fields.get("compresseddatasize", "0")
    there = data.stat().st_size - begin
    return said in ("0", str(there)) and _inflates_to(data, begin, announced)


def _inflates_to(path: Path, begin: int, announced: int) -> bool:
    """Whether all from `begin` on are deflated streams with sound checksums, which hold as many bytes in all."""
    count = 0
    try:
        for part in _inflated(path, begin):
            count += len(part)
            if count > announced:
                return False
    except (zlib.error, EOFError):
        return False
    return count == announced


def _inflated(path: Path, begin: int) -> Iterator[bytes]:
    """Raises zlib.error, or EOFError where the last stream has no end."""
    stream = zlib.decompressobj(ZLIB_OR_GZIP)
    with path.open("rb") as file:
        file.seek(begin)
        while chunk := file.read(CHUNK_BYTES):
            while chunk:
                if stream.eof:
                    stream = zlib.decompressobj(ZLIB_OR_GZIP)
                yield stream.decompress(chunk, CHUNK_BYTES)
                chunk = stream.unused_data if stream.eof else stream.unconsumed_tail
    if not stream.eof:
        raise EOFError
