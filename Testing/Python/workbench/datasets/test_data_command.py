"""`ichhpinet data` on the command line: from a published layout to a manifest that can be trained on."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from ichhpinet_workbench.datasets import read_manifest
from ichhpinet_workbench.datasets.command import register
from workbench.published_layouts import hemseg, instance, physionet, write_pair


def run(*line: object) -> int:
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers())
    arguments = parser.parse_args(["data", *map(str, line)])
    return int(arguments.run(arguments))


def test_physionet_becomes_a_manifest_with_folds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = physionet(tmp_path / "ct-ich", {49 + n: 3 for n in range(5)} | {60: 1})
    assert run("physionet", root, "--out", tmp_path / "m.json") == 0
    assert "5 of 6 cases, 5 patients; cases by fold: 1, 1, 1, 1, 1" in capsys.readouterr().out
    assert read_manifest(tmp_path / "m.json").folds == (0, 1, 2, 3, 4)


def test_hemseg_is_converted_into_a_folder_with_its_manifest(tmp_path: Path) -> None:
    scans = {f"s{n}": (f"ID_{n}", "train") for n in range(2)}
    listed, labels, rsna = hemseg(tmp_path / "in", scans)
    line = ("--list", listed, "--labels", labels, "--rsna", rsna, "--out", tmp_path / "out", "--folds", 2)
    assert run("hemseg", *line) == 0
    manifest = read_manifest(tmp_path / "out" / "manifest.json")
    assert manifest.entries[0].image == "images/s0.nii.gz"  # the folder can be moved as one


def test_sets_are_read_merged_split_again_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("instance", instance(tmp_path / "i", 2), "--out", tmp_path / "i.json", "--folds", 2)
    for n in range(2):
        write_pair(tmp_path / "own" / "images" / f"{n}.nii.gz", tmp_path / "own" / "masks" / f"{n}.nii.gz", 10 + n)
    run("folder", tmp_path / "own", "--out", tmp_path / "o.json", "--folds", 2)
    run("merge", tmp_path / "i.json", tmp_path / "o.json", "--out", tmp_path / "both.json", "--folds", 2)
    run("split", tmp_path / "both.json", "--out", tmp_path / "four.json", "--folds", 4, "--seed", 1)
    assert run("check", tmp_path / "four.json", "--out", tmp_path / "checked") == 0
    checked = read_manifest(tmp_path / "checked" / "manifest.json")
    assert checked.folds == (0, 1, 2, 3) and checked.seed == 1 and len(checked.used) == 4
    assert "# Integrity" in capsys.readouterr().out
