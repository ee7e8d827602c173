"""A manifest's entry as volumes: the CT in HU and its truth, on one grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichhpinet.errors import InputError
from ichhpinet.fileheaders import check_nifti
from ichhpinet.itk import quiet, simpleitk
from ichhpinet.reading import read_labels, read_volume
from ichhpinet.volume import CTVolume

from ..regions import Bool
from .manifest import Entry, Manifest

BRAIN_HU = (5.0, 60.0)


@dataclass(frozen=True, eq=False)
class LoadedEntry:
    """truth: (D, H, W) bool, any haemorrhage."""

    entry: Entry
    volume: CTVolume
    truth: Bool

    @property
    def brain(self) -> Bool:
        """(D, H, W) bool: about where a radiologist would take a voxel for brain, for strokes beside the lesion."""
        return (self.volume.hu > BRAIN_HU[0]) & (self.volume.hu < BRAIN_HU[1]) & ~self.truth


def load_entry(manifest: Manifest, entry: Entry) -> LoadedEntry:
    """Image and mask of an entry. Raises InputError: unreadable, or on two grids (unless the entry says `by_index`)."""
    volume = read_volume(manifest.path(entry.image))
    mask = manifest.path(entry.mask)
    labels = mask_voxels(mask) if entry.by_index else read_labels(mask, volume)
    if labels.shape != volume.shape:
        raise InputError(f"the mask of {entry.case} is {labels.shape}; its CT is {volume.shape}")
    return LoadedEntry(entry, volume, labels > 0)


def mask_voxels(path: Path) -> NDArray[np.generic]:
    """(D, H, W) values of a mask file, whatever its grid. Raises InputError where it is cut short, or not 3D."""
    _check_whole(path)
    try:
        with quiet():
            values = simpleitk().GetArrayFromImage(simpleitk().ReadImage(str(path)))
    except RuntimeError:
        raise InputError(f"{path.name} cannot be read; it must be a mask in 3D") from None
    if values.ndim == 4 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 3:
        raise InputError(f"{path.name} is {values.ndim}D {values.shape}; it must be a mask in 3D")
    return np.asarray(values)


def _check_whole(path: Path) -> None:
    """ITK makes zeros of what is missing. Raises InputError."""
    if path.name.lower().endswith((".nii", ".nii.gz")) and path.exists():
        check_nifti(path)


def lesion_slices(path: Path) -> int:
    """On how many slices a mask file holds anything, along its first axis as stored in the file."""
    return int((mask_voxels(path) > 0).any(axis=(1, 2)).sum())
