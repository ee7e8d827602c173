"""The scenarios that ICHHPINetTest runs inside 3D Slicer, here on slicer-core with an engine in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extension.scenes import DirectWorker
from ICHHPINetSlicer.logic import ICHHPINetLogic
from ICHHPINetSlicer.scenarios import SCENARIOS, ScenarioFailed, Stage, check, opened, saved


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__)
def test_scenario(scenario: Callable[[Stage], None], scene: Any, weights: Path, tmp_path: Path) -> None:
    made: list[ICHHPINetLogic] = []

    def make(one: Any) -> ICHHPINetLogic:
        made.append(ICHHPINetLogic(one, DirectWorker(weights)))
        return made[-1]

    scenario(Stage(scene, make, saved, opened, tmp_path))
    for logic in made:
        logic.close()


def test_a_promise_that_is_not_kept_is_said() -> None:
    with pytest.raises(ScenarioFailed, match="the sky is green"):
        check(False, "the sky is green")
