"""The progress bar: one line on a terminal, a few lines in a log."""

from __future__ import annotations

import io

import pytest

from ichhpinet_workbench.bar import Bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_every_tenth():
    log = io.StringIO()
    with Bar("work", log) as bar:
        for step in range(1001):
            bar(step / 1000, f"step {step}")
    lines = log.getvalue().splitlines()
    assert len(lines) == 11 and lines[0].startswith("work: 0%") and lines[-1].startswith("work: 100%")


def test_a_terminal_gets_one_line_that_ends_also_where_the_work_fails():
    terminal, cut = Terminal(), Terminal()
    with Bar("work", terminal) as bar:
        bar(0.5, "half")
        bar(1.0, "whole")
    with pytest.raises(ValueError), Bar("work", cut) as bar:
        bar(0.5, "half")
        raise ValueError
    assert cut.getvalue().endswith("\n") and cut.getvalue().count("\n") == 1
    assert terminal.getvalue().count("\n") == 1
    assert "100%" in terminal.getvalue() and all(len(line) <= 119 for line in terminal.getvalue().split("\r"))


def test_fractions_beyond_the_ends_are_clipped():
    log = io.StringIO()
    bar = Bar("work", log)
    bar(-1.0, "")
    bar(7.0, "")
    assert [line.split()[1] for line in log.getvalue().splitlines()] == ["0%", "100%"]
