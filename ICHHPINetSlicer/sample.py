"""The sample: the bundled head CT with its synthetic haemorrhage, as a file that Slicer loads. No download."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from ichhpinet.itk import simpleitk
from ichhpinet.reading import read_volume
from ichhpinet.resources import sample_data
from ichhpinet.volume import CTVolume
from ichhpinet.writing import write_volume

NAME = "ICHHPINet head CT"
FILE = "ICHHPINet-head-CT.nrrd"
NOTE = "a synthetic haemorrhage is in it"


def sample_file(folder: Path) -> Path:
    """The real head CT, straightened, with a synthetic haemorrhage, as a NRRD file in `folder`; written on first use.

    Raises: FileNotFoundError where the installation has no sample data.
    """
    file = folder / FILE
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(sample_data("head_ct_dicom.zip")) as archive:
            archive.extractall(folder / "dicom")
        write_volume(file, with_haemorrhage(read_volume(folder / "dicom" / "head_ct_dicom")))
    return file


def with_haemorrhage(base: CTVolume) -> CTVolume:
    """`base`, the straightened head CT, with the haemorrhage that is bundled as a difference in HU on a box of it."""
    added = simpleitk().ReadImage(str(sample_data("synthetic_haemorrhage.nrrd")))
    hu = np.round(base.hu)
    hu[box_in(base, added)] += simpleitk().GetArrayViewFromImage(added)
    return CTVolume.from_array(hu, base.spacing_mm, base.origin, base.direction, (*base.notes, NOTE))


def box_in(base: CTVolume, part: object) -> tuple[slice, ...]:
    """Where `part`, a SimpleITK image on a box of base's grid, lies in base's (D, H, W)."""
    offset_mm = np.linalg.inv(base.direction) @ (np.asarray(part.GetOrigin()) - np.asarray(base.origin))  # type: ignore[attr-defined]
    first = np.rint(offset_mm / np.array(base.spacing_mm)[::-1]).astype(int)[::-1]
    size = part.GetSize()[::-1]  # type: ignore[attr-defined]
    return tuple(slice(int(a), int(a) + int(n)) for a, n in zip(first, size))
