"""Messages in parts: the same arrive, whatever their size and order in memory, with pauses for whoever sends them."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extension.scenes import ct_with_air
from ichhpinet.errors import InputError
from ICHHPINetSlicer import parcels
from ICHHPINetSlicer.engine import Open, Refine
from ICHHPINetSlicer.parcels import received, sending
from ICHHPINetSlicer.worker import Worker


def crossed(message: Any) -> tuple[Any, int]:
    """What arrives at the other end of a pipe, and in how many pauses it was sent."""
    mine, theirs = multiprocessing.Pipe()
    got: list[Any] = []
    reader = threading.Thread(target=lambda: got.append(received(theirs, theirs.recv())))
    reader.start()
    pauses = sum(1 for _ in sending(mine, message))
    reader.join(20)
    return got[0], pauses


@pytest.mark.parametrize(
    ("message", "pauses"),
    [
        ({"no": "arrays"}, 0),
        (np.zeros((0, 3), np.float32), 0),
        (np.arange(250, dtype=np.float32), 0),  # 1000 bytes: a part
        (np.arange(251, dtype=np.float32), 1),
        (np.arange(5 * 7 * 50, dtype=np.int16).reshape(5, 7, 50), 3),
        (np.asfortranarray(np.arange(600, dtype=np.float64).reshape(20, 30)), 4),
        (np.arange(600, dtype=np.float64).reshape(20, 30)[::2, ::3], 0),  # lies apart: within the pickle
        ([np.full(20, number, np.float64) for number in range(20)], 2),  # 160 bytes each: seven in a part
    ],
)
def test_what_is_sent_in_parts_arrives(message: Any, pauses: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcels, "PART_BYTES", 1000)
    got, counted = crossed(message)
    assert type(got) is type(message) and counted == pauses
    np.testing.assert_array_equal(got, message)


def test_a_ct_arrives_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcels, "PART_BYTES", 1000)
    sent = Open("a", ct_with_air(), b"saved")
    got, pauses = crossed(sent)
    assert pauses == 5 and (got.key, got.saved) == ("a", b"saved")  # 5 x 16 x 16 float32
    assert np.array_equal(got.volume.hu, sent.volume.hu) and got.volume.digest() == sent.volume.digest()


def test_who_reads_no_more_is_found_out() -> None:
    mine, theirs = multiprocessing.Pipe()
    theirs.close()
    with pytest.raises(OSError):
        list(sending(mine, Open("a", ct_with_air())))
    mine, theirs = multiprocessing.Pipe()
    mine.close()
    with pytest.raises(EOFError):
        received(theirs, parcels.Parcel(b"", (8,)))


def test_a_ct_is_sent_a_part_a_poll_and_what_is_forgotten_meanwhile_follows(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message between two parts would be taken for a part."""
    worker = Worker(str(weights), "cpu")
    said: list[Any] = []

    def play(job: Any, forgotten: str = "") -> int:
        """How many polls found the job half sent."""
        worker.submit(job, said.append, said.append)
        halves = 0
        while worker.poll(0.05):
            halves += worker._sending is not None
            if halves == 2 and forgotten:
                worker.forget(forgotten)
                forgotten = ""
        return halves

    try:
        assert play(Open("a", ct_with_air())) == 0
        monkeypatch.setattr(parcels, "PART_BYTES", 1000)
        assert play(Open("b", ct_with_air()), forgotten="a") >= 4
        strokes = np.zeros((5, 16, 16), np.uint8)
        strokes[2, 5, 5] = 1
        assert play(Refine("b", None, strokes)) == 0
        assert said[0].current is None and said[1].current is None and said[2].number == 1
        play(Refine("a", None, strokes))
        assert said[3].kind == "input" and "not open" in said[3].sentence
    finally:
        worker.close()


def test_a_worker_that_is_closed_while_it_sends_starts_anew(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(str(weights), "cpu")
    said: list[Any] = []
    try:
        monkeypatch.setattr(parcels, "PART_BYTES", 1000)
        worker.submit(Open("a", ct_with_air()), said.append, said.append)
        while worker._sending is None:
            assert worker.poll(0.05)
        with pytest.raises(InputError, match="a round is under way"):
            worker.submit(Open("b", ct_with_air()), said.append, said.append)
        worker.close()
        assert not said
        worker.submit(Open("a", ct_with_air()), said.append, said.append)
        while worker.poll(0.05):
            pass
        assert len(said) == 1 and said[0].current is None and worker.starts == 2
    finally:
        worker.close()
