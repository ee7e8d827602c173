"""The report: the papers' tables in their layout, published figures marked, pictures, one CSV."""

from __future__ import annotations

import csv

import pytest

from ichhpinet_workbench.study import published
from ichhpinet_workbench.study.contestants import Contestant
from ichhpinet_workbench.study.report import Study, hard_cases, markdown, not_comparable, write_report
from ichhpinet_workbench.study.runner import Rules, evaluate
from ichhpinet_workbench.study.tables import Cost, hemseg_table, methods_table, rounds_table
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


def test_the_methods_table_has_ours_theirs_and_who_has_only_been_published(study: Study) -> None:
    text = methods_table(study.results, 2, published.TABLE_1, study.costs)
    rows = {line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in text.splitlines()[2:]}
    assert len({len(cells) for cells in rows.values()}) == 1
    assert " ± " in rows["ICH-HPINet"][0] and rows["ICH-HPINet"][4] == "0.7797 ± 0.021"
    assert rows["MedSAM2"][:4] == ["–"] * 4 and rows["MedSAM2"][8] == "0.6978 ± 0.027"
    assert rows["ICH-HPINet"][-4:] == ["55", "3.98", "325.32G", "317.20.4M"]


def test_variants_are_found_by_their_names_and_rows_keep_the_papers_order(study: Study) -> None:
    rows = study.results["ichhpinet"]
    text = methods_table({"lambda-3-3-4": rows, "mine": rows}, 2, published.TABLE_4)
    first = [line.split("|")[1].strip() for line in text.splitlines()[2:]]
    assert first[5] == "3 3 4" and first[-2:] == ["7 1 2", "mine"] and len(first) == 11
    assert " ± " in text.splitlines()[2 + 5].split("|")[2]


def test_the_interaction_tables_show_rounds_and_the_published_line(study: Study) -> None:
    text = rounds_table(study.results, published.TABLE_5)
    assert text.splitlines()[0] == "| Method | Number of interactions | 1 | 2 |"
    assert "| ICH-HPINet, published | Dice↑ | 0.6133 | 0.7763 |" in text


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
