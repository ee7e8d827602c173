"""ICH-HPINet: interactive segmentation of intracranial haemorrhage in head CT. Research use; not a medical device."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ichhpinet.errors import Cancelled, InputError

if TYPE_CHECKING:
    from ichhpinet.networks import ModelConfig
    from ichhpinet.predictor import Predictor
    from ichhpinet.reading import read_labels, read_volume
    from ichhpinet.result import RoundResult
    from ichhpinet.scribbles import Scribbles
    from ichhpinet.session import Session
    from ichhpinet.volume import CTVolume
    from ichhpinet.writing import write_mask, write_volume

__version__ = "0.1.0"

# Loaded on first use: importing the package must not cost the time that torch takes.
_HOME = {
    "CTVolume": "volume",
    "ModelConfig": "networks",
    "Predictor": "predictor",
    "RoundResult": "result",
    "Scribbles": "scribbles",
    "Session": "session",
    "read_labels": "reading",
    "read_volume": "reading",
    "write_mask": "writing",
    "write_volume": "writing",
}

__all__ = [
    "CTVolume",
    "Cancelled",
    "InputError",
    "ModelConfig",
    "Predictor",
    "RoundResult",
    "Scribbles",
    "Session",
    "read_labels",
    "read_volume",
    "write_mask",
    "write_volume",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ichhpinet' has no attribute {name!r}")
    return getattr(import_module(f"ichhpinet.{_HOME[name]}"), name)
