"""ICHHPINetTest: the scenarios, and what needs widgets, inside 3D Slicer ("Reload and Test", CTest, slicer-test)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from ichhpinet.resources import bundled_weights

from .dependencies import engine_python, torch_is_there
from .logic import ICHHPINetLogic
from .scenarios import SCENARIOS, Stage, check, made_up_head, saved_and_opened
from .worker import Worker


class ICHHPINetTest(ScriptedLoadableModuleTest):
    """Run by Slicer; each scenario starts from an empty scene."""

    def setUp(self) -> None:
        """An empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Everything."""
        self.setUp()
        self.test_the_panel_opens_and_paints()
        if not torch_is_there():
            self.delayDisplay("torch is not installed: the rounds were not tested")
            return
        for scenario in SCENARIOS:
            self.setUp()
            self.delayDisplay(scenario.__name__.replace("_", " "))
            self._play(scenario)

    def test_the_panel_opens_and_paints(self) -> None:
        """The buttons follow the volume; a brush is the Segment Editor's paint effect on our strokes."""
        slicer.util.selectModule("ICHHPINet")
        panel = slicer.modules.ICHHPINetWidget
        panel._parameters.volume = made_up_head(slicer.mrmlScene)
        slicer.app.processEvents()
        panel.ui.foregroundButton.click()
        effect = panel._editor.activeEffect()
        check(effect is not None and effect.name == "Paint", "the foreground button starts the paint effect")
        panel.ui.eraseButton.click()
        check(panel._editor.activeEffect().name == "Erase", "the erase button starts the erase effect")
        slicer.util.selectModule("Data")
        check(panel._editor.activeEffect() is None, "leaving the module puts the brush away")

    def _play(self, scenario) -> None:
        made: list[ICHHPINetLogic] = []

        def make(scene) -> ICHHPINetLogic:
            made.append(ICHHPINetLogic(scene, Worker(str(bundled_weights()), python=engine_python())))
            return made[-1]

        try:
            with tempfile.TemporaryDirectory() as folder:
                scenario(Stage(slicer.mrmlScene, make, saved_and_opened, Path(folder)))
        finally:
            for logic in made:
                logic.close()
