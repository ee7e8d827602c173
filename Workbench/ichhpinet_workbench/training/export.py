"""The best weights of a run as the file that ships: half floats, with configuration and training record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ichhpinet.checkpoint import Checkpoint, save_checkpoint
from ichhpinet.errors import InputError
from ichhpinet.networks import ModelConfig

from .checkpoints import load_state
from .finish import finished
from .networks import PEERS
from .recipe import HEADS
from .supply import SYNTHETIC


def export(folder: Path, path: Path, *, temperature: float = 1.0) -> str:
    """Write `path` from the best averaged weights in `folder`; returns the SHA-256.

    Raises: InputError where there are none.
    """
    best, run = load_state(folder / "best"), load_state(folder)
    if run is not None:
        best = load_state(finished(folder, run["step"])) or best
    if best is None or run is None:
        raise InputError(f"{folder.name} holds no validated weights yet; train longer")
    record = {
        "data": run.get("data", SYNTHETIC),
        "learned_from": run.get("learned_from", ""),
        "cts": run.get("cts", []),
        "started_from": run.get("started_from", ""),
        "recipe": run["recipe"],
        "steps": best["step"],
        "minutes": best["minutes"],
        "selection": {name: best[name] for name in best if name.startswith(("dice", "score", "averaged", *HEADS))},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    if best["model"]["name"] in PEERS:
        from ..peers.config import PeerConfig
        from ..peers.session import save_peer

        return save_peer(path, PeerConfig.from_dict(best["model"]), best["network"], record)
    config = ModelConfig.from_dict(best["model"])
    return save_checkpoint(path, Checkpoint(config, best["network"], record, temperature))


def save_snapshot(path: Path, network: nn.Module, config: Any) -> None:
    """The weights as they are, for an analysis; of our network or a peer's, and its configuration."""
    weights = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
    if config.name in PEERS:
        from ..peers.session import save_peer

        save_peer(path, config, weights, {"snapshot": path.stem})
        return
    save_checkpoint(path, Checkpoint(config, weights, {"snapshot": path.stem}, 1.0))
