"""The peers: every architecture takes any volume, learns, is saved and played like the network it is compared with."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.engine import small_ct, tiny_checkpoint
from ichhpinet.checkpoint import save_checkpoint
from ichhpinet.errors import InputError
from ichhpinet.networks import Memory, RoundInputs
from ichhpinet.predictor import Predictor
from ichhpinet.preprocessing import normalise
from ichhpinet.scribbles import Scribbles
from ichhpinet_workbench.losses import LossWeights, round_loss
from ichhpinet_workbench.peers.base import PeerNetwork
from ichhpinet_workbench.peers.config import PeerConfig
from ichhpinet_workbench.peers.planar import finished, stripped
from ichhpinet_workbench.peers.registry import PEERS, make_peer
from ichhpinet_workbench.peers.session import PeerPredictor, load_weights, read_peer, save_peer
from ichhpinet_workbench.peers.slex import LAMBDA, joined
from ichhpinet_workbench.training.crops import Head, batch_of, with_brain
from ichhpinet_workbench.training.partner import Partner
from ichhpinet_workbench.training.recipe import RECIPES

ROI = (8, 32, 32)
SMALL = [name for name in PEERS if name != "monai-vnet"]  # MONAI's V-Net has one size, 45 M parameters


def peer(name: str, **switches: Any) -> PeerNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make_peer(PeerConfig.named(name, **({"size": "tiny", "roi": ROI} | switches)))


def inputs(shape: tuple[int, int, int] = ROI, batch: int = 1) -> RoundInputs:
    rng = torch.Generator().manual_seed(0)
    painted = torch.zeros(batch, 2, *shape, dtype=torch.bool)
    painted[:, 0, shape[0] // 2, 10:12, 10:20] = True
    image = torch.randn(batch, *shape, generator=rng) * 0.3
    touched = torch.zeros(batch, shape[0], dtype=torch.bool)
    return RoundInputs(image, torch.zeros_like(image), painted, touched, torch.tensor([[5.0, 1.0, 1.0]] * batch))


def play(network: PeerNetwork, given: RoundInputs) -> Any:
    return network(given, network.encode(given.image.flatten(0, 1)), Memory.empty(given.image))


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_learns_a_round_and_every_weight_is_reached(name: str) -> None:
    network = peer(name).train()
    given = inputs(batch=2)
    truth = given.painted[:, 0].float()
    outputs = play(network, given)
    loss, terms = round_loss(outputs, truth, given.previous, given.touched, LossWeights())
    loss.backward()
    assert outputs.logits.shape == given.image.shape and math.isfinite(float(loss.detach()))
    idle = [key for key, weight in network.named_parameters() if weight.grad is None]
    idle = [key for key in idle if "cross_attn" not in key]  # MONAI's ViT makes them and does not use them
    assert idle == [], f"{name}: {idle[:3]}"
    assert ("fcl" in terms) == (name == "slex-net")


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [(5, 16, 48), (9, 48, 32)])
def test_every_peer_takes_volumes_thinner_and_larger_than_its_window(name: str, shape: tuple[int, int, int]) -> None:
    network = peer(name).eval()
    with torch.inference_mode():
        first, second = (play(network, inputs(shape)).logits for _ in range(2))
    assert first.shape == (1, *shape) and torch.isfinite(first).all()
    assert torch.equal(first, second)


@pytest.mark.parametrize("prompts", [True, False])
def test_prompts_change_the_result_only_where_the_peer_sees_them(prompts: bool) -> None:
    network = peer("monai-unet", prompts=prompts).eval()
    given = inputs()
    bare = given._replace(painted=torch.zeros_like(given.painted))
    with torch.inference_mode():
        same = torch.equal(play(network, given).logits, play(network, bare).logits)
    assert same != prompts


def test_weights_are_saved_with_their_configuration_and_open_sessions(tmp_path: Path) -> None:
    network = peer("monai-segresnet")
    digest = save_peer(tmp_path / "w.pt", network.config, network.state_dict(), {"steps": 3})
    opened = load_weights(tmp_path / "w.pt", "cpu")
    assert isinstance(opened, PeerPredictor) and opened.config == network.config and len(digest) == 64
    save_checkpoint(tmp_path / "ours.pt", tiny_checkpoint())
    assert isinstance(load_weights(tmp_path / "ours.pt", "cpu"), Predictor) and read_peer(tmp_path / "ours.pt") is None
    (tmp_path / "bad.pt").write_bytes(b"no weights")
    with pytest.raises(InputError, match="damaged or no weights"):
        load_weights(tmp_path / "bad.pt")
    with pytest.raises(InputError, match=r"gone.pt cannot be read"):
        load_weights(tmp_path / "gone.pt")


@pytest.mark.parametrize("name", ["monai-unet", "unet-2d", "slex-net"])
def test_a_session_obeys_strokes_adds_them_up_and_can_be_undone(name: str) -> None:
    volume = small_ct((6, 40, 40), (5.0, 1.0, 1.0))
    session = PeerPredictor(peer(name), "cpu").open(volume)
    strokes = [np.zeros(volume.shape, bool) for _ in range(2)]
    strokes[0][3, 10:20, 15], strokes[1][2, 30, 5:15] = True, True
    first = session.refine(Scribbles(strokes[0], strokes[1]))
    second = session.refine(Scribbles(np.roll(strokes[0], 2, 0)))
    for result in (first, second):
        assert result.mask[strokes[0]].all() and not result.mask[strokes[1]].any()
        assert 0 <= result.uncertainty.min() and result.uncertainty.max() <= 1
        assert not result.uncertainty[strokes[0]].any()
    assert session.undo() and np.array_equal(session.refine(Scribbles(np.roll(strokes[0], 2, 0))).mask, second.mask)
    with pytest.raises(InputError, match="the scribbles are"):
        session.refine(Scribbles(np.ones((2, 3, 4), bool)))


def test_v_net_plays_a_round_in_one_window() -> None:
    volume = small_ct((6, 24, 24), (5.0, 1.0, 1.0))
    painted = np.zeros(volume.shape, bool)
    painted[3, 10:20, 15] = True
    result = PeerPredictor(peer("monai-vnet"), "cpu").open(volume).refine(Scribbles(painted, painted & False))
    assert result.mask.shape == volume.shape and result.mask[painted].all() and np.isfinite(result.probability).all()


def test_a_peers_proposal_needs_no_strokes_and_undo_ends_at_the_start() -> None:
    session = PeerPredictor(peer("monai-dynunet"), "cpu").open(small_ct((6, 40, 40), (5.0, 1.0, 1.0)))
    assert session.propose().mask.shape == (6, 40, 40)
    assert session.undo() and not session.undo()


def test_configurations_that_cannot_be_are_refused_by_name() -> None:
    for changes, says in (
        ({"roi": (8, 30, 32)}, "roi is"),
        ({"size": "huge"}, "size is 'huge'"),
        ({"colour": 1}, "colour is not a field"),
    ):
        with pytest.raises(InputError, match=says):
            PeerConfig.named("monai-unet", **changes)
    with pytest.raises(InputError, match="the peer is 'resnet'"):
        make_peer(PeerConfig("resnet"))
    assert PeerConfig.from_dict(PeerConfig("unet-2d", roi=(4, 32, 48)).to_dict()) == PeerConfig(
        "unet-2d", roi=(4, 32, 48)
    )


# -- the thesis --------------------------------------------------------------------------------------------------------


def test_the_skull_is_removed_and_the_brain_has_mean_0_and_spread_1() -> None:
    grid = np.indices((4, 64, 64))
    away = np.hypot(grid[1] - 31.5, grid[2] - 31.5)
    brain = away < 22
    rng = np.random.default_rng(0)
    hu = np.where(brain, rng.normal(35, 4, brain.shape), np.where(away < 26, 900, np.where(away < 29, 40, -900)))
    image = normalise(torch.from_numpy(hu.astype(np.float32)))[None]
    found = stripped(image)[0].numpy()
    assert not found[:, away[0] > 22.5].any()  # the scalp is soft tissue too, and goes
    inside = found[:, away[0] < 20]
    assert abs(inside.mean()) < 0.05 and inside.std() == pytest.approx(1, abs=0.05)
    twice = stripped(normalise(torch.from_numpy((hu + 6 * brain).astype(np.float32)))[None])[0].numpy()
    assert np.allclose(found, twice, atol=1e-3)  # another patient's brain is brighter: all the same
    assert not stripped(torch.full((1, 2, 16, 16), -1.75)).any()  # a crop of air has no brain


def test_in_training_a_crop_is_normalised_by_its_patients_whole_brain() -> None:
    hu = np.full((6, 64, 64), -200.0)
    hu[:, 4:60, 4:60] = 200.0  # the skull
    rng = np.random.default_rng(0)
    hu[:, 8:56, 8:56] = rng.normal(30, 2, (6, 48, 48))
    hu[:, 8:56, 32:56] += 10  # one half is brighter
    blood = np.zeros(hu.shape)
    blood[2:4, 28:36, 46:50] = 1
    head = with_brain(Head(hu.astype(np.float16), blood.astype(np.float16), (5.0, 1.0, 1.0)))
    whole = stripped(normalise(torch.from_numpy(hu.astype(np.float32)))[None])[0]
    for seed in range(6):
        batch = batch_of([head], (4, 16, 16), np.random.default_rng(seed))
        if batch.truth.sum() < 20:  # this one is not of the brighter half
            continue
        assert batch.alone is not None
        seen = float(batch.alone[0][batch.alone[0] != 0].median())
        assert seen == pytest.approx(float(whole[:, 20:40, 36:50].median()), abs=0.25) and seen > 0.6
    recipe = replace(RECIPES["tiny"], model="unet-2d", crop=(4, 16, 16))
    shown = Partner(batch, recipe, np.random.default_rng(0)).inputs(first=True).image
    assert torch.equal(shown, batch.alone)
    assert torch.equal(peer("unet-2d").train().channels(inputs((4, 16, 16))._replace(image=shown))[:, 0], shown)


def test_the_finish_takes_off_specks_and_fills_holes() -> None:
    mask = np.zeros((4, 40, 40), bool)
    mask[1:3, 10:24, 10:24] = True
    mask[1, 15, 15] = False
    mask[0, 35, 35] = True
    done = finished(mask, (5.0, 0.5, 0.5))
    assert done[1, 15, 15] and not done[0, 35, 35] and done[2, 12:22, 12:22].all()
    assert not finished(mask & False, (5.0, 0.5, 0.5)).any()


# -- SLEX-Net ----------------------------------------------------------------------------------------------------------


def test_where_both_directions_agree_they_count_and_where_they_do_not_the_slice_does() -> None:
    own, side = torch.tensor([2.0]), torch.tensor([-3.0])
    agreed = joined(side, side, own)
    assert float(agreed) == pytest.approx(2.0 * (1 - 2 * LAMBDA) + 2 * -3.0 * LAMBDA)
    assert float(joined(torch.tensor([9.0]), torch.tensor([-9.0]), own)) == pytest.approx(2.0)


def test_each_slice_is_told_by_its_neighbours_and_one_pass_gives_the_uncertainty() -> None:
    network = peer("slex-net").eval()
    given = inputs((6, 32, 32))
    with pytest.raises(RuntimeError, match="no round"):
        network.uncertainty()
    with torch.inference_mode():
        play(network, given)
        before = [side.clone() for side in network.sides]
        uncertain = network.uncertainty()
        changed = given.image.clone()
        changed[:, 5] += 1.0
        play(network, given._replace(image=changed))
    forward, backward, own = (~torch.isclose(a, b).flatten(2).all(2)[0] for a, b in zip(before, network.sides))
    assert own.tolist() == [False] * 5 + [True]
    assert forward.tolist() == [False] * 5 + [True]  # from below: slice 5 is nobody's source
    assert backward.tolist() == [False] * 4 + [True, True]  # from above: slice 5 speaks about slice 4
    assert 0 <= float(uncertain.min()) and float(uncertain.max()) <= 1
