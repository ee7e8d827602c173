"""Weights of any method -> sessions: the network's own Predictor, or a peer's; the judge cannot tell them apart."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ichhpinet.checkpoint import load_checkpoint
from ichhpinet.errors import InputError
from ichhpinet.networks import Memory, RoundInputs
from ichhpinet.paths import written_whole
from ichhpinet.predictor import Predictor, choose_device
from ichhpinet.preprocessing import working_grid, working_image, working_strokes
from ichhpinet.result import THRESHOLD, render_probability
from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume

from ..regions import Bool
from ..robot import add_strokes
from .base import PeerNetwork
from .config import PeerConfig
from .registry import make_peer

FORMAT = "ichhpinet peer 1"


def save_peer(path: Path, config: PeerConfig, weights: dict[str, Tensor], training: dict[str, Any]) -> str:
    """Write a peer's weights with its configuration and training record, beside and renamed; the SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside:
        torch.save({"format": FORMAT, "peer": config.to_dict(), "weights": weights, "training": training}, beside)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_weights(path: Path, device: str = "auto") -> Predictor | PeerPredictor:
    """What opens sessions with the weights in a file, ours or a peer's. Raises InputError for anything else."""
    network = read_peer(path)
    return Predictor.load(path, device) if network is None else PeerPredictor(network, device)


def training_record(path: Path) -> dict[str, Any]:
    """What the weights in a file say of their training, ours or a peer's. Raises InputError where they are neither."""
    entry = _peer_entry(path)
    return load_checkpoint(path).training if entry is None else dict(entry["training"])


def read_peer(path: Path) -> PeerNetwork | None:
    """The peer whose weights a file holds; None: it holds no peer's. Raises InputError where it cannot be read."""
    entry = _peer_entry(path)
    if entry is None:
        return None
    network = make_peer(PeerConfig.from_dict(entry["peer"]))
    network.load_state_dict(entry["weights"])
    return network


def _peer_entry(path: Path) -> dict[str, Any] | None:
    """The content of a file of a peer's weights; None: it is another one."""
    try:
        entry = torch.load(path, weights_only=True, map_location="cpu")
    except OSError:
        raise InputError(f"{path.name} cannot be read; it must be a weight file of this program") from None
    except Exception:  # what a damaged file can raise is an open list; the other reader says what is wrong
        entry = None
    return entry if isinstance(entry, dict) and entry.get("format") == FORMAT else None


@dataclass(frozen=True, eq=False)
class PeerResult:
    """Arrays on the CT's grid: mask (D, H, W) bool, probability and uncertainty float32 in [0, 1]."""

    mask: Bool
    probability: NDArray[np.float32]
    uncertainty: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _State:
    """What a round leaves: strokes on both grids, and the probability before the finish."""

    painted: Tensor
    foreground: Bool
    background: Bool
    previous: Tensor


class PeerPredictor:
    """A peer's network on a device."""

    def __init__(self, network: PeerNetwork, device: str = "auto") -> None:
        self.device = choose_device(device)
        self.network = network.eval().to(self.device)
        self.config = network.config

    def open(self, volume: CTVolume, progress: Any = None, cancel: Any = None) -> PeerSession:
        """A session with no strokes yet."""
        return PeerSession(self, volume)


class PeerSession:
    """Rounds on one volume: strokes add up, the newest win; the round before is seen by the next."""

    def __init__(self, predictor: PeerPredictor, volume: CTVolume) -> None:
        self._predictor, self._volume = predictor, volume
        config = predictor.config
        self._grid = working_grid(volume, config.pixel_mm, config.min_slice_mm)
        self._image = working_image(volume, self._grid)[None].to(predictor.device)
        nothing, shape = np.zeros(volume.shape, bool), self._grid.shape
        self._states = [_State(torch.zeros(2, *shape, dtype=torch.bool), nothing, nothing, torch.zeros(shape))]

    def refine(self, scribbles: Scribbles, progress: Any = None, cancel: Any = None) -> PeerResult:
        """One round. Raises InputError for strokes on another grid."""
        scribbles.require_shape(self._volume.shape)
        before = self._states[-1]
        new = working_strokes(scribbles, self._grid)
        painted = torch.stack([(before.painted[0] & ~new[1]) | new[0], (before.painted[1] & ~new[0]) | new[1]])
        native = add_strokes(before.foreground, before.background, scribbles.foreground, scribbles.background)
        return self._round(_State(painted, *native, before.previous), new.any(0).flatten(1).any(1))

    def propose(self, progress: Any = None, cancel: Any = None) -> PeerResult:
        """A round without strokes."""
        return self._round(self._states[-1], torch.zeros(self._grid.shape[0], dtype=torch.bool))

    def undo(self) -> bool:
        """Back one round; False where there is none."""
        if len(self._states) == 1:
            return False
        self._states.pop()
        return True

    @torch.inference_mode()
    def _round(self, state: _State, touched: Tensor) -> PeerResult:
        device, network = self._predictor.device, self._predictor.network
        spacing = torch.tensor([self._grid.spacing_mm], dtype=torch.float32)
        told = (state.previous, state.painted, touched)
        before, strokes, slices = (tensor[None].to(device) for tensor in told)
        inputs = RoundInputs(self._image, before, strokes, slices, spacing.to(device))
        logits = network(inputs, None, Memory.empty(self._image)).logits
        probability = torch.sigmoid(logits[0].float()).cpu()
        obeyed = torch.where(state.painted[0], 1.0, torch.where(state.painted[1], 0.0, probability))
        self._states.append(_State(state.painted, state.foreground, state.background, obeyed))
        return self._result(probability, state)

    def _result(self, probability: Tensor, state: _State) -> PeerResult:
        native = render_probability(probability, self._grid, state.foreground, state.background)
        mask = self._predictor.network.polished(native >= THRESHOLD, self._volume.spacing_mm)
        mask = (mask | state.foreground) & ~state.background
        return PeerResult(mask, native, self._uncertainty(native, state))

    def _uncertainty(self, native: NDArray[np.float32], state: _State) -> NDArray[np.float32]:
        """SLEX-Net's own where there is one, else closeness to the threshold; 0 where the user painted."""
        network: Any = self._predictor.network
        if hasattr(network, "uncertainty"):
            uncertain = np.clip(self._grid.to_native(network.uncertainty()[0].cpu()), 0, 1)
        else:
            uncertain = 1 - np.abs(2 * native - 1)
        uncertain[state.foreground | state.background] = 0.0
        return uncertain
