"""A DICOM folder -> one CT series, its slices sorted by place, straightened when they lie on no regular grid."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichhpinet.errors import InputError
from ichhpinet.itk import simpleitk
from ichhpinet.straighten import SliceStack, check_gaps, missing_after, straighten

Progress = Callable[[float, str], object]

SAME_PLACE_MM = 0.01  # two slices closer than this are one place scanned or stored twice
SAME_PLANE = 1e-3  # direction cosines of parallel slices agree this well
MAGIC = slice(128, 132)  # where a DICOM file says "DICM"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
# DICOM objects that are no images: waveforms, presentation states, raw data, reports, documents, radiotherapy, DICOMDIR
STORAGE, NO_IMAGES = "1.2.840.10008.5.1.4.1.1.", ("9.", "11.", "66", "88.", "104.", "481.")
DIRECTORY = "1.2.840.10008.1.3.10"
MODALITY, SERIES, SERIES_NUMBER, INSTANCE = "0008|0060", "0020|000e", "0020|0011", "0008|0018"
IMAGE_TYPE, POSITION, ORIENTATION, PIXELS_MM = "0008|0008", "0020|0032", "0020|0037", "0028|0030"
KERNEL, CONTRAST_AGENT = "0018|1210", "0018|0010"
FRAMES, SOP_CLASS, SAMPLES = "0028|0008", "0008|0016", "0028|0002"


@dataclass(frozen=True)
class Header:
    """What one DICOM file says about its image; no patient data is ever read into it."""

    path: Path
    modality: str
    series: str
    series_number: int
    instance: str
    localizer: bool
    multi_frame: bool
    colour: bool
    shape: tuple[int, int]  # (rows, columns)
    pixel_mm: tuple[float, ...]  # (between rows, between columns)
    position: tuple[float, ...]  # LPS mm
    orientation: tuple[float, ...]  # the row's direction cosines, then the column's
    kernel: str = ""  # the scanner's name for it
    contrast: bool = False  # a contrast agent is named

    @property
    def row(self) -> NDArray[np.float64]:
        vector = np.array(self.orientation[:3])
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float64)

    @property
    def column(self) -> NDArray[np.float64]:
        vector = np.array(self.orientation[3:])
        vector = vector - (vector @ self.row) * self.row
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float64)


@dataclass(frozen=True)
class SeriesChoice:
    """One CT series of several. number: the scanner's. step_mm: from slice to slice, 0 where that is not known.

    contrast: the header names a contrast agent.
    """

    uid: str
    number: int
    slices: int
    step_mm: float
    kernel: str
    contrast: bool

    @classmethod
    def of(cls, headers: Sequence[Header]) -> SeriesChoice:
        """Of the slices of one series."""
        first = headers[0]
        contrast = any(header.contrast for header in headers)
        return cls(first.series, first.series_number, len(headers), _step_mm(headers), first.kernel, contrast)

    def __str__(self) -> str:
        slices = "1 slice" if self.slices == 1 else f"{self.slices} slices"
        apart = f" {self.step_mm:.3g} mm apart" if self.step_mm else ""
        kernel = f", kernel {self.kernel}" if self.kernel else ""
        return f"{slices}{apart}{kernel}" + (", with contrast agent" if self.contrast else "")


class SeveralSeries(InputError):
    """A folder holds more than one CT. choices: in the order of their numbers, from 1."""

    def __init__(self, folder: str, choices: Sequence[SeriesChoice], asked: str = "") -> None:
        listed = "; ".join(f"{number}: {one}, UID ...{one.uid[-8:]}" for number, one in enumerate(choices, start=1))
        found = f"{len(choices)} CT series{asked} ({listed})"
        super().__init__(f"{folder} holds {found}; choose one with series= (--series): its number or UID")
        self.choices = tuple(choices)


@dataclass(frozen=True)
class SeriesImage:
    """values: (D, H, W) float32 as stored (rescaled, not yet checked for HU), on the grid of a CTVolume."""

    values: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: NDArray[np.float64]
    notes: tuple[str, ...]
    hounsfield: bool = False
    """The file says so: `write_volume` wrote it."""


def is_dicom(path: Path) -> bool:
    """True when the file says it is DICOM."""
    with path.open("rb") as file:
        return file.read(MAGIC.stop)[MAGIC] == b"DICM"


def read_folder(folder: Path, series: str | None = None, progress: Progress | None = None) -> SeriesImage:
    """The CT series in folder; series chooses one: its UID, the end of it, or its number in the list an error gave.

    Raises InputError: no CT in it, several series, damaged or multi-frame files, slices that form no stack.
    """
    headers, notes = _headers(folder)
    chosen, more = _one_series(headers, series, folder.name)
    _check_alike(chosen)
    stack_order = sorted(chosen, key=lambda header: float(np.array(header.position) @ _normal(chosen[0])))
    slices = [_pixels(header, k / len(stack_order), progress) for k, header in enumerate(stack_order)]
    kept, twice = _without_repeats(stack_order, slices)
    if len(kept) < 2:
        raise InputError(f"the series in {folder.name} has {len(kept)} slice; it must have at least 2")
    image = _on_a_grid([stack_order[k] for k in kept], [slices[k] for k in kept])
    if progress is not None:
        progress(1.0, "reading slices")
    return replace(image, notes=notes + more + twice + image.notes)


def _headers(folder: Path) -> tuple[list[Header], tuple[str, ...]]:
    """The headers of every DICOM image in the folder (not in folders below), and a note about other DICOM files."""
    headers, without_image = [], 0
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != "DICOMDIR")
    for path in files:
        try:
            headers.append(read_header(path))
        except InputError:
            if _should_hold_an_image(path):
                raise
            without_image += is_dicom(path)
    if not headers:
        below = " (it holds folders: give the one with the slices)" if any(p.is_dir() for p in folder.iterdir()) else ""
        raise InputError(f"the folder {folder.name} holds no DICOM image{below}; it must hold the slices of a CT")
    note = (f"{without_image} DICOM files that hold no image were left out",) if without_image else ()
    return headers, note


def read_header(path: Path) -> Header:
    """The header of one DICOM file. Raises InputError when it cannot be read as a DICOM image."""
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
        return _header_of(path, reader)
    except (RuntimeError, ValueError, IndexError, OverflowError):
        raise InputError(f"{path.name} cannot be read as a DICOM image: it is cut short or damaged") from None


def _header_of(path: Path, reader: Any) -> Header:
    def text(tag: str) -> str:
        return str(reader.GetMetaData(tag)).strip(" \0") if reader.HasMetaDataKey(tag) else ""

    def numbers(tag: str) -> tuple[float, ...]:
        return tuple(float(part) for part in text(tag).split("\\")) if text(tag) else ()

    size = [int(n) for n in reader.GetSize()]
    number = re.match(r"\d+", text(SERIES_NUMBER))
    return Header(
        path=path,
        modality=text(MODALITY),
        series=text(SERIES),
        series_number=int(number.group()) if number else 0,
        instance=text(INSTANCE),
        localizer="LOCALIZER" in text(IMAGE_TYPE).upper(),
        multi_frame=max(size[2:] or [1]) > 1 or int(text(FRAMES) or 1) > 1 or text(SOP_CLASS) == ENHANCED_CT,
        colour=reader.GetNumberOfComponents() > 1 or int(text(SAMPLES) or 1) > 1,
        shape=(size[1], size[0]),
        pixel_mm=numbers(PIXELS_MM),
        position=numbers(POSITION),
        orientation=numbers(ORIENTATION),
        kernel=re.sub(r"[^\w .+-]", " ", text(KERNEL))[:24].strip(),
        contrast=bool(text(CONTRAST_AGENT)),
    )


def _reader(path: Path) -> Any:
    reader = simpleitk().ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    return reader


def _should_hold_an_image(path: Path) -> bool:
    """True for a DICOM file that does not say it is something else, so that not being able to read it is damage."""
    with path.open("rb") as file:
        start = file.read(1024)
    at = start.find(b"\x02\x00\x02\x00UI")
    kind = "" if at < 0 else start[at + 8 : at + 72].split(b"\0")[0].decode("latin-1")
    other = kind.startswith(DIRECTORY) or kind.removeprefix(STORAGE).startswith(NO_IMAGES)
    return start[MAGIC] == b"DICM" and not other


def _one_series(headers: Sequence[Header], wanted: str | None, folder: str) -> tuple[list[Header], tuple[str, ...]]:
    """The slices of the CT series that is meant, and notes about what was left out."""
    ct = [header for header in headers if header.modality == "CT"]
    if not ct:
        kinds = ", ".join(sorted({header.modality or "unknown" for header in headers}))
        raise InputError(f"the images in {folder} are of DICOM modality {kinds}; they must be CT")
    slices = [header for header in ct if not header.localizer] or ct
    by_series: dict[str, list[Header]] = {}
    for header in sorted(slices, key=lambda header: (header.series_number, header.series, header.path.name)):
        by_series.setdefault(header.series, []).append(header)
    uid = _chosen(by_series, wanted, folder)
    notes = []
    if len(slices) < len(ct):
        notes.append(f"{len(ct) - len(slices)} localizer images were left out")
    if len(ct) < len(headers):
        notes.append(f"{len(headers) - len(ct)} images that are not CT were left out")
    return by_series[uid], tuple(notes)


def _chosen(by_series: dict[str, list[Header]], wanted: str | None, folder: str) -> str:
    uids = list(by_series)
    if wanted is None and len(uids) == 1:
        return uids[0]
    wanted = "" if wanted is None else str(wanted).strip()
    fits = [uid for uid in uids if uid == wanted]
    if not fits and re.fullmatch(r"[1-9]\d{0,2}", wanted) and int(wanted) <= len(uids):
        fits = [uids[int(wanted) - 1]]
    if not fits and len(wanted) > 3:
        fits = [uid for uid in uids if uid.endswith(wanted)]
    if len(fits) == 1:
        return fits[0]
    asked = f", and none of them alone is {wanted!r}" if wanted else ""
    raise SeveralSeries(folder, [SeriesChoice.of(slices) for slices in by_series.values()], asked)


def _step_mm(headers: Sequence[Header]) -> float:
    """The median distance of neighbouring slices; 0 where they have no places."""
    if any(len(header.position) != 3 or len(header.orientation) != 6 for header in headers):
        return 0.0
    normal = np.cross(headers[0].orientation[:3], headers[0].orientation[3:])
    places = np.unique(np.round([np.dot(header.position, normal) for header in headers], 2))
    return float(np.median(np.diff(places))) if len(places) > 1 else 0.0


def _check_alike(headers: Sequence[Header]) -> None:
    """Raises InputError unless the slices have places, are grey, single, parallel, and of one size."""
    first = headers[0]
    for header in headers:
        name = header.path.name
        if header.multi_frame:
            raise InputError(f"{name} is a multi-frame (enhanced) DICOM file; it must be one slice per file, or NIfTI")
        if header.colour:
            raise InputError(f"{name} is a colour image; it must be a CT slice with one value per pixel")
        if len(header.position) != 3 or len(header.orientation) != 6 or len(header.pixel_mm) != 2:
            raise InputError(f"{name} does not say where its slice lies (position, orientation, pixel size); it must")
        if not np.isfinite([*header.position, *header.orientation]).all() or not _right_angled(header.orientation):
            raise InputError(f"the orientation of {name} is not two perpendicular directions; it must be")
        if not all(np.isfinite(step) and step > 0 for step in header.pixel_mm):
            raise InputError(f"the pixel size of {name} is {header.pixel_mm} mm; both steps must be greater than 0")
        if header.shape != first.shape or not np.allclose(header.pixel_mm, first.pixel_mm, rtol=1e-4):
            raise InputError(f"{name} has another size or pixel spacing than {first.path.name}; they must be the same")
        if not np.allclose(header.orientation, first.orientation, atol=SAME_PLANE):
            raise InputError(f"{name} is not parallel to {first.path.name}; the slices of a series must be")


def _right_angled(orientation: tuple[float, ...]) -> bool:
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    products = np.array([row @ row - 1, column @ column - 1, row @ column])
    return bool(np.abs(products).max() < SAME_PLANE)


def _normal(header: Header) -> NDArray[np.float64]:
    return np.asarray(np.cross(header.row, header.column), dtype=np.float64)


def _pixels(header: Header, fraction: float, progress: Progress | None) -> NDArray[np.float32]:
    """(H, W) float32, rescale slope and intercept applied. Raises InputError for a damaged file."""
    if progress is not None:
        progress(fraction, "reading slices")
    try:
        array = simpleitk().GetArrayFromImage(_reader(header.path).Execute())
    except (RuntimeError, MemoryError):
        raise InputError(f"{header.path.name} cannot be read: it is cut short or damaged") from None
    return np.asarray(array, dtype=np.float32).reshape(header.shape)


def _without_repeats(
    headers: Sequence[Header], slices: Sequence[NDArray[np.float32]]
) -> tuple[list[int], tuple[str, ...]]:
    """Indices of the slices to keep, sorted headers given; a place stored twice with the same pixels is kept once.

    Raises InputError when two slices at one place differ.
    """
    kept = [0]
    normal = _normal(headers[0])
    for index in range(1, len(headers)):
        last = kept[-1]
        apart = (np.array(headers[index].position) - np.array(headers[last].position)) @ normal
        if apart > SAME_PLACE_MM:
            kept.append(index)
        elif not np.array_equal(slices[index], slices[last]):
            raise InputError(
                f"{headers[last].path.name} and {headers[index].path.name} lie at the same place and differ; "
                "a series must hold one slice per place"
            )
    repeats = len(headers) - len(kept)
    return kept, (f"{repeats} slices were stored twice and used once",) if repeats else ()


def _on_a_grid(headers: Sequence[Header], slices: list[NDArray[np.float32]]) -> SeriesImage:
    """The slices stacked as they are when they lie on a regular, upright grid; else straightened onto one."""
    first = headers[0]
    pixel_mm = (float(first.pixel_mm[0]), float(first.pixel_mm[1]))
    stack = SliceStack(np.array([header.position for header in headers]), first.row, first.column, pixel_mm)
    check_gaps(stack)
    direction = np.stack([stack.row, stack.column, stack.normal], axis=1)
    if stack.is_even and stack.is_upright:
        step = float(stack.depths_mm[-1]) / (len(slices) - 1)
        x, y, z = (float(value) for value in first.position)
        return SeriesImage(np.stack(slices), (step, *pixel_mm), (x, y, z), direction, ())
    straight = straighten(slices, stack)
    notes = _straightening_notes(stack, straight.hu.shape, straight.spacing_mm[0])
    return SeriesImage(straight.hu, straight.spacing_mm, straight.origin, direction, notes)


def _straightening_notes(stack: SliceStack, shape: tuple[int, ...], step: float) -> tuple[str, ...]:
    steps = stack.steps_mm
    why = [] if stack.is_upright else [f"a gantry tilt of {stack.tilt_degrees:.1f} degrees"]
    if not stack.is_even:
        why.append(f"uneven slice steps of {steps.min():.2f} to {steps.max():.2f} mm")
    notes = [
        f"the series has {' and '.join(why)}: its {len(steps) + 1} slices of {stack.pixel_mm[0]:.3g} mm pixels were "
        f"resampled onto a straight grid of {shape[0]} x {shape[1]} x {shape[2]} with {step:.2f} mm steps"
    ]
    gaps = missing_after(steps)
    if gaps:
        lost = sum(round(float(steps[k] / np.median(steps))) - 1 for k in gaps)
        after = ", ".join(str(k + 1) for k in gaps)
        notes.append(f"about {lost} slices seem to be missing (after slice {after}) and were interpolated")
    return tuple(notes)
