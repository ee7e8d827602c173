"""ICHHPINetTest: the scenarios, and what needs widgets, inside 3D Slicer ("Reload and Test", CTest, slicer-test)."""

from __future__ import annotations

import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from ichhpinet.resources import bundled_weights

from . import scenarios
from .dependencies import engine_python, torch_is_there
from .logic import ICHHPINetLogic
from .paneltest import PanelTests
from .roundtest import RoundTests
from .scenarios import Stage, check
from .scenetest import SceneTests
from .worker import Worker


class ICHHPINetTest(PanelTests, RoundTests, SceneTests, ScriptedLoadableModuleTest):
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


def _played(scenario: Callable[[Stage], None]) -> Callable[[ICHHPINetTest], None]:
    def test(self: ICHHPINetTest) -> None:
        self._play(scenario)

    test.__doc__ = scenario.__doc__
    return test


for _scenario in scenarios.SCENARIOS:
    setattr(ICHHPINetTest, f"test_{_scenario.__name__}", _played(_scenario))


def _saved(scene: Any, folder: Path) -> Path:
    check(slicer.util.saveScene(str(folder / "scene.mrb")), "the scene is written")
    return folder / "scene.mrb"


def _opened(file: Path) -> Any:
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(file))
    return slicer.mrmlScene
