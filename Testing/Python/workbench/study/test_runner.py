"""Judging on a manifest: every case its rounds, streamed, by workers, stopped and resumed, by fold."""

from __future__ import annotations

import gc
import json
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from core.engine import tiny_checkpoint
from ichhpinet.checkpoint import save_checkpoint
from ichhpinet.errors import InputError
from ichhpinet.reading import read_volume
from ichhpinet_workbench.datasets.folds import learned_from, with_folds
from ichhpinet_workbench.keptmasks import keep_mask, kept_mask, mask_path
from ichhpinet_workbench.peers.config import PeerConfig
from ichhpinet_workbench.peers.registry import make_peer
from ichhpinet_workbench.peers.session import save_peer
from ichhpinet_workbench.study import runner
from ichhpinet_workbench.study.contestants import Contestant
from ichhpinet_workbench.study.failures import kept_failures
from ichhpinet_workbench.study.held_out import check_held_out
from ichhpinet_workbench.study.runner import Rules, evaluate
from workbench.tiny_sets import tiny_set

RULES = Rules(rounds=2)
STAND_IN = Contestant("ours", "python", "workbench.tiny_sets:stand_in")
CLASSIC = Contestant("threshold_islands", "threshold_islands")


def test_every_case_has_a_proposal_and_its_rounds_and_one_without_blood_the_proposal_alone(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, 3, clean=1)
    results = evaluate(manifest, [STAND_IN, CLASSIC], tmp_path / "out", RULES)
    rounds = {case: [r["round"] for r in results["ours"] if r["case"] == case] for case in ("own-h0", "own-h3")}
    assert rounds == {"own-h0": [0, 1, 2], "own-h3": [0]}
    assert {r["round"] for r in results["threshold_islands"]} == {1, 2}  # it cannot propose
    assert min(r["dice"] for r in results["ours"] if r["round"] == 2) > 0.8
    assert {r["fold"] for r in results["ours"]} == {0, 1}


def test_a_killed_evaluation_goes_on_and_judges_no_case_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, judged, whole = tiny_set(tmp_path, 4), [], runner.judge

    def counting(job: Any) -> Any:
        if len(judged) == 2 and not (tmp_path / "go").exists():
            raise KeyboardInterrupt
        judged.append(job.entry.case)
        return whole(job)

    monkeypatch.setattr(runner, "judge", counting)
    with pytest.raises(KeyboardInterrupt):
        evaluate(manifest, [STAND_IN], tmp_path / "out", RULES)
    (tmp_path / "go").touch()
    with (tmp_path / "out" / "ours.jsonl").open("a") as file:
        file.write('["own-h9", [{"case"')  # killed while it wrote
    results = evaluate(manifest, [STAND_IN], tmp_path / "out", RULES)
    assert sorted(judged) == sorted(e.case for e in manifest.entries)
    whole_run = evaluate(manifest, [STAND_IN], tmp_path / "other", RULES)
    strip = [{k: v for k, v in row.items() if k != "seconds"} for row in results["ours"]]
    assert strip == [{k: v for k, v in row.items() if k != "seconds"} for row in whole_run["ours"]]


def test_a_case_that_cannot_be_judged_stops_no_other_and_is_tried_again(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, 3)
    mask = tmp_path / "masks" / "h1.nii.gz"
    whole = mask.read_bytes()
    mask.write_bytes(b"cut")
    rows = evaluate(manifest, [CLASSIC], tmp_path / "out", RULES)["threshold_islands"]
    assert {r["case"] for r in rows} == {"own-h0", "own-h2"}
    (failure,) = kept_failures(tmp_path / "out")
    assert (failure.method, failure.case) == ("threshold_islands", "own-h1") and "h1.nii.gz" in failure.why
    mask.write_bytes(whole)
    rows = evaluate(manifest, [CLASSIC], tmp_path / "out", RULES)["threshold_islands"]
    assert {r["case"] for r in rows} == {"own-h0", "own-h1", "own-h2"} and not kept_failures(tmp_path / "out")


def test_somebody_who_can_judge_no_case_is_named(tmp_path: Path) -> None:
    broken = Contestant("sam", "command", "sh -c 'echo no weights >&2; exit 3' {ct} {out}")
    with pytest.raises(InputError, match="sam could judge no case; own-h0 first: the command ended with 3: no weights"):
        evaluate(tiny_set(tmp_path, 2), [broken], tmp_path / "out", RULES)


COMMAND = """
import sys
import SimpleITK as sitk
ct, out = sys.argv[1:]
image = sitk.ReadImage(ct)
sitk.WriteImage(sitk.Cast((image > 50) & (image < 100), sitk.sitkUInt8), out)
"""


def test_a_command_is_judged_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "peer.py").write_text(COMMAND)
    peer = Contestant("medsam2", "command", f"{sys.executable} {tmp_path / 'peer.py'} {{ct}} {{out}}")
    rows = evaluate(tiny_set(tmp_path, 2), [peer], tmp_path / "out", Rules(rounds=1))["medsam2"]
    assert [(r["case"], r["round"]) for r in rows] == [("own-h0", 1), ("own-h1", 1)]
    assert min(r["dice"] for r in rows) > 0.8


def test_workers_give_the_same_figures(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, 3)
    alone, shared = (
        {
            (r["case"], r["round"]): r["dice"]
            for r in evaluate(manifest, [CLASSIC], tmp_path / str(n), RULES, workers=n)["threshold_islands"]
        }
        for n in (0, 2)
    )
    assert alone == shared and len(alone) == 6


def test_no_volume_outlives_its_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, alive, most = tiny_set(tmp_path, 6), [], []
    load = runner.load_entry

    def watched(*arguments: Any) -> Any:
        gc.collect()
        most.append(sum(reference() is not None for reference in alive))
        loaded = load(*arguments)
        alive.append(weakref.ref(loaded.volume))
        return loaded

    monkeypatch.setattr(runner, "load_entry", watched)
    evaluate(manifest, [CLASSIC], tmp_path / "out", RULES)
    assert len(most) == 6 and max(most) <= 1


def test_folds_can_be_chosen_and_each_fold_has_its_own_weights(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, 4)
    results = evaluate(manifest, [STAND_IN], tmp_path / "out", RULES, folds=[1])
    assert {r["fold"] for r in results["ours"]} == {1}
    source = str(tmp_path / "fold-{fold}" / "weights.pt")
    with pytest.raises(InputError, match=r"net: weights.pt of fold 0 cannot be read; train that fold first"):
        evaluate(manifest, [Contestant("net", "weights", source)], tmp_path / "two", RULES)


def test_nobody_is_judged_on_what_he_learned_from(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, 4)
    record = {"learned_from": learned_from(manifest, 0)}
    save_checkpoint(tmp_path / "ours.pt", replace(tiny_checkpoint(), training=record))
    network = make_peer(PeerConfig.named("slex-net", size="tiny", roi=(8, 32, 32)))
    save_peer(tmp_path / "peer.pt", network.config, network.state_dict(), record)
    for name in ("ours", "peer"):
        one = Contestant(name, "weights", str(tmp_path / f"{name}.pt"))
        with pytest.raises(InputError, match=f"{name}: the weights for fold 1 were trained without fold 0"):
            evaluate(manifest, [CLASSIC, one], tmp_path / "out", RULES)
        assert not (tmp_path / "out").exists()  # found before anybody was judged
        check_held_out(one, manifest, [0])
        check_held_out(one, with_folds(manifest, 4), range(4))  # other folds: found CT by CT


def test_a_ct_that_was_learned_from_is_known_by_its_values_whatever_its_name_and_fold(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path / "before", 4)
    digest = read_volume(manifest.path(manifest.entries[1].image)).digest()
    save_checkpoint(tmp_path / "ours.pt", replace(tiny_checkpoint(), training={"cts": [digest]}))
    network = make_peer(PeerConfig.named("slex-net", size="tiny", roi=(8, 32, 32)))
    save_peer(tmp_path / "peer.pt", network.config, network.state_dict(), {"cts": [digest]})
    later = with_folds(tiny_set(tmp_path / "after", 4, name="later"), 4)
    for name in ("ours", "peer"):
        one = Contestant(name, "weights", str(tmp_path / f"{name}.pt"))
        rows = evaluate(later, [one], tmp_path / "out", Rules(rounds=1))[name]
        assert {row["case"] for row in rows} == {"later-h0", "later-h2", "later-h3"}
        (failure,) = kept_failures(tmp_path / "out")
        assert failure.case == "later-h1" and f"the weights of {name} have learned from this CT" in failure.why


def test_a_case_whose_mask_was_corrected_is_judged_again(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, 2)
    before = evaluate(manifest, [CLASSIC], tmp_path / "out", RULES)["threshold_islands"]
    mask = manifest.path(manifest.entries[1].mask)
    image = sitk.ReadImage(str(mask))
    image[0:1, 0:1, 0:8] = 1
    sitk.WriteImage(image, str(mask))
    after = evaluate(manifest, [CLASSIC], tmp_path / "out", RULES)["threshold_islands"]
    strip = [[row for row in rows if row["case"] == "own-h0"] for rows in (before, after)]
    assert len(after) == len(before) and strip[0] == strip[1]
    changed = [[row["truth_ml"] for row in rows if row["case"] == "own-h1"] for rows in (before, after)]
    assert min(changed[1]) > max(changed[0])


def test_rounds_below_one_are_refused() -> None:
    with pytest.raises(InputError, match="--rounds is 0; it must be 1 or more"):
        Rules(rounds=0)


def test_figures_of_other_rules_or_weights_are_not_mixed(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, 2)
    evaluate(manifest, [STAND_IN], tmp_path / "out", RULES)
    for rules, one in ((Rules(rounds=3), STAND_IN), (RULES, Contestant("ours", "random_walker"))):
        what = "setup" if rules is not RULES else "contestant"
        with pytest.raises(InputError, match=f"ours.jsonl was begun with another {what}; take another folder"):
            evaluate(manifest, [one], tmp_path / "out", rules)


def test_the_last_mask_of_a_case_is_kept_as_it_was(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, 2)
    results = evaluate(manifest, [CLASSIC], tmp_path / "out", RULES)
    last = [r for r in results["threshold_islands"] if r["case"] == "own-h0"][-1]
    mask = kept_mask(mask_path(tmp_path / "out", "threshold_islands", "own-h0"))
    assert mask.sum() * 5 / 1000 == pytest.approx(last["mask_ml"])
    odd = np.random.default_rng(0).random((3, 5, 7)) < 0.5
    keep_mask(tmp_path / "m.npz", odd)
    assert np.array_equal(kept_mask(tmp_path / "m.npz"), odd)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("weights", ("weights", "weights", "")),
        ("mine=weights:runs/f{fold}/weights.pt", ("mine", "weights", "runs/f{fold}/weights.pt")),
        ("sam=python:my.module:make", ("sam", "python", "my.module:make")),
        ("nn=command:run --ct {ct} --out {out}", ("nn", "command", "run --ct {ct} --out {out}")),
    ],
)
def test_contestants_are_named_in_a_line(text: str, parts: tuple[str, str, str]) -> None:
    assert Contestant.parse(text) == Contestant(*parts)


@pytest.mark.parametrize(
    ("text", "says"),
    [("x=magic", "must be one of"), ("a/b=weights", "cannot name a file"), ("x=command", "a command without one")],
)
def test_contestants_that_cannot_be_are_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Contestant.parse(text)


def test_the_ledger_of_a_study_says_what_was_judged(tmp_path: Path) -> None:
    evaluate(tiny_set(tmp_path, 2), [STAND_IN], tmp_path / "out", RULES)
    first, second = map(json.loads, (tmp_path / "out" / "ours.jsonl").read_text().splitlines()[:2])
    assert first["setup"]["rounds"] == 2 and first["setup"]["reader"]["hand"] == "line"
    assert second == ["agreed: who:", "python:workbench.tiny_sets:stand_in"]


def test_folds_are_judged_as_they_are_trained_and_not_with_other_weights(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, 2)
    ours = Contestant("ours", "weights", str(tmp_path / "fold-{fold}.pt"))
    for fold in (0, 1):
        save_checkpoint(tmp_path / f"fold-{fold}.pt", tiny_checkpoint(fold))
    first = evaluate(manifest, [ours], tmp_path / "out", Rules(rounds=1, device="cpu"), folds=[1])["ours"]
    both = evaluate(manifest, [ours], tmp_path / "out", Rules(rounds=1, device="cpu"))["ours"]
    assert {r["fold"] for r in first} == {1} and {r["fold"] for r in both} == {0, 1}
    assert [r for r in both if r["fold"] == 1] == first  # as they were, times included
    save_checkpoint(tmp_path / "fold-1.pt", tiny_checkpoint(7))
    with pytest.raises(InputError, match="ours.jsonl was begun with another contestant for fold 1"):
        evaluate(manifest, [ours], tmp_path / "out", Rules(rounds=1, device="cpu"))


def test_a_manifest_that_was_split_anew_is_judged_anew(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, 4)
    evaluate(manifest, [CLASSIC], tmp_path / "out", RULES)
    again = with_folds(manifest, 4, seed=1)
    rows = evaluate(again, [CLASSIC], tmp_path / "out", RULES)["threshold_islands"]
    assert {(r["case"], r["fold"]) for r in rows} == {(e.case, e.fold) for e in again.entries}
    assert len(rows) == 4 * RULES.rounds


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (MemoryError(), "MemoryError"),
        (RuntimeError("no kernel\nfor this"), "RuntimeError: no kernel for this"),
        (FileNotFoundError(2, "No such file", "/scans/Miller, Ann/ct.nii.gz"), "FileNotFoundError"),
    ],
)
def test_why_a_case_failed_is_said_without_a_path(monkeypatch, error, why):
    def fails(job):
        raise error

    monkeypatch.setattr(runner, "judge", fails)
    assert runner.judge_or_say_why(None) == why
