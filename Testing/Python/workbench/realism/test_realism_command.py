"""`ichhpinet realism`, on coarse heads."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from ichhpinet_workbench.realism import command


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    """The command line, with one insertion and heads of thick slices."""
    monkeypatch.setattr(command, "INSERTED", 1)
    monkeypatch.setattr(command, "THICKNESS_MM", (10.0, 12.0))
    monkeypatch.setattr(command, "PIXEL_MM", (1.4, 1.6))
    made = argparse.ArgumentParser()
    command.register(made.add_subparsers())
    return made


def test_it_draws_and_says_how_the_generator_stands(
    parser: argparse.ArgumentParser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = parser.parse_args(["realism", "--out", str(tmp_path), "--heads", "2", "--seed", "1"])
    assert arguments.run(arguments) == 0
    text = (tmp_path / "realism.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == text
    for part in ("| noise, HU |", "train (2)", "validation (2)", "| volume, ml | public | 0.3 | 1.7 | 6.3 | 15 | 46 |"):
        assert part in text
    assert "nan" not in text
    assert (tmp_path / "realism.png").stat().st_size > 20_000


def test_no_heads_are_refused(parser: argparse.ArgumentParser, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args(["realism", "--out", str(tmp_path), "--heads", "0"])
