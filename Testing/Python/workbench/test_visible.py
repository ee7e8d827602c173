"""`ichhpinet visible`: what densities give away of a bleed."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ichhpinet.volume import CTVolume
from ichhpinet_workbench import validation, visible
from ichhpinet_workbench.evaluate import COLUMNS
from ichhpinet_workbench.validation import Case, Loaded
from ichhpinet_workbench.visible import NAMES, NEAR_MM, best_dice

SPACING = (5.0, 1.0, 1.0)


def block(contrast: float, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A block of blood in brain of 32 HU."""
    truth = np.zeros((9, 60, 60), bool)
    truth[3:6, 20:36, 20:36] = True
    grain = np.random.default_rng(0).normal(0, noise, truth.shape) if noise else 0.0
    return (32 + contrast * truth + grain).astype(np.float32), truth


def test_a_bleed_that_is_denser_than_all_about_it_is_told_whole() -> None:
    assert best_dice(*block(20.0), SPACING) == (1.0,) * len(NEAR_MM)


def test_a_bleed_of_the_brains_own_density_is_told_by_where_it_was_looked_for_alone() -> None:
    hu, truth = block(0.0)
    away = ndimage.distance_transform_edt(~truth, sampling=SPACING)
    expected = [2 * truth.sum() / (truth.sum() + (away <= near).sum()) for near in NEAR_MM]
    assert best_dice(hu, truth, SPACING) == pytest.approx(expected)


def test_fainter_and_further_tell_less() -> None:
    clear, faint = best_dice(*block(15.0, 8.0), SPACING), best_dice(*block(4.0, 8.0), SPACING)
    assert all(one > other for one, other in zip(clear, faint, strict=True))
    assert list(faint) == sorted(faint, reverse=True)


def test_a_bleed_at_the_edge_of_the_scan_is_looked_at_as_far_as_the_scan_goes() -> None:
    hu, truth = block(20.0)
    assert best_dice(hu[3:6, 20:], truth[3:6, 20:], SPACING) == (1.0,) * len(NEAR_MM)


def test_no_bleed_is_refused() -> None:
    with pytest.raises(ValueError, match="truth is empty"):
        best_dice(np.zeros((3, 4, 4), np.float32), np.zeros((3, 4, 4), bool), SPACING)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(20, 30), st.booleans()), min_size=1, max_size=40))
def test_no_threshold_is_better_than_the_one_that_is_found(voxels: list[tuple[int, bool]]) -> None:
    values = np.array([value for value, _ in voxels], np.float32)
    wanted = np.array([hit for _, hit in voxels])
    each = [2 * (wanted & (values >= low)).sum() / ((values >= low).sum() + wanted.sum()) for low in np.unique(values)]
    assert visible._above(values, wanted, 90.0) == pytest.approx(max(each))


def test_the_command_writes_each_case_and_its_groups_beside_a_methods_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = tuple(Case(name, "synthetic", ("IPH",), 1, SPACING) for name in ("clear", "faint"))
    made = {"clear": block(25.0), "faint": block(8.0, 6.0)}
    monkeypatch.setattr(validation, "validation_cases", lambda: cases)
    monkeypatch.setattr(
        validation,
        "load",
        lambda case, *_: Loaded(case, CTVolume.from_array(made[case.name][0], SPACING), made[case.name][1]),
    )
    dices = {("clear", 1): 0.9, ("clear", 3): 0.95, ("faint", 1): 0.5, ("faint", 3): 0.75}
    lines = [{**dict.fromkeys(COLUMNS, 0), "case": case, "round": n, "dice": dice} for (case, n), dice in dices.items()]
    with (tmp_path / "ichhpinet.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(lines)
    parser = argparse.ArgumentParser()
    visible.register(parser.add_subparsers())
    out = tmp_path / "out"
    arguments = parser.parse_args(["visible", "--out", str(out), "--beside", str(tmp_path / "ichhpinet.csv")])
    assert arguments.run(arguments) == 0

    rows = {row["case"]: row for row in csv.DictReader((out / "visible.csv").open())}
    assert [float(rows["clear"][name]) for name in NAMES] == [1.0] * len(NAMES)
    assert all(0.2 < float(rows["faint"][name]) < 1 for name in NAMES)
    text = (out / "visible.md").read_text(encoding="utf-8")
    assert text == capsys.readouterr().out
    table = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert "round 1 | round 3 |" in table[""] and "round 5" not in table[""]
    assert "0.700" in table["all"] and "0.850" in table["all"] and table["IPH"].startswith("| IPH | 2 |")
    assert "0.500 | 0.750" in table["5–10 HU"] and "0.900 | 0.950" in table["> 20 HU"]
