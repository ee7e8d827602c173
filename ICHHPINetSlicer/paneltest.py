"""What needs widgets, inside 3D Slicer: starting, keys and painting, by buttons, the mouse and the views."""

from __future__ import annotations

import time

import numpy as np
import slicer

from ichhpinet.scribbles import Scribbles

from . import dependencies, nodes, rounds, scenarios, volumes, widget
from .controls import KEYS, UNDO_KEYS, WINDOWS
from .dependencies import torch_is_there
from .nodes import BACKGROUND_ID, FOREGROUND_ID
from .panelstage import (
    NO_TORCH,
    dialogs,
    idle,
    opened_panel,
    painted,
    panel_with_head,
    refine,
    replaced,
    stroke,
    until,
)
from .sample import NAME
from .scenarios import check, made_up_head, paint


class PanelTests:
    """Test methods of ICHHPINetTest."""

    def test_the_panel_opens_and_paints(self) -> None:
        """The buttons follow the volume; a brush is the Segment Editor's paint effect on our strokes."""
        slicer.util.selectModule("ICHHPINet")
        panel = slicer.modules.ICHHPINetWidget
        panel._parameters.volume = made_up_head(slicer.mrmlScene)
        slicer.app.processEvents()
        panel.ui.foregroundButton.click()
        effect = panel._painting.brush.effect
        check(effect is not None and effect.name == "Paint", "the foreground button starts the paint effect")
        panel.ui.eraseButton.click()
        check(panel._painting.brush.effect.name == "Erase", "the erase button starts the erase effect")
        slicer.util.selectModule("Data")
        check(panel._painting.brush.effect is None, "leaving the module puts the brush away")

    def test_the_sample_opens_in_the_brain_window(self) -> None:
        """Loaded by the button: taken up after Slicer has given it a window of its own."""
        slicer.util.selectModule("ICHHPINet")
        panel = slicer.modules.ICHHPINetWidget
        panel.ui.sampleButton.click()
        end = time.monotonic() + scenarios.WAIT_SECONDS
        while panel._painting.volume is None and time.monotonic() < end:
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

    def test_values_that_do_not_look_like_hu_can_be_said_to_be(self) -> None:
        """Refused in a question: no leaves all as it is, yes makes the round, with a note; it is asked once."""
        if not torch_is_there():
            self.skipTest(NO_TORCH)
        panel, volume = panel_with_head()
        slicer.util.arrayFromVolume(volume)[:] = np.clip(slicer.util.arrayFromVolume(volume), 0, 180)
        slicer.util.arrayFromVolumeModified(volume)
        paint(panel.logic, volume, FOREGROUND_ID, scenarios.ON_BLEED)
        for answer in (False, True):
            with dialogs(answer) as said:
                panel.ui.refineButton.click()
            check(len(said) == 1 and "is not HU" in said[0] and "Are they HU?" in said[0], "it is asked")
            check(panel.logic.busy is answer and panel.logic.has_strokes(volume), "and answered")
        idle(panel)
        check("taken as HU, as asked" in panel.ui.statusLabel.text, "the note says so")
        paint(panel.logic, volume, BACKGROUND_ID, scenarios.BESIDE)
        with dialogs() as said:
            refine(panel)
        check(not said and panel.ui.roundsTable.rowCount == 2, "it is not asked again")

    # -- start -------------------------------------------------------------------------------------------------------

    def test_an_old_slicer_is_named_at_once(self) -> None:
        """A dialog when the panel is made, not with the first click."""
        panel = opened_panel()
        with dialogs() as said, replaced(dependencies, "SLICER_SINCE", (99, 0)):
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
        until(lambda: panel._painting.volume is second, "the volume in view is taken")
        scene.Clear(False)
        added = made_up_head(scene, "added")
        until(lambda: panel._painting.volume is added, "a volume that is dropped in is taken")

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
        check(panel._painting.volume is None and volume.GetDisplayNode().GetWindow() == 1234, "it is as it was")
        slicer.util.selectModule("ICHHPINet")
        until(lambda: panel._painting.volume is volume, "it is taken when the module is seen")

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
        accepts, bent = panel.logic.accepts, [tilted]
        with (
            replaced(nodes, "off_grid_mm", lambda volume: 5.0 if volume in bent else 0.0),
            replaced(panel.logic, "accepts", lambda volume: volume not in bent and accepts(volume)),
            replaced(panel.logic, "straighten", lambda volume: straight),
        ):
            panel._parameters.volume = tilted
            until(lambda: panel.ui.straightenButton.visible, "there it is")
            check(not panel.ui.refineButton.enabled, "until then there is nothing else to do")
            panel.ui.straightenButton.click()
            until(lambda: panel._painting.volume is straight, "the straight copy is chosen")
            check(not panel.ui.straightenButton.visible, "and gone")
            panel.ui.foregroundButton.click()
            bent.append(straight)
            move = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
            straight.SetAndObserveTransformNodeID(move.GetID())
            check("straighten it first" in panel.ui.statusLabel.text, "a volume that is bent later is refused too")
            check(
                panel._painting.brush.effect is None and not panel.ui.foregroundButton.enabled,
                "with the brush put away",
            )

    def test_without_torch_nothing_is_asked_unless_a_button_is_clicked(self) -> None:
        """Neither a saved scene with Uncertainty on nor a stroke with auto-refine on brings a question."""
        panel, volume = panel_with_head()
        asked: list[str] = []
        with (
            replaced(widget, "torch_is_there", lambda: False),
            replaced(widget, "ensure_torch", lambda: asked.append("")),
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
        check(panel._painting.brush.effect.doubleParameter("BrushAbsoluteDiameter") == 10.0, "the brush is 10 mm")
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
        with replaced(panel, "onRefine", lambda: refined.append(1)):
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
