"""Opening: one read at a time, what was left is not shown, series stay on offer until one can be used."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ichhpinet.dicom import SeriesChoice
from ichhpinet.errors import InputError
from ichhpinet_browser import opening as room
from ichhpinet_browser.offers import Offer
from ichhpinet_browser.opening import Opening


class Told:
    """An Opening, and all that it did."""

    def __init__(self, case: bool = False) -> None:
        self.said: list[tuple[str, str]] = []
        self.shown: list[Any] = []
        self.state = SimpleNamespace(stage="ready" if case else "empty", flush=lambda: None, series=[])
        self.state.update = lambda values: self.state.__dict__.update(values)
        self.opening = Opening(self.state, lambda *one: self.said.append(one), lambda: None, self.show, lambda: case)

    def show(self, found: Any) -> None:
        self.shown.append(found)
        self.state.stage = "ready"

    async def end(self) -> None:
        """Until nothing is being read."""
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.005)


def played(play: Callable[[Told], Coroutine[Any, Any, None]], case: bool = False) -> Told:
    told = Told(case)
    asyncio.run(play(told))
    return told


def test_what_was_read_is_shown_and_then_looked_at() -> None:
    order: list[str] = []

    async def play(told: Told) -> None:
        told.opening.open(lambda progress: progress(0.5, "reading slices") or "ct", then=lambda: order.append("then"))
        assert told.opening.is_reading and told.state.stage == "loading"
        await told.end()

    told = played(play)
    assert told.shown == ["ct"] and order == ["then"] and not told.opening.is_reading
    assert told.state.loading == {"what": "Reading slices", "percent": 50}


def test_one_is_read_at_a_time_and_one_that_was_left_is_not_shown() -> None:
    go = threading.Event()

    async def play(told: Told) -> None:
        told.opening.open(lambda progress: go.wait(10) and "first")
        with pytest.raises(InputError, match="a CT is being read"):
            told.opening.open(lambda progress: "second")
        told.opening.leave()
        told.opening.open(lambda progress: "third")
        go.set()
        await told.end()

    assert played(play).shown == ["third"]


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (InputError("the file is empty; it must be a CT file"), "The file is empty; it must be a CT file."),
        (RuntimeError("/patients/doe"), "The CT could not be opened; nothing else has changed."),
    ],
)
@pytest.mark.parametrize("case", [False, True])
def test_what_cannot_be_read_is_said_and_the_case_before_stays(failure: Exception, says: str, case: bool) -> None:
    def read(progress: Any) -> Any:
        raise failure

    async def play(told: Told) -> None:
        told.opening.open(read)
        await told.end()

    told = played(play, case)
    assert told.said[-1] == ("error", says) and told.state.stage == ("ready" if case else "empty")


def test_series_stay_on_offer_until_one_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded = tmp_path / "upload"
    uploaded.mkdir()
    choices = tuple(SeriesChoice(f"1.{n}", n, 30, 5.0, "H30s", False) for n in (1, 2))
    offer = Offer(uploaded, uploaded, choices)

    def reader(path: Path, uid: str, *_: Any, **__: Any) -> Any:
        def read(progress: Any) -> Any:
            if uid == "1.1":
                raise InputError("a slice is missing; it must be whole")
            return uid

        return read

    monkeypatch.setattr(room, "reader", reader)

    async def play(told: Told) -> None:
        told.opening.open(lambda progress: offer)
        await told.end()
        assert told.state.stage == "choose" and len(told.state.series) == 2
        told.opening.choose_series(7)
        told.opening.choose_series(0)
        await told.end()
        assert told.state.stage == "choose" and "A slice is missing" in told.said[-1][1] and uploaded.exists()
        told.opening.choose_series(1)
        await told.end()

    assert played(play).shown == ["1.2"] and not uploaded.exists()


@pytest.mark.parametrize("way", ["choose_none", "leave"])
def test_series_that_nobody_wants_are_deleted(tmp_path: Path, way: str) -> None:
    uploaded = tmp_path / "upload"
    uploaded.mkdir()

    async def play(told: Told) -> None:
        told.opening.open(lambda progress: Offer(uploaded, uploaded, ()))
        await told.end()
        getattr(told.opening, way)()

    played(play)
    assert not uploaded.exists()
