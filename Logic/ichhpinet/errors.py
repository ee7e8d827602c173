"""The exceptions that callers of the core may catch by name."""

from __future__ import annotations


class InputError(ValueError):
    """What was given cannot be used. One sentence: what it is, and what it must be.

    Raised before anything is computed. The message may hold the name of the file or folder that was given, and what
    tells one DICOM series from another; never a path or a patient's name out of a header.
    """


class Cancelled(Exception):
    """The caller's `cancel()` returned True; whatever was under way has changed nothing."""
