"""`ichhpinet bench`: the same strokes for all, a fresh process for each, and tables that say what was measured."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ichhpinet.errors import InputError
from ichhpinet_workbench import bench
from ichhpinet_workbench.bench import case as cases
from ichhpinet_workbench.bench import command, measure, table

SPACING_MM = (5.0, 4.0, 4.0)


@pytest.fixture
def head() -> cases.Head:
    """A ball of 70 HU in brain of 30 HU: 12 slices of 40 x 40."""
    z, y, x = np.ogrid[:12, :40, :40]
    truth = ((z - 6) * 5.0) ** 2 + ((y - 20) * 4.0) ** 2 + ((x - 18) * 4.0) ** 2 <= 20.0**2
    hu = np.where(truth, 70.0, 30.0).astype(np.float32)
    return cases.Head(hu, truth, SPACING_MM)


def _row(**changed: Any) -> dict[str, Any]:
    row = {
        "method": "ichhpinet",
        "device": "cpu",
        "shape": [32, 512, 512],
        "open_s": 1.5,
        "rounds_s": [0.9, 0.5, 0.7, 0.6, 0.8],
        "slices_touched": [1, 1, 4, 1, 4],
        "dice": [0.5, 0.6, 0.7, 0.75, 0.8],
        "peak_gib": 1.25,
        "gpu_gib": None,
    }
    return {**row, **changed}


def test_each_round_touches_the_slices_it_is_asked_to_and_paints_the_right_side(head: cases.Head) -> None:
    case = cases.with_strokes(head, (1, 1, 4))
    assert case.slices_touched == (1, 1, 4)
    for foreground, background in case.rounds:
        assert foreground.size and background.size
        assert head.truth.reshape(-1)[foreground].all() and not head.truth.reshape(-1)[background].any()


def test_the_strokes_are_the_same_every_time(head: cases.Head) -> None:
    first, second = (cases.with_strokes(head, (1, 4)).rounds for _ in range(2))
    for one, two in zip(first, second, strict=True):
        assert np.array_equal(one[0], two[0]) and np.array_equal(one[1], two[1])


@pytest.mark.parametrize("slices", [4, 12, 48])
def test_a_head_cut_into_other_slices_keeps_its_size_and_its_haemorrhage(head: cases.Head, slices: int) -> None:
    cut = cases.cut_into(head, slices)
    assert cut.hu.shape == cut.truth.shape == (slices, 40, 40)
    assert cut.spacing_mm[0] * slices == pytest.approx(60.0)
    assert cut.truth.sum() * cut.spacing_mm[0] == pytest.approx(head.truth.sum() * 5.0, rel=0.3)


def test_a_case_survives_its_file(head: cases.Head, tmp_path: Path) -> None:
    case = cases.with_strokes(head, (1, 2))
    case.save(tmp_path / "case.npz")
    back = cases.Case.load(tmp_path / "case.npz")
    assert (back.head.hu == head.hu).all() and (back.head.truth == head.truth).all()
    assert back.head.spacing_mm == head.spacing_mm and back.slices_touched == case.slices_touched
    assert all(np.array_equal(back.rounds[i][k], case.rounds[i][k]) for i in range(2) for k in range(2))


def test_another_method_sees_all_strokes_so_far(head: cases.Head, monkeypatch: pytest.MonkeyPatch) -> None:
    baselines = pytest.importorskip("ichhpinet_workbench.baselines")
    seen: list[int] = []

    def painted(volume: Any, foreground: Any, background: Any) -> Any:
        seen.append(int(foreground.sum()))
        return foreground

    monkeypatch.setattr(baselines, "threshold_islands", painted)
    monkeypatch.setattr(measure, "_warm_up", lambda segment: None)
    row = measure.measure(cases.with_strokes(head, (1, 1, 4)), "threshold_islands", "cpu", None)
    assert seen == sorted(seen) and seen[0] < seen[-1]
    assert row["dice"] == sorted(row["dice"]) and len(row["rounds_s"]) == 3 and row["open_s"] is None


def benched(out: Path, *options: str) -> int:
    """The exit code of `bench`."""
    parser = argparse.ArgumentParser()
    bench.register(parser.add_subparsers())
    arguments = parser.parse_args(["bench", "--out", str(out), *options])
    return int(arguments.run(arguments))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoint", "absent.pt"], "absent.pt"),
        (["--threads", "0"], "--threads is 0; it must be 1 or more"),
        (["--growth", "8", "-1"], "--growth is 8 -1"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is(
    tmp_path: Path, options: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        benched(tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_a_method_that_fails_keeps_its_row_and_says_why(
    head: cases.Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "small_head", lambda size: head)
    monkeypatch.setattr(command, "load_checkpoint", lambda path: None)  # gone by the time it is measured
    options = ["--slices", "12", "--growth", "8", "--checkpoint", str(tmp_path / "absent.pt")]
    assert benched(tmp_path, *options, "--methods", "ichhpinet", "threshold_islands") == 1
    written = json.loads((tmp_path / "bench.json").read_text())
    ours, peer = written["comparison"]
    assert ours["method"] == "ichhpinet" and ours["failed"]
    assert peer["method"] == "threshold_islands" and len(peer["rounds_s"]) == 3 and peer["peak_gib"] > 0
    assert written["growth"][0]["shape"] == [8, 40, 40]
    assert ours["failed"] in (tmp_path / "bench.md").read_text()


def test_the_table_shows_the_middle_and_the_slowest_round() -> None:
    text = table.markdown({"processor": "one"}, [_row()], [_row(shape=[400, 512, 512])])
    assert "| ICHHPINet, compact | 512x512x32 | 1.50 | 0.90 | 0.55 (at most 0.60) | 0.75 (at most 0.80) |" in text
    assert "| 400 | 1.50 | 0.90 | 0.65 (at most 0.80) | 2 | 1.25 |" in text
    assert "0.50, 0.80" in text and text.startswith("processor: one.")


def test_the_table_names_the_gpu_and_leaves_no_figure_that_was_not_measured() -> None:
    failed = {"method": "random_walker", "device": "cpu", "shape": [32, 512, 512], "failed": "stopped after 3600 s"}
    text = table.markdown({}, [_row(device="cuda", gpu_gib=0.75), failed], [])
    assert "ICHHPINet, compact, GPU" in text and "1.25 + 0.75 on the GPU" in text
    assert "| random walker | 512x512x32 | - | - | - | - | - | stopped after 3600 s |" in text


def test_the_machine_is_described_with_its_threads_and_versions() -> None:
    described = table.machine(threads=2)
    assert described["threads"] == "2" and "torch" in described["versions"] and described["processor"]
    assert measure.peak_memory_gib() is None or measure.peak_memory_gib() > 0.01
