"""What reports of experiments say of their budget, and where there is nothing to show. No training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ichhpinet_workbench.experiments import analysis
from ichhpinet_workbench.experiments.budget import PAPER_STEPS, budget_line
from ichhpinet_workbench.training.checkpoints import save_state
from ichhpinet_workbench.training.finish import finished


def state(steps: int, seconds: float) -> dict[str, Any]:
    recipe = {"border": {"play_minutes": 20.0}, "correction": {"play_minutes": 5.0}}
    return {"step": steps, "seconds": seconds, "recipe": recipe}


def test_the_budget_counts_runs_steps_and_the_small_heads_passes(tmp_path: Path) -> None:
    runs = [tmp_path / name for name in ("a", "b", "c")]
    assert budget_line(runs, "cpu") == ""
    save_state(runs[0], state(10, 60.0))
    save_state(runs[1], state(30, 120.0))
    said = budget_line(runs, "cpu")
    assert said.startswith("Trained here: 2 runs, 3.0 minutes in all on cpu, 10 to 30 optimiser steps a run (the paper")
    assert said.endswith("A small budget: it shows that the experiment runs, not which method is better.\n")
    for number in range(2):
        save_state(finished(runs[1], 30) / f"border-{number}", {"step": 5, "seconds": 90.0})
    save_state(finished(runs[1], 30) / "correction-0", {"step": 5, "seconds": 60.0})
    assert "3.0 minutes in all and 49.0 for the small heads on cpu" in budget_line(runs, "cpu")


@pytest.mark.parametrize(("steps", "small"), [(PAPER_STEPS // 10 - 1, True), (PAPER_STEPS // 10, False)])
def test_a_tenth_of_the_papers_steps_is_no_small_budget(tmp_path: Path, steps: int, small: bool) -> None:
    save_state(tmp_path, state(steps, 1.0))
    assert ("A small budget" in budget_line([tmp_path], "cuda")) == small


def test_an_analysis_without_anything_to_show_says_so() -> None:
    row = {"stride": 2, "auc_volume": float("nan"), "auc_converted": float("nan")}
    row |= {"fisher_volume": float("nan"), "fisher_converted": float("nan")}
    text = analysis._report([], [row], 0, "")
    assert analysis.TOO_SMALL in text and "| stride | AUC of D_i" not in text
    assert "nothing is drawn" in text and "![attention]" not in text
