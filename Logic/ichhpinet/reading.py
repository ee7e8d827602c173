"""Files -> CTVolume and label maps. Whatever is wrong with a file ends as one InputError."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichhpinet import dicom
from ichhpinet.errors import InputError
from ichhpinet.fileheaders import check_nifti, check_text_header
from ichhpinet.hounsfield import HOUNSFIELD_MARK, checked_window, to_hounsfield
from ichhpinet.itk import quiet, simpleitk
from ichhpinet.paths import as_path
from ichhpinet.volume import MIN_SLICES, CTVolume, checked_direction, checked_hu, checked_spacing

Progress = Callable[[float, str], object]

READERS = {  # ending -> (SimpleITK's reader, how its header is checked)
    ".nii": ("NiftiImageIO", "nifti"),
    ".nii.gz": ("NiftiImageIO", "nifti"),
    ".nrrd": ("NrrdImageIO", "nrrd"),
    ".nhdr": ("NrrdImageIO", "nrrd"),
    ".mha": ("MetaImageIO", "metaimage"),
    ".mhd": ("MetaImageIO", "metaimage"),
}
MOST_VOXELS = 1 << 30  # 4 GiB of float32: twelve times the largest head CT; a header that says more is damaged
MOST_COMPRESSION = 1100  # deflate cannot do better than 1032 to 1
DETACHED = (".nhdr", ".mhd")  # the voxels lie in another file
SPACING_TOLERANCE = 1e-3  # relative
ORIGIN_TOLERANCE_MM = 0.01
DIRECTION_TOLERANCE = 1e-4
OTHERWISE = "or say that they are (--hu, hounsfield=True), or give the window (level, width) that they show"


def read_volume(
    path: str | os.PathLike[str],
    *,
    window: tuple[float, float] | None = None,
    hounsfield: bool = False,
    series: str | None = None,
    progress: Progress | None = None,
) -> CTVolume:
    """The CT in a file (NIfTI, NRRD, MetaImage) or a DICOM folder, in the file's own axis order.

    window: (level, width) in HU, when the values are a windowed picture. hounsfield: they are HU, whatever they look
    like. Neither: decided by hounsfield.TABLE.
    series: which one of several DICOM series, by UID, the end of the UID, or its number in the list an error gave.
    progress: called with (fraction in [0, 1], what). The volume's notes say all that was guessed or resampled.

    Raises InputError for anything that is not one whole CT of at least two slices.
    """
    path = as_path(path, "the CT")
    if window is not None:
        checked_window(window)
        if hounsfield:
            raise InputError("the values are said to be HU, and a window is given; they are one or the other")
    if progress is not None and not callable(progress):
        raise InputError(f"progress is a {type(progress).__name__}; it must be a function, or None")
    with quiet(), _readable(path):
        if not path.exists():
            raise InputError(f"{path.name} does not exist; it must be a CT file or a DICOM folder")
        if series is not None and path.is_file():
            raise InputError(f"{path.name} is a file; a series can be chosen in a DICOM folder only")
        found = dicom.read_folder(path, series, progress) if path.is_dir() else _read_file(path)
    checked_hu(found.values)
    checked_spacing(found.spacing_mm)
    hu, guesses = to_hounsfield(found.values, path.name, window, OTHERWISE, hounsfield or found.hounsfield)
    if hounsfield and not found.hounsfield:
        guesses = (f"values {hu.min():g} to {hu.max():g} were read as HU, as asked",)
    hu.setflags(write=False)
    if progress is not None:
        progress(1.0, "reading")
    return CTVolume(hu, found.spacing_mm, found.origin, found.direction, found.notes + guesses)


def read_labels(path: str | os.PathLike[str], volume: CTVolume) -> NDArray[np.uint8]:
    """(D, H, W) uint8: the label map in a file (NIfTI, NRRD, .seg.nrrd, MetaImage), on the grid of volume.

    Raises InputError: unreadable, another grid (it says which of size, spacing, origin, direction), not whole numbers
    from 0 to 255.
    """
    path = as_path(path, "the label map")
    with quiet(), _readable(path):
        if not path.is_file():
            raise InputError(f"{path.name} is not a file; it must be a label map")
        found = _read_file(path)
    difference = _grid_difference(found, volume)
    if difference:
        raise InputError(f"{path.name} is on another grid than the CT: {difference}")
    values = found.values
    if not are_labels(values):
        raise InputError(f"{path.name} does not hold labels; every value must be a whole number from 0 to 255")
    return values.astype(np.uint8)


def are_labels(values: NDArray[Any]) -> bool:
    """Whether all are whole numbers from 0 to 255."""
    return bool(np.isfinite(values).all() and values.min() >= 0 and values.max() <= 255 and (values % 1 == 0).all())


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What the system does not let us read is refused by its name, without its path."""
    try:
        yield
    except OSError as error:
        name = Path(error.filename).name if isinstance(error.filename, (str, os.PathLike)) else path.name
        raise InputError(f"{name} cannot be read: {error.strerror or 'the system refuses it'}") from None


def _read_file(path: Path) -> dicom.SeriesImage:
    """One image file. Raises InputError when it is not a whole, grey, 3D image."""
    kind = next((READERS[ending] for ending in sorted(READERS, key=len)[::-1] if _ends(path, ending)), None)
    if kind is None:
        if dicom.is_dicom(path):
            _refuse_dicom_file(path)
        raise InputError(f"{path.name} is of no known format; it must be {', '.join(READERS)} or a DICOM folder")
    if path.stat().st_size == 0:
        raise InputError(f"{path.name} is empty; it must be a CT file")
    reader, check = kind
    notes = check_nifti(path) if check == "nifti" else check_text_header(path, check)
    return _image(_executed(path, reader), path.name, notes)


def _ends(path: Path, ending: str) -> bool:
    return path.name.lower().endswith(ending)


def _refuse_dicom_file(path: Path) -> None:
    header = dicom.read_header(path)
    if header.modality != "CT":
        raise InputError(f"{path.name} is of DICOM modality {header.modality or 'unknown'}; it must be CT")
    if header.multi_frame:
        raise InputError(f"{path.name} is a multi-frame (enhanced) DICOM file; it must be one slice per file, or NIfTI")
    raise InputError(f"{path.name} is one DICOM slice; give the folder that holds all of them")


def _executed(path: Path, reader_name: str) -> Any:
    """The SimpleITK image of a file whose header is believable."""
    sitk = simpleitk()
    reader = sitk.ImageFileReader()
    reader.SetImageIO(reader_name)
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _check_header(reader, path)
        return reader.Execute()
    except InputError:
        raise
    except (RuntimeError, MemoryError, OverflowError) as error:
        if "orthonormal" in str(error):
            raise _sheared(path.name) from None
        raise InputError(f"{path.name} cannot be read: it is cut short or damaged") from None


def _check_header(reader: Any, path: Path) -> None:
    """Raises InputError for what is not one grey 3D image, before its voxels are read."""
    name, size = path.name, tuple(int(n) for n in reader.GetSize())
    if reader.GetNumberOfComponents() > 1 or "omplex" in simpleitk().GetPixelIDValueAsString(reader.GetPixelID()):
        raise InputError(f"{name} has several values per voxel (a colour image?); it must be a CT with one")
    if len(size) > 3 and max(size[3:]) > 1:
        raise InputError(f"{name} is {len(size)}D {size}; it must be 3D, without frames")
    if len(size) < 3 or size[2] < MIN_SLICES:
        raise InputError(f"{name} is {size}, one slice; it must have at least {MIN_SLICES} slices")
    if min(size) < 1:
        raise InputError(f"{name} is empty {size}; it must hold voxels")
    if not all(np.isfinite(step) and step > 0 for step in reader.GetSpacing()[:3]):
        raise InputError(f"the spacing of {name} is {reader.GetSpacing()} mm; every step must be greater than 0")
    if reader.HasMetaDataKey(dicom.MODALITY) and reader.GetMetaData(dicom.MODALITY).strip() not in ("CT", ""):
        raise InputError(f"{name} is of DICOM modality {reader.GetMetaData(dicom.MODALITY).strip()}; it must be CT")
    voxels = int(np.prod(size, dtype=np.float64))
    too_many = voxels > MOST_COMPRESSION * path.stat().st_size and not any(_ends(path, ending) for ending in DETACHED)
    if voxels > MOST_VOXELS or too_many:
        raise InputError(f"{name} cannot be read: its header says {size} voxels, more than the file can hold")


def _sheared(name: str) -> InputError:
    return InputError(f"the axes of {name} are not perpendicular; a sheared grid must be resampled first")


def _image(image: Any, name: str, notes: tuple[str, ...]) -> dicom.SeriesImage:
    while image.GetDimension() > 3:  # single frames only: checked before
        image = image[(slice(None),) * 3 + (0,) * (image.GetDimension() - 3)]
    values = simpleitk().GetArrayFromImage(image)
    spacing = tuple(float(step) for step in reversed(image.GetSpacing()))
    origin = tuple(float(place) for place in image.GetOrigin())
    direction = np.array(image.GetDirection(), dtype=np.float64).reshape(3, 3)
    try:
        checked_direction(direction)
    except InputError:
        raise _sheared(name) from None
    with np.errstate(over="ignore"):
        hu = np.ascontiguousarray(values, dtype=np.float32)
    key, said = HOUNSFIELD_MARK
    marked = image.HasMetaDataKey(key) and image.GetMetaData(key).strip() == said
    return dicom.SeriesImage(
        hu, (spacing[0], spacing[1], spacing[2]), (origin[0], origin[1], origin[2]), direction, notes, marked
    )


def _grid_difference(found: dicom.SeriesImage, volume: CTVolume) -> str:
    """Empty when found lies on the grid of volume; else what differs, in words."""
    if found.values.shape != volume.shape:
        return f"its size is {found.values.shape}; the CT's is {volume.shape}"
    if not np.allclose(found.spacing_mm, volume.spacing_mm, rtol=SPACING_TOLERANCE, atol=0):
        return f"its spacing is {_rounded(found.spacing_mm)} mm; the CT's is {_rounded(volume.spacing_mm)} mm"
    if not np.allclose(found.direction, volume.direction, rtol=0, atol=DIRECTION_TOLERANCE):
        return "its axes point in other directions (its direction matrix is not the CT's)"
    if not np.allclose(found.origin, volume.origin, rtol=0, atol=ORIGIN_TOLERANCE_MM):
        return f"its origin is {_rounded(found.origin)} mm; the CT's is {_rounded(volume.origin)} mm"
    return ""


def _rounded(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values)
