"""What needs widgets, inside 3D Slicer: scenes that are saved, imported, and changed by hand beside the panel."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import slicer

from ichhpinet.scribbles import Scribbles

from . import overlays, rounds, scenarios, status
from .controls import WINDOWS
from .dependencies import torch_is_there
from .nodes import BACKGROUND_ID, FOREGROUND_ID, segment_mask
from .panelstage import NO_TORCH, choose, idle, painted, panel_with_head, refine, replaced, stroke, until
from .scenarios import check, made_up_head, paint


class SceneTests:
    """Test methods of ICHHPINetTest."""

    def test_a_scene_imported_with_a_brush_in_hand(self) -> None:
        """The editor lets go of the brush then: its button must say so, and paint again when it is clicked."""
        panel, volume = panel_with_head()
        panel.ui.foregroundButton.click()
        stroke(volume, (3, 8, 8), (3, 8, 10))
        before = painted(panel, volume, FOREGROUND_ID).sum()
        with TemporaryDirectory() as folder:
            file = str(Path(folder) / "scene.mrb")
            check(slicer.util.saveScene(file), "the scene is written")
            slicer.app.ioManager().loadScene(file, False)
        slicer.app.processEvents()
        check(panel._parameters.volume is volume, "the volume is still chosen")
        check(panel._painting.brush.effect is None and not panel.ui.foregroundButton.checked, "no brush is in hand")
        panel.ui.foregroundButton.click()
        stroke(volume, (1, 18, 6), (1, 18, 14))
        check(painted(panel, volume, FOREGROUND_ID).sum() > before, "a click, and it paints")

    def test_strokes_are_seen_in_a_scene_that_is_opened_after_another(self) -> None:
        """Slicer hides segments of a scene that is read after one with more segmentations was closed."""
        panel, volume = panel_with_head()
        mask = np.zeros(scenarios.SHAPE, bool)
        mask[scenarios.BLEED] = True
        rounds.add_round(volume, 1, None, 1.0, mask, Scribbles(mask))
        paint(panel.logic, volume, BACKGROUND_ID, scenarios.BESIDE)
        with TemporaryDirectory() as folder:
            file = str(Path(folder) / "scene.mrb")
            check(slicer.util.saveScene(file), "the scene is written")
            rounds.add_round(volume, 2, 1, 1.0, mask, Scribbles(mask))
            slicer.mrmlScene.Clear(False)
            slicer.util.loadScene(file)
        until(lambda: panel._painting.volume is not None, "the volume is taken up")
        again = panel._painting.volume
        display = panel.logic.strokes_node(again).GetDisplayNode()
        seen = [display.GetSegmentVisibility(name) for name in (FOREGROUND_ID, BACKGROUND_ID)]
        check(all(seen) and bool(display.GetVisibility()), "the strokes are seen")

    def test_a_round_removed_by_hand_is_gone_from_the_panel(self) -> None:
        """As in the Data module: the round before is seen, and the next one goes on from it."""
        if not torch_is_there():
            self.skipTest(NO_TORCH)
        panel, volume = panel_with_head()
        for at in ((3, 8, 8), (1, 3, 3)):
            paint(panel.logic, volume, FOREGROUND_ID, at)
            refine(panel)
        panel._parameters.showChanges = True
        slicer.mrmlScene.RemoveNode(rounds.rounds_of(volume)[2].node)
        until(lambda: panel.ui.roundsTable.rowCount == 1, "its row is gone")
        laid = overlays._find(volume, "changes", "vtkMRMLSegmentationNode")
        removed = laid.GetSegmentation().GetSegment(overlays.REMOVED_ID)
        seen = laid.GetDisplayNode().GetVisibility() and removed is not None
        check(seen and not segment_mask(laid, overlays.REMOVED_ID, volume).any(), "with its own changes, all added")
        check(rounds.shown_round(volume) == 1 and panel.logic.current(volume).number == 1, "the one before is seen")
        check(panel.ui.exportButton.enabled and not panel.ui.proposeButton.enabled, "and can be used")
        paint(panel.logic, volume, BACKGROUND_ID, scenarios.BESIDE)
        refine(panel)
        check(panel.logic.current(volume).parent == 1, "and gone on from")

    def test_uncertainty_is_not_saved_with_the_views(self) -> None:
        """What lay over the CT before is saved, nothing of the overlay is, and it is seen again after saving."""
        if not torch_is_there():
            self.skipTest(NO_TORCH)
        panel, volume = panel_with_head()
        paint(panel.logic, volume, FOREGROUND_ID, (3, 8, 8))
        refine(panel)
        panel._parameters.showUncertainty = True
        idle(panel)
        view = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
        laid = overlays._find(volume, "uncertainty", "vtkMRMLScalarVolumeNode")
        check(laid is not None and view.GetForegroundVolumeID() == laid.GetID(), "it lies over the view")
        with TemporaryDirectory() as folder:
            file = str(Path(folder) / "scene.mrb")
            check(slicer.util.saveScene(file), "the scene is written")
            check(view.GetForegroundVolumeID() == laid.GetID(), "it lies over the view again")
            slicer.util.selectModule("Data")
            check(slicer.util.saveScene(file), "the scene is written from another module")
            check(view.GetForegroundVolumeID() == laid.GetID(), "where it lies over the view again as well")
            displays = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeDisplayNode")
            slicer.mrmlScene.Clear(False)
            slicer.util.loadScene(file)
        check(not view.GetForegroundVolumeID(), "nothing lies over it in the scene that was saved")
        left = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeDisplayNode")
        check(left < displays, "nor is its display left")

    def test_the_slider_follows_shift_and_the_wheel(self) -> None:
        """The next brush is as wide as this one was made."""
        panel, volume = panel_with_head()
        panel.ui.foregroundButton.click()
        wide = panel.ui.brushSlider.value
        check(panel._painting.brush.effect.doubleParameter("BrushAbsoluteDiameter") == wide, "as the slider says")
        stroke(volume, (3, 8, 8), (3, 8, 10))  # the mouse is over the view
        interactor = slicer.app.layoutManager().sliceWidget("Red").interactorStyle().GetInteractor()
        interactor.SetShiftKey(1)
        interactor.MouseWheelForwardEvent()
        interactor.SetShiftKey(0)
        slicer.app.processEvents()
        now = panel._painting.brush.effect.doubleParameter("BrushAbsoluteDiameter")
        check(now > wide and abs(panel.ui.brushSlider.value - now) < 0.1, f"{panel.ui.brushSlider.value} is {now} mm")
        panel.ui.backgroundButton.click()
        check(abs(panel._painting.brush.effect.doubleParameter("BrushAbsoluteDiameter") - now) < 0.1, "the next too")
        widest = panel.ui.brushSlider.maximum
        for wheeled in (1.2 * widest, 1.44 * widest):
            panel._painting.brush.effect.setCommonParameter("BrushAbsoluteDiameter", wheeled)
            slicer.app.processEvents()
            now = panel._painting.brush.effect.doubleParameter("BrushAbsoluteDiameter")
            check(now == panel.ui.brushSlider.value == widest, f"{now} mm; the slider ends at {widest}")

    def test_the_window_that_was_chosen_is_there_when_one_comes_back(self) -> None:
        """From another volume: the brain window is for a volume that is new."""
        panel, first = panel_with_head("first")
        panel.ui.boneButton.click()
        choose(panel, made_up_head(slicer.mrmlScene, "second"))
        choose(panel, first)
        display = first.GetDisplayNode()
        check((display.GetLevel(), display.GetWindow()) == WINDOWS["bone"], "the bone window")

    def test_a_dialog_does_not_write_its_sentence_into_the_log(self) -> None:
        """It may name a patient's file."""
        shown: list[str] = []
        logged: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger().addHandler(handler)
        try:
            with replaced(slicer.util, "messageBox", lambda text, **how: shown.append(text)):
                status.show_error("smith.jpg")
                status.confirmed("smith.jpg?")
        finally:
            logging.getLogger().removeHandler(handler)
        check(shown == ["smith.jpg", "smith.jpg?"] and not logged, "shown, and not logged")
