"""The demo on a small head: every file it promises, a table that agrees with them, and what the sheet shows."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from ichhpinet.metrics import dice
from ichhpinet.reading import read_labels, read_volume
from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume
from ichhpinet_workbench import demo, sheet
from ichhpinet_workbench.demo import play_demo
from ichhpinet_workbench.rounds import Turn
from ichhpinet_workbench.validation import Case, Loaded
from workbench.stand_in import SPACING, StandIn, head

ROUNDS = 2


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """The folder of a demo on a made-up head, and its text."""
    out = tmp_path_factory.mktemp("demo")
    clean, _ = head(1, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "real_head_ct", lambda path: CTVolume.from_array(np.round(clean), SPACING))
        hu, truth = head(1)
        patch.setattr(demo, "insert", lambda *args, **options: SimpleNamespace(hu=hu, mask=truth, volume_ml=14.0))
        steps = []
        text = play_demo(StandIn(), out, ROUNDS, 1, None, lambda fraction, what: steps.append(fraction))
    assert steps == sorted(steps) and steps[-1] == 1.0
    return out, text


def test_masks_open_in_place_over_the_ct(played):
    out, _ = played
    volume = read_volume(out / "ct.nrrd")
    truth = read_labels(out / "truth.seg.nrrd", volume) > 0
    for number in range(1, ROUNDS + 1):
        assert dice(read_labels(out / f"round-{number}.seg.nrrd", volume) > 0, truth) > 0.8


def test_the_strokes_of_a_round_can_be_played_again(played):
    out, _ = played
    volume = read_volume(out / "ct.nrrd")
    strokes = Scribbles.from_labels(read_labels(out / "scribbles-1.nrrd", volume))
    assert strokes.foreground.any() and strokes.background.any()


def test_report_table_and_masks_agree(played):
    out, text = played
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    volume = read_volume(out / "ct.nrrd")
    truth = read_labels(out / "truth.seg.nrrd", volume) > 0
    assert [row["round"] for row in report["rounds"]] == [1, 2]
    for row in report["rounds"]:
        mask = read_labels(out / f"round-{row['round']}.seg.nrrd", volume) > 0
        assert row["dice"] == pytest.approx(dice(mask, truth), abs=1e-3)
        assert row["volume_ml"] == pytest.approx(mask.sum() * volume.voxel_ml, abs=1e-3)
        assert f"{row['round']:5d}  {row['dice']:.3f}" in text
    assert report["rounds"][0]["change_ml"] == report["rounds"][0]["volume_ml"]
    assert report["proposed_without_blood"]["volume_ml"] == 0
    assert "not a medical device" in report["note"]


def test_the_sheet_is_a_picture(played):
    assert (played[0] / "sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (-1, 1), (1, -1)])
def test_the_patients_right_is_on_the_left_and_the_front_on_top(columns, rows):
    hu = np.zeros((2, 30, 40), np.float32)
    right_front = (slice(0, 5) if rows > 0 else slice(25, 30), slice(0, 5) if columns > 0 else slice(35, 40))
    hu[(slice(None), *right_front)] = 70.0
    volume = CTVolume.from_array(hu, SPACING, direction=np.diag([columns, rows, columns * rows]))
    loaded = Loaded(Case("x", "real", (), 0), volume, np.zeros(hu.shape, bool))
    shown = sheet._Plane(loaded, 0)._hu
    assert shown[:5, :5].min() == 70.0 and shown.sum() == hu[0].sum()


def test_a_row_shows_the_painted_slice_that_was_worst():
    truth, before, foreground, background = (np.zeros((4, 9, 9), bool) for _ in range(4))
    truth[1, 2:4, 2:4] = foreground[1, 2, 2] = True
    before[3, 2:8, 2:8] = background[3, 4, 4] = True
    assert sheet._slice_of(Turn(2, foreground, background, before, truth, 0.1), truth) == 3
    assert sheet._slice_of(Turn(2, foreground, background, truth, truth, 0.1), truth) == 1
    nothing = np.zeros_like(truth)
    assert sheet._slice_of(Turn(2, nothing, nothing, truth, truth, 0.0), truth) == 1
