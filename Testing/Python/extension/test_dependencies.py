"""torch is asked for once, of the better installer there is; a refusal gives the way out; an old Slicer is named."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import slicer

from ichhpinet.errors import InputError


@pytest.fixture
def dependencies(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module, with a stand-in for Slicer's translator, which slicer-core lacks."""
    monkeypatch.setitem(sys.modules, "slicer.i18n", SimpleNamespace(tr=lambda text: text))
    yield importlib.import_module("ICHHPINetSlicer.dependencies")
    sys.modules.pop("ICHHPINetSlicer.dependencies", None)


class Installer:
    """Stands for PyTorchUtils and slicer.packaging: notes what it is asked, and ends as it is told."""

    def __init__(self, ends: Exception | None = None) -> None:
        self.ends, self.asked = ends, []

    def __call__(self, *arguments: Any, **named: Any) -> None:
        self.asked.append((arguments, named))
        if self.ends is not None:
            raise self.ends


def install(monkeypatch: pytest.MonkeyPatch, packaging: Installer, extension: Installer | None = None) -> None:
    """Put the installers where the code looks for them; torch is not there."""
    monkeypatch.setitem(sys.modules, "slicer.packaging", SimpleNamespace(pip_ensure=packaging))
    monkeypatch.setattr(slicer, "packaging", sys.modules["slicer.packaging"], raising=False)
    utils = extension and SimpleNamespace(PyTorchUtilsLogic=lambda: SimpleNamespace(installTorch=extension))
    monkeypatch.setitem(sys.modules, "PyTorchUtils", utils)  # None: an ImportError
    monkeypatch.setattr("ICHHPINetSlicer.dependencies.torch_is_there", lambda: False)


def test_nobody_is_asked_where_torch_is_there(dependencies: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    packaging = Installer()
    install(monkeypatch, packaging)
    monkeypatch.setattr(dependencies, "torch_is_there", lambda: True)
    dependencies.ensure_torch()
    assert packaging.asked == []


@pytest.mark.parametrize("ends", [RuntimeError("declined"), None], ids=["refused", "nothing was installed"])
def test_a_refusal_is_asked_for_once_and_gives_the_way_out(
    dependencies: Any, monkeypatch: pytest.MonkeyPatch, ends: Exception | None
) -> None:
    packaging = Installer(ends)
    install(monkeypatch, packaging)
    with pytest.raises(InputError, match=r"Install the PyTorch extension .* or run pip_install\(\"torch>=2.4\"\)"):
        dependencies.ensure_torch()
    assert packaging.asked == [(("torch>=2.4",), {"requester": "ICHHPINet"})]


def test_the_pytorch_extension_is_asked_first_and_asks_the_user(
    dependencies: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaging, extension = Installer(), Installer(RuntimeError("declined"))
    install(monkeypatch, packaging, extension)
    with pytest.raises(InputError, match="needs PyTorch"):
        dependencies.ensure_torch()
    assert packaging.asked == []
    assert extension.asked == [((), {"askConfirmation": True, "torchVersionRequirement": ">=2.4"})]


@pytest.mark.parametrize(
    ("platform", "ending", "found"), [("win32", ".exe", "python-real.exe"), ("linux", "", "PythonSlicer")]
)
def test_on_windows_the_engine_runs_behind_the_launcher(
    dependencies: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, ending: str, found: str
) -> None:
    launcher = tmp_path / f"PythonSlicer{ending}"
    monkeypatch.setattr(dependencies.sys, "platform", platform)
    monkeypatch.setattr(dependencies.shutil, "which", lambda name: str(launcher))
    assert dependencies.engine_python() == str(launcher), "where there is nothing behind it"
    (tmp_path / f"python-real{ending}").touch()
    assert dependencies.engine_python() == str(tmp_path / found)


@pytest.mark.parametrize(("version", "refused"), [((5, 10), True), ((5, 12), False), ((6, 0), False)])
def test_a_slicer_that_is_too_old_is_named(
    dependencies: Any, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], refused: bool
) -> None:
    app = SimpleNamespace(majorVersion=version[0], minorVersion=version[1])
    monkeypatch.setattr(slicer, "app", app, raising=False)
    if not refused:
        dependencies.check_slicer()
        return
    with pytest.raises(InputError, match=r"^this is Slicer 5\.10; ICHHPINet needs 5\.12 or newer$"):
        dependencies.check_slicer()


@pytest.mark.parametrize(
    ("version", "enough"),
    [("2.3.1", False), ("1.13.1+cu117", False), ("2.4.0", True), ("2.13.0+cpu", True), (None, True)],
)
def test_a_torch_that_is_too_old_is_not_there(
    dependencies: Any, monkeypatch: pytest.MonkeyPatch, version: str | None, enough: bool
) -> None:
    monkeypatch.setattr(dependencies.importlib.metadata, "version", lambda name: version)
    assert dependencies.torch_is_there() is enough
