"""The adapter: a command or a Python object takes the place of a method; what goes wrong is said in one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from ichhpinet.errors import InputError
from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume
from ichhpinet_workbench.peers.external import CommandPredictor, prompts_of, python_predictor
from workbench.stand_in import SPACING, head

SCRIPT = """
import json, sys
import SimpleITK as sitk
ct, strokes, previous, prompts, out, number = sys.argv[1:]
image, painted = sitk.ReadImage(ct), sitk.ReadImage(strokes)
mask = sitk.Cast((image > 50) & (image < 100), sitk.sitkUInt8)
told = json.load(open(prompts))
assert told["points_zyx"] and int(number) >= 1
assert sitk.GetArrayFromImage(sitk.ReadImage(previous)).any() == (int(number) > 1)
sitk.WriteImage(mask, out)
"""
PLACES = "{ct} {strokes} {previous} {prompts} {out} {round}"


def volume() -> CTVolume:
    return CTVolume.from_array(np.round(head()[0]), SPACING)


def strokes(z: int = 4) -> Scribbles:
    foreground, background = np.zeros((8, 60, 60), bool), np.zeros((8, 60, 60), bool)
    foreground[z, 28:32, 30] = True
    background[z, 10:14, 30] = True
    return Scribbles(foreground, background)


def test_a_command_is_given_everything_and_its_mask_comes_back_with_the_strokes_obeyed(tmp_path: Path) -> None:
    script = tmp_path / "peer.py"
    script.write_text(SCRIPT)
    session = CommandPredictor(f"{sys.executable} {script} {PLACES}").open(volume())
    first = session.refine(strokes(4)).mask
    second = session.refine(strokes(1)).mask
    assert first.sum() > 50 and first[4, 28:32, 30].all() and not first[4, 10:14, 30].any()
    assert second[1, 28:32, 30].all() and second[4, 28:32, 30].all()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("sh -c 'echo no weights >&2; exit 3' {ct} {out}", "ended with 3: no weights"),
        ("true {ct} {out}", "wrote no mask"),
        ("sh -c 'printf \"caf\\\\351\" >&2; exit 3' {ct} {out}", "ended with 3: caf"),
        ("no-such-program {ct} {out}", "no-such-program cannot be run"),
    ],
)
def test_a_command_that_fails_is_told_in_one_line(line: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        CommandPredictor(line).open(volume()).refine(strokes())


def test_a_command_that_takes_too_long_or_says_no_places_is_refused() -> None:
    with pytest.raises(InputError, match=r"more than 0.2 s a round"):
        CommandPredictor("sh -c 'sleep 5' {ct} {out}", limit_seconds=0.2).open(volume()).refine(strokes())
    with pytest.raises(InputError, match=r"no \{ct\} and no \{out\}"):
        CommandPredictor("segment")
    with pytest.raises(InputError, match="cannot be taken apart: No closing quotation"):
        CommandPredictor("segment 'my model {ct} {out}")


def test_a_python_object_opens_sessions() -> None:
    session = python_predictor("workbench.tiny_sets:stand_in").open(volume())
    assert session.refine(strokes()).mask.any()
    for source, says in (
        ("no_such_module:make", "cannot be used"),
        ("json:dumps", "cannot be used"),
        ("json", "cannot"),
    ):
        with pytest.raises(InputError, match=says):
            python_predictor(source)
    with pytest.raises(InputError, match="without open"):
        python_predictor("collections:OrderedDict")


def test_a_command_and_a_module_in_the_current_folder_are_found_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "peer.py").write_text(SCRIPT)
    assert CommandPredictor(f"{sys.executable} peer.py {PLACES}").open(volume()).refine(strokes()).mask.any()
    (tmp_path / "peer_of_mine.py").write_text("from workbench.tiny_sets import stand_in as make\n")
    elsewhere = [place for place in sys.path if place not in ("", str(tmp_path))]
    monkeypatch.setattr(sys, "path", elsewhere)  # as a console script starts
    assert python_predictor("peer_of_mine:make").open(volume()).refine(strokes()).mask.any()


def test_strokes_become_points_and_boxes() -> None:
    found = prompts_of(strokes())
    assert found["labels"].count(1) == found["labels"].count(0) == 4
    assert found["boxes_zyx"] == [[[4, 28, 30], [4, 31, 30]]]
    assert all(strokes().foreground[tuple(p)] for p, label in zip(found["points_zyx"], found["labels"]) if label)
    json.dumps(found)
