"""Fixtures of the extension's tests: all of them need slicer-core, the real MRML classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed; the extension's logic is tested on it")

from extension.scenes import DirectWorker, add_volume, new_scene, write_weights  # noqa: E402
from ICHHPINetSlicer.logic import ICHHPINetLogic  # noqa: E402


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a tiny network's random weights."""
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def scene() -> Any:
    """An empty scene."""
    return new_scene()


@pytest.fixture
def volume(scene: Any) -> Any:
    """A small CT in the scene."""
    return add_volume(scene)


@pytest.fixture
def logic(scene: Any, weights: Path) -> Iterator[ICHHPINetLogic]:
    """The logic of the scene, with the engine in this process."""
    one = ICHHPINetLogic(scene, DirectWorker(weights))
    yield one
    one.close()
