"""Maps of two branches and two directions, calibration, error detection near the border, and the next stroke's gain."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from core.engine import line, small_ct, tiny_checkpoint, tiny_predictor
from ichhpinet.checkpoint import save_checkpoint
from ichhpinet.errors import InputError
from ichhpinet.scribbles import Scribbles
from ichhpinet_workbench.peers.config import PeerConfig
from ichhpinet_workbench.peers.registry import make_peer
from ichhpinet_workbench.peers.session import PeerPredictor, save_peer
from ichhpinet_workbench.peers.slex import one_pass
from ichhpinet_workbench.probe import ProbedPredictor
from ichhpinet_workbench.study.contestants import Contestant
from ichhpinet_workbench.uncertainty import study
from ichhpinet_workbench.uncertainty.directions import directions
from ichhpinet_workbench.uncertainty.gain import gains, slice_by_chance, slice_by_map, slice_by_oracle, strokes_on
from ichhpinet_workbench.uncertainty.maps import (
    BRANCHES,
    CLOSENESS,
    DIRECTIONS,
    ONE_PASS,
    PLAIN,
    SHOWN,
    peer_maps,
    uncertainty_maps,
)
from ichhpinet_workbench.uncertainty.measures import (
    BINS,
    Calibration,
    area_under_curve,
    error_auc,
    in_head,
    near_border,
)
from ichhpinet_workbench.uncertainty.report import write_uncertainty
from ichhpinet_workbench.uncertainty.sheet import draw_maps
from workbench.stand_in import StandIn, head
from workbench.tiny_sets import tiny_set

STROKES = Scribbles(line(2, 5), line(2, 12))


# -- the probe and the maps --------------------------------------------------------------------------------------------


def test_a_probed_predictor_gives_the_same_rounds_and_shows_every_modules_maps() -> None:
    probed = ProbedPredictor(tiny_checkpoint(), "cpu")
    mask = probed.open(small_ct()).refine(STROKES).mask
    assert np.array_equal(mask, tiny_predictor().open(small_ct()).refine(STROKES).mask)
    seen = probed.seen
    assert seen is not None and seen.touched.tolist() == [False, False, True, False, False]
    depth, height, width = seen.arrays.probability.shape
    assert [tuple(m.shape[1:]) for m in seen.volume_maps] == [(depth, height // s, width // s) for s in (2, 4, 8)]
    assert {m.shape[0] for m in seen.slice_maps} == {1} and len(seen.slice_maps) == 4
    assert [tuple(m.shape[2:]) for m in seen.converted] == [(height // s, width // s) for s in (2, 4, 8)]
    assert not probed.network.vim._forward_hooks  # nothing stays hooked


def test_maps_lie_on_the_cts_grid_in_the_unit_range_and_are_zero_under_strokes() -> None:
    predictor = ProbedPredictor(tiny_checkpoint(), "cpu")
    session = study.Watched(predictor, predictor.open(small_ct()))
    with pytest.raises(RuntimeError, match="no round yet"):
        session.maps()
    result = session.refine(STROKES)
    maps = session.maps()
    assert list(maps) == list(PLAIN)
    for name, uncertain in maps.items():
        assert uncertain.shape == (5, 16, 16) and 0 <= uncertain.min() and uncertain.max() <= 1, name
        assert uncertain[line(2, 5)].max() < 0.5
    assert maps[BRANCHES].any() and maps[DIRECTIONS].any()
    assert np.corrcoef(maps[SHOWN].ravel(), result.uncertainty.ravel())[0, 1] > 0.8


def test_a_branch_that_is_switched_off_has_no_map() -> None:
    for switch, missing in (("slice_only", BRANCHES), ("volume_only", DIRECTIONS)):
        predictor = ProbedPredictor(tiny_checkpoint(**{switch: True}), "cpu")
        predictor.open(small_ct()).refine(STROKES)
        assert predictor.seen is not None
        maps = uncertainty_maps(predictor.network, predictor.seen)
        assert missing not in maps and (ONE_PASS in maps) == (DIRECTIONS in maps)


def test_from_below_and_from_above_differ_and_a_slice_alone_would_read_itself() -> None:
    predictor = ProbedPredictor(tiny_checkpoint(), "cpu")
    predictor.open(small_ct()).refine(STROKES)
    assert predictor.seen is not None
    below, above = directions(predictor.network, predictor.seen)  # type: ignore[misc]
    assert below.shape == above.shape == predictor.seen.arrays.probability.shape
    assert not torch.equal(below, above) and float(below.min()) >= 0 and float(above.max()) <= 1


def test_one_pass_is_the_entropy_of_the_mean_of_both_directions_and_the_slice_itself() -> None:
    predictor = ProbedPredictor(tiny_checkpoint(), "cpu")
    predictor.open(small_ct()).refine(STROKES)
    seen = predictor.seen
    assert seen is not None
    below, above = directions(predictor.network, seen)  # type: ignore[misc]
    mean = ((below + above + seen.arrays.probability) / 3).clamp(1e-6, 1 - 1e-6).double()
    wanted = -(mean * mean.log2() + (1 - mean) * (1 - mean).log2())
    wanted = seen.encoded.grid.to_native(wanted.masked_fill(seen.painted.any(0), 0.0))
    assert np.allclose(uncertainty_maps(predictor.network, seen)[ONE_PASS], wanted, atol=1e-4)
    sure, torn = one_pass([torch.tensor([1.0])] * 3), one_pass([torch.tensor([p]) for p in (0.0, 1.0, 0.5)])
    assert float(sure) < 1e-4 and float(torn) == pytest.approx(1.0)


@pytest.mark.parametrize(("name", "own"), [("slex-net", True), ("monai-unet", False)])
def test_slex_nets_own_map_stands_beside_the_closeness_that_every_peer_has(name: str, own: bool) -> None:
    network = make_peer(PeerConfig.named(name, size="tiny", roi=(8, 32, 32)))
    predictor = PeerPredictor(network, "cpu")
    result = predictor.open(small_ct()).refine(STROKES)
    maps = peer_maps(predictor, result)
    assert set(maps) == ({CLOSENESS, ONE_PASS} if own else {CLOSENESS})
    for uncertain in maps.values():
        assert uncertain.shape == (5, 16, 16) and 0 <= uncertain.min() and uncertain.max() <= 1
        assert not uncertain[line(2, 5)].any() and not uncertain[line(2, 12)].any()
    if own:
        assert np.array_equal(maps[ONE_PASS], result.uncertainty)


def test_what_is_tried_and_undone_does_not_replace_the_round_that_is_watched() -> None:
    predictor = ProbedPredictor(tiny_checkpoint(), "cpu")
    session = study.Watched(predictor, predictor.open(small_ct()))
    session.refine(STROKES)
    before = session.maps()
    session.session.refine(Scribbles(line(3, 8)))
    session.session.undo()
    assert all(np.array_equal(before[name], uncertain) for name, uncertain in session.maps().items())


# -- measures ----------------------------------------------------------------------------------------------------------


def test_a_calibrated_probability_has_no_calibration_error_and_a_sure_one_has() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random((4, 100, 100)).astype(np.float32)
    truth, everywhere = rng.random(probability.shape) < probability, np.ones(probability.shape, bool)
    good, sure, nothing = Calibration(), Calibration(), Calibration()
    good.add(probability, truth, everywhere)
    sure.add((probability > 0.5).astype(np.float32), truth, everywhere)
    nothing.add(probability, truth, ~everywhere)
    assert good.error < 0.01 and good.error_of_the_unsure < 0.01
    assert sure.error == pytest.approx(0.25, abs=0.01)
    assert nothing.count.sum() == 0 and math.isnan(nothing.error) and math.isnan(nothing.temperature)
    assert len(good.curve()[0]) == BINS and good.counts().sum() == probability.size


def test_the_temperature_undoes_what_makes_probabilities_too_sure() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1.5, (4, 200, 200))
    truth = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
    too_sure = Calibration()
    too_sure.add((1 / (1 + np.exp(-2 * logits))).astype(np.float32), truth, np.ones(truth.shape, bool))
    assert too_sure.temperature == pytest.approx(2.0, abs=0.05)
    assert too_sure.error > 0.08 and too_sure.error_at(too_sure.temperature) < 0.01
    said, true = too_sure.curve(too_sure.temperature)
    assert np.nanmax(np.abs(said - true)) < 0.03


def test_air_and_bone_are_not_of_the_head() -> None:
    assert in_head(np.array([-1000.0, 0.0, 60.0, 800.0], np.float32)).tolist() == [False, True, True, False]


def test_the_area_under_the_curve_is_mann_and_whitneys() -> None:
    assert area_under_curve(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])) == 1.0
    assert area_under_curve(np.array([0.9, 0.2, 0.2]), np.array([False, True, False])) == pytest.approx(0.25)
    assert math.isnan(area_under_curve(np.array([0.9]), np.array([True])))


def test_only_voxels_near_a_border_count() -> None:
    truth = np.zeros((9, 60, 60), bool)
    truth[4, 25:35, 25:35] = True
    near = near_border(truth & False, truth, (5.0, 1.0, 1.0))
    assert near[4, 25, 15] and not near[4, 25, 14] and near[2].any() and not near[1].any()
    assert near[4, 30, 30]
    big = np.zeros((9, 100, 100), bool)
    big[:, 10:90, 10:90] = True
    assert not near_border(big, big, (5.0, 1.0, 1.0))[4, 50, 50]  # deep inside
    mask = np.roll(truth, 3, 2)
    right = (mask ^ truth).astype(np.float32)
    assert error_auc(right, mask, truth, (5.0, 1.0, 1.0)) == 1.0
    assert error_auc(1 - right, mask, truth, (5.0, 1.0, 1.0)) == 0.0
    assert math.isnan(error_auc(right, truth, truth, (5.0, 1.0, 1.0)))


# -- the next stroke ---------------------------------------------------------------------------------------------------


def test_slices_are_chosen_by_map_by_chance_and_by_the_oracle() -> None:
    truth = np.zeros((8, 20, 20), bool)
    truth[2:6, 5:15, 5:15] = True
    mask = truth.copy()
    mask[5] = False
    assert slice_by_oracle(mask, truth) == 5
    assert slice_by_map((mask ^ truth).astype(np.float32)) == 5
    drawn = {slice_by_chance(mask, np.random.default_rng(seed)) for seed in range(60)}
    assert drawn == {1, 2, 3, 4, 5}
    assert slice_by_chance(mask & False, np.random.default_rng(0)) in range(8)


def test_strokes_are_drawn_on_the_slice_that_was_chosen_alone() -> None:
    hu, truth = head()
    from ichhpinet.volume import CTVolume
    from workbench.stand_in import SPACING

    volume = CTVolume.from_array(hu, SPACING)
    mask = truth & False
    foreground, background = strokes_on(volume, truth, mask, 4, np.random.default_rng(0))
    assert foreground[4].any() and foreground.sum() == foreground[4].sum() and not background.any()
    nothing = strokes_on(volume, truth, truth, 4, np.random.default_rng(0))
    assert not nothing[0].any() and not nothing[1].any()


def test_a_gain_is_what_the_round_adds_and_the_session_is_left_as_it_was() -> None:
    from ichhpinet.volume import CTVolume
    from workbench.stand_in import SPACING

    hu, truth = head()
    volume = CTVolume.from_array(hu, SPACING)
    session = StandIn().open(volume)
    found = gains(session, volume, truth, truth & False, {"there": 4, "same": 4, "nowhere": 0}, seed=1)
    assert found["there"] == found["same"] > 0.8 and found["nowhere"] == 0.0
    assert not session._strokes


# -- the study ---------------------------------------------------------------------------------------------------------


def test_a_study_is_measured_written_resumed_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = tiny_set(tmp_path, 3, clean=1)
    save_checkpoint(tmp_path / "weights.pt", tiny_checkpoint())
    weights = Contestant("ours", "weights", str(tmp_path / "weights.pt"))
    rows = study.measure(manifest, weights, tmp_path / "out", after=(1, 2), device="cpu")
    assert {(row["case"], row["round"]) for row in rows} == {(f"own-h{n}", r) for n in range(3) for r in (1, 2)}
    assert all(set(row["gain"]) >= {"random slice", "oracle", "directions"} for row in rows)
    monkeypatch.setattr(study, "measure_case", None)  # nothing is measured twice
    assert study.measure(manifest, weights, tmp_path / "out", after=(1, 2), device="cpu") == rows
    text = write_uncertainty(tmp_path / "out", rows).read_text(encoding="utf-8")
    assert all(line.count("|") in (3, 5) for line in text.splitlines() if line.startswith("|"))
    assert "After round 2: 3 cases" in text and "| oracle |" in text and "Expected calibration error" in text
    assert (tmp_path / "out" / "calibration-ours.png").read_bytes()[:4] == b"\x89PNG"


def test_folds_are_measured_as_they_are_trained_and_not_with_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = tiny_set(tmp_path, 2)
    for fold in (0, 1):
        save_checkpoint(tmp_path / f"fold-{fold}.pt", tiny_checkpoint(fold))
    weights = Contestant("ours", "weights", str(tmp_path / "fold-{fold}.pt"))
    monkeypatch.setattr(study, "measure_case", lambda job: [{"fold": job.entry.fold}])
    assert study.measure(manifest, weights, tmp_path / "out", folds=[1]) == [{"fold": 1}]
    assert sorted(row["fold"] for row in study.measure(manifest, weights, tmp_path / "out")) == [0, 1]
    save_checkpoint(tmp_path / "fold-1.pt", tiny_checkpoint(7))
    with pytest.raises(InputError, match="uncertainty-ours.jsonl was begun with another contestant for fold 1"):
        study.measure(manifest, weights, tmp_path / "out")


def test_slex_net_is_measured_by_its_own_map_and_its_maps_are_drawn(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, 2)
    network = make_peer(PeerConfig.named("slex-net", size="tiny", roi=(8, 32, 32)))
    save_peer(tmp_path / "slex.pt", network.config, network.state_dict(), {})
    weights = Contestant("slex-net", "weights", str(tmp_path / "slex.pt"))
    rows = study.measure(manifest, weights, tmp_path / "out", after=(1,), device="cpu")
    assert len(rows) == 2 and all(set(row["auc"]) == {CLOSENESS, ONE_PASS} for row in rows)
    assert all(ONE_PASS in row["gain"] for row in rows)
    study.show(tmp_path / "maps.png", manifest, weights, rows, "cpu")
    assert (tmp_path / "maps.png").read_bytes()[:4] == b"\x89PNG"


def test_the_sheet_of_maps_is_drawn(tmp_path: Path) -> None:
    predictor = ProbedPredictor(tiny_checkpoint(), "cpu")
    volume = small_ct()
    mask = predictor.open(volume).refine(STROKES).mask
    truth = volume.hu > 55
    assert predictor.seen is not None
    draw_maps(tmp_path / "maps.png", volume, mask, truth, uncertainty_maps(predictor.network, predictor.seen))
    assert (tmp_path / "maps.png").read_bytes()[:4] == b"\x89PNG"
