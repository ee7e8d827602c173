"""`ichhpinet evaluate --manifest` on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from core.engine import tiny_checkpoint
from ichhpinet.checkpoint import save_checkpoint
from ichhpinet.errors import InputError
from ichhpinet_workbench import commands
from workbench.tiny_sets import tiny_set


def run(root: Path, *line: object) -> int:
    parser = argparse.ArgumentParser()
    commands.register_evaluate(parser.add_subparsers())
    whole = ["evaluate", "--manifest", root / "manifest.json", "--out", root / "out", "--rounds", 2, *line]
    arguments = parser.parse_args([str(word) for word in whole])
    return int(arguments.run(arguments))


def test_weights_of_each_fold_are_judged_on_their_own_cases_beside_a_classic_method(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_set(tmp_path, 2)
    for fold in (0, 1):
        (tmp_path / f"fold-{fold}").mkdir()
        save_checkpoint(tmp_path / f"fold-{fold}" / "weights.pt", tiny_checkpoint(fold))
    ours = f"ours=weights:{tmp_path}/fold-{{fold}}/weights.pt"
    assert run(tmp_path, "--contestant", ours, "--contestant", "islands=threshold_islands", "--device", "cpu") == 0
    text = capsys.readouterr().out
    assert text == (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "| ours |" in text and "2 cases (2 with blood) of 2 patients in 2 folds" in text


def test_one_fold_is_judged_where_no_other_is_trained_yet(tmp_path: Path) -> None:
    tiny_set(tmp_path, 2)
    (tmp_path / "fold-1").mkdir()
    save_checkpoint(tmp_path / "fold-1" / "weights.pt", tiny_checkpoint(1))
    ours = f"ours=weights:{tmp_path}/fold-{{fold}}/weights.pt"
    assert run(tmp_path, "--contestant", ours, "--folds", 1, "--device", "cpu") == 0
    assert "1 cases (1 with blood)" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_a_contestant_that_cannot_be_is_found_before_the_others_are_judged(tmp_path: Path) -> None:
    tiny_set(tmp_path, 2)
    for one, says in (
        ("x=command:run --ct {ct}", "no {out}"),
        ("x=weights:gone.pt", "gone.pt of fold 0 cannot be"),
        ("x=python:no_such_module:make", "no_such_module:make cannot be used"),
    ):
        with pytest.raises(InputError, match=says):
            run(tmp_path, "--contestant", "threshold_islands", "--contestant", one)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["--contestant", "weights", "--contestant", "weights"], "a name of its own"),
        (["--reference", "nobody"], "--reference is nobody"),
        (["--samples", "own-h7"], "no such case"),
        (["--folds", "4"], "fold is 4"),
        (["--hand", "foot"], "--hand is foot"),
        (["--device", "tpu"], "the device is .tpu."),
        *(
            ([f"--{name}", *value], f"--{name} is of the fixed synthetic cases; with --manifest it must be left out")
            for name, *value in (
                ("checkpoint", "w.pt"),
                ("threads", "1"),
                ("methods", "ichhpinet"),
                ("cases", "1"),
                ("again",),
                ("head-ct", "ct.nii"),
                ("peer-rounds", "5"),
                ("cache", "kept"),
                ("plane", "coronal"),
            )
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_computed(
    tmp_path: Path, line: list[str], says: str
) -> None:
    tiny_set(tmp_path, 2)
    with pytest.raises(InputError, match=says):
        run(tmp_path, *line)
    assert not (tmp_path / "out").exists()
