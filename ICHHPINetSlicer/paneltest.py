"""What needs widgets, inside 3D Slicer: the panel's promises, each by its buttons, the mouse and the views."""

from __future__ import annotations

import time
from unittest.mock import patch

import numpy as np
import slicer

from ichhpinet.scribbles import Scribbles

from . import dependencies, looks, nodes, overlays, rounds, scenarios, volumes, widget
from .controls import KEYS, UNDO_KEYS, WINDOWS
from .dependencies import torch_is_there
from .nodes import BACKGROUND_ID, FOREGROUND_ID
from .panelstage import (
    choose,
    dialogs,
    idle,
    opened_panel,
    painted,
    panel_with_head,
    refine,
    sample_bleed,
    stroke,
    until,
)
from .sample import NAME
from .scenarios import check, made_up_head, paint

NO_TORCH = "torch is not installed: no round was tested"


class PanelTests:
    """Test methods of ICHHPINetTest."""

    def test_the_panel_opens_and_paints(self) -> None:
        """The buttons follow the volume; a brush is the Segment Editor's paint effect on our strokes."""
        slicer.util.selectModule("ICHHPINet")
        panel = slicer.modules.ICHHPINetWidget
        panel._parameters.volume = made_up_head(slicer.mrmlScene)
        slicer.app.processEvents()
        panel.ui.foregroundButton.click()
        effect = panel._brush.effect
        check(effect is not None and effect.name == "Paint", "the foreground button starts the paint effect")
        panel.ui.eraseButton.click()
        check(panel._brush.effect.name == "Erase", "the erase button starts the erase effect")
        slicer.util.selectModule("Data")
        check(panel._brush.effect is None, "leaving the module puts the brush away")

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

    def test_the_sample_opens_in_the_brain_window(self) -> None:
        """Loaded by the button: taken up after Slicer has given it a window of its own."""
        slicer.util.selectModule("ICHHPINet")
        panel = slicer.modules.ICHHPINetWidget
        panel.ui.sampleButton.click()
        end = time.monotonic() + scenarios.WAIT_SECONDS
        while panel._brush.volume is None and time.monotonic() < end:
            slicer.app.processEvents()
        display = panel._parameters.volume.GetDisplayNode()
        check((display.GetLevel(), display.GetWindow()) == WINDOWS["brain"], "the window is the brain's")

    def test_what_is_no_ct_is_said_and_the_next_volume_works(self) -> None:
        """A colour picture and an empty node: a sentence in the panel, nothing to click, no traceback."""
        slicer.util.selectModule("ICHHPINet")
        panel = slicer.modules.ICHHPINetWidget
        colour = slicer.util.addVolumeFromArray(
            np.ones((3, 4, 5, 3), np.uint8), nodeClassName="vtkMRMLVectorVolumeNode"
        )
        for volume, words in (
            (colour, "3 values a voxel"),
            (slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"), "holds no image"),
        ):
            panel._parameters.volume = volume
            slicer.app.processEvents()
            check(words in panel.ui.statusLabel.text, f"it says: {words}")
            check(not (panel.ui.refineButton.enabled or panel.ui.foregroundButton.enabled), "nothing can be done")
        panel._parameters.volume = made_up_head(slicer.mrmlScene)
        slicer.app.processEvents()
        check(panel.ui.refineButton.enabled and not panel.ui.statusLabel.text, "a CT can be worked on")

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
        check(second.logic is None and not second.Observations, "no observer and no engine is left of it")
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
        check(panel._brush.effect is None, "a closed scene puts the brush away")

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
                check(panel._brush.volume is volume, "and ready to be painted on")
            while panel.logic.busy:
                slicer.app.processEvents()

    # -- start -------------------------------------------------------------------------------------------------------

    def test_an_old_slicer_is_named_at_once(self) -> None:
        """A dialog when the panel is made, not with the first click."""
        panel = opened_panel()
        with dialogs() as said, patch.object(dependencies, "SLICER_SINCE", (99, 0)):
            other = slicer.modules.ichhpinet.createNewWidgetRepresentation()
            other.setMRMLScene(slicer.mrmlScene)
        second, slicer.modules.ICHHPINetWidget = other.self(), panel
        check(second._parameters is not None, "the panel is made all the same")
        other.delete()
        check(len(said) == 1 and "99.0" in said[0], "the version that is needed is said once")

    def test_the_volume_in_view_is_taken(self) -> None:
        """Of two, the one that the red view shows; no label map, nothing hidden; one that is added with none there."""
        panel = opened_panel()
        slicer.util.selectModule("Data")
        scene = slicer.mrmlScene
        scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
        hidden = made_up_head(scene, "hidden")
        hidden.SetHideFromEditors(True)
        check(volumes.volume_in_view() is None, "a label map and a hidden volume are no choice")
        made_up_head(scene, "first")
        second = made_up_head(scene, "second")
        slicer.util.setSliceViewerLayers(background=second)
        slicer.app.processEvents()
        slicer.util.selectModule("ICHHPINet")
        until(lambda: panel._brush.volume is second, "the volume in view is taken")
        scene.Clear(False)
        added = made_up_head(scene, "added")
        until(lambda: panel._brush.volume is added, "a volume that is dropped in is taken")

    def test_a_volume_loaded_elsewhere_is_left_alone(self) -> None:
        """While another module is seen, its views and windows are not touched."""
        panel = opened_panel()
        slicer.util.selectModule("Data")
        volume = made_up_head(slicer.mrmlScene)
        volume.GetDisplayNode().AutoWindowLevelOff()
        volume.GetDisplayNode().SetWindowLevel(1234, 567)
        panel._parameters.volume = volume
        for _ in range(5):
            slicer.app.processEvents()
        check(panel._brush.volume is None and volume.GetDisplayNode().GetWindow() == 1234, "it is as it was")
        slicer.util.selectModule("ICHHPINet")
        until(lambda: panel._brush.volume is volume, "it is taken when the module is seen")

    def test_the_windows(self) -> None:
        """Each button sets the level and width of its name."""
        panel, volume = panel_with_head()
        for name, window in WINDOWS.items():
            getattr(panel.ui, f"{name}Button").click()
            display = volume.GetDisplayNode()
            check((display.GetLevel(), display.GetWindow()) == window, f"the {name} window")

    def test_the_sample_is_in_sample_data(self) -> None:
        """By its name; its downloader loads the volume."""
        volumes.register_sample_data()
        (source,) = [one for one in slicer.modules.sampleDataSources["ICHHPINet"] if one.sampleName == NAME][:1]
        (volume,) = source.customDownloader(source)
        check(volume.IsA("vtkMRMLScalarVolumeNode") and volume.GetImageData() is not None, "the sample is loaded")

    def test_a_tilted_volume_is_straightened_by_a_button(self) -> None:
        """The button is there for what is refused for its tilt, and chooses the straight copy."""
        panel, head = panel_with_head()
        check(not panel.ui.straightenButton.visible, "a straight volume needs no such button")
        tilted, straight = made_up_head(slicer.mrmlScene, "tilted"), made_up_head(slicer.mrmlScene, "straight")
        accepts = panel.logic.accepts
        with (
            patch.object(nodes, "off_grid_mm", lambda volume: 5.0 if volume is tilted else 0.0, create=True),
            patch.object(panel.logic, "accepts", lambda volume: volume is not tilted and accepts(volume)),
            patch.object(panel.logic, "straighten", lambda volume: straight, create=True),
        ):
            choose(panel, tilted)
            check(panel.ui.straightenButton.visible, "there it is")
            panel.ui.straightenButton.click()
            until(lambda: panel._brush.volume is straight, "the straight copy is chosen")
            check(not panel.ui.straightenButton.visible, "and gone")

    def test_without_torch_nothing_is_asked_unless_a_button_is_clicked(self) -> None:
        """Neither a saved scene with Uncertainty on nor a stroke with auto-refine on brings a question."""
        panel, volume = panel_with_head()
        asked: list[str] = []
        with (
            patch.object(widget, "torch_is_there", lambda: False),
            patch.object(widget, "ensure_torch", lambda: asked.append("")),
        ):
            mask = np.zeros(scenarios.SHAPE, bool)
            mask[scenarios.BLEED] = True
            rounds.add_round(volume, 1, None, 1.0, mask, Scribbles(mask))
            panel._parameters.showUncertainty = panel._parameters.autoRefine = True
            panel.ui.foregroundButton.click()
            stroke(volume, (3, 8, 8), (3, 8, 10))
            slicer.app.processEvents()
            check(panel.logic.has_strokes(volume) and not panel.logic.busy and not asked, "nothing was asked")

    # -- keys --------------------------------------------------------------------------------------------------------

    def test_the_keys_are_ours_only_while_the_panel_is_seen(self) -> None:
        """Ctrl+Z is Slicer's again in every other module."""
        panel = opened_panel()
        if slicer.util.mainWindow() is None:
            self.skipTest("there is no main window: no key was tested")
        undo = slicer.util.findChild(slicer.util.mainWindow(), "EditUndoAction")
        check(len(panel._keys.shortcuts) == len(KEYS | UNDO_KEYS) and not undo.enabled, "the keys are the panel's")
        slicer.util.selectModule("Data")
        check(not panel._keys.shortcuts and undo.enabled, "the keys are Slicer's")

    # -- painting ----------------------------------------------------------------------------------------------------

    def test_strokes_in_every_view(self) -> None:
        """Axial, coronal, sagittal, oblique: the mouse paints, and the brush is as many mm wide as it says."""
        panel, volume = panel_with_head()
        panel.ui.brushSlider.value = 10.0
        panel.ui.foregroundButton.click()
        check(panel._brush.effect.doubleParameter("BrushAbsoluteDiameter") == 10.0, "the brush is 10 mm")
        count = 0
        for view, index in (("Red", (1, 6, 6)), ("Green", (3, 18, 6)), ("Yellow", (4, 6, 18))):
            stroke(volume, index, index, view)
            now = np.count_nonzero(painted(panel, volume, FOREGROUND_ID))
            check(now > count, f"a stroke in {view} paints")
            if count == 0:
                columns = np.flatnonzero(painted(panel, volume, FOREGROUND_ID).any(axis=(0, 1)))
                check(4 <= len(columns) <= 6, f"10 mm are 5 voxels of 2 mm, not {len(columns)}")
            count = now
        node = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
        node.SetSliceToRASByNTP(0.0, -0.5, 0.866, 1.0, 0.0, 0.0, *(0.0, 0.0, 0.0), 0)
        stroke(volume, (3, 18, 18), (3, 18, 20))
        check(np.count_nonzero(painted(panel, volume, FOREGROUND_ID)) > count, "a stroke in an oblique view paints")
        node.SetOrientation("Axial")

    def test_the_eraser_takes_either_stroke_and_nothing_that_was_used(self) -> None:
        """Whichever brush was in hand before."""
        if not torch_is_there():
            self.skipTest(NO_TORCH)
        panel, volume = panel_with_head()
        panel.ui.foregroundButton.click()
        stroke(volume, (3, 8, 8), (3, 8, 10))
        refine(panel)
        one = panel.logic.current(volume)
        used = nodes.segment_mask(one.node, "UsedForeground", volume)
        panel.ui.backgroundButton.click()
        stroke(volume, (3, 18, 6), (3, 18, 14))
        check(painted(panel, volume, BACKGROUND_ID).any(), "a background stroke")
        panel.ui.foregroundButton.click()
        panel.ui.eraseButton.click()
        stroke(volume, (3, 18, 4), (3, 18, 16))
        stroke(volume, (3, 8, 7), (3, 8, 11))
        check(not panel.logic.has_strokes(volume), "it is gone")
        check(np.array_equal(used, nodes.segment_mask(one.node, "UsedForeground", volume)), "what was used stays")

    def test_a_stroke_across_another_is_one_step(self) -> None:
        """Slicer tells of it twice, once for each kind. One undo takes it back; erasing the last refines nothing."""
        panel, volume = panel_with_head()
        panel.ui.foregroundButton.click()
        stroke(volume, (3, 12, 6), (3, 12, 16))
        before = painted(panel, volume, FOREGROUND_ID)
        panel.ui.backgroundButton.click()
        stroke(volume, (3, 6, 12), (3, 18, 12))
        across = painted(panel, volume, FOREGROUND_ID)
        check(across.sum() < before.sum() and painted(panel, volume, BACKGROUND_ID).any(), "the second takes its place")
        panel.ui.undoButton.click()
        check(np.array_equal(painted(panel, volume, FOREGROUND_ID), before), "one undo brings the first back")
        check(not painted(panel, volume, BACKGROUND_ID).any(), "and takes all of the second")
        panel._parameters.autoRefine = True
        refined: list[int] = []
        with patch.object(panel, "onRefine", lambda: refined.append(1)):
            panel.ui.eraseButton.click()
            panel.ui.brushSlider.value = 10.0
            stroke(volume, (3, 12, 4), (3, 12, 18))
        check(not panel.logic.has_strokes(volume) and not refined, "everything is erased, and nothing is refined")

    def test_what_is_painted_during_a_round_is_refined_after_it(self) -> None:
        """With auto-refine on: no stroke waits for the next one."""
        if not torch_is_there():
            self.skipTest(NO_TORCH)
        panel, volume = panel_with_head()
        panel._parameters.autoRefine = True
        panel.ui.foregroundButton.click()
        stroke(volume, (3, 8, 8), (3, 8, 10))
        check(panel.logic.busy, "the stroke starts a round")
        panel._timer.stop()  # the round does not land before the next stroke
        panel.ui.backgroundButton.click()
        stroke(volume, (3, 18, 6), (3, 18, 14))
        panel._timer.start()
        until(lambda: panel.ui.roundsTable.rowCount == 2, "the second stroke makes the second round")
        check(not panel.logic.busy and not panel.logic.has_strokes(volume), "and that is all")

    # -- rounds ------------------------------------------------------------------------------------------------------

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
        check([one == widget.roundtable.GREY for one in ink] == [False, True, True, False], "rounds 2 and 3 are grey")
        one = panel.logic.current(volume)
        check(one.parent == 1, "the fourth round continues from the first")
        import SegmentStatistics

        statistics = SegmentStatistics.SegmentStatisticsLogic()
        statistics.getParameterNode().SetParameter("Segmentation", one.node.GetID())
        statistics.computeStatistics()
        ml = statistics.getStatistics()[rounds.MASK_ID, "LabelmapSegmentStatisticsPlugin.volume_cm3"]
        check(abs(ml - one.volume_ml) < 1e-3, "Segment Statistics says the same")

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
        with patch.object(panel, "_jump", lambda: jumped.append(1)):
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
        with patch.object(looks.overlays, "show_changes", lambda *what: made.append(1) or real(*what)):
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

    def test_what_fails_is_one_dialog(self) -> None:
        """Refine without a stroke, and an engine that fails: a sentence each."""
        panel, volume = panel_with_head()
        with dialogs() as said, patch.object(widget.logger, "warning") as logged:
            panel.ui.refineButton.click()
            check(len(said) == 1 and "There are no strokes" in said[0], "the sentence, once")
            place = " ".join(str(word) for word in logged.call_args.args)
            check("logic.py" in place and "strokes" not in place, "the log has the place, not the sentence")
            panel._failed(volume, "error", "the engine failed (RuntimeError); nothing has changed")
            check(len(said) == 2, "once more")
            panel._failed(volume, "cancelled", "the round was cancelled")
            check(len(said) == 2, "what the user ended is no error")

    # -- come back ---------------------------------------------------------------------------------------------------

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
        watched = [one[0] for one in panel.Observations]
        check(strokes[0] not in watched and strokes[1] in watched, "the volume before is not watched any more")
        slicer.util.selectModule("Data")  # where nobody begins anew with the next scene
        slicer.mrmlScene.Clear(False)
        check({one[0] for one in panel.Observations} == {slicer.mrmlScene}, "nothing in the scene is watched")
        slicer.util.selectModule("ICHHPINet")
        watched = {one[0] for one in panel.Observations}
        check(watched == {slicer.mrmlScene, panel._parameters}, "a new scene's parameters are")

    def test_a_reload_leaves_nothing_of_the_panel_before(self) -> None:
        """Neither observers nor an engine; the new panel works."""
        before, volume = panel_with_head()
        slicer.util.reloadScriptedModule("ICHHPINet")
        panel = slicer.modules.ICHHPINetWidget
        check(panel is not before and before.logic is None and not before.Observations, "the old one is gone")
        until(lambda: panel._brush.volume is volume, "the new one has the volume")
        panel.ui.foregroundButton.click()
        stroke(volume, (3, 8, 8), (3, 8, 10))
        check(panel.logic.has_strokes(volume), "and paints")

    def test_a_session_on_the_sample(self) -> None:
        """Load it, paint with the mouse, refine three times, undo, redo."""
        if not torch_is_there():
            self.skipTest(NO_TORCH)
        panel = opened_panel()
        panel.ui.sampleButton.click()
        until(lambda: panel._brush.volume is not None, "the sample is loaded")
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
