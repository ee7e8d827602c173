"""`ichhpinet parts`: each part taken out of a network, one at a time."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from core.engine import small_ct
from ichhpinet.checkpoint import Checkpoint, load_checkpoint
from ichhpinet.errors import InputError
from ichhpinet.predictor import Predictor
from ichhpinet.resources import bundled_weights
from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume
from ichhpinet.writing import write_volume
from ichhpinet_workbench.parts import command
from ichhpinet_workbench.parts.names import PARTS, WHOLE
from ichhpinet_workbench.parts.reduced import Reduced

SHAPE = (13, 40, 40)


@pytest.fixture(scope="module")
def shipped() -> Checkpoint:
    """The bundled weights: every part of a network that was trained says something."""
    return load_checkpoint(bundled_weights())


def second_round(predictor: Predictor) -> np.ndarray:
    """Probability after two rounds on a block of blood in noise; the second takes some of it away."""
    hu = np.full(SHAPE, 33.0, np.float32) + np.random.default_rng(0).normal(0, 4, SHAPE).astype(np.float32)
    hu[2:11, 10:26, 10:26] += 25
    first, second, outside, extra = (np.zeros(SHAPE, bool) for _ in range(4))
    first[3, 14:18, 12:24] = second[5, 16, 12:24] = outside[3, 30, 5:35] = extra[5, 21:24, 12:24] = True
    session = predictor.open(CTVolume.from_array(hu, (5.0, 1.0, 1.0)))
    session.refine(Scribbles(first, outside))
    return np.asarray(session.refine(Scribbles(second, extra)).probability)


@pytest.fixture(scope="module")
def whole(shipped: Checkpoint) -> np.ndarray:
    """With every part in its place."""
    return second_round(Predictor(shipped, "cpu"))


def test_with_every_part_it_is_the_predictor_itself(shipped: Checkpoint, whole: np.ndarray) -> None:
    assert whole[5, 18, 18] > 0.5
    assert np.array_equal(second_round(Reduced(shipped, "cpu")), whole)


@pytest.mark.parametrize("part", [part for part in PARTS if part not in (WHOLE, "boldness")])
def test_each_part_says_something(part: str, shipped: Checkpoint, whole: np.ndarray) -> None:
    assert np.abs(second_round(Reduced(shipped, "cpu", part)) - whole).max() > 1 / 256


def test_corrections_do_not_move_the_line_without_boldness(shipped: Checkpoint) -> None:
    logits = torch.linspace(-4, 4, 128)
    bold, timid = Reduced(shipped, "cpu"), Reduced(shipped, "cpu", "boldness")
    assert bold._line(logits, 0.7) == pytest.approx(timid._line(logits, 0.7) + 0.7)
    assert Reduced(shipped, "cpu", "lean")._line(logits, 0.7) == 0.7


def test_the_command_measures_each_and_writes_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    from ichhpinet_workbench import validation

    case = validation.Case("s00-IPH", "synthetic", ("IPH",), 3, (12.0, 1.4, 1.4))
    monkeypatch.setattr(validation, "validation_cases", lambda: (case,))
    words = ["parts", "--out", str(tmp_path), "--without", "head", "--rounds", "1", "--device", "cpu"]
    arguments = parser.parse_args(words)
    assert arguments.run(arguments) == 0
    text = (tmp_path / "parts.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == text
    assert "1 validation cases" in text and "| as shipped | 0." in text and "| without the boundary head | 0." in text
    assert (tmp_path / "whole.csv").exists() and (tmp_path / "head.csv").exists()
    write_volume(tmp_path / "other.nii.gz", small_ct())
    other = parser.parse_args([*words, "--head-ct", str(tmp_path / "other.nii.gz")])
    with pytest.raises(InputError, match="whole.csv was measured with another setup"):
        other.run(other)
