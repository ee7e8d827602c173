"""The maps that are compared, on the CT's grid: closeness to the threshold, branches, directions, SLEX-Net's, all."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ichhpinet.networks import HPINet

from ..peers.session import PeerPredictor, PeerResult
from ..peers.slex import SlexNet, one_pass
from ..probe import Seen
from .directions import directions, disagreement

Map = NDArray[np.float32]
CLOSENESS, BRANCHES, DIRECTIONS, TOGETHER, SHOWN = "closeness", "branches", "directions", "together", "shown"
ONE_PASS = "one pass"
PLAIN = {
    CLOSENESS: "closeness to the threshold, 1 - abs(2p - 1)",
    BRANCHES: "disagreement of slice and volume branch",
    DIRECTIONS: "disagreement of forward and backward propagation",
    ONE_PASS: "SLEX-Net's one pass: entropy of the mean of forward, backward and the slice's own",
    TOGETHER: "mean of closeness and disagreements",
    SHOWN: "what the tool shows (larger of closeness and branches)",
}


def uncertainty_maps(network: HPINet, seen: Seen) -> dict[str, Map]:
    """Each map of a round, (D, H, W) float32 in [0, 1]; 0 where the user painted. No branch, no map of it."""
    working = {CLOSENESS: 1 - (2 * seen.arrays.probability - 1).abs()}
    volume = _volume(seen)
    if volume is not None:
        working[BRANCHES] = (seen.arrays.probability - volume).abs()
    sides = directions(network, seen)
    if sides is not None:
        working[DIRECTIONS] = disagreement(sides)
    working[TOGETHER] = torch.stack(list(working.values())).mean(0)
    if sides is not None:
        working[ONE_PASS] = one_pass([*sides, seen.arrays.probability])
    shown = [working[name] for name in (CLOSENESS, BRANCHES) if name in working]
    working[SHOWN] = torch.stack(shown).amax(0)
    return {name: _native(seen, working[name]) for name in PLAIN if name in working}


def peer_maps(predictor: PeerPredictor, result: PeerResult) -> dict[str, Map]:
    """Each map of a peer's round, as `uncertainty_maps`: what any probability gives, and SLEX-Net's own."""
    maps = {CLOSENESS: 1 - np.abs(2 * result.probability - 1)}  # strokes are in the probability: 0 under them
    if isinstance(predictor.network, SlexNet):
        maps[ONE_PASS] = result.uncertainty
    return maps


def _volume(seen: Seen) -> Tensor | None:
    """The volume branch's own probability, (d, h, w)."""
    volume = seen.arrays.volume_probability
    if volume is None:
        return None
    return F.interpolate(volume[None], seen.arrays.probability.shape[1:], mode="bilinear")[0]


def _native(seen: Seen, values: Tensor) -> Map:
    quiet = values.masked_fill(seen.painted.any(0), 0.0)
    return np.clip(seen.encoded.grid.to_native(quiet), 0.0, 1.0)
