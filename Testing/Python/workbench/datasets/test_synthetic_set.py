"""A set of synthetic heads: written once, resumed, the same for the same seed, ready to be split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ichhpinet.errors import InputError
from ichhpinet_workbench.datasets import synthetic
from ichhpinet_workbench.datasets.loading import load_entry
from ichhpinet_workbench.datasets.synthetic import synthetic_set

COARSE = (10.0, 3.0, 3.0)


def test_heads_are_written_once_and_the_same_seed_gives_the_same_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    first = synthetic_set(tmp_path / "a", 2, spacing_mm=COARSE, progress=lambda _, name: seen.append(name))
    assert seen == ["synthetic-000-0000", "synthetic-000-0001"]
    loaded = [load_entry(first, entry) for entry in first.entries]
    assert all(one.truth.any() and one.volume.spacing_mm == pytest.approx(COARSE) for one in loaded)
    again = synthetic_set(tmp_path / "b", 1, spacing_mm=COARSE)
    assert np.array_equal(load_entry(again, again.entries[0]).volume.hu, loaded[0].volume.hu)
    monkeypatch.setattr(synthetic, "generate", None)  # nothing is made twice
    assert synthetic_set(tmp_path / "a", 2, spacing_mm=COARSE) == first
    assert {entry.kinds for entry in first.entries} == {("IPH",), ("IPH", "IVH")}


def test_a_set_of_no_heads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="count is 0"):
        synthetic_set(tmp_path, 0)


def test_another_spacing_in_the_same_folder_or_one_that_cannot_be_is_refused(tmp_path: Path) -> None:
    synthetic_set(tmp_path, 1, spacing_mm=COARSE)
    with pytest.raises(InputError, match="with a spacing of 10 3 3"):
        synthetic_set(tmp_path, 1, spacing_mm=(8.0, 3.0, 3.0))
    for spacing in ((0.0, 1.0, 1.0), (-5.0, 1.0, 1.0), (float("nan"), 1.0, 1.0)):
        with pytest.raises(InputError, match="spacing"):
            synthetic_set(tmp_path / "other", 1, spacing_mm=spacing)
    with pytest.raises(InputError, match="seed -1"):
        synthetic_set(tmp_path / "other", 1, seed=-1)
