"""`ichhpinet synthesize`: what is written is what was generated, on the same grid, and the same for the same seed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from ichhpinet.errors import InputError
from ichhpinet_workbench import phantom, synthesize


def _synthesize(out: Path, *options: str) -> list[dict]:
    parser = argparse.ArgumentParser()
    synthesize.register(parser.add_subparsers())
    arguments = parser.parse_args(["synthesize", "--out", str(out), "--spacing", "12", "4", "4", *options])
    assert arguments.run(arguments) == 0
    return json.loads((out / "synthetic.json").read_text())


def test_the_ct_and_its_mask_are_written_on_one_grid(tmp_path: Path) -> None:
    (row,) = _synthesize(tmp_path, "--seed", "3", "--kind", "IPH")
    ct, mask = (sitk.ReadImage(str(tmp_path / row[part])) for part in ("ct", "mask"))
    made = phantom.generate(3, spacing_mm=(12, 4, 4), kinds=("IPH",))
    assert (sitk.GetArrayFromImage(ct) == np.rint(made.hu)).all()
    assert (sitk.GetArrayFromImage(mask) == made.mask).all()
    assert ct.GetSpacing() == pytest.approx((4, 4, 12)) and mask.GetSpacing() == pytest.approx((4, 4, 12))
    assert row["volume_ml"] == pytest.approx(made.mask.sum() * 12 * 4 * 4 / 1000)
    assert sum(row["volume_ml_by_kind"].values()) == pytest.approx(row["volume_ml"])


def test_a_head_without_blood_has_an_empty_mask_and_several_seeds_give_several_heads(tmp_path: Path) -> None:
    first, second = _synthesize(tmp_path, "--count", "2", "--kind", "none", "--format", ".nrrd")
    assert first["volume_ml"] == second["volume_ml"] == 0
    heads = [sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / row["ct"]))) for row in (first, second)]
    assert heads[0].shape != heads[1].shape or (heads[0] != heads[1]).any()


def test_arguments_that_cannot_be_meant_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'none' stands alone"):
        _synthesize(tmp_path, "--kind", "none", "IPH")


def test_the_kinds_of_the_command_line_are_those_of_the_generator() -> None:
    assert synthesize.KINDS == phantom.KINDS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--spacing", "0", "1", "1"], "every step must be greater than 0"),
        (["--spacing", "nan", "1", "1"], "3 finite numbers"),
        (["--spacing", "5", "0.001", "0.001"], "every step must be from 0.1 to 20"),
        (["--device", "foo"], "the device is 'foo'"),
    ],
)
def test_a_spacing_or_a_device_that_is_none_is_refused_by_name(
    tmp_path: Path, options: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _synthesize(tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()
