"""A data set of synthetic heads, for whoever has no other: CT, mask, manifest; the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ichhpinet.errors import InputError
from ichhpinet.itk import simpleitk
from ichhpinet.volume import CTVolume, checked_spacing
from ichhpinet.writing import write_mask, write_volume

from ..phantom import generate
from .manifest import Entry, Manifest

NAME = "synthetic"
KINDS = (("IPH",), ("IPH", "IVH"), ("SDH",), ("IPH",), ("SAH",), ("IVH",))
THICKNESS_MM = (5.0, 4.0, 6.0, 2.5)
PIXEL_MM = 0.5
SMALLEST_ML = 0.2
NOTE = "synthetic heads: figures are not comparable with figures on patients"
APART = 20  # seeds a head may try
Progress = Callable[[float, str], object]


def synthetic_set(
    out: Path,
    count: int,
    seed: int = 0,
    *,
    spacing_mm: Sequence[float] | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Write the heads that are not in `out` yet; their manifest, without folds.

    spacing_mm: (z, y, x) of all; None: thickness in turn, PIXEL_MM. Raises InputError: count below 1, or APART seeds
    without blood in them.
    """
    if count < 1 or seed < 0:
        raise InputError(f"count is {count} and seed {seed}; they must be 1 or more and 0 or more")
    spacing_mm = None if spacing_mm is None else checked_spacing(spacing_mm)
    entries = []
    for number in range(count):
        kinds, name = KINDS[number % len(KINDS)], f"{NAME}-{seed:03d}-{number:04d}"
        image, mask = out / "images" / f"{name}.nii.gz", out / "masks" / f"{name}.nii.gz"
        if not (image.exists() and mask.exists()):
            spacing = spacing_mm or (THICKNESS_MM[number % len(THICKNESS_MM)], PIXEL_MM, PIXEL_MM)
            _write(image, mask, (seed * 100_000 + number) * APART, kinds, tuple(spacing))
        elif spacing_mm is not None:
            _check_spacing(image, spacing_mm)
        patient = f"{NAME}:{seed}-{number}"
        paths = (image.relative_to(out).as_posix(), mask.relative_to(out).as_posix())
        entries.append(Entry(name, NAME, patient, *paths, kinds=kinds))
        if progress is not None:
            progress((number + 1) / count, name)
    return Manifest(tuple(entries), out, notes=(NOTE,))


def _check_spacing(image: Path, spacing_mm: Sequence[float]) -> None:
    """Raises InputError where a head that is there has other voxels than those asked for."""
    reader = simpleitk().ImageFileReader()
    reader.SetFileName(str(image))
    reader.ReadImageInformation()
    found = reader.GetSpacing()[::-1]
    if not np.allclose(found, spacing_mm, rtol=1e-3):
        shown = " ".join(f"{step:g}" for step in found)
        raise InputError(f"{image.name} is there with a spacing of {shown}; give that, or another folder")


def _write(image: Path, mask: Path, seed: int, kinds: tuple[str, ...], spacing_mm: tuple[float, ...]) -> None:
    for attempt in range(APART):
        made = generate(seed + attempt, spacing_mm=spacing_mm, kinds=kinds, family="validation")
        if made.volume_ml >= SMALLEST_ML:
            break
    else:
        raise InputError(f"{APART} seeds gave no head with {'+'.join(kinds)} of {SMALLEST_ML} ml; take another seed")
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    volume = CTVolume.from_array(np.rint(made.hu), made.spacing_mm)
    write_mask(mask, made.mask, volume)
    write_volume(image, volume)
