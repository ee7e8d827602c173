"""CTVolume: a head CT in HU on its own grid, checked once and never changed afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ichhpinet.errors import InputError
from ichhpinet.itk import simpleitk

if TYPE_CHECKING:  # SimpleITK is imported only where it is used, so that torch + numpy alone can hold a volume
    import SimpleITK as sitk

STEP_MM = (1e-3, 1e3)  # nothing is scanned finer or coarser: a spacing beyond is in other units, or damaged
FARTHEST_MM = 1e6  # from the scanner's origin
MIN_SLICES = 2  # one slice has no third spacing, and nothing can be carried to a neighbour
DIGEST_STEP = 1e-3  # mm, or share of a direction cosine; files keep more than this
DIGEST_OFFSET = 0.3817  # moves the borders between steps away from the round numbers that headers hold
DIGEST_ROUNDING = 0.1  # steps: NIfTI keeps places as float32, good to 0.03 of a step half a metre away
MOST_NEAR = 4  # numbers of a grid that lie so near to a border: 2 is rare
ORTHONORMAL_TOLERANCE = 1e-3  # headers print direction cosines with as few as four digits


@dataclass(frozen=True, eq=False, repr=False)
class CTVolume:
    """A CT on a straight, regular grid, ITK's conventions.

    hu: (D, H, W) float32, HU, C-contiguous and read-only: slices, rows, columns in the order of the file.
    spacing_mm: (z, y, x) in mm, each > 0.
    origin: (x, y, z) in mm, LPS: the centre of voxel [0, 0, 0].
    direction: (3, 3) float64, orthonormal; its columns are the LPS unit vectors of the x (W), y (H), z (D) index axes.
    notes: one sentence for each thing that reading did or assumed; empty when the values and the grid are the file's.

    Raises InputError for anything that is not this.
    """

    hu: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checked: dict[str, object] = {
            "hu": checked_hu(self.hu),
            "spacing_mm": checked_spacing(self.spacing_mm),
            "origin": _checked_origin(self.origin),
            "direction": checked_direction(self.direction),
            "notes": _sentences(self.notes),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_array(
        cls,
        hu: ArrayLike,
        spacing_mm: Sequence[float],
        origin: Sequence[float] | None = None,
        direction: ArrayLike | None = None,
        notes: Iterable[str] = (),
    ) -> CTVolume:
        """A volume from values that are HU already; nothing is guessed or rescaled.

        hu: (D, H, W) of any real number type. spacing_mm: (z, y, x). origin: (x, y, z) mm; None: 0, 0, 0.
        direction: (3, 3), columns as in the class; None: axial LPS (the identity).

        Raises InputError.
        """
        return cls(
            hu=hu,  # type: ignore[arg-type]  # __post_init__ converts and checks
            spacing_mm=spacing_mm,  # type: ignore[arg-type]
            origin=(0.0, 0.0, 0.0) if origin is None else origin,  # type: ignore[arg-type]
            direction=np.eye(3) if direction is None else direction,  # type: ignore[arg-type]
            notes=notes,  # type: ignore[arg-type]
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        depth, height, width = self.hu.shape
        return depth, height, width

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in ml."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    def to_sitk(self) -> sitk.Image:
        """A SimpleITK image (float32) of the same values on the same grid."""
        return cast("sitk.Image", image_on_grid(self.hu, self))

    def digest(self) -> str:
        """SHA-256 (hex) of values and grid, whatever the notes. The grid counts in steps of DIGEST_STEP: writing a
        volume to a file and reading it again changes its last digits, and must not make it another CT.
        """
        known: str | None = self.__dict__.get("_digest")
        if known is None:
            known = _digest(self)
            object.__setattr__(self, "_digest", known)
        return known

    def is_digest(self, known: str) -> bool:
        """Whether `known` is the digest of this CT, or of one whose grid differs by less than files round it.

        A number of the grid that lies next to a border between two steps is counted on either side of it.
        """
        if known == self.digest():
            return True
        return any(known == _digest(self, steps) for steps in _neighbouring_steps(self))

    def __repr__(self) -> str:
        steps = " x ".join(f"{step:.4g}" for step in self.spacing_mm)
        return f"CTVolume{self.shape}, {steps} mm"


def image_on_grid(array: NDArray[Any], volume: CTVolume) -> Any:
    """A SimpleITK image of array (D, H, W) with the geometry of volume."""
    image = simpleitk().GetImageFromArray(array)
    image.SetSpacing(tuple(reversed(volume.spacing_mm)))
    image.SetOrigin(volume.origin)
    image.SetDirection(tuple(float(value) for value in volume.direction.ravel()))
    return image


def checked_hu(values: ArrayLike) -> NDArray[np.float32]:
    """(D, H, W) float32, contiguous, finite and read-only. A read-only float32 array is taken over, others are copied.

    Raises InputError.
    """
    array = as_array(values, "the CT")
    if array.dtype.kind not in "iuf":
        raise InputError(f"the CT's values are of type {array.dtype}; they must be real numbers in HU")
    if array.ndim != 3:
        raise InputError(f"the CT has {array.ndim} dimensions {array.shape}; it must have 3 (slices, rows, columns)")
    if array.size == 0:
        raise InputError(f"the CT is empty {array.shape}; it must hold voxels")
    if array.shape[0] < MIN_SLICES:
        raise InputError(f"the CT has {array.shape[0]} slice; it must have at least {MIN_SLICES}")
    hu = _as_read_only_float32(array)
    bad = hu.size - int(np.count_nonzero(np.isfinite(hu)))
    if bad:
        raise InputError(f"the CT has {bad} voxels that are NaN or infinite; every voxel must be a finite number")
    return hu


def checked_mask(values: ArrayLike, what: str) -> NDArray[np.bool_]:
    """(D, H, W) bool, of whole numbers 0 and 1 as well. Raises InputError."""
    array = as_array(values, what)
    if array.ndim != 3 or array.size == 0:
        raise InputError(f"{what} has shape {array.shape}; it must be (slices, rows, columns), not empty")
    if array.dtype.kind not in "biu" or array.dtype.kind != "b" and not np.isin(array, (0, 1)).all():
        raise InputError(f"{what} is of type {array.dtype} and not all 0 or 1; it must be bool, or 0 and 1")
    return array.astype(np.bool_, copy=False)


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The smallest box of a mask of any number of dimensions that holds all of it; it must not be empty."""
    box: tuple[slice, ...] = ()
    for axis in range(mask.ndim):  # what is outside of the axes before is not looked at again
        touched = np.flatnonzero(mask[box].any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box += (slice(int(touched[0]), int(touched[-1]) + 1),)
    return box


def checked_spacing(spacing_mm: Sequence[float]) -> tuple[float, float, float]:
    """(z, y, x) in mm, each > 0, and one that a scanner could have. Raises InputError."""
    spacing = _three_numbers(spacing_mm, "the spacing")
    if min(spacing) <= 0:
        raise InputError(f"the spacing is {spacing} mm; every step must be greater than 0")
    if min(spacing) < STEP_MM[0] or max(spacing) > STEP_MM[1]:
        raise InputError(f"the spacing is {spacing} mm; every step must be from {STEP_MM[0]:g} to {STEP_MM[1]:g} mm")
    return spacing


def _checked_origin(origin: Sequence[float]) -> tuple[float, float, float]:
    place = _three_numbers(origin, "the origin")
    if max(map(abs, place)) > FARTHEST_MM:
        raise InputError(f"the origin is {place} mm; it must lie within {FARTHEST_MM / 1e6:g} km")
    return place


def _sentences(notes: Iterable[str]) -> tuple[str, ...]:
    if isinstance(notes, (str, bytes)) or not isinstance(notes, Iterable):
        raise InputError(f"the notes are a {type(notes).__name__}; they must be a row of sentences")
    return tuple(str(note) for note in notes)


def checked_direction(direction: ArrayLike) -> NDArray[np.float64]:
    """(3, 3) float64, orthonormal, read-only. Raises InputError."""
    try:
        matrix = np.array(direction, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError("the direction is not a matrix of numbers; it must be 3 x 3") from None
    if matrix.shape != (3, 3):
        raise InputError(f"the direction has shape {matrix.shape}; it must be 3 x 3")
    if not np.all(np.isfinite(matrix)) or np.abs(matrix.T @ matrix - np.eye(3)).max() > ORTHONORMAL_TOLERANCE:
        raise InputError("the direction's columns are not perpendicular unit vectors; they must be (no shear)")
    matrix.setflags(write=False)
    return matrix


def _as_read_only_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    ready = array.dtype == np.float32 and array.flags.c_contiguous and not _can_change(array)
    if ready:
        return array
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and is refused as such
        hu = np.array(array, dtype=np.float32, order="C")
    hu.setflags(write=False)
    return hu


def as_array(values: ArrayLike, what: str) -> NDArray[Any]:
    """An array of whatever type. Raises InputError for rows of several lengths, and what NumPy cannot read."""
    if np.ma.isMaskedArray(values) and np.ma.is_masked(values):
        raise InputError(f"{what} is a masked array; every voxel must have a value")
    try:
        return np.asarray(values)
    except ValueError:
        raise InputError(f"{what} has rows of several lengths; it must be (slices, rows, columns)") from None
    except (RuntimeError, TypeError):  # a tensor on another device, or one that remembers gradients
        raise InputError(f"{what} is a {type(values).__name__} that NumPy cannot read; it must be an array") from None


def _can_change(array: NDArray[Any]) -> bool:
    """Whether somebody can write to the array, or to what it is a view of."""
    while not array.flags.writeable:
        if not isinstance(array.base, np.ndarray):
            return not isinstance(array.base, (type(None), bytes))
        array = array.base
    return True


def _three_numbers(values: Sequence[float], what: str) -> tuple[float, float, float]:
    try:
        if isinstance(values, (str, bytes)):
            raise TypeError
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{what} is not a row of numbers; it must be 3 numbers in mm") from None
    if len(numbers) != 3 or not all(np.isfinite(numbers)):
        raise InputError(f"{what} is {numbers}; it must be 3 finite numbers in mm")
    return numbers[0], numbers[1], numbers[2]


def _digest(volume: CTVolume, steps: NDArray[np.float64] | None = None) -> str:
    """steps: the grid's numbers in whole DIGEST_STEPs; None: as they fall."""
    summary = hashlib.sha256(b"ichhpinet CTVolume 1")
    summary.update(np.array(volume.shape, dtype="<i8").tobytes())
    summary.update(np.floor(_in_steps(volume) if steps is None else steps).astype("<i8").tobytes())
    for plane in volume.hu:
        summary.update((plane + np.float32(0)).astype("<f4", copy=False).data)  # -0, which no integer file keeps, is 0
    return summary.hexdigest()


def _in_steps(volume: CTVolume) -> NDArray[np.float64]:
    grid = np.concatenate([volume.spacing_mm, volume.origin, volume.direction.ravel()])
    return np.asarray(grid / DIGEST_STEP + DIGEST_OFFSET, dtype=np.float64)


def _neighbouring_steps(volume: CTVolume) -> Iterator[NDArray[np.float64]]:
    """The grid's numbers with those next to a border moved over it, in every combination of the nearest few."""
    steps = _in_steps(volume)
    away = steps - np.rint(steps)  # 0 on a border
    near = np.flatnonzero(np.abs(away) < DIGEST_ROUNDING)
    near = near[np.argsort(np.abs(away[near]))][:MOST_NEAR]
    for over in product((False, True), repeat=len(near)):
        if any(over):
            moved = steps.copy()
            chosen = near[list(over)]
            moved[chosen] -= 2 * away[chosen] + np.where(away[chosen] >= 0, 1e-9, -1e-9)
            yield moved
