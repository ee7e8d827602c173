"""Named DICOM slices and a label volume -> a CT and a mask on one grid. Finished ones are left as they are.

The published labels were drawn on stacks that nobody straightened: slice k of the label is slice k of the series in the
order of its positions. So nothing is resampled here; slices stand at their mean step along their own normal, which
keeps the millilitres right under a tilted gantry. What is sheared or uneven is said.
"""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichhpinet.dicom import Header, read_header
from ichhpinet.errors import InputError
from ichhpinet.itk import quiet, simpleitk
from ichhpinet.volume import CTVolume
from ichhpinet.writing import write_mask, write_volume

from .loading import mask_voxels

SAME_PLACE_MM = 0.01
SHOWN_ERROR = 300  # letters


@dataclass(frozen=True)
class Conversion:
    """One scan's work. slices: DICOM files in any order. labels: zip or folder; label: the place in it, '' if none."""

    name: str
    slices: tuple[Path, ...]
    labels: Path
    label: str
    image: Path
    mask: Path

    @property
    def is_done(self) -> bool:
        """Both files are there; each was written whole or not at all."""
        return self.image.exists() and self.mask.exists()


def convert(job: Conversion) -> str:
    """Write image and mask of a scan; '' if that went well, else why not."""
    if job.is_done:
        return ""
    try:
        volume = read_series(job.slices)
        labels = _label(job)
        if labels.shape != volume.shape:
            raise InputError(f"the label is {labels.shape}; the series is {volume.shape}")
        for path in (job.image, job.mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(job.image, volume)
        write_mask(job.mask, labels > 0, volume)
    except InputError as error:
        return str(error)
    except (RuntimeError, zipfile.BadZipFile, zlib.error) as error:  # ITK's word for a file it cannot read or write
        return " ".join(f"a file cannot be read: {error}".split())[:SHOWN_ERROR]
    return ""


def read_series(slices: tuple[Path, ...]) -> CTVolume:
    """The stack of the slices in the order of their positions along their normal, as GDCM sorts them.

    Raises InputError: a file is missing, slices differ in size, pixel or direction, or two lie in one place.
    """
    missing = [path.name for path in slices if not path.is_file()]
    if missing:
        raise InputError(f"{len(missing)} of {len(slices)} slices are missing, {missing[0]} first")
    headers = [read_header(path) for path in slices]
    normal = np.cross(headers[0].row, headers[0].column)
    places = np.array([float(np.array(header.position) @ normal) for header in headers])
    order = np.argsort(places, kind="stable")
    _check_alike(headers, np.diff(places[order]))
    stacked = [headers[index] for index in order]
    steps = np.diff(places[order])
    hu = np.stack([_pixels(header.path) for header in stacked])
    first = stacked[0]
    return CTVolume.from_array(
        hu,
        spacing_mm=(float(steps.mean()), first.pixel_mm[0], first.pixel_mm[1]),
        origin=first.position,
        direction=np.stack([first.row, first.column, normal], axis=1),
        notes=_notes(stacked, steps, normal),
    )


def _check_alike(headers: list[Header], steps: NDArray[np.float64]) -> None:
    first = headers[0]
    for header in headers:
        if header.shape != first.shape or not np.allclose(header.pixel_mm, first.pixel_mm, rtol=1e-3):
            raise InputError(f"{header.path.name} is {header.shape} pixels; the first slice is {first.shape}")
        if not np.allclose(header.orientation, first.orientation, atol=1e-3):
            raise InputError(f"{header.path.name} lies in another plane than the first slice; they must be parallel")
    if len(headers) < 2 or float(steps.min()) < SAME_PLACE_MM:
        raise InputError("two slices lie in one place; each must have its own")


def _notes(headers: list[Header], steps: NDArray[np.float64], normal: NDArray[np.float64]) -> tuple[str, ...]:
    notes = []
    if steps.max() - steps.min() > 0.05 * steps.mean():
        notes.append(f"slices are {steps.min():.1f} to {steps.max():.1f} mm apart: taken as {steps.mean():.2f} mm")
    travel = np.array(headers[-1].position) - np.array(headers[0].position)
    tilt = np.degrees(np.arccos(np.clip(abs(travel @ normal) / np.linalg.norm(travel), 0, 1)))
    if tilt > 0.5:
        notes.append(f"gantry tilt of {tilt:.0f} degrees: the stack is left as it was labelled")
    return tuple(notes)


def _pixels(path: Path) -> NDArray[np.float32]:
    """(H, W) float32, rescaled as the file says."""
    with quiet():
        values = simpleitk().GetArrayFromImage(simpleitk().ReadImage(str(path)))
    return np.asarray(values.reshape(values.shape[-2:]), dtype=np.float32)


def _label(job: Conversion) -> NDArray[np.generic]:
    if not job.label:
        raise InputError("there is no label of this scan")
    if job.labels.is_dir():
        return mask_voxels(job.labels / job.label)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(job.labels) as archive:
        unpacked = Path(folder) / "label.nii.gz"  # never the archive's own name: it could point elsewhere
        unpacked.write_bytes(archive.read(job.label))
        return mask_voxels(unpacked)
