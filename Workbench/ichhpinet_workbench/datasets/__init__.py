"""Data sets of haemorrhage: readers of the published layouts, one manifest, splits by patient, integrity checks."""

from .manifest import Entry, Manifest, read_manifest

__all__ = ["Entry", "Manifest", "read_manifest"]
