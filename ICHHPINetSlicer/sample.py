"""The bundled head CT, as a file that Slicer can load: unpacked from the extension's own folder, not downloaded."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ichhpinet.reading import read_volume
from ichhpinet.resources import sample_data
from ichhpinet.writing import write_volume

NAME = "ICHHPINet head CT"


def sample_file(folder: Path) -> Path:
    """The real head CT without blood, straightened, as a NRRD file in `folder`; written on first use.

    Raises: FileNotFoundError where the installation has no sample data.
    """
    file = folder / "ICHHPINet-head-CT.nrrd"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(sample_data("head_ct_dicom.zip")) as archive:
            archive.extractall(folder / "dicom")
        write_volume(file, read_volume(folder / "dicom" / "head_ct_dicom"))
    return file
