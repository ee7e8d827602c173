"""The persistent memory of a volume: what one round leaves behind, compact, and all that the next one needs."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ichhpinet.errors import InputError
from ichhpinet.networks import Memory


@dataclass(frozen=True)
class Packed:
    """An array, deflated; bool arrays go as bits. kind: 'bool' or 'uint8'."""

    shape: tuple[int, ...]
    kind: str
    content: bytes

    @classmethod
    def of(cls, array: NDArray[np.bool_] | NDArray[np.uint8]) -> Packed:
        """array: bool or uint8, any shape."""
        raw = np.packbits(array) if array.dtype == bool else np.ascontiguousarray(array)
        return cls(array.shape, "bool" if array.dtype == bool else "uint8", zlib.compress(raw.tobytes(), 1))

    def array(self) -> NDArray[np.uint8] | NDArray[np.bool_]:
        """The array again. Raises: InputError where it is damaged; never inflates more than the shape needs."""
        size = math.prod(self.shape)
        needed = -(-size // 8) if self.kind == "bool" else size
        inflate = zlib.decompressobj()
        try:
            raw = np.frombuffer(inflate.decompress(self.content, needed + 1), np.uint8)
        except zlib.error as error:
            raise InputError("the stored array is damaged; it must be as it was saved") from error
        if len(raw) != needed or not inflate.eof or inflate.unused_data:
            raise InputError(f"the stored array does not hold {needed} bytes; its shape {self.shape} needs as many")
        if self.kind == "bool":
            return np.unpackbits(raw, count=size).reshape(self.shape).astype(bool)
        return raw.reshape(self.shape)


@dataclass(frozen=True)
class RoundState:
    """Everything a round leaves. The next round is computed from this and the image alone, live or restored.

    foreground, background: native (D, H, W) bool, all strokes so far. new_foreground, new_background: this round's.
    painted: (2, d, h, w) bool, all strokes so far on the working grid.
    probability: (d, h, w) uint8, 255 = 1. uncertainty: (d, h/2, w/2) uint8, 255 = 1.
    corrected: working slices that the user has touched. masks: (n, h, w) uint8, M_r of each of them.
    boldness: logits that corrections have added, see `decision.boldness`.
    """

    number: int
    parent: int | None
    seconds: float
    volume_ml: float
    foreground: Packed
    background: Packed
    new_foreground: Packed
    new_background: Packed
    painted: Packed
    probability: Packed
    uncertainty: Packed
    corrected: tuple[int, ...]
    masks: Packed
    boldness: float = 0.0

    PACKED = (
        "foreground",
        "background",
        "new_foreground",
        "new_background",
        "painted",
        "probability",
        "uncertainty",
        "masks",
    )

    @property
    def nbytes(self) -> int:
        """What the round costs to keep."""
        return sum(len(getattr(self, name).content) for name in self.PACKED)

    def memory(self, device: torch.device) -> Memory:
        """The network's memory after this round, for one volume."""
        depth, height, width = self.probability.shape
        corrected = torch.zeros(1, depth, dtype=torch.bool)
        masks = torch.zeros(1, depth, height, width, dtype=torch.float32)
        if self.corrected:
            corrected[0, list(self.corrected)] = True
            masks[0, list(self.corrected)] = from_bytes(self.masks)
        return Memory(corrected.to(device), masks.to(device))


def to_bytes(probability: Tensor) -> Packed:
    """Round probabilities in [0, 1] to 1/255 and pack them."""
    return Packed.of((probability * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy())


def from_bytes(packed: Packed) -> Tensor:
    """float32 in [0, 1]."""
    return torch.from_numpy(packed.array().astype(np.float32) / 255)
