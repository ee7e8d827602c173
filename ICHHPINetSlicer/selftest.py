"""ICHHPINetTest: the scenarios, and what needs widgets, inside 3D Slicer ("Reload and Test", CTest, slicer-test)."""

from __future__ import annotations

import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from ichhpinet.resources import bundled_weights

from . import scenarios
from .controls import WINDOWS
from .dependencies import engine_python, torch_is_there
from .logic import ICHHPINetLogic
from .nodes import FOREGROUND_ID
from .scenarios import Stage, check, made_up_head, paint
from .worker import Worker


class ICHHPINetTest(ScriptedLoadableModuleTest):
    """Run by Slicer; each scenario starts from an empty scene."""

    def setUp(self) -> None:
        """An empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Everything, for Reload and Test; unittest finds the same by name."""
        for name in unittest.TestLoader().getTestCaseNames(type(self)):
            self.setUp()
            self.delayDisplay(name.replace("_", " "))
            getattr(self, name)()

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

    def test_three_rounds_undo_and_redo(self) -> None:
        """The scenario of this name, as the others."""
        self._play(scenarios.three_rounds_undo_and_redo)

    def test_two_volumes(self) -> None:
        """See scenarios."""
        self._play(scenarios.two_volumes)

    def test_tomorrow(self) -> None:
        """See scenarios."""
        self._play(scenarios.tomorrow)

    def test_closed_mid_round(self) -> None:
        """See scenarios."""
        self._play(scenarios.closed_mid_round)

    def test_bad_input(self) -> None:
        """See scenarios."""
        self._play(scenarios.bad_input)

    def _play(self, scenario: Callable[[Stage], None]) -> None:
        if not torch_is_there():
            self.skipTest("torch is not installed: no round was tested")
        made: list[ICHHPINetLogic] = []

        def make(scene) -> ICHHPINetLogic:
            made.append(ICHHPINetLogic(scene, Worker(str(bundled_weights()), python=engine_python())))
            return made[-1]

        try:
            with tempfile.TemporaryDirectory() as folder:
                scenario(Stage(slicer.mrmlScene, make, _saved, _opened, Path(folder)))
        finally:
            for logic in made:
                logic.close()


def _saved(scene: Any, folder: Path) -> Path:
    check(slicer.util.saveScene(str(folder / "scene.mrb")), "the scene is written")
    return folder / "scene.mrb"


def _opened(file: Path) -> Any:
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(file))
    return slicer.mrmlScene
