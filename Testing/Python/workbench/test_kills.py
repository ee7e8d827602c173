"""What a SIGKILL leaves: no process of a pool, and work on disk that goes on where it was."""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ichhpinet.checkpoint import load_checkpoint
from ichhpinet_workbench import commands, train
from ichhpinet_workbench.training import pool
from ichhpinet_workbench.training.checkpoints import load_state
from ichhpinet_workbench.training.tables import append_row
from workbench.processes import ALONE, LIMIT_SECONDS, commands_in
from workbench.tiny_sets import tiny_set

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")


def started(script: Path, *line: object, cwd: Path | None = None) -> subprocess.Popen[str]:
    """A script in a process of its own; whoever it starts holds its output open."""
    words = [sys.executable, str(script), *map(str, line)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ALONE, cwd=cwd)


def killed_when(process: subprocess.Popen[str], seen: Callable[[], bool]) -> None:
    """SIGKILL as soon as something is seen on disk; returns when all that it started have ended."""
    ends = time.monotonic() + LIMIT_SECONDS
    while not seen() and process.poll() is None and time.monotonic() < ends:
        time.sleep(0.02)
    was_running = process.poll() is None
    process.kill()
    said, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert was_running, said


SLEEPING = """
import faulthandler, sys, time
from pathlib import Path
from ichhpinet_workbench.parallel import each

def sleep(place):
    faulthandler.dump_traceback_later(60, exit=True)  # no orphan, should this test fail
    Path(place).touch()
    time.sleep(30)
    Path(place + "-to-the-end").touch()

if __name__ == "__main__":
    list(each(sleep, sys.argv[1:], workers=2))
"""


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    script = tmp_path / "sleeping.py"
    script.write_text(SLEEPING)
    places = [tmp_path / "a", tmp_path / "b"]
    process = started(script, *places)
    killed_when(process, lambda: all(place.exists() for place in places))
    assert not list(tmp_path.glob("*-to-the-end"))


def test_processes_that_synthesise_end_with_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[bool] = []
    monkeypatch.setattr(pool, "end_with_parent", lambda: watched.append(True))
    monkeypatch.setattr(pool.os, "nice", lambda step: None)
    out: Any = None
    pool._work(range(0), 1.0, 0.0, out)
    assert watched == [True]


def here(register: Callable[[Any], None], *line: object) -> None:
    """The command in this process."""
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers())
    arguments = parser.parse_args([str(word) for word in line])
    assert arguments.run(arguments) == 0


def test_a_training_that_was_killed_goes_on_and_its_weights_are_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny_set(tmp_path, 4, 2)
    folder = tmp_path / "run" / "fold-0"
    line = ["train", "--out", tmp_path / "run", "--manifest", tmp_path / "manifest.json", "--folds", 0]
    line += ["--recipe", "tiny", "--crop", 4, 32, 32, "--minutes", 600, "--steps-in-all"]
    process = started(commands_in(tmp_path), *line, 100_000)
    killed_when(process, lambda: (folder / "state.json").exists())
    left = load_state(folder)
    assert left is not None and left["step"] > 0 and not (folder / "weights.pt").exists()
    lost = left["step"] + 1000
    append_row(folder / "log.csv", {"step": lost, "loss": 1.0})  # of steps after the last state
    with caplog.at_level(logging.INFO):
        here(train.register, *line, left["step"] + 1)
    assert f"resumed at step {left['step']}," in caplog.text
    assert f"{lost}," not in (folder / "log.csv").read_text()
    after = load_state(folder)
    assert after is not None and after["step"] == left["step"] + 1
    assert load_checkpoint(folder / "weights.pt").training["steps"] == after["step"]


SLOW = """
from pathlib import Path
import time
from workbench.stand_in import StandIn

class Slow(StandIn):
    def open(self, volume):
        session = super().open(volume)
        while self.opened > 1 and not Path("go").exists():  # the first case of each process is quick
            time.sleep(0.05)
        return session
"""


def test_an_evaluation_that_was_killed_goes_on_and_judges_no_case_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_set(tmp_path, 4, 2)
    (tmp_path / "slow_peer.py").write_text(SLOW)
    ledger = tmp_path / "out" / "slow.jsonl"
    line = ["evaluate", "--out", tmp_path / "out", "--manifest", tmp_path / "manifest.json", "--workers", 2]
    line += ["--contestant", "slow=python:slow_peer:Slow", "--rounds", 1]
    process = started(commands_in(tmp_path), *line, cwd=tmp_path)
    killed_when(process, lambda: ledger.exists() and ledger.read_text().count('"round": 1') > 0)
    before = ledger.read_text()
    (tmp_path / "go").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    here(commands.register_evaluate, *line[:-2], "--rounds", 1)
    assert ledger.read_text().startswith(before)
    keys = [json.loads(row)[0] for row in ledger.read_text().splitlines()[1:]]
    assert len(keys) == len(set(keys)) == 1 + 4
    assert "4 cases (4 with blood)" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
