"""The exceptions that callers of the core may catch by name."""

from __future__ import annotations


class InputError(ValueError):
    """What was given cannot be used. One sentence: what it is, and what it must be.

    Raised before anything is computed; the message never holds a patient's name or a header.
    """


class Cancelled(Exception):
    """The caller's `cancel()` returned True; whatever was under way has changed nothing."""
