"""What a SIGKILL leaves: no process of a pool, and work on disk that goes on where it was."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ichhpinet_workbench.training import pool

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parents[1]
PLACES = [str(place) for place in (TESTS, ROOT / "Logic", ROOT / "Workbench")]
LIMIT_SECONDS = 240.0  # then a test fails instead of hanging
ALONE = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(PLACES)}

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")


def started(script: Path, *line: object) -> subprocess.Popen[str]:
    """A script in a process of its own; whoever it starts holds its output open."""
    words = [sys.executable, str(script), *map(str, line)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | ALONE)


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
    pool._work(range(0), 1.0, out)
    assert watched == [True]
