"""Values of a plan as JSON or the command line gives them: each of the kind that its field has, or refused by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from ichhpinet.errors import InputError

Fields = TypeVar("Fields")

MAY_BE_ENDLESS = ("minutes",)  # a run that its steps bound
WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple: "a list of whole numbers",
}


def typed(name: str, before: Any, value: Any) -> Any:
    """The value as its field holds it. before: the field's value so far, whose kind is asked for. Raises InputError."""
    made = _as(type(before), value)
    if made is None:
        raise InputError(f"{name} is {value!r}; it must be {WORDS[type(before)]} like {before!r}")
    if isinstance(made, float) and not (math.isfinite(made) or (name in MAY_BE_ENDLESS and made > 0)):
        raise InputError(f"{name} is {made}; it must be finite")
    return made


def typed_fields(name: str, before: Fields, values: Any) -> Fields:
    """A dataclass with these fields changed. name: its own, '' if its fields need none before theirs."""
    known = {field.name: getattr(before, field.name) for field in fields(before)}  # type: ignore[arg-type]
    unknown = (
        sorted(set(values) - set(known)) if isinstance(values, Mapping) else [f"{type(values).__name__} {values!r}"]
    )
    if unknown:
        raise InputError(f"{name} has {', '.join(unknown)}; its fields are {', '.join(known)}")
    made = {key: typed(f"{name}.{key}", known[key], value) for key, value in values.items()}
    return replace(before, **made)  # type: ignore[type-var]


def _as(kind: type, value: Any) -> Any:
    """None where it is of another kind. Whole floats are whole numbers, lists are tuples."""
    if kind is bool or isinstance(value, bool):
        return value if kind is bool and isinstance(value, bool) else None
    if kind is tuple:
        return _tuple(value)
    if kind is str:
        return value if isinstance(value, str) else None
    if not isinstance(value, (int, float)) or (kind is int and not float(value).is_integer()):
        return None
    return kind(value)


def _tuple(value: Any) -> tuple[Any, ...] | None:
    """Of whole numbers, or of such tuples."""
    if not isinstance(value, (list, tuple)):
        return None
    parts = tuple(_tuple(part) if isinstance(part, (list, tuple)) else _as(int, part) for part in value)
    return None if None in parts else parts
