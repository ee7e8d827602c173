"""The best weights of a run as the file that ships: half floats, with configuration and training record."""

from __future__ import annotations

from pathlib import Path

from ichhpinet.checkpoint import Checkpoint, save_checkpoint
from ichhpinet.errors import InputError
from ichhpinet.networks import ModelConfig

from .checkpoints import load_state


def export(folder: Path, path: Path, *, temperature: float = 1.0) -> str:
    """Write `path` from the best averaged weights in `folder`; returns the SHA-256.

    Raises: InputError where there are none.
    """
    best, run = load_state(folder / "best"), load_state(folder)
    if best is None or run is None:
        raise InputError(f"{folder.name} holds no validated weights yet; train longer")
    record = {
        "data": "synthetic head CT alone (ichhpinet_workbench.phantom); no patient's image",
        "recipe": run["recipe"],
        "steps": best["step"],
        "minutes": best["minutes"],
        "selection": {name: best[name] for name in best if name.startswith(("dice", "score"))},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    config = ModelConfig.from_dict(best["model"])
    return save_checkpoint(path, Checkpoint(config, best["network"], record, temperature))
