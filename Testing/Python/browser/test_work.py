"""The work on a CT behind the page: waits for its preparation, says what happened, goes on after what fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

from extension.scenes import DirectWorker, ct_with_air, new_scene, paint
from ichhpinet.errors import InputError
from ichhpinet.networks import Memory
from ichhpinet.predictor import Predictor, RoundArrays
from ichhpinet_browser.page import Page
from ichhpinet_browser.pagestate import without_case
from ichhpinet_browser.work import NOT_SHOWN, NOTHING_FOUND, WAITS, Work
from ICHHPINetSlicer import rounds
from ICHHPINetSlicer.logic import ICHHPINetLogic
from ICHHPINetSlicer.nodes import BACKGROUND_ID, FOREGROUND_ID, node_from_volume, set_segment, voxels

FIRST, SECOND = (2, 5, 5), (3, 8, 8)


class Desk:
    """A work on a small CT, and what it said."""

    def __init__(self, weights: Path) -> None:
        scene = new_scene()
        self.logic = ICHHPINetLogic(scene, DirectWorker(weights))
        self.volume = node_from_volume(scene, ct_with_air(), "CT")
        self.said: list[tuple[str, str]] = []
        self.work = Work(self.logic, self.volume, lambda: None, lambda kind, text: self.said.append((kind, text)))
        self.work.shown.surface = False

    def paint(self, segment_id: str, voxel: tuple[int, int, int]) -> None:
        """A stroke."""
        paint(self.logic, self.volume, segment_id, voxel)

    async def idle(self) -> None:
        """Until nothing is under way."""
        await asyncio.sleep(0)
        while self.work._watch is not None and not self.work._watch.done():
            await asyncio.sleep(0.01)


def played(weights: Path, play: Callable[[Desk], Any]) -> Desk:
    """Run a play at a desk."""
    desk = Desk(weights)
    asyncio.run(play(desk))
    return desk


def test_a_round_that_is_asked_for_while_the_ct_is_prepared_comes_after(weights: Path) -> None:
    async def play(desk: Desk) -> None:
        desk.work.prepare()
        desk.paint(FOREGROUND_ID, FIRST)
        assert not desk.work.busy, "preparing goes on unseen"
        desk.work.ask("refine")
        assert desk.work.busy and desk.work.asked == "refine"
        await desk.idle()

    desk = played(weights, play)
    assert [row.number for row in desk.logic.table(desk.volume)] == [1]
    assert desk.said[-1][0] == "info" and desk.said[-1][1].startswith("Round 1: ")


def test_waiting_can_be_cancelled_and_bad_asking_is_refused_at_once(weights: Path) -> None:
    async def play(desk: Desk) -> None:
        desk.work.prepare()
        with pytest.raises(InputError, match="there are no strokes"):
            desk.work.ask("refine")
        desk.paint(FOREGROUND_ID, FIRST)
        desk.work.ask("refine")
        desk.work.cancel()
        desk.work.undo()
        assert not desk.work.has_strokes()
        await desk.idle()

    assert played(weights, play).logic.table is not None


def test_a_second_ct_is_prepared_when_the_engine_is_done_with_the_first(weights: Path) -> None:
    async def play(desk: Desk) -> None:
        desk.work.prepare()
        other = Work(desk.logic, node_from_volume(desk.logic.scene, ct_with_air(seed=4), "B"), print, print)
        other.prepare()
        await desk.idle()
        while not other.prepared:
            await asyncio.sleep(0.01)

    assert played(weights, play).work.prepared


def test_erasing_the_last_stroke_asks_for_no_round_and_is_shown(weights: Path) -> None:
    async def play(desk: Desk) -> None:
        desk.work.prepare()
        await desk.idle()
        desk.paint(FOREGROUND_ID, FIRST)
        desk.work.stroke()
        desk.work.auto_refine = True
        set_segment(
            desk.logic.strokes_node(desk.volume), FOREGROUND_ID,
            np.zeros(voxels(desk.volume.GetImageData()).shape, bool), desk.volume, FOREGROUND_ID, (1, 0, 0),
        )  # fmt: skip
        before = desk.work.changes
        desk.work.stroke()
        assert desk.work.changes == before + 1 and not desk.work.busy

    assert not [said for said in played(weights, play).said if said[0] == "error"]


def test_rounds_that_cannot_be_continued_make_room_for_a_new_start_with_the_strokes(weights: Path) -> None:
    async def play(desk: Desk) -> None:
        desk.work.prepare()
        await desk.idle()
        desk.paint(FOREGROUND_ID, FIRST)
        desk.work.ask("refine")
        await desk.idle()
        desk.paint(BACKGROUND_ID, SECOND)
        memory = rounds.kept_memory(desk.volume)
        assert memory is not None and not desk.work.stuck
        rounds.keep_memory(desk.volume, b"of other weights", memory[1])
        desk.logic.worker.forget(desk.volume.GetID())
        desk.logic._cases[desk.volume.GetID()].stamp = None  # as after a restart: the engine opens it from the scene
        desk.work.ask("refine")
        await desk.idle()
        assert desk.work.stuck and desk.said[-1][0] == "error" and "Start anew removes them" in desk.said[-1][1]
        desk.work.start_anew()
        await desk.idle()
        assert not desk.work.stuck and not desk.logic.table(desk.volume) and desk.work.has_strokes()
        desk.paint(FOREGROUND_ID, FIRST)
        desk.work.ask("refine")
        await desk.idle()

    desk = played(weights, play)
    assert [row.number for row in desk.logic.table(desk.volume)] == [1] and not desk.work.has_strokes()


def test_refining_after_each_stroke_takes_up_what_was_painted_meanwhile(weights: Path) -> None:
    async def play(desk: Desk) -> None:
        desk.work.prepare()
        await desk.idle()
        desk.work.auto_refine = True
        desk.paint(FOREGROUND_ID, FIRST)
        desk.work.stroke_again()
        desk.paint(BACKGROUND_ID, SECOND)
        await desk.idle()
        await asyncio.sleep(0.1)
        await desk.idle()

    desk = played(weights, play)
    assert len(desk.logic.table(desk.volume)) == 2 and not desk.work.has_strokes()


def test_strokes_painted_while_the_uncertainty_is_looked_up_make_the_next_round(weights: Path) -> None:
    async def play(desk: Desk) -> None:
        desk.work.prepare()
        await desk.idle()
        desk.work.auto_refine = desk.work.shown.uncertainty = True
        look = desk.logic.look

        def looked_at(volume: Any, number: int, done: Any, *rest: Any) -> None:
            if number == 1:
                desk.paint(BACKGROUND_ID, SECOND)
                desk.work.stroke()  # the engine is busy, or will be in a moment
            look(volume, number, done, *rest)

        desk.logic.look = looked_at  # type: ignore[method-assign]
        desk.paint(FOREGROUND_ID, FIRST)
        desk.work.stroke_again()
        for _ in range(3):
            await desk.idle()
            await asyncio.sleep(0.1)

    desk = played(weights, play)
    assert len(desk.logic.table(desk.volume)) == 2 and not desk.work.has_strokes()


def test_an_undone_round_stays_undone_where_the_uncertainty_is_shown_and_each_stroke_refines(weights: Path) -> None:
    async def play(desk: Desk) -> None:
        desk.work.prepare()
        await desk.idle()
        desk.work.auto_refine = desk.work.shown.uncertainty = True
        for segment_id, voxel in ((FOREGROUND_ID, FIRST), (BACKGROUND_ID, SECOND)):
            desk.paint(segment_id, voxel)
            desk.work.ask("refine")
            for _ in range(2):
                await desk.idle()
                await asyncio.sleep(0.1)
        assert len(desk.logic.table(desk.volume)) == 2
        desk.work.undo()
        for _ in range(3):
            await desk.idle()
            await asyncio.sleep(0.1)
        assert desk.work.current().number == 1 and desk.logic.can_redo(desk.volume)  # type: ignore[union-attr]

    desk = played(weights, play)
    assert len(desk.logic.table(desk.volume)) == 2


def test_looking_at_a_round_going_on_from_it_and_the_next_uncertain_place(weights: Path) -> None:
    places: list[Any] = []

    async def play(desk: Desk) -> None:
        desk.work.on_place = places.append
        with pytest.raises(InputError, match="there is no round yet"):
            desk.work.next_uncertain()
        for voxel in (FIRST, SECOND):
            desk.paint(FOREGROUND_ID, voxel)
            desk.work.ask("refine")
            await desk.idle()
        desk.work.look_at(1)
        seen, current = desk.work.seen(), desk.work.current()
        assert seen is not None and current is not None and (seen.number, current.number) == (1, 2)
        assert desk.work.next_uncertain() is None, "it is asked for first"
        await desk.idle()
        assert places or desk.said[-1] == ("info", "No slice is uncertain.")
        desk.work.go_on_from(1)
        now = desk.work.current()
        assert now is not None and now.number == 1

    played(weights, play)


def test_uncertainty_that_is_switched_on_while_the_ct_is_prepared_is_shown_once_it_is_known(weights: Path) -> None:
    async def play(desk: Desk) -> None:
        desk.paint(FOREGROUND_ID, FIRST)
        desk.work.ask("refine")
        await desk.idle()
        again = Work(desk.logic, desk.volume, lambda: None, lambda kind, text: desk.said.append((kind, text)))
        again.shown.surface = False
        desk.work.close()
        desk.work = again
        desk.logic._case(desk.volume).stamp = None  # as for a session that was opened: the engine has not seen it
        again.prepare()
        assert desk.logic.busy and not again.busy
        again.switch("uncertainty", True)
        await desk.idle()
        assert again._known_uncertainty(again.seen()) is not None

    played(weights, play)


def test_the_next_uncertain_slice_waits_for_the_ct_that_is_prepared(weights: Path) -> None:
    places: list[Any] = []

    async def play(desk: Desk) -> None:
        desk.work.on_place = places.append
        desk.paint(FOREGROUND_ID, FIRST)
        desk.work.ask("refine")
        await desk.idle()
        desk.work.prepared, desk.logic._case(desk.volume).stamp = False, None
        desk.work.prepare()
        assert desk.logic.busy
        assert desk.work.next_uncertain() is None and desk.said[-1] == ("info", WAITS)
        await desk.idle()
        assert places or desk.said[-1] == ("info", "No slice is uncertain.")
        assert ("info", WAITS) != desk.said[-1]

    played(weights, play)


def test_uncertainty_that_is_refused_is_not_asked_for_again_by_itself(weights: Path) -> None:
    asked: list[int] = []

    async def play(desk: Desk) -> None:
        desk.paint(FOREGROUND_ID, FIRST)
        desk.work.ask("refine")
        await desk.idle()

        def refuses(volume: Any, number: int, done: Any, failed: Any) -> None:
            asked.append(number)
            raise InputError("the scene's ICH memory is damaged")

        desk.logic.look = refuses  # type: ignore[method-assign]
        desk.work.switch("uncertainty", True)
        desk.work.lay_over()
        desk.work.prepare()
        await desk.idle()
        assert asked == [1] and desk.said[-1] == ("error", "The scene's ICH memory is damaged.")
        desk.work.switch("uncertainty", False)
        desk.work.switch("uncertainty", True)
        assert asked == [1, 1], "a click asks again"

    played(weights, play)


def test_pictures_show_the_mask_alone_and_the_users_switches_come_back(weights: Path) -> None:
    async def play(desk: Desk) -> None:
        desk.paint(FOREGROUND_ID, FIRST)
        desk.work.ask("refine")
        await desk.idle()
        desk.work.switch("mask", False)
        desk.work.switch("changes", True)
        one = desk.work.seen()
        assert one is not None
        display, ct = one.node.GetDisplayNode(), desk.volume.GetDisplayNode()
        strokes = desk.logic.strokes_node(desk.volume).GetDisplayNode()
        ct.AutoWindowLevelOff()
        ct.SetWindowLevel(8, 32)
        with desk.work.mask_alone():
            assert display.GetSegmentVisibility2DFill(rounds.MASK_ID)
            assert not strokes.GetVisibility2D() and (ct.GetWindow(), ct.GetLevel()) == (80, 40)
        assert strokes.GetVisibility2D() and (ct.GetWindow(), ct.GetLevel()) == (8, 32)
        assert not display.GetSegmentVisibility2DFill(rounds.MASK_ID) and desk.work.shown.changes

    played(weights, play)


def test_what_was_said_of_a_round_goes_with_the_step_away_from_it_and_steps_are_unsaved(weights: Path) -> None:
    async def play(desk: Desk) -> None:
        assert desk.work.changes == desk.work.kept
        desk.paint(FOREGROUND_ID, FIRST)
        desk.work.ask("refine")
        await desk.idle()
        assert desk.said[-1][1].startswith("Round 1: ") and desk.work.changes > desk.work.kept
        desk.work.kept = desk.work.changes
        desk.work.look_at(1)
        assert desk.said[-1] == ("", "") and desk.work.changes == desk.work.kept, "looking changes nothing"
        desk.work.undo()
        assert desk.said[-1] == ("", "") and desk.work.changes > desk.work.kept

    played(weights, play)


def test_where_a_proposal_finds_nothing_that_is_said_in_words(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(self: Any, encoded: Any, tick: Any) -> RoundArrays:
        return RoundArrays(torch.zeros(encoded.grid.shape), None, Memory.empty(encoded.image))

    monkeypatch.setattr(Predictor, "compute_proposal", empty)

    async def play(desk: Desk) -> None:
        desk.work.ask("propose")
        await desk.idle()
        assert desk.said[-1] == ("info", f"Round 1: {NOTHING_FOUND}") and desk.work.mask_place() is None

    played(weights, play)


def test_a_result_that_cannot_be_shown_is_said_and_the_work_goes_on(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(desk: Desk) -> None:
        desk.work.prepare()
        await desk.idle()
        desk.paint(FOREGROUND_ID, FIRST)
        with monkeypatch.context() as patch:
            patch.setattr(rounds, "add_round", lambda *_: 1 / 0)
            desk.work.ask("refine")
            await desk.idle()
        assert desk.said[-1] == ("error", NOT_SHOWN)
        desk.work.ask("refine")
        await desk.idle()

    assert len((desk := played(weights, play)).logic.table(desk.volume)) == 1


def test_a_ct_that_cannot_be_shown_leaves_no_half_case(weights: Path) -> None:
    scene = new_scene()
    page = object.__new__(Page)  # without its server and its views
    page.stage, page.state, page.brushes = MagicMock(scene=scene), MagicMock(layout="four"), MagicMock()
    page.logic, page.work, page._brush = ICHHPINetLogic(scene, DirectWorker(weights)), None, None
    page.stage.show.side_effect = RuntimeError("no view")
    with pytest.raises(InputError, match="could not be shown"):
        page._show_case(ct_with_air())
    assert page.work is None and scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    page.state.update.assert_called_with(without_case())


def test_closing_stops_telling(weights: Path) -> None:
    async def play(desk: Desk) -> None:
        desk.paint(FOREGROUND_ID, FIRST)
        desk.work.ask("refine")
        desk.work.close()
        await asyncio.sleep(0.05)

    assert played(weights, play).said == []
