"""Masks kept beside the figures, so that pictures of the worst cases need no second run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ichhpinet.paths import written_whole

from .regions import Bool


def mask_path(out: Path, contestant: str, case: str) -> Path:
    """Where the last mask of a case lies."""
    return out / "masks" / contestant / f"{case}.npz"


def keep_mask(path: Path, mask: Bool) -> None:
    """As bits, deflated, beside and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, bits=np.packbits(mask), shape=np.array(mask.shape))


def kept_mask(path: Path) -> Bool:
    """(D, H, W) bool of `keep_mask`."""
    with np.load(path) as stored:
        shape = tuple(int(n) for n in stored["shape"])
        return np.unpackbits(stored["bits"], count=int(np.prod(shape))).reshape(shape).astype(bool)
