"""Parcels: a message with large arrays crosses a pipe in parts, and who sends it does something else in between."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

PART_BYTES = 32 << 20  # what is sent in one go: some 0.05 s


@dataclass(frozen=True)
class Parcel:
    """A message that follows. head: its pickle without the arrays in it. sizes: of each of these, in bytes."""

    head: bytes
    sizes: tuple[int, ...]


def sending(pipe: Connection, message: Any) -> Iterator[None]:
    """Send a message, with a pause after every PART_BYTES: nothing else may be sent, and no array in it may change,
    until the iterator ends. Arrays are not copied here. Raises: OSError where nobody reads any more."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    arrays = [one.raw() for one in buffers]
    pipe.send(Parcel(head, tuple(one.nbytes for one in arrays)))
    room = PART_BYTES
    for array in arrays:
        for at in range(0, array.nbytes, PART_BYTES):
            if room <= 0:
                yield
                room = PART_BYTES
            part = array[at : at + PART_BYTES]
            pipe.send_bytes(part)
            room -= part.nbytes


def received(pipe: Connection, parcel: Parcel) -> Any:
    """The message of a parcel, once its parts are there. Raises: EOFError, OSError where they do not come."""
    buffers = [bytearray(size) for size in parcel.sizes]
    for buffer in buffers:
        at = 0
        while at < len(buffer):
            at += pipe.recv_bytes_into(buffer, at)
    return pickle.loads(parcel.head, buffers=buffers)
