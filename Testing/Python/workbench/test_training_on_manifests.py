"""Training on data sets: folds, mixing, peers by the same command, kill and resume."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ichhpinet.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ichhpinet.errors import InputError
from ichhpinet.networks import HPINet, ModelConfig
from ichhpinet.reading import read_volume
from ichhpinet_workbench import train as command
from ichhpinet_workbench.alone import alone_in
from ichhpinet_workbench.datasets import Manifest, heads
from ichhpinet_workbench.datasets.folds import learned_from, with_folds
from ichhpinet_workbench.datasets.heads import HeadPool, MixedPool, head_path, load_head, prepare
from ichhpinet_workbench.peers.session import read_peer
from ichhpinet_workbench.training import pool
from ichhpinet_workbench.training.checkpoints import load_state
from ichhpinet_workbench.training.crops import Batch
from ichhpinet_workbench.training.engine import Engine, launched
from ichhpinet_workbench.training.loop import Trainer
from ichhpinet_workbench.training.recipe import RECIPES
from ichhpinet_workbench.training.selection import Selection
from ichhpinet_workbench.training.start import check_start, read_start
from ichhpinet_workbench.training.supply import ManifestSupply, SyntheticSupply
from ichhpinet_workbench.training.tables import append_row, cut_rows
from workbench.tiny_sets import tiny_set

CROP = (4, 32, 32)
TOY = replace(RECIPES["tiny"], crop=CROP, minutes=60.0, steps=2)
TINY = argparse.Namespace(pixel_mm=1.0, min_slice_mm=2.5)
SMALL = ["--recipe", "tiny", "--crop", "4", "32", "32", "--minutes", "60", "--steps-in-all", "2"]


def run(*line: object) -> int:
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    arguments = parser.parse_args(["train", *map(str, line)])
    return int(arguments.run(arguments))


# -- heads -------------------------------------------------------------------------------------------------------------


def test_a_case_is_prepared_once_on_the_working_grid_and_again_when_its_files_change(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, 2)
    paths = prepare(manifest, manifest.used, TINY, tmp_path / "cache")
    head = load_head(paths[0])
    assert head.spacing_mm == (5.0, 1.0, 1.0) and head.hu.shape == head.blood.shape == (8, 64, 64)
    assert head.hu.max() <= 300 and head.hu.min() >= -200 and head.blood.sum() > 100
    made = paths[0].stat().st_mtime_ns
    assert prepare(manifest, manifest.used, TINY, tmp_path / "cache")[0].stat().st_mtime_ns == made
    os.utime(tmp_path / "masks" / "h0.nii.gz", (1, 1))
    assert head_path(manifest, manifest.entries[0], TINY, tmp_path / "cache") != paths[0]
    (tmp_path / "masks" / "h0.nii.gz").unlink()
    with pytest.raises(InputError, match="does not exist"):
        head_path(manifest, manifest.entries[0], TINY, tmp_path / "cache")


def test_a_pool_keeps_few_heads_in_memory_and_gives_batches_like_the_generators(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, 4)
    heads = HeadPool(prepare(manifest, manifest.used, TINY, tmp_path / "cache"), keep=2)
    for seed in range(6):
        batch = heads.batch(3, CROP, np.random.default_rng(seed))
        assert (
            batch.image.shape == batch.truth.shape == (3, *CROP) and batch.spacing_mm.tolist() == [[5.0, 1.0, 1.0]] * 3
        )
        assert -1.75 <= float(batch.image.min()) and float(batch.image.max()) <= 2.25
    assert len(heads._heads) == 2 and heads.made > 2
    with pytest.raises(InputError, match="no case to train on"):
        HeadPool([], keep=2)


def test_mixed_crops_come_from_both_in_their_shares() -> None:
    class Constant:
        made = 1

        def __init__(self, value: float) -> None:
            self.value = value

        def batch(self, size: int, crop: tuple[int, int, int], rng: np.random.Generator) -> Batch:
            return Batch(*(torch.full((size, *shape), self.value) for shape in (crop, crop, (3,))))

        def close(self) -> None:
            self.value = -1.0

    first, second = Constant(0.0), Constant(1.0)
    mixed = MixedPool(first, second, 0.25)
    rng = np.random.default_rng(0)
    drawn = torch.cat([mixed.batch(8, CROP, rng).image[:, 0, 0, 0] for _ in range(100)])
    assert float(drawn.mean()) == pytest.approx(0.25, abs=0.04) and len(drawn) == 800 and mixed.made == 2
    mixed.close()
    assert first.value == second.value == -1.0


# -- the command -------------------------------------------------------------------------------------------------------


def test_each_fold_is_trained_without_its_own_cases_and_gets_its_weights(tmp_path: Path) -> None:
    tiny_set(tmp_path, 6, 2)
    assert run("--out", tmp_path / "run", "--manifest", tmp_path / "manifest.json", *SMALL) == 0
    for fold in (0, 1):
        folder = tmp_path / "run" / f"fold-{fold}"
        checkpoint = load_checkpoint(folder / "weights.pt")
        assert checkpoint.training["data"] == f"own, all folds but {fold} of 2" and checkpoint.config.name == "tiny"
        assert (folder / "curve.png").exists() and (folder / "log.csv").exists()
    assert len(list((tmp_path / "run" / "cache").glob("*.npz"))) == 6


def test_the_curve_says_by_whom_the_weights_are_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr("ichhpinet_workbench.curve.draw_curve", lambda folder, chosen_by: drawn.append(chosen_by))
    command._draw(tmp_path, ManifestSupply(tiny_set(tmp_path, 2), 0, tmp_path))
    command._draw(tmp_path, SyntheticSupply())
    assert drawn == ["training patients set aside to choose by", "selection heads (synthetic)"]


def test_rows_of_steps_that_a_kill_lost_are_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    for step in (20, 40, 60):
        append_row(path, {"step": step, "loss": 0.5})
    with path.open("a") as file:
        file.write("8")  # killed while it wrote
    cut_rows(path, 40)
    assert path.read_text().splitlines() == ["step,loss", "20,0.5", "40,0.5"]
    cut_rows(path, 0)
    assert not path.exists()
    cut_rows(path, 0)


def test_no_case_of_a_fold_is_seen_in_its_training_and_choosing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = tiny_set(tmp_path, 8, 2)
    supply = ManifestSupply(manifest, 0, tmp_path / "cache")
    seen, read = supply.crops(TOY, TINY, 0)._paths, []  # type: ignore[attr-defined]
    monkeypatch.setattr(heads, "load_head", lambda path: read.append(path) or load_head(path))
    supply.selection(TINY)
    seen, chosen = ({path.name.rsplit("-", 1)[0] for path in paths} for paths in (seen, read))
    held_out = {entry.case for entry in manifest.test(0)}
    assert seen and chosen and not seen & chosen and not (seen | chosen) & held_out


@pytest.mark.parametrize("model", ["monai-unet", "slex-net", "unet-2d"])
def test_peers_are_trained_by_the_same_command(tmp_path: Path, model: str) -> None:
    tiny_set(tmp_path, 4, 2)
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"changes": {"switches": {"size": "tiny"}}}))
    line = ("--config", plan, "--manifest", tmp_path / "manifest.json", "--folds", 0, "--model", model, *SMALL)
    assert run("--out", tmp_path / "run", *line) == 0
    network = read_peer(tmp_path / "run" / "fold-0" / "weights.pt")
    assert network is not None and network.config.name == model and network.config.roi == CROP


def test_synthetic_heads_can_be_mixed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.test_training import toy_head

    asked: list[int] = []
    monkeypatch.setattr(pool, "make_head", lambda seed, pixel_mm, **_: asked.append(seed) or toy_head(seed))
    tiny_set(tmp_path, 4, 2)
    line = ("--manifest", tmp_path / "manifest.json", "--folds", 1, "--synthetic-share", 0.5, "--workers", 0)
    run("--out", tmp_path / "run", *line, *SMALL, "--batch", 8)
    record = load_checkpoint(tmp_path / "run" / "fold-1" / "weights.pt").training
    assert asked and "50% of the crops from synthetic heads" in record["data"]


def test_a_killed_run_goes_on_and_another_recipe_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_set(tmp_path, 4, 2)
    line = ("--out", tmp_path / "run", "--manifest", tmp_path / "manifest.json", "--folds", 0, *SMALL)
    monkeypatch.setattr("ichhpinet_workbench.training.loop.SAVE_SECONDS", 0.0)
    train, calls = Trainer._train_crops, []

    def killed(self: Trainer, *arguments: Any) -> Any:
        calls.append(self.step)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(self, *arguments)

    monkeypatch.setattr(Trainer, "_train_crops", killed)
    with pytest.raises(KeyboardInterrupt):
        run(*line, "--steps-in-all", 6)
    left = load_state(tmp_path / "run" / "fold-0")
    assert left is not None and 0 < left["step"] < 6
    run(*line, "--steps-in-all", 6)
    assert load_state(tmp_path / "run" / "fold-0")["step"] >= 6  # type: ignore[index]
    assert calls[2] == left["step"]
    with pytest.raises(InputError, match=r"begun with learning_rate 0.002; it is 0.1 now"):
        run(*line, "--learning-rate", 0.1)


def test_a_run_does_not_go_on_with_a_manifest_that_was_split_anew(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, 4, 2)
    line = ("--out", tmp_path / "run", "--manifest", tmp_path / "manifest.json", "--folds", 0, *SMALL)
    run(*line)
    record = load_checkpoint(tmp_path / "run" / "fold-0" / "weights.pt").training
    assert record["learned_from"] == learned_from(manifest, 0) != learned_from(manifest, 1)
    with_folds(manifest, 4).write(tmp_path / "manifest.json")
    with pytest.raises(InputError, match=r"fold-0 was begun on other cases \(own, all folds but 0 of 2\)"):
        run(*line)


def test_weights_know_the_cts_they_learned_from_and_pass_them_on(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, 4, 2)
    digests = [{read_volume(manifest.path(e.image)).digest() for e in manifest.test(fold)} for fold in (0, 1)]
    run("--out", tmp_path / "one", "--manifest", tmp_path / "manifest.json", "--folds", 0, *SMALL)
    weights = tmp_path / "one" / "fold-0" / "weights.pt"
    assert set(load_checkpoint(weights).training["cts"]) == digests[1]
    other = tiny_set(tmp_path / "more", 6, 2, name="more")
    line = ("--manifest", tmp_path / "more" / "manifest.json", "--folds", 0, "--start", weights, *SMALL)
    run("--out", tmp_path / "two", *line)
    learned = set(load_checkpoint(tmp_path / "two" / "fold-0" / "weights.pt").training["cts"])
    assert learned == digests[1] | {read_volume(other.path(e.image)).digest() for e in other.training(0)}


def test_two_runs_in_one_folder_do_not_mix(tmp_path: Path) -> None:
    tiny_set(tmp_path, 4, 2)
    line = ("--out", tmp_path / "run", "--manifest", tmp_path / "manifest.json", "--folds", 0, *SMALL)
    with alone_in(tmp_path / "run"), pytest.raises(InputError, match="another command is at work in run"):
        run(*line)
    assert run(*line) == 0


def test_snapshots_are_kept_over_the_run(tmp_path: Path) -> None:
    tiny_set(tmp_path, 4, 2)
    line = ("--manifest", tmp_path / "manifest.json", "--folds", 0, "--snapshots", 2)
    run("--out", tmp_path / "run", *line, *SMALL, "--steps-in-all", 4)
    kept = sorted((tmp_path / "run" / "fold-0" / "snapshots").glob("*.pt"))
    assert [int(path.name[:2]) for path in kept][-1] == 2 and len(kept) >= 2
    assert load_checkpoint(kept[0]).config.name == "tiny"


# -- engines and choosing ----------------------------------------------------------------------------------------------


def test_an_engine_without_the_devices_is_refused_and_one_device_needs_no_fabric() -> None:
    assert launched("cpu").fabric is None and launched("cpu").is_first
    with pytest.raises(InputError, match="precision is '16'"):
        Engine(precision="16")
    if torch.cuda.device_count() < 64:
        with pytest.raises(InputError, match="devices is 64; this machine has"):
            launched("cuda", devices=64)


def test_the_others_wait_for_days_while_the_first_process_trains_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    class Recorded:
        global_rank, world_size, device = 0, 2, torch.device("cpu")

        def __init__(self, **given: Any) -> None:
            made.append(given["strategy"])

        def launch(self) -> None:
            """Nothing starts."""

    monkeypatch.setattr("lightning_fabric.Fabric", Recorded)
    launched("cpu", devices=2)
    assert made[0]._timeout >= timedelta(days=7)


def test_a_selection_of_heads_without_blood_counts_finding_nothing_as_right(tmp_path: Path) -> None:
    manifest: Manifest = tiny_set(tmp_path, 0, 2, clean=2)
    prepared = [load_head(path) for path in prepare(manifest, manifest.used, TINY, tmp_path / "cache")]

    class Silent(torch.nn.Module):
        def encode(self, image: torch.Tensor) -> None:
            """Nothing."""

        def forward(self, inputs: Any, features: Any, memory: Any) -> Any:
            return argparse.Namespace(logits=torch.full_like(inputs.image, -9.0), memory=memory)

    scores = Selection.of_heads(prepared).score(Silent(), torch.device("cpu"))  # type: ignore[arg-type]
    assert scores["score"] == 1.0


@pytest.mark.parametrize("precision", ["bf16", "32"])
def test_weights_are_chosen_in_the_precision_of_the_training(tmp_path: Path, precision: str) -> None:
    manifest, kinds = tiny_set(tmp_path, 4, 2), []
    supply = ManifestSupply(manifest, 0, tmp_path / "cache")
    trainer = Trainer(TOY, tmp_path / "run", supply=supply, engine=Engine("cpu", precision))
    trainer.averaged.register_forward_hook(lambda *_: kinds.append((torch.ones(1, 1) @ torch.ones(1, 1)).dtype))
    trainer.validate()
    assert set(kinds) == {torch.bfloat16 if precision == "bf16" else torch.float32}


def test_weights_that_have_learned_from_the_held_out_fold_are_no_start(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, 4)
    config = ModelConfig.named("tiny")
    weights, record = HPINet(config).state_dict(), {"learned_from": f"synthetic {learned_from(manifest, 1)}"}
    save_checkpoint(tmp_path / "one.pt", Checkpoint(config, weights, record, 1.0))
    start = read_start(tmp_path / "one.pt", RECIPES["tiny"])
    check_start(ManifestSupply(manifest, 1, tmp_path / "cache", 0.0), start)
    with pytest.raises(InputError, match="trained without fold 1 and have learned from fold 0"):
        check_start(ManifestSupply(manifest, 0, tmp_path / "cache", 0.0), start)
