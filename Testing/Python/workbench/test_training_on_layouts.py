"""Two steps of training on every layout that is read: as published, of one's own, and several as one."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from ichhpinet.checkpoint import load_checkpoint
from ichhpinet_workbench import train as command
from ichhpinet_workbench.datasets import Manifest, read_manifest
from ichhpinet_workbench.datasets.folder import read_folder
from ichhpinet_workbench.datasets.folds import with_folds
from ichhpinet_workbench.datasets.hemseg import convert_hemseg
from ichhpinet_workbench.datasets.instance import read_instance
from ichhpinet_workbench.datasets.manifest import merge
from ichhpinet_workbench.datasets.physionet import read_physionet
from workbench.published_layouts import hemseg, instance, physionet
from workbench.tiny_sets import tiny_set

PHYSIONET, INSTANCE, HEMSEG = "physionet-ct-ich", "instance-2022", "hemseg-200"
SMALL = ["--recipe", "tiny", "--crop", "4", "16", "16", "--minutes", "60", "--steps-in-all", "2"]


def of_physionet(root: Path) -> Manifest:
    return read_physionet(physionet(root, dict.fromkeys(range(49, 54), 3)))


def of_hemseg(root: Path) -> Manifest:
    scans = {f"aa{n}": (f"ID_p{n}", side) for n, side in enumerate(("train", "val", "test"))}
    return convert_hemseg(HEMSEG, *hemseg(root, scans), root / "converted")


def of_instance(root: Path) -> Manifest:
    return read_instance(instance(root, 3))


def of_csv(root: Path) -> Manifest:
    tiny_set(root, 3)
    rows = [f"images/h{n}.nii.gz,masks/h{n}.nii.gz,p{n}" for n in range(3)]
    (root / "pairs.csv").write_text("\n".join(["image,mask,patient", *rows]) + "\n")
    return read_folder(root / "pairs.csv", "mine")


def merged(root: Path) -> Manifest:
    return merge([of_instance(root / "a"), of_csv(root / "b")], root)


@pytest.mark.parametrize(
    ("made", "folds", "sets"),
    [
        (of_physionet, 5, PHYSIONET),
        (of_hemseg, 2, HEMSEG),
        (of_instance, 2, INSTANCE),
        (of_csv, 2, "mine"),
        (merged, 2, f"{INSTANCE}, mine"),
    ],
)
def test_what_is_read_is_trained_on(tmp_path: Path, made: Callable[[Path], Manifest], folds: int, sets: str) -> None:
    with_folds(made(tmp_path), folds).write(tmp_path / "manifest.json")
    manifest = read_manifest(tmp_path / "manifest.json")
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    line = ["train", "--out", tmp_path / "run", "--manifest", tmp_path / "manifest.json", *SMALL]
    line += [] if folds == 5 else ["--folds", 0]  # of five all are trained, one after the other
    arguments = parser.parse_args([str(word) for word in line])
    assert arguments.run(arguments) == 0
    for fold in range(folds if folds == 5 else 1):
        record = load_checkpoint(tmp_path / "run" / f"fold-{fold}" / "weights.pt").training
        assert record["steps"] == 2 and record["data"] == f"{sets}, all folds but {fold} of {folds}"
    prepared = {path.name.rsplit("-", 1)[0] for path in (tmp_path / "run" / "cache").glob("*.npz")}
    trained = manifest.used if folds == 5 else manifest.training(0)
    assert prepared == {entry.case for entry in trained}
