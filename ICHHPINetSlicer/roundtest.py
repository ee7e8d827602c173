"""What needs widgets, inside 3D Slicer: rounds through the panel, and what is there when one comes back, or goes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import slicer

from ichhpinet.itk import simpleitk

from . import looks, overlays, rounds, roundtable, scenarios, status, widget, worker
from .dependencies import torch_is_there
from .nodes import BACKGROUND_ID, FOREGROUND_ID, segment_mask
from .panelstage import (
    NO_TORCH,
    choose,
    dialogs,
    idle,
    opened_panel,
    panel_with_head,
    refine,
    replaced,
    sample_bleed,
    stroke,
    until,
    watched_by,
)
from .scenarios import check, made_up_head, paint


class RoundTests:
    """Test methods of ICHHPINetTest."""

    def test_a_click_shows_a_round_and_a_double_click_continues_from_it(self) -> None:
        """The rounds left behind turn grey; Segment Statistics measures what the table says."""
        if not torch_is_there():
            self.skipTest(NO_TORCH)
        panel, volume = panel_with_head()
        for segment_id, at in ((FOREGROUND_ID, (3, 8, 8)), (BACKGROUND_ID, (3, 18, 18)), (FOREGROUND_ID, (1, 3, 3))):
            paint(panel.logic, volume, segment_id, at)
            refine(panel)
        panel.ui.roundsTable.cellClicked(0, 0)
        check(rounds.shown_round(volume) == 1, "a click shows the round")
        check(panel.logic.current(volume).number == 3, "and continues from none")
        panel.ui.roundsTable.cellDoubleClicked(0, 0)
        paint(panel.logic, volume, BACKGROUND_ID, (2, 18, 18))
        refine(panel)
        ink = [panel.ui.roundsTable.item(row, 0).foreground().color().red() for row in range(4)]
        check([one == roundtable.GREY for one in ink] == [False, True, True, False], "rounds 2 and 3 are grey")
        one = panel.logic.current(volume)
        check(one.parent == 1, "the fourth round continues from the first")
        import SegmentStatistics

        statistics = SegmentStatistics.SegmentStatisticsLogic()
        statistics.getParameterNode().SetParameter("Segmentation", one.node.GetID())
        statistics.computeStatistics()
        ml = statistics.getStatistics()[rounds.MASK_ID, "LabelmapSegmentStatisticsPlugin.volume_cm3"]
        check(abs(ml - one.volume_ml) < 1e-3, "Segment Statistics says the same")

    def test_the_round_that_is_seen_is_copied_and_exported(self) -> None:
        """Not the one that the next round continues from."""
        if not torch_is_there():
            self.skipTest(NO_TORCH)
        panel, volume = panel_with_head()
        for at in ((3, 8, 8), (1, 3, 3)):
            paint(panel.logic, volume, FOREGROUND_ID, at)
            refine(panel)
        first, second = (rounds.round_mask(rounds.rounds_of(volume)[number], volume) for number in (1, 2))
        check((first != second).any(), "two masks")
        panel.ui.roundsTable.cellClicked(0, 0)
        target = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
        panel._parameters.target = target
        panel.onCopy()
        check("Round 1 copied" in panel.ui.statusLabel.text, "which round it was")
        copied = segment_mask(target, target.GetSegmentation().GetNthSegmentID(0), volume)
        check((copied == first).all(), "the copy is the round that is seen")
        with TemporaryDirectory() as folder:
            path = str(Path(folder) / "mask.nii.gz")
            with replaced(widget.qt.QFileDialog, "getSaveFileName", lambda *_: path):
                panel.onExport()
            written = simpleitk().GetArrayFromImage(simpleitk().ReadImage(path)) > 0
        check("Round 1 exported" in panel.ui.statusLabel.text, "which round it was")
        check((written == first).all(), "and so is the file")

    def test_a_cancel_that_the_engine_does_not_hear_ends_it(self) -> None:
        """The panel is free again, the rounds are there, and the next one is made by a new engine."""
        if not torch_is_there() or not hasattr(signal, "SIGSTOP"):
            self.skipTest("no torch, or a system that cannot hold a process: no engine was hung")
        panel, volume = panel_with_head()
        paint(panel.logic, volume, FOREGROUND_ID, (3, 8, 8))
        refine(panel)
        paint(panel.logic, volume, BACKGROUND_ID, (3, 18, 18))
        os.kill(panel.logic.worker._process.pid, signal.SIGSTOP)
        with dialogs() as said, replaced(worker, "PATIENCE_SECONDS", 0.5):
            panel.ui.refineButton.click()
            panel.ui.cancelButton.click()
            idle(panel)
        check(not said and "did not answer" in panel.ui.statusLabel.text, "a line, no dialog: the user has cancelled")
        check(panel.ui.refineButton.enabled and panel.ui.roundsTable.rowCount == 1, "the round before is there")
        refine(panel)
        check(panel.ui.roundsTable.rowCount == 2, "and the next one works")

    def test_a_round_lands_on_its_own_volume(self) -> None:
        """Another volume is chosen while it is under way: neither the mask nor the uncertainty is shown over that."""
        if not torch_is_there():
            self.skipTest(NO_TORCH)
        panel, first = panel_with_head("first")
        second = made_up_head(slicer.mrmlScene, "second")
        paint(panel.logic, first, FOREGROUND_ID, scenarios.ON_BLEED)
        panel.ui.refineButton.click()
        choose(panel, second)
        check(panel.logic.busy, "the round is under way still")
        idle(panel)
        check(len(panel.logic.table(first)) == 1 and rounds.shown_round(first) is None, "it landed, and is not seen")
        check(panel.ui.roundsTable.rowCount == 0, "nor in the other's table")
        check(" ml " not in panel.ui.statusLabel.text, "nor told as the other's")
        choose(panel, first)
        check(rounds.shown_round(first) == 1 and panel.ui.roundsTable.rowCount == 1, "it is there when one comes back")
        jumped: list[int] = []
        with replaced(panel, "_jump", lambda: jumped.append(1)):
            panel.ui.nextUncertainButton.click()
            choose(panel, second)
            idle(panel)
        check(not jumped, "the views stay where they are")
        laid = overlays._find(second, "uncertainty", "vtkMRMLScalarVolumeNode")
        check(laid is None, "nothing is laid over the other")

    def test_changes_are_computed_once(self) -> None:
        """Not at every turn of the brush slider."""
        if not torch_is_there():
            self.skipTest(NO_TORCH)
        panel, volume = panel_with_head()
        paint(panel.logic, volume, FOREGROUND_ID, scenarios.ON_BLEED)
        refine(panel)
        made: list[int] = []
        real = overlays.show_changes
        with replaced(looks.overlays, "show_changes", lambda *what: made.append(1) or real(*what)):
            panel._parameters.showChanges = True
            for size in (4.0, 5.0, 6.0):
                panel._parameters.brushMm = size
        check(len(made) == 1, f"once, not {len(made)} times")
        node = overlays._find(volume, "changes", "vtkMRMLSegmentationNode")
        check(node is not None and bool(node.GetDisplayVisibility()), "and they are shown")

    def test_rounds_that_cannot_be_continued_can_be_left(self) -> None:
        """The engine refuses their memory: anew is offered, and the strokes stay."""
        if not torch_is_there():
            self.skipTest(NO_TORCH)
        panel, volume = panel_with_head()
        paint(panel.logic, volume, FOREGROUND_ID, scenarios.ON_BLEED)
        refine(panel)
        rounds.keep_memory(volume, b"of another version", 1)
        panel.logic.worker.close()
        paint(panel.logic, volume, BACKGROUND_ID, scenarios.BESIDE)
        for answer, left in ((False, 1), (True, 0)):
            with dialogs(answer) as said:
                refine(panel)
            check(len(said) == 1 and "tart anew" in said[0], "it is asked")
            check(panel.ui.roundsTable.rowCount == left and panel.logic.has_strokes(volume), "the strokes stay")
        refine(panel)
        check(panel.logic.current(volume).number == 1, "the next round is a first one")
        rounds._memory_node(volume).SetText("?")
        panel.logic.worker.close()
        panel._parameters.showUncertainty = True
        check(not panel.logic.busy and "damaged" in panel.ui.statusLabel.text, "a look says why it cannot be")
        paint(panel.logic, volume, BACKGROUND_ID, scenarios.BESIDE)
        with dialogs() as said:
            panel.ui.refineButton.click()
        check(len(said) == 1 and "damaged" in said[0] and "tart anew" in said[0], "it is asked of this too")
        check(panel.ui.roundsTable.rowCount == 0 and panel.logic.has_strokes(volume), "and done")

    def test_what_fails_is_one_dialog(self) -> None:
        """Refine without a stroke, and an engine that fails: a sentence each."""
        panel, volume = panel_with_head()
        with dialogs() as said, replaced(status.logger, "warning") as logged:
            panel.ui.refineButton.click()
            check(len(said) == 1 and "There are no strokes" in said[0], "the sentence, once")
            place = " ".join(str(word) for word in logged.call_args.args)
            check("logic.py" in place and "strokes" not in place, "the log has the place, not the sentence")
            for kind, sentence in (
                ("error", "the engine failed (RuntimeError); nothing has changed"),
                ("input", "the volume changed while the round was computed"),
                ("cancelled", "the round was cancelled"),
            ):
                panel._failed(volume, kind, sentence)
        check(len(said) == 3 and said[-1].startswith("The volume changed"), "what the user ended is no error")
        check(not any("tart anew" in one for one in said), "and none of them is a memory that was refused")

    # -- come back ---------------------------------------------------------------------------------------------------

    def test_the_panel_makes_a_round_and_lets_the_scene_go(self) -> None:
        """Refine through the panel: a row in the table, an empty brush; a closed scene leaves neither."""
        if not torch_is_there():
            self.skipTest("torch is not installed: no round was tested")
        slicer.util.selectModule("ICHHPINet")
        panel = slicer.modules.ICHHPINetWidget
        volume = made_up_head(slicer.mrmlScene)
        panel._parameters.volume = volume
        slicer.app.processEvents()
        paint(panel.logic, volume, FOREGROUND_ID, scenarios.ON_BLEED)
        panel.ui.refineButton.click()
        check(panel.logic.busy and not panel.ui.refineButton.enabled, "one round at a time")
        while panel.logic.busy:
            slicer.app.processEvents()
        check(panel.ui.roundsTable.rowCount == 1, "the round is in the table")
        check(not panel.logic.has_strokes(volume), "the brush is empty for the next round")
        slicer.mrmlScene.Clear(False)
        slicer.app.processEvents()
        check(panel.ui.roundsTable.rowCount == 0, "a closed scene leaves no rounds")

    def test_a_second_panel_that_is_destroyed_is_not_called_any_more(self) -> None:
        """Slicer makes one on request, and destroys it without a word."""
        slicer.util.selectModule("ICHHPINet")
        panel = slicer.modules.ICHHPINetWidget
        other = slicer.modules.ichhpinet.createNewWidgetRepresentation()
        other.setMRMLScene(slicer.mrmlScene)
        second, slicer.modules.ICHHPINetWidget = other.self(), panel
        check(second is not panel, "it is another one")
        other.delete()
        slicer.app.processEvents()
        check(second.logic is None and not watched_by(second), "no observer and no engine is left of it")
        panel._parameters.volume = made_up_head(slicer.mrmlScene)
        slicer.app.processEvents()
        check(panel.ui.refineButton.enabled, "the first panel works on")

    def test_a_scene_closed_with_a_brush_in_hand(self) -> None:
        """The brush must be out of the views before the layout is made anew, which would draw it in half a view."""
        slicer.util.selectModule("ICHHPINet")
        panel, view = slicer.modules.ICHHPINetWidget, slicer.app.layoutManager().sliceWidget("Red")
        panel._parameters.volume = made_up_head(slicer.mrmlScene)
        slicer.app.processEvents()
        panel.ui.foregroundButton.click()
        middle = (view.sliceView().width // 2, view.sliceView().height // 2)
        slicer.util.clickAndDrag(view, start=middle, end=(middle[0] + 9, middle[1]), steps=5)
        slicer.app.processEvents()
        check(panel.logic.has_strokes(panel._parameters.volume), "a stroke of the mouse is a stroke")
        slicer.mrmlScene.Clear(False)
        slicer.app.processEvents()
        check(panel._painting.brush.effect is None, "a closed scene puts the brush away")

    def test_the_panel_takes_another_volume_after_a_closed_scene(self) -> None:
        """Closed idle, and in the middle of a round: the next volumes, with the IDs of the old, are taken up."""
        slicer.util.selectModule("ICHHPINet")
        panel = slicer.modules.ICHHPINetWidget
        for working in (False, True) if torch_is_there() else (False,):
            gone = made_up_head(slicer.mrmlScene)
            panel._parameters.volume = gone
            slicer.app.processEvents()
            if working:
                paint(panel.logic, gone, FOREGROUND_ID, scenarios.ON_BLEED)
                panel.ui.refineButton.click()
            slicer.mrmlScene.Clear(False)
            check(panel._parameters.volume is None, "no volume is left of a closed scene")
            for volume in [made_up_head(slicer.mrmlScene, name) for name in ("first", "second")]:
                panel.ui.volumeSelector.setCurrentNode(volume)
                slicer.app.processEvents()
                check(panel._parameters.volume is volume, "the volume that is chosen is the panel's")
                check(panel._painting.volume is volume, "and ready to be painted on")
            while panel.logic.busy:
                slicer.app.processEvents()

    def test_the_work_is_there_when_one_comes_back(self) -> None:
        """From another module."""
        panel, volume = panel_with_head()
        paint(panel.logic, volume, FOREGROUND_ID, scenarios.ON_BLEED)
        slicer.util.selectModule("Data")
        slicer.util.selectModule("ICHHPINet")
        slicer.app.processEvents()
        check(panel._parameters.volume is volume and panel.logic.has_strokes(volume), "the strokes are there")
        check(panel.logic.can_undo(volume) and panel.ui.undoButton.enabled, "and can be taken back")

    def test_a_closed_scene_leaves_no_observer(self) -> None:
        """Of the volume before, none; of a closed scene, none but on what outlives it."""
        panel, first = panel_with_head("first")
        second = choose(panel, made_up_head(slicer.mrmlScene, "second"))
        strokes = [panel.logic.strokes_node(volume).GetSegmentation() for volume in (first, second)]
        watched = watched_by(panel)
        check(strokes[0] not in watched and strokes[1] in watched, "the volume before is not watched any more")
        slicer.util.selectModule("Data")  # where nobody begins anew with the next scene
        slicer.mrmlScene.Clear(False)
        check(watched_by(panel) == {slicer.mrmlScene}, "nothing in the scene is watched")
        slicer.util.selectModule("ICHHPINet")
        check(watched_by(panel) == {slicer.mrmlScene, panel._parameters}, "a new scene's parameters are")

    def test_a_reload_leaves_nothing_of_the_panel_before(self) -> None:
        """Neither observers nor an engine; the new panel works."""
        before, volume = panel_with_head()
        slicer.util.reloadScriptedModule("ICHHPINet")
        panel = slicer.modules.ICHHPINetWidget
        check(panel is not before and before.logic is None and not watched_by(before), "the old one is gone")
        until(lambda: panel._painting.volume is volume, "the new one has the volume")
        panel.ui.foregroundButton.click()
        stroke(volume, (3, 8, 8), (3, 8, 10))
        check(panel.logic.has_strokes(volume), "and paints")

    def test_a_session_on_the_sample(self) -> None:
        """Load it, paint with the mouse, refine three times, undo, redo."""
        if not torch_is_there():
            self.skipTest(NO_TORCH)
        panel = opened_panel()
        panel.ui.sampleButton.click()
        until(lambda: panel._painting.volume is not None, "the sample is loaded")
        volume = panel._parameters.volume
        bleed = sample_bleed(volume)
        z, y, x = (int(n) for n in np.argwhere(bleed)[len(np.argwhere(bleed)) // 2])
        for brush, at in (
            (panel.ui.foregroundButton, (z, y, x)),
            (panel.ui.backgroundButton, (z, volume.GetImageData().GetDimensions()[1] // 4, x)),
            (panel.ui.foregroundButton, tuple(int(n) for n in np.argwhere(bleed)[0])),
        ):
            if not brush.checked:
                brush.click()
            stroke(volume, at, (at[0], at[1], at[2] + 4))
            check(panel.logic.has_strokes(volume), "a stroke of the mouse")
            refine(panel)
        check(panel.ui.roundsTable.rowCount == 3 and rounds.shown_round(volume) == 3, "three rounds")
        mask = rounds.round_mask(rounds.rounds_of(volume)[3], volume)
        overlap = 2 * (mask & bleed).sum() / (mask.sum() + bleed.sum())
        check(overlap > 0.5, f"the mask is the bleed's (Dice {overlap:.2f})")
        for _ in range(6):
            panel.ui.undoButton.click()
        check(not panel.ui.undoButton.enabled and rounds.shown_round(volume) is None, "six steps back")
        for _ in range(6):
            panel.ui.redoButton.click()
        check(not panel.ui.redoButton.enabled and rounds.shown_round(volume) == 3, "and six ahead")
