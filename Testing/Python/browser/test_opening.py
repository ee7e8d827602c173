"""Opening: one read at a time, what was left is not shown, series stay on offer until one can be used."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from core.ct_files import head_hu
from ichhpinet.errors import InputError
from ichhpinet_browser import opening as room
from ichhpinet_browser.offers import Offer, Way
from ichhpinet_browser.opening import Opening


class Told:
    """An Opening, and all that it did."""

    def __init__(self, case: bool = False) -> None:
        self.said: list[tuple[str, str]] = []
        self.shown: list[Any] = []
        self.state = SimpleNamespace(stage="ready" if case else "empty", flush=lambda: None)
        self.state.update = lambda values: self.state.__dict__.update(values)
        self.opening = Opening(self.state, lambda *one: self.said.append(one), lambda: None, self.show, lambda: case)

    def show(self, found: Any) -> None:
        self.shown.append(found)
        self.state.stage = "ready"

    async def end(self) -> None:
        """Until nothing is being read."""
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.005)


def asked(uploaded: Path, *ways: Way) -> Offer:
    return Offer(uploaded, uploaded, "Which?", "There are several.", ways, "None of them")


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
    offer = asked(uploaded, *(Way(f"Series {n}", {"series": f"1.{n}"}) for n in (1, 2)))

    def reader(path: Path, uploaded: Path, how: Any, keep: bool) -> Any:
        def read(progress: Any) -> Any:
            if how["series"] == "1.1":
                raise InputError("a slice is missing; it must be whole")
            return how["series"]

        return read

    monkeypatch.setattr(room, "reader", reader)

    async def play(told: Told) -> None:
        told.opening.open(lambda progress: offer)
        await told.end()
        assert told.state.stage == "choose" and told.state.offer["ways"] == ["Series 1", "Series 2"]
        told.opening.choose(7)
        told.opening.choose(0)
        await told.end()
        assert told.state.stage == "choose" and "A slice is missing" in told.said[-1][1] and uploaded.exists()
        told.opening.choose(1)
        await told.end()

    assert played(play).shown == ["1.2"] and not uploaded.exists()


@pytest.mark.parametrize("way", ["choose_none", "leave"])
def test_series_that_nobody_wants_are_deleted(tmp_path: Path, way: str) -> None:
    uploaded = tmp_path / "upload"
    uploaded.mkdir()

    async def play(told: Told) -> None:
        told.opening.open(lambda progress: asked(uploaded))
        await told.end()
        getattr(told.opening, way)()

    played(play)
    assert not uploaded.exists()


@pytest.mark.parametrize(("number", "note"), [(0, "were read as HU, as asked"), (1, "window of level 40, width 80 HU")])
def test_what_is_not_taken_for_hu_is_asked_about_and_can_be_overruled(tmp_path: Path, number: int, note: str) -> None:
    uploaded = tmp_path / "upload"
    uploaded.mkdir()
    values = np.clip(head_hu(), 0, 180)
    sitk.WriteImage(sitk.GetImageFromArray(values.astype(np.float32)), str(uploaded / "ct.nii.gz"))

    async def play(told: Told) -> None:
        told.opening.open_path(uploaded / "ct.nii.gz", uploaded=uploaded)
        await told.end()
        offer = told.state.offer
        assert told.state.stage == "choose" and offer["question"] == "What are its values?"
        assert offer["lead"].startswith("The file is not HU: its values run from 0 to 180. If you")
        assert len(offer["ways"]) == 3 and uploaded.exists()
        told.opening.choose(number)
        await told.end()

    (ct,) = played(play).shown
    assert note in ct.notes[0] and not uploaded.exists()
    assert ct.hu.max() == pytest.approx(180 if number == 0 else 80 * 180 / 255, abs=0.1)
