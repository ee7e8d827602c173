"""`evaluate` and `demo` on the command line, with a stand-in for the network."""

from __future__ import annotations

import argparse

import pytest

from ichhpinet.errors import InputError
from ichhpinet_workbench import commands, validation
from ichhpinet_workbench.keptmasks import kept_mask, mask_path
from workbench.stand_in import StandIn, loaded, some_cases


@pytest.fixture
def parser(monkeypatch):
    """A command line whose cases are small and whose network is a stand-in."""
    made = argparse.ArgumentParser()
    subparsers = made.add_subparsers(required=True)
    commands.register_evaluate(subparsers)
    commands.register_demo(subparsers)
    monkeypatch.setattr(commands, "_network", lambda arguments: (StandIn(), "stand-in"))
    cases = some_cases()
    monkeypatch.setattr(
        validation, "validation_cases", lambda blood=True: tuple(case for case in cases if bool(case.kinds) == blood)
    )
    monkeypatch.setattr(validation, "load", lambda case, cache, head_ct: loaded(case))
    return made


def test_evaluate_writes_a_csv_per_method_and_the_tables(parser, tmp_path, capsys):
    line = ["evaluate", "--out", str(tmp_path), "--rounds", "2", "--methods", "threshold_islands", "ichhpinet"]
    arguments = parser.parse_args(line)
    assert arguments.run(arguments) == 0
    assert {file.name for file in tmp_path.glob("*.csv")} == {"threshold_islands.csv", "ichhpinet.csv"}
    text = (tmp_path / "validation.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == text
    assert "3 cases with blood (1 in the real head CT)" in text and "1 without" in text
    assert (tmp_path / "worst.png").stat().st_size > 10_000
    kept = [kept_mask(mask_path(tmp_path, "ichhpinet", name)) for name in ("c0", "c1", "r1")]
    assert all(mask.any() for mask in kept) and not mask_path(tmp_path, "ichhpinet", "n1").exists()


def test_evaluate_again_measures_again(parser, tmp_path):
    line = ["evaluate", "--out", str(tmp_path), "--cases", "1", "--methods", "ichhpinet", "--rounds"]
    for rounds in ("1", "2"):
        arguments = parser.parse_args([*line, rounds, "--again"])
        assert arguments.run(arguments) == 0
    arguments = parser.parse_args([*line, "1"])
    with pytest.raises(InputError, match="another setup"):
        arguments.run(arguments)


def test_evaluate_again_keeps_what_was_measured_where_it_cannot_measure(parser, tmp_path, monkeypatch):
    def refuse(arguments):
        raise InputError("typo.pt cannot be read")

    monkeypatch.setattr(commands, "_network", refuse)
    files = [tmp_path / f"{method}.csv" for method in ("threshold_islands", "ichhpinet")]
    for file in files:
        file.write_text("measured", encoding="utf-8")
    line = ["evaluate", "--out", str(tmp_path), "--again", "--methods", "threshold_islands", "ichhpinet"]
    for wrong in ([], ["--head-ct", str(tmp_path / "typo.nii")]):
        arguments = parser.parse_args([*line, *wrong])
        with pytest.raises(InputError, match="typo"):
            arguments.run(arguments)
        assert all(file.read_text(encoding="utf-8") == "measured" for file in files)


@pytest.mark.parametrize("extra", [["--hand", "foot"], ["--folds", "1"]])
def test_arguments_that_cannot_be_meant_are_refused(parser, tmp_path, extra):
    arguments = parser.parse_args(["evaluate", "--out", str(tmp_path), *extra])
    with pytest.raises(InputError):
        arguments.run(arguments)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["evaluate", "--rounds", "0"], "argument --rounds: 0 is too few; it must be 1 or more"),
        (["evaluate", "--cases", "some"], "argument --cases: 'some' is no whole number; it must be 1 or more"),
        (["evaluate", "--threads", "-1"], "argument --threads: -1 is too few; it must be 1 or more"),
        (["evaluate", "--seed", "-1"], "argument --seed: -1 is too few; it must be 0 or more"),
        (["demo", "--rounds", "0"], "argument --rounds: 0 is too few; it must be 1 or more"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused_by_the_options_name(parser, tmp_path, capsys, line, says):
    with pytest.raises(SystemExit):
        parser.parse_args([*line, "--out", str(tmp_path)])
    assert says in capsys.readouterr().err
