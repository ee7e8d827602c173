"""Every experiment, whole, on a tiny network and tiny heads: trained, judged, reported, resumed. No figures."""

from __future__ import annotations

import argparse
import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.engine import tiny_checkpoint
from ichhpinet.checkpoint import save_checkpoint
from ichhpinet.errors import InputError
from ichhpinet_workbench.experiments import analysis, command, run
from ichhpinet_workbench.experiments.variants import EXPERIMENTS, Variant
from ichhpinet_workbench.training.recipe import named_recipe
from workbench.tiny_sets import tiny_set

SMALL = ["--recipe", "tiny", "--crop", "4", "32", "32", "--minutes", "60", "--steps-in-all", "2", "--rounds", "1"]


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four heads in two folds."""
    root = tmp_path_factory.mktemp("heads")
    tiny_set(root, 4, 2)
    return root


def experiment(name: str, heads: Path, out: Path, *more: object) -> str:
    """Run it on the command line; the report's text."""
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    line = ["experiment", name, "--out", out, "--manifest", heads / "manifest.json", "--cache", heads / "cache"]
    arguments = parser.parse_args([*map(str, line), *SMALL, *map(str, more)])
    assert arguments.run(arguments) == 0
    return next(iter(out.glob("*.md"))).read_text(encoding="utf-8")


def rows_of(text: str, table: int = 0) -> list[str]:
    """First cells of a table's rows."""
    blocks = [block for block in text.split("\n\n") if block.lstrip().startswith("|")]
    return [line.split("|")[1].strip() for line in blocks[table].strip().splitlines()[2:]]


def test_ablation_gives_table_two_with_the_papers_rows_and_two_more(heads: Path, tmp_path: Path) -> None:
    text = experiment("ablation", heads, tmp_path, "--folds", 0)
    assert rows_of(text) == ["Volume-Pro", "Slice-Pro", "w/o Memory", "no-affinity", "no-fusion", "ICH-HPINet"]
    assert "Trained here: 6 runs" in text and "Dice -6.7 %" in text


def test_choices_train_the_ablation_and_how_it_could_have_been(
    heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = EXPERIMENTS["choices"]
    names = [variant.name for variant in chosen.variants(named_recipe("compact"))]
    assert len(names) == len(set(names)) == 14 and names[-1] == "ichhpinet" and "volume-only" in names

    def some(recipe: Any) -> list[Variant]:
        wanted = ("strokes-as-painted", "pixels-1.25-mm", "loss-heard-3", "ichhpinet")
        return [variant for variant in chosen.variants(recipe) if variant.name in wanted]

    monkeypatch.setitem(EXPERIMENTS, "choices", replace(chosen, variants=some))
    text = experiment("choices", heads, tmp_path, "--folds", 0)
    assert text.startswith("# What the compact network chose") and "Trained here: 4 runs" in text
    assert "## Strokes that are heard" in text
    assert text.count("| strokes-as-painted |") >= 3
    assert (tmp_path / "variants" / "loss-heard-3" / "fold-0" / "weights.pt").exists()


def test_interaction_gives_tables_five_and_six_and_does_nothing_twice(
    heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = experiment("interaction", heads, tmp_path, "--contestant", "threshold_islands")
    assert "Table 5: average results by interaction" in text and "Table 6: 2 samples" in text
    assert "45–100 HU, islands under strokes" in text
    weights = tmp_path / "variants" / "ichhpinet" / "fold-1" / "weights.pt"
    made = weights.stat().st_mtime_ns
    monkeypatch.setattr(run, "train", None)
    experiment("interaction", heads, tmp_path, "--contestant", "threshold_islands")
    assert weights.stat().st_mtime_ns == made
    with pytest.raises(InputError, match="ichhpinet, fold-0 was trained with minutes 60; it is 30 now: take another"):
        experiment("interaction", heads, tmp_path, "--minutes", 30)


@pytest.mark.parametrize(("name", "rows"), [("loss-weights", 9), ("lambda", 10)])
def test_loss_experiments_give_tables_three_and_four(heads: Path, tmp_path: Path, name: str, rows: int) -> None:
    text = experiment(name, heads, tmp_path, "--folds", 0)
    assert len(rows_of(text)) == rows and "| **0.7797 ± 0.021** |" in text.split("\n\n")[2]
    first = {"loss-weights": "| 0.2 | 1.8 | ", "lambda": "| 1 | 1 | 8 | "}[name]
    assert text.split("\n\n")[2].splitlines()[2].startswith(first)


def test_comparison_trains_every_peer_on_the_same_fold(
    heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = EXPERIMENTS["comparison"].variants

    def without_vnet(recipe: Any) -> list[Variant]:
        return [variant for variant in whole(recipe) if variant.name != "monai-vnet"]  # one size: 45 M parameters

    quick = type(EXPERIMENTS["comparison"])(**(vars(EXPERIMENTS["comparison"]) | {"variants": without_vnet}))
    monkeypatch.setitem(EXPERIMENTS, "comparison", quick)
    whole_heads = ("--crop", 8, 64, 64)  # one window each
    text = experiment("comparison", heads, tmp_path, "--folds", 0, *whole_heads)
    found = rows_of(text)
    for name in ("ICH-HPINet", "U-Net", "nnU-Net", "Swin UNETR", "SLEX-Net", "2D U-Net (thesis)", "MedSAM2"):
        assert name in found
    for name in ("Grow from seeds (3D Slicer)", "45–100 HU, islands under strokes", "Random walker"):
        assert name in found


def test_analysis_follows_the_branches_over_training_and_draws_attention(
    heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[str] = []

    class Recorded(analysis.ProbedPredictor):
        def __init__(self, checkpoint: Any, device: str) -> None:
            devices.append(device)
            super().__init__(checkpoint, device)

    monkeypatch.setattr(analysis, "ProbedPredictor", Recorded)
    text = experiment("analysis", heads, tmp_path, "--folds", 0)
    assert set(devices) == {"cpu"} and "Trained here: 1 runs" in text and "A small budget" in text
    with (tmp_path / "separation.csv").open() as file:
        assert any(math.isfinite(float(row["auc_volume"])) for row in csv.DictReader(file))
    assert "![attention]" in text and analysis.TOO_SMALL not in text
    assert "0.58 ± 0.07 early" in text and "Class separation" in text and "keeps 92 %" in text
    for name in ("attention.png", "similarity.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"
    assert len((tmp_path / "similarity.csv").read_text().splitlines()) > 3


def test_uncertainty_is_measured(heads: Path, tmp_path: Path) -> None:
    text = experiment("uncertainty", heads, tmp_path, "--folds", 0)
    assert "AUC of finding errors" in text and "| random slice |" in text and "| oracle |" in text
    assert "Trained here: 2 runs" in text and "A small budget" in text
    ours, slex = text.split("## SLEX-Net. After round 1")
    assert "## ICH-HPINet. After round 1" in ours
    one_pass = "| SLEX-Net's one pass: "
    assert ours.count(one_pass) == slex.count(one_pass) == 2  # among the errors found, and among the next strokes
    for name in ("ichhpinet", "slex-net"):
        for kind in ("maps", "calibration"):
            assert (tmp_path / f"{kind}-{name}.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(InputError, match="islands is a threshold_islands; only weights have a probability"):
        experiment("uncertainty", heads, tmp_path / "two", "--contestant", "islands=threshold_islands")
    with pytest.raises(InputError, match="slex-net stands among the contestants twice"):
        experiment("uncertainty", heads, tmp_path / "two", "--contestant", "slex-net=weights")
    assert not (tmp_path / "two").exists()


def test_weights_that_are_trained_already_can_be_measured_and_only_where_that_makes_sense(
    heads: Path, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "weights.pt", tiny_checkpoint())
    given = ("--weights", tmp_path / "weights.pt")
    assert "Uncertainty" in experiment("uncertainty", heads, tmp_path / "out", *given, "--folds", 0)
    assert not (tmp_path / "out" / "variants").exists()
    assert (tmp_path / "out" / "maps-ichhpinet.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(InputError, match="ablation trains its variants"):
        experiment("ablation", heads, tmp_path / "two", *given)


def test_an_experiment_without_data_or_with_a_bad_plan_is_refused_before_it_starts(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    arguments = parser.parse_args(["experiment", "ablation", "--out", str(tmp_path / "out"), *SMALL])
    with pytest.raises(InputError, match="an experiment needs a manifest"):
        arguments.run(arguments)
    (tmp_path / "plan.json").write_text(json.dumps({"changes": {"colour": 1}}))
    line = ["experiment", "ablation", "--out", str(tmp_path / "out"), "--config", str(tmp_path / "plan.json")]
    arguments = parser.parse_args(line)
    with pytest.raises(InputError, match="colour is no field"):
        arguments.run(arguments)
    assert not (tmp_path / "out").exists()
