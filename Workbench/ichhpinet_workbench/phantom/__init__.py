"""Synthetic head CT with haemorrhage: torch and numpy alone, on CPU or GPU, the same seed gives the same volume."""

from .generate import generate
from .insert import insert
from .phantom import KINDS, Phantom

__all__ = ["KINDS", "Phantom", "generate", "insert"]
