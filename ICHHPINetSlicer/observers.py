"""Observers of MRML nodes that are taken back together, and that die with the object that they call."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import vtk

# Kept from the garbage collector: what it has taken apart already is still called by a node that it destroys after.
_calls: set[Callable[..., None]] = set()


class Observers:
    """A list of observations."""

    def __init__(self) -> None:
        self._tags: list[tuple[Any, int]] = []
        self._mine: list[Callable[..., None]] = []
        weakref.finalize(self, _calls.difference_update, self._mine).atexit = False

    def add(self, subject: Any, event: Any, method: Callable[..., None], *, with_node: bool = False) -> None:
        """Call a bound method, with_node: with the node that the event is about, whenever the event happens.

        Weak: a scene that is destroyed in the garbage collector must not call into what is being collected with it.
        """
        weak = weakref.WeakMethod(method)

        def call(caller: Any, name: str, *rest: Any) -> None:
            alive = weak()
            if alive is not None:
                alive(*rest)

        if with_node:
            call.CallDataType = vtk.VTK_OBJECT  # type: ignore[attr-defined]
        _calls.add(call)
        self._mine.append(call)
        self._tags.append((subject, subject.AddObserver(event, call)))

    def remove(self) -> None:
        """Take all of them back."""
        for subject, tag in self._tags:
            subject.RemoveObserver(tag)
        _calls.difference_update(self._mine)
        self._tags.clear()
        self._mine.clear()
