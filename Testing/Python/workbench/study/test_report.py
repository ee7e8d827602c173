"""The report: the papers' tables in their layout, published figures marked, pictures, one CSV."""

from __future__ import annotations

import csv
import hashlib
import math
from typing import Any

import pytest

from ichhpinet_workbench.study import published
from ichhpinet_workbench.study.contestants import Contestant
from ichhpinet_workbench.study.failures import Failure, keep_failures
from ichhpinet_workbench.study.names import label
from ichhpinet_workbench.study.report import Results, Study, hard_cases, markdown, not_comparable, write_report
from ichhpinet_workbench.study.runner import Rules, evaluate
from ichhpinet_workbench.study.tables import (
    LAMBDAS,
    LOSSES,
    Cost,
    effort_table,
    hemseg_table,
    intervals_table,
    methods_table,
    rounds_table,
    volume_table,
)
from workbench.tiny_sets import tiny_set

CONTESTANTS = [
    Contestant("ichhpinet", "python", "workbench.tiny_sets:stand_in"),
    Contestant("threshold_islands", "threshold_islands"),
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Six cases with blood, one without, two methods, two rounds."""
    root = tmp_path_factory.mktemp("set")
    manifest = tiny_set(root, 6, clean=1)
    results = evaluate(manifest, CONTESTANTS, root / "out", Rules(rounds=2))
    return Study(manifest, results, root / "out", "ichhpinet", {"ichhpinet": Cost(3.98, 55.0)})


@pytest.mark.parametrize(
    ("table", "rows", "columns"),
    [("TABLE_1", 7, 8), ("TABLE_2", 4, 8), ("TABLE_3", 9, 8), ("TABLE_4", 10, 8), ("TABLE_5", 4, 8), ("TABLE_6", 4, 8)],
)
def test_the_published_tables_are_whole(table: str, rows: int, columns: int) -> None:
    lines = published.lines(getattr(published, table))
    assert len(lines) == rows
    assert {sum(len(group) for group in line.groups) for line in lines} == {columns}


def test_published_figures_are_word_for_word() -> None:
    ours = published.lines(published.TABLE_1)[-1]
    assert ours.name == "ICH-HPINet" and ours.groups[0] == (
        "0.7797 ± 0.021",
        "0.6532 ± 0.018",
        "3.59 ± 0.32",
        "0.0035 ± 0.0004",
    )
    assert published.lines(published.TABLE_5)[0].groups[0][:2] == ("0.6133", "0.7763")
    assert published.lines(published.TABLE_HEMSEG)[-1].groups[0] == ("78.99 [73.21, 83.86]",)
    assert published.lines(published.TABLE_3)[6].groups[0][2] == "3.62 ± 0.33"
    tables = [getattr(published, name) for name in sorted(vars(published)) if name.startswith(("TABLE_", "COSTS"))]
    cells = "\n".join(
        " ".join((line.name, *sum(line.groups, ()))) for table in tables for line in published.lines(table)
    )
    assert (
        hashlib.sha256(cells.encode()).hexdigest()[:16] == "aa583cb034ae731e"
    )  # compared with the papers cell by cell


def test_the_methods_table_has_ours_theirs_and_who_has_only_been_published(study: Study) -> None:
    text = methods_table(study.results, 2, published.TABLE_1, study.costs)
    rows = {line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in text.splitlines()[2:]}
    assert len({len(cells) for cells in rows.values()}) == 1
    assert " ± " in rows["ICH-HPINet"][0] and rows["ICH-HPINet"][4] == "**0.7797 ± 0.021**"
    assert rows["MedSAM2"][:4] == ["–"] * 4 and rows["MedSAM2"][8] == "<ins>0.6978 ± 0.027</ins>"
    assert rows["SAMIHS"][4] == "<ins>0.6681 ± 0.026</ins>" and rows["SAMed"][7] == "0.0064 ± 0.0008"
    assert rows["ICH-HPINet"][7] == "**0.0035 ± 0.0004**" and rows["SAMIHS"][7] == "<ins>0.0042 ± 0.0005</ins>"  # ↓
    assert rows["ICH-HPINet"][-4:] == ["55", "3.98", "325.32G", "317.20.4M"]


def test_variants_are_found_by_their_names_and_rows_keep_the_papers_order(study: Study) -> None:
    rows = study.results["ichhpinet"]
    text = methods_table({"lambda-3-3-4": rows, "mine": rows}, 2, published.TABLE_4, first=LAMBDAS)
    assert text.startswith("| lambda 1 | lambda 2 | lambda 3 | Dice↑ | Jaccard↑ | HD↓ mm | MAE↓ | published private")
    first = [[cell.strip() for cell in line.split("|")[1:4]] for line in text.splitlines()[2:]]
    assert first[5] == ["3", "3", "4"] and first[-2:] == [["7", "1", "2"], ["mine", "", ""]] and len(first) == 11
    assert " ± " in text.splitlines()[2 + 5].split("|")[4]
    assert {line.count("|") for line in text.splitlines()} == {3 + 12 + 1}


def test_weights_of_two_losses_stand_in_two_columns(study: Study) -> None:
    rows = study.results["ichhpinet"]
    text = methods_table({"ce-1-dice-1": rows}, 2, published.TABLE_3, first=LOSSES)
    assert text.startswith("| Cross entropy | Dice loss | Dice↑ |")
    assert " ± " in next(line for line in text.splitlines() if line.startswith("| 1.0 | 1.0 | ")).split("|")[3]
    assert "**" not in text.splitlines()[2 + 4].split("|")[3]  # one value is no best


def test_names_are_known_however_they_are_spelt_and_two_of_one_name_keep_their_own(study: Study) -> None:
    assert label("medsam2") == label("MEDSAM2") == "MedSAM2" and label("nobody-knows") == "nobody-knows"
    rows = study.results["ichhpinet"]
    first = [line.split("|")[1].strip() for line in table_lines({"medsam2": rows})]
    assert first.count("MedSAM2") == 1 and "medsam2" not in first and len(first) == 7
    both = {"ichhpinet": rows, "weights": rows}
    first = [line.split("|")[1].strip() for line in table_lines(both)]
    assert {"ichhpinet", "weights", "ICH-HPINet"} <= set(first) and len(first) == 9
    assert [line.split("|")[1].strip() for line in intervals_table(both, "dice").splitlines()[2:]] == list(both)


def table_lines(results: Results) -> list[str]:
    """The rows of Table 1."""
    return methods_table(results, 2, published.TABLE_1).splitlines()[2:]


def test_the_interaction_tables_show_rounds_and_the_published_line(study: Study) -> None:
    text = rounds_table(study.results, published.TABLE_5)
    assert text.splitlines()[0] == "| Method | Number of interactions | 1 | 2 |"
    assert "| ICH-HPINet, published | Dice↑ | 0.6133 | 0.7763 |" in text


def a_row(case: str, number: int, dice: float, **more: float) -> dict[str, Any]:
    """Of one round."""
    row = {"case": case, "patient": case, "fold": 0, "round": number, "painted": 1, "dice": dice, "seconds": 2.0}
    return row | {"mask_ml": 4.0, "truth_ml": 5.0, "error_ml": -1.0} | more


def test_the_interaction_table_of_eight_rounds_has_the_whole_published_line() -> None:
    more = {"jaccard": 0.5, "hausdorff_mm": 3.0, "mae": 0.001}
    rows = [a_row("a", number, number / 10, **more) for number in range(1, 9)]
    text = rounds_table({"ichhpinet": rows}, published.TABLE_6)
    heads, _, *lines = ([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines())
    assert heads == ["Method", "Number of interactions", *"12345678"] and len(lines) == 8
    assert lines[0] == ["ICH-HPINet", "Dice↑", *(f"{number / 10:.4f}" for number in range(1, 9))]
    for line, published_line in zip(lines[4:], published.lines(published.TABLE_6), strict=True):
        assert line == ["ICH-HPINet, published", published_line.name, *published_line.groups[0]]
    assert lines[4][2:] == "0.6156 0.7163 0.7470 0.7631 0.7720 0.7856 0.7968 0.8065".split()


def test_effort_and_volumes_are_those_of_the_rows() -> None:
    rows = [a_row("a", 1, 0.8), a_row("a", 2, 0.95, painted=1, seconds=4.0), a_row("a", 3, 0.95, painted=0)]
    rows += [a_row("b", n, 0.1, mask_ml=0.0, error_ml=3.0, painted=int(n < 3)) for n in (1, 2, 3)]
    rows += [a_row("c", n, 0.91, error_ml=1.0, painted=int(n < 2)) for n in (1, 2, 3)]
    heads, line = effort_table({"random_walker": rows}).splitlines()[::2]
    assert heads.count("|") == line.count("|")
    # 5 rounds painted in 3 cases; their seconds are 2, 4, 2, 2, 2
    assert line == "| Random walker | 2 of 3 | 2 | 1.7 | 2.00 s | 1 of 3 |"
    never = effort_table({"x": [a_row("a", 1, 0.5), a_row("a", 2, 0.6)]}).splitlines()[2]
    assert "| 0 of 1 | more than 2 |" in never
    spread = 1.96 * math.sqrt(((-1 - 1) ** 2 + (3 - 1) ** 2 + (1 - 1) ** 2) / 2)
    expected = f"| Random walker | 1.67 | +1.00 | {1 - spread:+.2f} to {1 + spread:+.2f} |"
    assert volume_table({"random_walker": rows}, 3).splitlines()[2] == expected


def test_cases_that_could_not_be_judged_are_counted(study: Study) -> None:
    keep_failures(study.out, [Failure("ichhpinet", "own-h9", "its mask is cut"), Failure("ichhpinet", "own-h8", "x")])
    text = markdown(study)
    assert "| ICH-HPINet | 2 | own-h9: its mask is cut |" in text and "the same command tries them again" in text
    keep_failures(study.out, [])
    assert "could not be judged" not in markdown(study)


def test_the_hemseg_table_has_intervals_and_all_their_models(study: Study) -> None:
    text = hemseg_table(study.results, 2)
    assert "| nnU-Net | – | – | – | 78.99 [73.21, 83.86] |" in text
    assert text.splitlines()[2].count("[") == 3


def test_what_differs_is_marked_as_not_comparable() -> None:
    assert "other data: not comparable" in not_comparable({"own"})
    assert "same data, other evaluation" in not_comparable({"physionet-ct-ich"})


def test_samples_of_table_six_are_the_hard_half_unless_named(study: Study) -> None:
    rows = study.results["ichhpinet"]
    first = {row["case"]: row["dice"] for row in rows if row["round"] == 1}
    hard = hard_cases(rows)
    assert len(hard) == 3 and max(first[c] for c in hard) <= min(d for c, d in first.items() if c not in hard)


def test_the_report_is_written_with_its_csv_and_its_pictures(study: Study) -> None:
    path = write_report(study)
    text = path.read_text(encoding="utf-8")
    for heading in (
        "Table 1",
        "Table 2",
        "Table 3",
        "Table 4",
        "Table 5",
        "Table 6",
        "HemSeg-200's Table 1",
        "Tests after round 2",
        "Worst cases",
    ):
        assert heading in text
    assert "7 cases (6 with blood) of 7 patients in 2 folds: own." in text
    assert "Proposed without a stroke" in text and "diagonal" in text
    for name in ("rounds.png", "bland-altman.png", "worst-ichhpinet.png", "worst-threshold_islands.png"):
        assert (study.out / name).read_bytes()[:4] == b"\x89PNG"
        assert name in text
    with (study.out / "rounds.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(found) for found in study.results.values())


def test_a_study_without_a_round_still_reports(study: Study) -> None:
    only = {name: [row for row in rows if row["round"] == 0] for name, rows in study.results.items()}
    text = markdown(Study(study.manifest, only, study.out, "ichhpinet"))
    assert "Table 1" not in text and "Proposed without a stroke" in text
