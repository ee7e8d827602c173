"""The fixed validation set: specifications from fixed seeds, made into volumes on demand. No judging here."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichhpinet.reading import read_volume
from ichhpinet.resources import sample_data
from ichhpinet.volume import CTVolume

from .regions import Bool, bounding_box

VALIDATION_VERSION = 1  # raised whenever a case changes: figures of different versions are not comparable
FIRST_SEED = 5_000_000
HEAD_CT = "head_ct_dicom.zip"  # the real CT, in SampleData
SMALLEST_ML = 0.1  # a head whose blood fell outside of the scan is drawn again
CONTRAST_HU = (5.0, 30.0)  # over the brain beside it; a synthetic head outside of this is drawn again
TRIES = 12
# (kinds, how many synthetic heads, how many times in the real CT): IPH and IVH mostly, as in the clinic
MIX: tuple[tuple[tuple[str, ...], int, int], ...] = (
    (("IPH",), 17, 8),
    (("IPH", "IVH"), 8, 3),
    (("IVH",), 6, 2),
    (("SDH",), 6, 1),
    (("SAH",), 4, 1),
    (("EDH",), 3, 1),
    (("IPH", "SAH"), 2, 0),
    (("SDH", "SAH"), 2, 0),
    ((), 7, 1),
)
THICKNESS_MM = (0.6, 1.0, 1.5, 2.0, 2.5, 3.0, 3.75, 4.0, 4.5, 5.0, 5.0, 5.0, 5.0, 5.5, 6.0, 7.0)
THIN_MM = 2.0  # slices thinner than this cover a part of the head only, to keep the set quick
THIN_COVER_MM = 90.0


@dataclass(frozen=True)
class Case:
    """What a case is made from. kinds: () has no blood. spacing_mm (z, y, x) is None in the real CT: its own."""

    name: str
    source: str  # "synthetic" or "real"
    kinds: tuple[str, ...]
    seed: int
    spacing_mm: tuple[float, float, float] | None = None
    contrast_hu: float | None = None

    @property
    def kind(self) -> str:
        """The kinds in one word: IPH+IVH, or none."""
        return "+".join(self.kinds) or "none"


@dataclass(frozen=True)
class Loaded:
    """A case as volumes. truth: (D, H, W) bool."""

    case: Case
    volume: CTVolume
    truth: Bool

    @property
    def brain(self) -> Bool:
        """(D, H, W) bool: about where a radiologist would take a voxel for brain, for strokes beside the lesion."""
        return (self.volume.hu > 5) & (self.volume.hu < 60) & ~self.truth


def validation_cases(blood: bool = True) -> tuple[Case, ...]:
    """The cases of VALIDATION_VERSION: with blood (64), or those without (8), in an order that mixes all kinds."""
    cases = [case for case in _all_cases() if bool(case.kinds) == blood]
    order = np.random.default_rng(FIRST_SEED).permutation(len(cases))
    return tuple(cases[index] for index in order)


def _all_cases() -> list[Case]:
    rng = np.random.default_rng(FIRST_SEED + 1)
    cases: list[Case] = []
    for kinds, synthetic, _ in MIX:
        for _ in range(synthetic):
            pixel = round(float(np.clip(rng.normal(0.47, 0.05), 0.38, 0.65)), 3)
            spacing = (THICKNESS_MM[(len(cases) * 5) % len(THICKNESS_MM)], pixel, pixel)
            name = f"s{len(cases) + 1:02d}-{'+'.join(kinds) or 'none'}"
            cases.append(Case(name, "synthetic", kinds, FIRST_SEED + 100 * len(cases), spacing))
    real = [kinds for kinds, _, count in MIX for _ in range(count)]
    contrasts = rng.permutation(np.linspace(*CONTRAST_HU, len(real)))
    for index, (kinds, contrast) in enumerate(zip(real, contrasts, strict=True)):
        seed = FIRST_SEED + 50_000 + 100 * index
        name = f"r{index + 1:02d}-{'+'.join(kinds) or 'none'}"
        cases.append(Case(name, "real", kinds, seed, None, round(float(contrast), 1) if kinds else None))
    return cases


def load(case: Case, cache: Path | None = None, head_ct: Path | None = None) -> Loaded:
    """Make a case, or take it from the cache folder, where it is kept after it was made.

    cache: folder of .npz files; None: nothing is kept. head_ct: another head CT without blood than the bundled one.

    Raises ValueError: no head with the wanted blood in TRIES seeds (the generator has changed).
    """
    if case.source == "real":
        base = real_head_ct(head_ct)
        if not case.kinds:
            return Loaded(case, base, np.zeros(base.shape, bool))
    own = f"-{base.digest()[:8]}" if case.source == "real" and head_ct is not None else ""
    file = None if cache is None else cache / f"v{VALIDATION_VERSION}-{generator()}-{case.name}{own}.npz"
    if file is not None and file.exists():
        with np.load(file) as stored:
            hu, truth, spacing = stored["hu"], stored["truth"], tuple(stored["spacing_mm"].tolist())
    else:
        hu, truth, spacing = _synthetic(case) if case.source == "synthetic" else _inserted(case, base)
        if file is not None:
            _keep(file, hu=hu, truth=truth, spacing_mm=np.array(spacing))
    if case.source == "real":
        volume = CTVolume.from_array(hu, spacing, base.origin, base.direction)
    else:
        volume = CTVolume.from_array(hu, spacing)
    return Loaded(case, volume, truth.astype(bool))


@lru_cache(maxsize=1)
def generator() -> str:
    """Eight hex digits that change with the generator's code: what an older one made is not taken for today's."""
    summary = hashlib.sha256()
    for source in sorted((Path(__file__).parent / "phantom").glob("*.py")):
        summary.update(source.read_bytes())
    return summary.hexdigest()[:8]


@lru_cache(maxsize=1)
def real_head_ct(path: Path | None = None) -> CTVolume:
    """The bundled real head CT without blood, or another: a DICOM folder, its zip, or a file."""
    path = sample_data(HEAD_CT) if path is None else path
    if path.suffix != ".zip":
        return read_volume(path)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
        dicom = next(file for file in sorted(Path(folder).rglob("*")) if file.suffix.lower() == ".dcm")
        return read_volume(dicom.parent)


def contrast_hu(hu: NDArray[np.floating], truth: Bool, spacing_mm: tuple[float, float, float]) -> float:
    """Median HU of the lesion minus that of the brain within about 8 mm of it, slice by slice; nan without blood."""
    box = bounding_box(truth)
    if box is None:
        return float("nan")
    margin = int(np.ceil(8.0 / spacing_mm[1]))
    plane = tuple(slice(max(part.start - margin, 0), part.stop + margin) for part in box[1:])
    near, lesion = hu[(box[0], *plane)], truth[(box[0], *plane)]
    around = near[~lesion & (near > 15) & (near < 45)]
    return float(np.median(near[lesion]) - np.median(around)) if around.size else float("nan")


def _synthetic(case: Case) -> tuple[NDArray[np.int16], Bool, tuple[float, float, float]]:
    from .phantom import generate

    thickness = case.spacing_mm[0] if case.spacing_mm else 0.0
    shape = None
    if case.spacing_mm and thickness < THIN_MM:
        shape = (int(THIN_COVER_MM / thickness), int(210 / case.spacing_mm[1]), int(180 / case.spacing_mm[2]))
    for attempt in range(TRIES):
        made = generate(
            case.seed + attempt, spacing_mm=case.spacing_mm, shape=shape, kinds=case.kinds, family="validation"
        )
        hu = np.round(made.hu).astype(np.int16)
        contrast = contrast_hu(hu, made.mask, made.spacing_mm)
        if not case.kinds or (made.volume_ml >= SMALLEST_ML and CONTRAST_HU[0] <= contrast <= CONTRAST_HU[1]):
            return hu, made.mask, made.spacing_mm
    raise ValueError(f"{case.name}: {TRIES} seeds gave no head with {case.kind} of {CONTRAST_HU} HU over brain")


def _inserted(case: Case, base: CTVolume) -> tuple[NDArray[np.int16], Bool, tuple[float, float, float]]:
    from .phantom import insert

    for attempt in range(TRIES):
        made = insert(base.hu, base.spacing_mm, case.seed + attempt, kinds=case.kinds, contrast_hu=case.contrast_hu)
        if made.volume_ml >= SMALLEST_ML:
            return np.round(made.hu).astype(np.int16), made.mask, base.spacing_mm
    raise ValueError(f"{case.name}: {TRIES} seeds put no {case.kind} into the head CT")


def _keep(file: Path, **arrays: Any) -> None:
    """Written beside and renamed, so that a stopped run leaves no half file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(f".{os.getpid()}.tmp")
    with beside.open("wb") as out:
        np.savez_compressed(out, **arrays)
    beside.replace(file)
