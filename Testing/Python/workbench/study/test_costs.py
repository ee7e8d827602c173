"""Costs: parameters and GFLOP of our network and of a peer, from their weight files, by shapes alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.engine import tiny_checkpoint
from ichhpinet.checkpoint import save_checkpoint
from ichhpinet_workbench.peers.config import PeerConfig
from ichhpinet_workbench.peers.registry import make_peer
from ichhpinet_workbench.peers.session import save_peer
from ichhpinet_workbench.study.contestants import Contestant
from ichhpinet_workbench.study.costs import costs_of


def test_costs_are_those_of_the_files_and_classic_methods_have_none(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "ours-2.pt", tiny_checkpoint())
    config = PeerConfig("monai-unet", size="tiny", roi=(16, 32, 32))
    network = make_peer(config)
    save_peer(tmp_path / "peer-2.pt", config, network.state_dict(), {})
    contestants = [
        Contestant("ours", "weights", str(tmp_path / "ours-{fold}.pt")),
        Contestant("peer", "weights", str(tmp_path / "peer-{fold}.pt")),
        Contestant("random_walker", "random_walker"),
    ]
    costs = costs_of(contestants, 2)
    assert set(costs) == {"ours", "peer"} and all(cost.gflop > 0 for cost in costs.values())
    count = sum(weight.numel() for weight in network.parameters()) / 1e6
    assert costs["peer"].millions == pytest.approx(count)
    assert torch.get_default_device().type == "cpu"
