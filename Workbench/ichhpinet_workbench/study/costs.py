"""What a method costs: parameters, GFLOP of a first round on 32 slices of 512 x 512 working pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from ichhpinet.checkpoint import load_checkpoint
from ichhpinet.networks import ModelConfig
from ichhpinet.networks.summary import PIXELS, SLICES, costs, count_millions

from ..peers.base import PeerNetwork
from ..peers.session import read_peer
from .contestants import WEIGHTS, Contestant, weights_path
from .tables import Cost


def costs_of(contestants: Sequence[Contestant], fold: int) -> dict[str, Cost]:
    """By name; only of those that are weights. Raises InputError where they cannot be read."""
    return {one.name: _cost(one.source_of(fold)) for one in contestants if one.kind == WEIGHTS}


def _cost(source: str) -> Cost:
    path = weights_path(source)
    peer = read_peer(path)
    if peer is not None:
        return Cost(count_millions(peer), _peer_gflop(peer))
    return _ours(load_checkpoint(path).config)


@lru_cache
def _ours(config: ModelConfig) -> Cost:
    """Of our network; variants of an experiment share it."""
    rows = costs(config)
    return Cost(sum(row.millions for row in rows), sum(row.gflop for row in rows))


def _peer_gflop(network: PeerNetwork) -> float:
    """Of the windows that cover the volume without overlap; of whole slices where a peer takes those."""
    roi = network.config.roi
    windows = (SLICES / roi[0]) * (PIXELS / roi[1]) * (PIXELS / roi[2])
    network = network.to("meta").eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        network.padded(torch.empty(1, network.config.channels, *roi, device="meta"))
    return counter.get_total_flops() / 1e9 * windows
