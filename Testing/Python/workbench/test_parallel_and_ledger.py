"""Jobs in one process or several, streamed; and the ledger that a kill leaves whole."""

from __future__ import annotations

import math
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ichhpinet.errors import InputError
from ichhpinet_workbench.ledger import Ledger
from ichhpinet_workbench.parallel import AHEAD, each


def test_jobs_in_this_process_come_in_order_and_are_taken_one_by_one() -> None:
    taken: list[int] = []

    def stream() -> Iterator[int]:
        for number in range(5):
            taken.append(number)
            yield number

    results = each(lambda n: n * n, stream())
    assert next(results) == (0, 0) and taken == [0]
    assert list(results) == [(1, 1), (2, 4), (3, 9), (4, 16)]


def test_workers_do_every_job_once_and_take_few_before_their_time() -> None:
    taken: list[int] = []

    def stream() -> Iterator[int]:
        for number in range(12):
            taken.append(number)
            yield number

    results = each(math.factorial, stream(), workers=2)
    first = next(results)
    assert len(taken) <= 2 * AHEAD
    assert sorted([first, *results]) == [(n, math.factorial(n)) for n in range(12)]


def test_what_a_job_raises_comes_through() -> None:
    with pytest.raises(ValueError, match="not defined for negative"):
        list(each(math.factorial, [3, -1], workers=2))


KEPT = """
import numpy as np, sys
from ichhpinet_workbench.parallel import each

def megabytes():
    return int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0]) / 1024

def volume(size):
    np.ones(30 << 20, np.uint8)  # freed: from now on glibc keeps what is smaller
    blocks, kept = [], []
    for _ in range(30):
        blocks.append(np.ones(size << 20, np.uint8))
        kept.append(np.ones(1000, np.uint8))  # a little that stays lies behind each
    return kept

before = megabytes()
kept = [volume(4) for _ in range(1)] if sys.argv[1] == "alone" else [made for _, made in each(volume, [4])]
print(megabytes() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what was freed")
def test_what_a_job_frees_goes_back_to_the_system_though_a_little_of_it_stays() -> None:
    def grown(how: str) -> float:
        done = subprocess.run([sys.executable, "-c", KEPT, how], capture_output=True, text=True, check=True)
        return float(done.stdout)

    assert grown("each") < 20 < 80 < grown("alone")


def test_a_ledger_goes_on_after_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    first = Ledger(path, {"rounds": 8, "sizes": (1, 2)})
    first.append("a", {"dice": math.nan, "hd": math.inf})
    first.append("b", [1, 2])
    with path.open("a") as file:
        file.write('["c", {"di')
    again = Ledger(path, {"rounds": 8, "sizes": (1, 2)})
    assert again.known == {"a", "b"}
    again.append("c", 3)
    rows = dict(again)
    assert math.isnan(rows["a"]["dice"]) and rows["a"]["hd"] == math.inf and rows["c"] == 3


def test_a_job_that_two_commands_did_at_once_counts_once(tmp_path: Path) -> None:
    one, other = Ledger(tmp_path / "a.jsonl", {}), Ledger(tmp_path / "a.jsonl", {})
    one.append("a", 1)
    other.append("a", 2)
    other.append("b", 3)
    assert list(Ledger(tmp_path / "a.jsonl", {})) == [("a", 1), ("b", 3)]


@pytest.mark.parametrize("left", ["", '{"se', '{"setup": {"rounds": 8}}'])
def test_a_ledger_whose_first_line_was_cut_by_a_kill_begins_anew(tmp_path: Path, left: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(left)
    Ledger(path, {"rounds": 8}).append("a", 1)
    assert dict(Ledger(path, {"rounds": 8})) == {"a": 1}


def test_a_file_of_somebody_else_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("my notes")
    with pytest.raises(InputError, match="is no ledger"):
        Ledger(path, {"rounds": 8})
    assert path.read_text() == "my notes"


def test_a_ledger_keeps_what_was_agreed_and_refuses_another(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    Ledger(path, {}).agree("who:0", ("x", 1), "contestant")
    Ledger(path, {}).agree("who:0", ("x", 1), "contestant")
    Ledger(path, {}).agree("who:1", "y", "contestant")
    assert [value for _, value in Ledger(path, {})] == [["x", 1], "y"]
    Ledger(path, {}).append("a", 1)
    with pytest.raises(InputError, match=r"a.jsonl was begun with another contestant; take another folder"):
        Ledger(path, {}).agree("who:1", "z", "contestant")


def test_a_ledger_without_a_finished_job_may_be_begun_with_another_setup(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    Ledger(path, {"rounds": 80}).agree("who", "x", "contestant")
    meant = Ledger(path, {"rounds": 8})
    meant.agree("who", "y", "contestant")
    meant.agree("who", "z", "contestant")
    meant.append("a", 1)
    assert [value for _, value in Ledger(path, {"rounds": 8})] == ["z", 1]
    with pytest.raises(InputError, match="begun with another contestant"):
        meant.agree("who", "x", "contestant")


def test_a_ledger_of_another_setup_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path / "a.jsonl", {"rounds": 8}).append("a", 1)
    with pytest.raises(InputError, match=r"a.jsonl was begun with another setup"):
        Ledger(tmp_path / "a.jsonl", {"rounds": 5})
    (tmp_path / "b.jsonl").write_text("no json\n")
    with pytest.raises(InputError, match="is no ledger"):
        Ledger(tmp_path / "b.jsonl", {})
