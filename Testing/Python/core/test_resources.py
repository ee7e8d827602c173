"""The bundled files are found in each of the three places where the package can live."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from ichhpinet import resources

LAYOUTS = {  # where the package lies -> where its Models/ and SampleData/ lie
    "checkout": ("Logic/ichhpinet", "Resources"),
    "Slicer extension": ("ichhpinet", "Resources"),
    "wheel": ("site-packages/ichhpinet", "site-packages/ichhpinet/_resources"),
}


def _module_in(folder: Path) -> ModuleType:
    folder.mkdir(parents=True)
    copy = Path(shutil.copy(str(resources.__file__), folder / "resources.py"))
    spec = importlib.util.spec_from_file_location("resources_elsewhere", copy)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_and_sample_data_are_found_wherever_the_package_lives(layout: str, tmp_path: Path) -> None:
    package, data = LAYOUTS[layout]
    module = _module_in(tmp_path / package)
    weights = tmp_path / data / "Models" / resources.WEIGHTS_NAME
    sample = tmp_path / data / "SampleData" / "head" / "01.dcm"
    for file in (weights, sample):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x")
    assert module.bundled_weights() == weights
    assert module.sample_data("head") == sample.parent
    assert module.sample_data("head/01.dcm") == sample


def test_a_missing_file_is_named_and_the_way_out_is_said(tmp_path: Path) -> None:
    module = _module_in(tmp_path / "Logic" / "ichhpinet")
    with pytest.raises(FileNotFoundError, match=r"ichhpinet-compact\.pt .*install ichhpinet again"):
        module.bundled_weights()
    with pytest.raises(FileNotFoundError, match="no_such_series"):
        module.sample_data("no_such_series")
