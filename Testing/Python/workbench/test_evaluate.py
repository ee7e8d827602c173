"""Judging: what is scored, what a stroke did, what is kept on disk, and the tables made of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ichhpinet.errors import InputError
from ichhpinet_workbench import evaluate as judging
from ichhpinet_workbench import report
from ichhpinet_workbench.baselines import METHODS
from ichhpinet_workbench.baselines.session import ClassicPredictor
from ichhpinet_workbench.effects import effects
from ichhpinet_workbench.evaluate import COLUMNS, Contestant, Setup, judge, read_rows
from ichhpinet_workbench.report import (
    below_table,
    dice_table,
    drop_table,
    drops,
    group_table,
    heard_table,
    interval,
    markdown,
    proposal_table,
)
from ichhpinet_workbench.rounds import Reader, Turn, play
from workbench.stand_in import StandIn, loaded, some_cases

SETUP = Setup(rounds=3, identity="stand-in")


def evaluate(predictor, cases, file, load, setup):
    """Rows of one contestant alone."""
    return judging.evaluate({"one": Contestant(predictor, file, setup)}, cases, load)["one"]


def turn(before: np.ndarray, mask: np.ndarray, foreground: np.ndarray, background: np.ndarray) -> Turn:
    return Turn(2, foreground, background, before, mask, 0.1)


def test_every_case_gets_round_zero_and_its_rounds(tmp_path):
    cases = some_cases()
    rows = evaluate(StandIn(), cases, tmp_path / "a.csv", loaded, SETUP)
    for case in cases:
        rounds = [row["round"] for row in rows if row["case"] == case.name]
        assert rounds == ([0, 1, 2, 3] if case.kinds else [0])
    assert all(set(row) <= set(COLUMNS) for row in rows)
    final = [row["dice"] for row in rows if row["round"] == 3]
    assert min(final) > 0.8


def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    cases, file, predictor = some_cases(), tmp_path / "a.csv", StandIn()
    evaluate(predictor, cases[:2], file, loaded, SETUP)
    assert predictor.opened == 2
    whole = evaluate(predictor, cases, file, loaded, SETUP)
    assert predictor.opened == 4
    again = evaluate(predictor, cases, file, loaded, SETUP)
    assert predictor.opened == 4
    assert [row["case"] for row in again] == [row["case"] for row in whole]
    assert np.allclose([row["dice"] for row in again], [row["dice"] for row in whole], atol=1e-5, equal_nan=True)


def test_a_case_is_loaded_once_for_all_and_not_at_all_when_it_is_known(tmp_path):
    asked = []

    def load(case):
        asked.append(case.name)
        return loaded(case)

    classic = ClassicPredictor(METHODS["threshold_islands"])
    contestants = {
        "network": Contestant(StandIn(), tmp_path / "a.csv", SETUP),
        "classic": Contestant(classic, tmp_path / "b.csv", SETUP),
    }
    first = judging.evaluate(contestants, some_cases(1), load)
    assert asked == ["r1", "n1"]
    assert {row["case"] for row in first["network"]} == {"r1", "n1"}
    assert {row["case"] for row in first["classic"]} == {"r1"}
    judging.evaluate(contestants, some_cases(1), load)
    assert asked == ["r1", "n1"]


def test_rows_of_another_setup_are_not_mixed_in(tmp_path):
    file = tmp_path / "a.csv"
    evaluate(StandIn(), some_cases(1), file, loaded, SETUP)
    with pytest.raises(InputError, match="another setup"):
        evaluate(StandIn(), some_cases(1), file, loaded, Setup(rounds=3, identity="other weights"))
    with pytest.raises(InputError, match="another setup"):
        evaluate(StandIn(), some_cases(1), file, loaded, Setup(rounds=3, reader=Reader("dots"), identity="stand-in"))


def test_a_file_without_a_row_may_be_begun_with_another_setup_and_a_damaged_one_is_named(tmp_path):
    file = tmp_path / "a.csv"
    judging.evaluate({"a": Contestant(StandIn(), file, Setup(rounds=80))}, (), loaded)
    evaluate(StandIn(), some_cases(1), file, loaded, SETUP)
    file.write_text(file.read_text()[:-30])
    with pytest.raises(InputError, match=r"a.csv is damaged at line \d+; delete it"):
        evaluate(StandIn(), some_cases(1), file, loaded, SETUP)


def test_what_is_written_is_what_was_measured(tmp_path):
    file = tmp_path / "a.csv"
    rows = evaluate(StandIn(), some_cases(1), file, loaded, SETUP)
    for written, measured in zip(read_rows(file), rows, strict=True):
        for key, value in measured.items():
            assert written[key] == value or np.isclose(written[key], value, rtol=1e-5, equal_nan=True)


def test_a_classic_method_is_judged_through_the_same_door(tmp_path):
    predictor = ClassicPredictor(METHODS["threshold_islands"])
    rows = evaluate(predictor, some_cases(2), tmp_path / "a.csv", loaded, SETUP)
    assert {row["round"] for row in rows} == {1, 2, 3}
    assert {row["kind"] for row in rows} == {"IPH", "IVH"}


def test_all_methods_get_the_same_first_strokes():
    case = loaded(some_cases()[0])
    firsts = []
    for predictor in (StandIn(), ClassicPredictor(METHODS["threshold_islands"])):
        session = predictor.open(case.volume)
        firsts.append(next(iter(play(session, case.volume, case.truth, case.brain, 1, 9, Reader()))))
    assert np.array_equal(firsts[0].foreground, firsts[1].foreground) and firsts[0].foreground.any()
    assert np.array_equal(firsts[0].background, firsts[1].background) and firsts[0].background.any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_strokes_lie_in_the_views_that_are_asked_for(axis):
    case = loaded(some_cases()[0])
    session = StandIn().open(case.volume)
    turn = next(iter(play(session, case.volume, case.truth, case.brain, 1, 9, Reader(axis=axis))))
    for painted in (turn.foreground, turn.background):
        assert len(np.unique(np.nonzero(painted)[axis])) == 1


def test_a_satisfied_radiologist_leaves_the_mask_alone():
    class Perfect:
        def __init__(self, truth: np.ndarray) -> None:
            self.truth, self.calls = truth, 0

        def refine(self, scribbles):
            self.calls += 1
            return self.__class__.Result(self.truth)

        class Result:
            def __init__(self, mask):
                self.mask = mask

    case = loaded(some_cases()[0])
    session = Perfect(case.truth)
    turns = list(play(session, case.volume, case.truth, case.brain, 4, 0, Reader()))
    assert session.calls == 1
    assert [t.painted for t in turns] == [True, False, False, False]
    assert np.array_equal(turns[-1].mask, case.truth)


def test_a_stroke_is_credited_with_its_own_component_and_not_with_its_own_paint():
    truth, mask = np.zeros((3, 10, 20), bool), np.zeros((3, 10, 20), bool)
    truth[0:2, 2:6, 2:6] = True  # missed, 32 voxels
    truth[1, 2:6, 12:16] = True  # missed elsewhere
    before, stroke = mask.copy(), mask.copy()
    stroke[1, 3, 3:5] = True
    mask[1, 2:6, 2:6] = True
    found = effects(turn(before, mask, stroke, np.zeros_like(mask)), truth, (5.0, 0.5, 2.0))
    assert found["missed_slice"] == 1.0
    assert found["missed_3d"] == pytest.approx(14 / 30)
    assert found["missed_depth_mm"] == 1.0  # two rows of 0.5 mm from the border, what was painted counted
    assert math.isnan(found["extra_3d"]) and math.isnan(found["extra_depth_mm"])


def test_a_background_stroke_is_credited_with_what_it_removes():
    truth = np.zeros((1, 10, 10), bool)
    before, stroke, mask = truth.copy(), truth.copy(), truth.copy()
    before[0, 2:6, 2:6] = True
    stroke[0, 2, 2:6] = True
    mask[0, 4:6, 2:6] = True
    found = effects(turn(before, mask, np.zeros_like(mask), stroke), truth, (5.0, 1.0, 1.0))
    assert found["extra_slice"] == found["extra_3d"] == pytest.approx(4 / 12)
    assert found["extra_depth_mm"] == 2.0


def test_rounds_that_do_harm_are_found():
    rows = [{"case": "a", "round": n, "dice": value} for n, value in ((0, 0.9), (1, 0.8), (2, 0.76), (3, 0.74))]
    assert drops(rows) == [("a", 2, 0.8, 0.76)]


def a_row(case, dice, **about):
    """A row after round 3."""
    return {"case": case, "round": 3, "dice": dice, "truth_ml": 3.0, "contrast_hu": 12.0, "spacing_z_mm": 5.0} | about


def test_cases_fall_into_the_classes_of_volume_in_their_order():
    volumes = (30.0, 0.99, 1.0, 4.9, 5.0)
    rows = [a_row(str(ml), ml / 100, truth_ml=ml) for ml in volumes]
    classes = report.classed({"ichhpinet": [*rows, a_row("none", math.nan, truth_ml=0.0)]}, "volume")
    lines = group_table(classes, "volume").splitlines()[2:]
    assert [line.split(" | ")[0].strip("| ") for line in lines] == ["< 1 ml", "1–5 ml", "5–30 ml", "> 30 ml"]
    assert [line.split(" | ")[1] for line in lines] == ["1", "2", "1", "1"]


def test_cases_that_another_method_does_clearly_better_are_named():
    results = {
        "ichhpinet": [a_row("good", 0.80), a_row("near", 0.80), a_row("bad", 0.80)],
        "random_walker": [a_row("good", 0.70), a_row("near", 0.815), a_row("bad", 0.90)],
    }
    text = below_table(results)
    assert "1 of 3" in text and "| bad | 0.800 | 0.900 | Random walker |" in text and "near" not in text
    assert below_table({"ichhpinet": results["ichhpinet"]}) == ""


def test_the_interval_holds_the_mean_and_ignores_what_is_not_a_number():
    mean, low, high = interval([0.5, 0.7, 0.9, math.nan])
    assert mean == pytest.approx(0.7) and 0.5 <= low < mean < high <= 0.9
    assert interval([0.5, 0.7, 0.9, 0.2]) == interval([0.9, 0.2, 0.5, 0.7]), "whatever was measured first"
    assert all(math.isnan(value) for value in interval([]))


def test_the_report_names_every_method_and_part(tmp_path):
    results = {
        "ichhpinet": evaluate(StandIn(), some_cases(), tmp_path / "a.csv", loaded, SETUP),
        "random_walker": evaluate(
            ClassicPredictor(METHODS["random_walker"]), some_cases(2), tmp_path / "b.csv", loaded, SETUP
        ),
    }
    text = markdown(results)
    for part in (
        "ICH-HPINet",
        "Random walker",
        "| real |",
        "| IPH |",
        "| 1–5 ml |",
        "| > 20 HU |",
        "| > 4 mm |",
        "| noise |",
        "| kernel |",
        "HD95",
        "missed",
        "Proposed without a stroke",
    ):
        assert part in text
    assert "nan" not in text
    assert dice_table(results).count("[") == 6


def test_a_head_without_blood_is_judged_by_what_is_proposed():
    clean = some_cases()[-1]
    rows = judge(StandIn(), loaded(clean), SETUP)
    assert [row["round"] for row in rows] == [0] and rows[0]["truth_ml"] == 0 and rows[0]["kind"] == "none"
    assert judge(ClassicPredictor(METHODS["random_walker"]), loaded(clean), SETUP) == []


def test_strokes_are_heard_when_enough_of_their_component_is_right_after_the_round() -> None:
    shares = ((0.9, 0.4, 2.5), (0.7, 0.6, 2.0), (0.8, 0.5, 7.0), (math.nan, math.nan, math.nan))
    rows = [{"round": 1, "missed_slice": one, "missed_3d": whole, "missed_depth_mm": d} for one, whole, d in shares]
    lines = heard_table({"ichhpinet": rows}).splitlines()
    assert lines[2] == "| ICH-HPINet | missed | 0.67 / 0.67 (3) |"
    assert lines[3] == "| ICH-HPINet | missed, deep | 1.00 / 0.50 (2) |"
    assert lines[4] == "| ICH-HPINet | extra |  |"
    assert lines[5] == "| ICH-HPINet | extra, deep |  |"


def test_the_report_says_how_many_cases_lose_a_little_and_what_is_proposed_in_large_bleeds() -> None:
    rows = [{"case": "a", "round": n, "dice": d, "painted": 1} for n, d in ((1, 0.9), (2, 0.875), (3, 0.82))]
    rows += [{"case": "b", "round": n, "dice": d, "painted": 1} for n, d in ((1, 0.5), (2, 0.485), (3, 0.9))]
    assert "| ICH-HPINet | 1 of 4 | -0.06 | 1 of 2 |" in drop_table({"ichhpinet": rows})
    proposed = [{"round": 0, "dice": dice, "truth_ml": ml, "mask_ml": ml} for dice, ml in ((0.2, 4.9), (0.8, 5.1))]
    text = proposal_table({"ichhpinet": proposed})
    assert "| ICH-HPINet | 0.500 [0.200, 0.800] | 0.800 [0.800, 0.800] |" in text
