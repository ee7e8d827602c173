"""Made-up heads and DICOM series for the tests of reading; everything small and exact."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichhpinet.volume import CTVolume

SERIES_UID = "1.2.826.0.1.3680043.2.1125.1.11111111"
OTHER_UID = "1.2.826.0.1.3680043.2.1125.1.22222222"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def head_hu(shape: tuple[int, int, int] = (6, 24, 20), seed: int = 0) -> NDArray[np.float32]:
    """(D, H, W) float32, whole HU: air, a skull, brain with noise."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    radius = np.sqrt(0.3 * z**2 + y**2 + x**2)
    hu = np.where(radius < 0.95, 900.0, -1000.0)
    hu = np.where(radius < 0.8, 35.0, hu)
    return (hu + rng.normal(0, 4, shape)).round().astype(np.float32)


def rotation(degrees: float, axis: int = 0) -> NDArray[np.float64]:
    """(3, 3): turn about x, y or z."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    first, second = [k for k in range(3) if k != axis]
    matrix[first, first], matrix[first, second], matrix[second, first], matrix[second, second] = c, -s, s, c
    return matrix


def head_volume(shape: tuple[int, int, int] = (6, 24, 20), seed: int = 0) -> CTVolume:
    """An oblique volume of head_hu."""
    return CTVolume.from_array(head_hu(shape, seed), (5.0, 0.5, 0.75), (-12.5, 30.25, 7.0), rotation(12.0))


def write_slice(
    path: Path, pixels: NDArray[Any], position: Sequence[float], tags: dict[str, str] | None = None
) -> None:
    """One CT slice. pixels: (H, W) int16 or uint16, as stored. tags: "gggg|eeee" -> value, over the defaults."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(pixels[np.newaxis])
    image.SetSpacing((0.5, 0.5, 1.0))
    given = {
        "0008|0060": "CT",
        "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL",
        "0008|0018": f"{SERIES_UID}.{zlib.crc32(str(path).encode())}",
        "0020|000d": "1.2.826.0.1.3680043.2.1125.1.9",
        "0020|000e": SERIES_UID,
        "0020|0032": "\\".join(f"{value:.7g}" for value in position),
        "0020|0037": "\\".join(f"{value:.7f}" for value in AXIAL),
        "0018|0050": "5",
        "0028|0030": "0.5\\0.5",
    } | (tags or {})
    for tag, value in given.items():
        image.SetMetaData(tag, value)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(path))
    writer.Execute(image)


def write_series(
    folder: Path, hu: NDArray[Any], positions: Sequence[Sequence[float]], tags: dict[str, str] | None = None
) -> Path:
    """hu: (D, H, W), one file a slice, named so that the names' order is not the places' order."""
    folder.mkdir(exist_ok=True)
    for index, (plane, position) in enumerate(zip(hu, positions, strict=True)):
        name = f"{(index * 7) % 97:02d}-{(tags or {}).get('0020|000e', SERIES_UID)[-4:]}.dcm"
        write_slice(folder / name, plane.astype(np.int16), position, tags)
    return folder


def stacked(count: int, step: float = 5.0, shift_y: float = 0.0) -> list[tuple[float, float, float]]:
    """Positions of count axial slices, step mm apart, each shift_y mm further in y."""
    return [(-5.0, -6.0 + shift_y * k, 10.0 + step * k) for k in range(count)]
