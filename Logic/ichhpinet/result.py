"""RoundResult: what a round gives, built on access from its compact state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ichhpinet.grid import Between, WorkingGrid
from ichhpinet.memory import Packed, RoundState, from_bytes
from ichhpinet.scribbles import Scribbles

THRESHOLD = 0.5


def render_probability(
    probability: Tensor,
    grid: WorkingGrid,
    foreground: NDArray[np.bool_],
    background: NDArray[np.bool_],
    between: Between = lambda: None,
) -> NDArray[np.float32]:
    """Working (d, h, w) probability -> native (D, H, W), strokes included: 1 where foreground, 0 where background.

    `between` is called between slabs of slices; what it raises ends the work.
    """
    native = _in_unit_range(grid.to_native(probability, between))
    _paint(native, foreground, 1.0)
    _paint(native, background, 0.0)
    return native


def render_mask(
    probability: Tensor,
    grid: WorkingGrid,
    foreground: NDArray[np.bool_],
    background: NDArray[np.bool_],
    between: Between = lambda: None,
) -> NDArray[np.bool_]:
    """`render_probability` >= 0.5, without making it."""
    mask = grid.to_native_mask(probability, THRESHOLD, between)
    _paint(mask, foreground, True)
    _paint(mask, background, False)
    return mask


def _paint(native: NDArray[Any], strokes: NDArray[np.bool_], value: float | bool) -> None:
    """In place, and on the slices that have strokes alone: of a thin-slice CT those are a small part."""
    for index in np.flatnonzero(strokes.any((1, 2))):
        native[index][strokes[index]] = value


def _in_unit_range(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """In place: the weights of an interpolation sum to 1 only as nearly as float32 can."""
    return np.clip(values, 0.0, 1.0, out=values)


def _read_only(array: NDArray[np.generic]) -> NDArray[np.generic]:
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False, repr=False)
class RoundResult:
    """One round. Arrays are (D, H, W) on the CT's grid, read-only, and made anew on each access: keep what you use.

    mask: bool. probability: float32 in [0, 1]; mask is probability >= 0.5, strokes included.
    uncertainty: float32 in [0, 1]. added, removed: bool, against the parent's mask (an empty one before the first).
    """

    _state: RoundState
    _parent: RoundState | None
    _grid: WorkingGrid

    @property
    def number(self) -> int:
        """1 for a volume's first round; only grows, never reused."""
        return self._state.number

    @property
    def parent(self) -> int | None:
        """The round that this one started from; None: from nothing."""
        return self._state.parent

    @property
    def seconds(self) -> float:
        """How long the round took."""
        return self._state.seconds

    @property
    def volume_ml(self) -> float:
        """Volume of the mask in ml."""
        return self._state.volume_ml

    @property
    def nbytes(self) -> int:
        """What keeping the round costs, in bytes."""
        return self._state.nbytes

    @property
    def corrected_slices(self) -> tuple[int, ...]:
        """Working slices that the user has touched so far: the persistent part of the memory."""
        return self._state.corrected

    @property
    def probability(self) -> NDArray[np.float32]:
        """(D, H, W) float32 in [0, 1]."""
        strokes = _bool(self._state.foreground), _bool(self._state.background)
        return _read_only(render_probability(from_bytes(self._state.probability), self._grid, *strokes))  # type: ignore[return-value]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(D, H, W) bool."""
        return _read_only(self._mask_of(self._state))  # type: ignore[return-value]

    @property
    def uncertainty(self) -> NDArray[np.float32]:
        """(D, H, W) float32 in [0, 1]; 0 where the user has painted."""
        coarse = from_bytes(self._state.uncertainty)
        wide = torch.nn.functional.interpolate(coarse[:, None], self._grid.shape[1:], mode="bilinear")[:, 0]
        native = _in_unit_range(self._grid.to_native(wide))
        native[_bool(self._state.foreground) | _bool(self._state.background)] = 0.0
        return _read_only(native)  # type: ignore[return-value]

    @property
    def added(self) -> NDArray[np.bool_]:
        """(D, H, W) bool: in this mask and not in the parent's."""
        return _read_only(self.mask & ~self._before())  # type: ignore[return-value]

    @property
    def removed(self) -> NDArray[np.bool_]:
        """(D, H, W) bool: in the parent's mask and not in this one."""
        return _read_only(self._before() & ~self.mask)  # type: ignore[return-value]

    @property
    def scribbles(self) -> Scribbles:
        """The strokes of this round alone."""
        return Scribbles(_bool(self._state.new_foreground), _bool(self._state.new_background))

    def __repr__(self) -> str:
        return f"RoundResult({self.number}, {self.volume_ml:.2f} ml, {self.seconds:.2f} s)"

    def _mask_of(self, state: RoundState) -> NDArray[np.bool_]:
        strokes = _bool(state.foreground), _bool(state.background)
        return render_mask(from_bytes(state.probability), self._grid, *strokes)

    def _before(self) -> NDArray[np.bool_]:
        if self._parent is None:
            return np.zeros(self._grid.native_shape, bool)
        return self._mask_of(self._parent)


def _bool(packed: Packed) -> NDArray[np.bool_]:
    return packed.array().astype(bool, copy=False)
