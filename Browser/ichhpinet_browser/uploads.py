"""What is uploaded -> files in a private folder: limited in size and number, named by us, images and sessions only."""

from __future__ import annotations

import errno
import lzma
import re
import shutil
import zipfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ichhpinet.errors import InputError

from .sessionarchive import CT, FILES, INDEX, NOT_OURS, files_in
from .settings import MOST_FILES

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")  # whole images in one file; those with the voxels elsewhere are refused
# What is never a slice of its own: it lies on a CD beside them, or is one of two files that we do not put together.
NO_SLICES = (".html", ".htm", ".xml", ".py", ".nhdr", ".mhd", ".mrml", ".mrb", ".hdr", ".img")
UNSAFE, OUR_NAME, LONGEST_NAME = re.compile(r"[^A-Za-z0-9_.-]+"), re.compile(r"\b\d{5}-(?=\S)"), 60
HEADER_BYTES = 1 << 16
CHUNK_BYTES = 1 << 20
# A header that sends the reader to another file: on a server that would be any file of its. What the reader might take
# otherwise than we do (a line that ends in a carriage return, a key without a value) is refused with it.
NRRD_ELSEWHERE = re.compile(rb"\s*data\s*file\s*:", re.IGNORECASE)
METAIMAGE_LINE = re.compile(rb"\w[\w .|-]{0,80}?[ \t]*=[ \t]*\S.*")
METAIMAGE_LOCAL = re.compile(rb"ElementDataFile[ \t]*=[ \t]*LOCAL[ \t]*", re.IGNORECASE)
DAMAGED = "the zip is damaged or locked; it must be a plain zip"
UNKNOWN = (
    "this is no file that can be opened here; it must be NIfTI, NRRD, MHA, DICOM slices, a zip of them, or a session"
)


async def receive(parts: AsyncIterator[tuple[str, Any]], folder: Path, most_bytes: int) -> Path:
    """Write every (file name, part with `read_chunk`) into `folder`; what `prepared` makes of them.

    Raises: InputError for more than `most_bytes` or MOST_FILES, or for what cannot be opened.
    """
    left, files, beside = most_bytes, 0, 0
    async for name, part in parts:
        if _is_beside(name):
            beside += 1
            continue
        files += 1
        if files > MOST_FILES:
            raise InputError(f"these are more than {MOST_FILES} files; a head CT has some hundred slices")
        with (folder / _our_name(name, files, folder)).open("wb") as file:
            while chunk := await part.read_chunk(CHUNK_BYTES):
                left -= len(chunk)
                if left < 0:
                    raise too_large(most_bytes)
                file.write(chunk)
    if files == 0:
        raise InputError(UNKNOWN if beside else "no file arrived; choose a CT, or drop one on the page")
    return prepared(folder, most_bytes)


def prepared(folder: Path, most_bytes: int) -> Path:
    """The file or folder that `read_volume` or `read_archive` takes: one image, or a folder of slices or of a session.

    Zips among slices are left out: a viewer, on a CD.

    Raises: InputError for several images, an unknown kind, a zip that holds more than `most_bytes`.
    """
    if is_session(folder):
        if not (folder / CT).exists():
            raise InputError(NOT_OURS)
        _check_header(folder / CT)
        return folder
    files = sorted(folder.iterdir())
    zips = [file for file in files if file.suffix == ".zip"]
    if zips and len(files) == 1:
        return _unpacked(zips[0], folder, most_bytes)
    images = [file for file in files if file.name.endswith(ENDINGS)]
    if zips and not images and len(zips) < len(files):
        for file in zips:
            file.unlink()
        return folder
    if len(files) == 1 and images:
        _check_header(files[0])
        return files[0]
    if images or zips:
        raise InputError("these are several files; it must be one image, or the slices of one DICOM series")
    return folder


def too_large(most_bytes: int) -> InputError:
    """The sentence for an upload above the limit."""
    return InputError(f"this is more than {most_bytes >> 20} MB, the limit of this page; choose one CT series")


def no_room() -> InputError:
    """The sentence for a full disk."""
    return InputError("there is no room for this on the disk of the page's computer; free some, then try again")


def _unpacked(archive_file: Path, folder: Path, most_bytes: int) -> Path:
    """Unpack a zip into a folder of its own. Names in it are not used as paths: only their last part's ending."""
    inside = folder / "unpacked"
    inside.mkdir()
    try:
        with zipfile.ZipFile(archive_file) as archive:
            entries = [entry for entry in archive.infolist() if not (entry.is_dir() or _is_beside(entry.filename))]
            session = {path: file for file, path in files_in([entry.filename for entry in entries]).items()}
            if session:
                entries = [entry for entry in entries if entry.filename in session]
            if not entries:
                raise InputError(UNKNOWN)
            if len(entries) > MOST_FILES or sum(entry.file_size for entry in entries) > most_bytes:
                raise too_large(most_bytes)
            for number, entry in enumerate(entries, 1):
                name = session.get(entry.filename) or _our_name(entry.filename, number, inside)
                _extract(archive, entry, inside / name, most_bytes)
    except OSError as error:
        raise (no_room() if error.errno == errno.ENOSPC else InputError(DAMAGED)) from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError):
        raise InputError(DAMAGED) from None
    archive_file.unlink()
    if all(file.suffix == ".zip" for file in inside.iterdir()):
        raise InputError("there is a zip in the zip; it must hold the images themselves")
    return prepared(inside, most_bytes)


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, file: Path, most_bytes: int) -> None:
    with archive.open(entry) as source, file.open("wb") as target:
        shutil.copyfileobj(_Limited(source, most_bytes), target, CHUNK_BYTES)


class _Limited:
    """A stream that ends with an error when it is longer than its zip said it could be."""

    def __init__(self, source: Any, most_bytes: int) -> None:
        self._source, self._left, self._most = source, most_bytes, most_bytes

    def read(self, size: int) -> bytes:
        chunk: bytes = self._source.read(size)
        self._left -= len(chunk)
        if self._left < 0:
            raise too_large(self._most)
        return chunk


def _is_beside(name: str) -> bool:
    """What lies beside the slices on a CD or in a folder, and is never one."""
    *folders, last = name.replace("\\", "/").lower().split("/")
    left_by_a_desktop = (
        last in (".ds_store", "thumbs.db", "desktop.ini") or last.startswith("._") or "__macosx" in folders
    )
    return left_by_a_desktop or last.endswith(NO_SLICES)


def _our_name(name: str, number: int, folder: Path) -> str:
    """What to call a file: by a number, with the ending that says how to read it; a session's as they are.

    DICOM slices have any ending: they keep something of their name, so that a damaged one can be told.
    """
    last = name.replace("\\", "/").split("/")[-1]
    if last in FILES and not (folder / last).exists():
        return last
    ending = next((ending for ending in (*ENDINGS, ".zip") if last.lower().endswith(ending)), None)
    return f"{number:05d}{ending}" if ending else f"{number:05d}-{UNSAFE.sub('_', last)[-LONGEST_NAME:]}"


def own_names(sentence: str) -> str:
    """A sentence that names files as they were uploaded."""
    return OUR_NAME.sub("", sentence)


def _check_header(file: Path) -> None:
    """Raises: InputError for a header that names another file, or may."""
    check = {".nrrd": _is_whole_nrrd, ".mha": _is_whole_metaimage}.get(file.suffix)
    if check is None:
        return
    with file.open("rb") as opened:
        start = opened.read(HEADER_BYTES).replace(b"\r\n", b"\n")
    if not check(start):
        raise InputError("the file's header names another file for its voxels, or is unusual; it must hold them itself")


def _is_whole_nrrd(start: bytes) -> bool:
    """Up to the empty line that ends the header, no line sends the reader elsewhere."""
    header, empty, _ = start.partition(b"\n\n")
    return bool(empty) and b"\r" not in header and not any(map(NRRD_ELSEWHERE.match, header.split(b"\n")))


def _is_whole_metaimage(start: bytes) -> bool:
    """Lines of a key and a value each, up to the first that says where the voxels are: here."""
    for line in start.split(b"\n"):
        if METAIMAGE_LOCAL.fullmatch(line):
            return True
        if b"\r" in line or b"elementdatafile" in line.lower() or not METAIMAGE_LINE.fullmatch(line):
            return False
    return False


def is_session(path: Path) -> bool:
    """Whether `prepared` gave a session."""
    return path.is_dir() and (path / INDEX).exists()
