"""A study's folder: one CSV of every round, one Markdown report with the papers' tables, the figures."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..datasets.manifest import Manifest
from ..ledger import plain
from ..report import HEARD_RULE, heard_table
from . import published
from .failures import kept_failures
from .names import label
from .plots import draw_bland_altman, draw_rounds
from .statistics import at_round
from .tables import (
    LAMBDAS,
    LOSSES,
    Cost,
    effort_table,
    failures_table,
    hemseg_table,
    intervals_table,
    methods_table,
    proposal_table,
    rounds_of,
    rounds_table,
    tests_table,
    volume_table,
)
from .worst import draw_worst

Row = dict[str, Any]
Results = Mapping[str, Sequence[Row]]
COLUMNS = (
    "method case dataset patient fold kind round painted dice jaccard hausdorff_mm hd95_mm mae mask_ml truth_ml "
    "error_ml seconds missed_slice missed_3d missed_depth_mm extra_slice extra_3d extra_depth_mm"
).split()
HARD_SHARE = 0.5  # Table 6's "some samples": here the half with the lowest Dice after the first round
VARIANT_TABLES = (
    ("Table 2: propagation and memory", published.TABLE_2, ("Method",), "ablation"),
    ("Table 3: cross-entropy and Dice loss", published.TABLE_3, LOSSES, "loss-weights"),
    ("Table 4: weights of the three losses", published.TABLE_4, LAMBDAS, "lambda"),
)
RULES = """Rules: whole volumes; no oracle but the simulated radiologist, who paints where the method's own mask is
most wrong. Hausdorff and HD95 in mm between surfaces. An empty mask on a case with blood has Dice 0 and the volume's
diagonal as its distance. "Never" counts as one round more than were played. Means ± sd are over folds, intervals are
95 % bootstrap intervals over patients, tests are paired t tests, a pair a patient, with Bonferroni's correction. In
Tables 1 to 4 the best of a column is bold, the second underlined."""


@dataclass(frozen=True)
class Study:
    """What a report is made of. reference: the contestant that the others are tested against. samples: of Table 6."""

    manifest: Manifest
    results: Results
    out: Path
    reference: str
    costs: Mapping[str, Cost] | None = None
    samples: frozenset[str] = frozenset()
    budget: str = ""
    whole: bool = True  # Tables 2 to 4 too; an experiment has its own on top


def write_report(study: Study) -> Path:
    """Write rounds.csv, report.md and the figures; the report's path."""
    study.out.mkdir(parents=True, exist_ok=True)
    write_rows(study.out / "rounds.csv", study.results)
    numbers = rounds_of(study.results)
    if numbers:
        draw_rounds(study.out / "rounds.png", study.results)
        draw_bland_altman(study.out / "bland-altman.png", study.results, numbers[-1])
    for method, rows in study.results.items():
        draw_worst(study.out / f"worst-{method}.png", study.manifest, study.out, method, rows)
    path = study.out / "report.md"
    path.write_text(markdown(study), encoding="utf-8")
    return path


def write_rows(path: Path, results: Results) -> None:
    """Every round of every case of every method."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for method, rows in results.items():
            for row in rows:
                writer.writerow([plain((row | {"method": method}).get(column, "")) for column in COLUMNS])


def markdown(study: Study) -> str:
    """The report."""
    results = study.results
    numbers = rounds_of(results)
    parts = ["# Evaluation\n", _data_line(study), study.budget, RULES + "\n"]
    again = "They are in no other table; the same command tries them again."
    parts += _section("Cases that could not be judged", failures_table(kept_failures(study.out)), again)
    if numbers:
        last = numbers[-1]
        parts += [*_by_dataset(study, last), *_variants(study, last), *_interaction(study), *_statistics(study, last)]
    parts += _section("Proposed without a stroke", proposal_table(results))
    return "\n".join(part for part in parts if part) + "\n"


def not_comparable(datasets: set[str]) -> str:
    """What the published columns are worth beside these data."""
    if any(name.startswith("physionet") for name in datasets):
        same, other = "Columns “published PhysioNet”", "Columns “published private”"
        return f"{same}: {published.OTHER_RULES}. {other}: {published.OTHER_DATA}."
    return f"All published columns: {published.OTHER_DATA}."


def _by_dataset(study: Study, last: int) -> list[str]:
    parts = []
    datasets = sorted({row["dataset"] for rows in study.results.values() for row in rows})
    for dataset in datasets:
        only = {method: [r for r in rows if r["dataset"] == dataset] for method, rows in study.results.items()}
        table = methods_table(only, last, published.TABLE_1, study.costs or {})
        note = not_comparable({dataset})
        parts += _section(f"Table 1: methods, {dataset}, after round {last}", table, note)
        table = hemseg_table(only, last)
        hemseg = published.OTHER_RULES if dataset.startswith("hemseg") else published.OTHER_DATA
        note = f"Published columns: {published.HEMSEG}; {hemseg}. {published.THESIS_DICE}; {published.OTHER_DATA}."
        parts += _section(f"HemSeg-200's Table 1, {dataset}, after round {last}", table, note)
    return parts


def _variants(study: Study, last: int) -> list[str]:
    """Tables 2 to 4: ours where a contestant is named as the experiment names its variant."""
    if not study.whole:
        return []
    parts = []
    for title, table, first, command in VARIANT_TABLES:
        rows = {line.name for line in published.lines(table)}
        mine = {method: found for method, found in study.results.items() if label(method, study.results) in rows}
        note = (
            f"Ours: who is named as a variant of `ichhpinet experiment {command}`. The paper's: {published.OTHER_DATA}."
        )
        parts += _section(title, methods_table(mine, last, table, first=first), note)
    return parts


def _interaction(study: Study) -> list[str]:
    mine = {study.reference: study.results[study.reference]}
    note = f"The published lines: {published.PAPER}, {published.OTHER_DATA}."
    chosen = set(study.samples) or hard_cases(mine[study.reference])
    how = "as named" if study.samples else "those with the lowest Dice after round 1"
    return [
        *_section("Table 5: average results by interaction", rounds_table(mine, published.TABLE_5), note),
        *_section(f"Table 6: {len(chosen)} samples, {how}", rounds_table(mine, published.TABLE_6, chosen), note),
        "![by round](rounds.png)\n",
    ]


def hard_cases(rows: Sequence[Row]) -> set[str]:
    """The half of the cases with the lowest Dice after the first round."""
    first = sorted(at_round(rows, 1), key=lambda row: row["dice"])
    return {row["case"] for row in first[: max(1, round(len(first) * HARD_SHARE))]}


def _statistics(study: Study, last: int) -> list[str]:
    results = study.results
    sheets = [f"- [{label(method, results)}](worst-{method}.png)" for method in results]
    return [
        *_section("Dice by round", intervals_table(results, "dice")),
        *_section("HD95 by round, mm", intervals_table(results, "hd95_mm", 1)),
        *_section("Rounds, time, empty masks", effort_table(results)),
        *_section("Strokes that are heard", heard_table(results), HEARD_RULE),
        *_section(f"Volumes after round {last}", volume_table(results, last), "![agreement](bland-altman.png)"),
        *_section(f"Tests after round {last}", tests_table(results, study.reference, last)),
        "## Worst cases\n",
        "\n".join(sheets) + "\n",
    ]


def _data_line(study: Study) -> str:
    cases = {row["case"]: row for rows in study.results.values() for row in rows}
    patients = len({row["patient"] for row in cases.values()})
    blood = sum(row["truth_ml"] > 0 for row in cases.values())
    folds = len({row["fold"] for row in cases.values()})
    sets = ", ".join(sorted({row["dataset"] for row in cases.values()}))
    return f"{len(cases)} cases ({blood} with blood) of {patients} patients in {folds} folds: {sets}.\n"


def _section(heading: str, table: str, note: str = "") -> list[str]:
    return [f"## {heading}\n", table, note + "\n" if note else ""] if table else []
