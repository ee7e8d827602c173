"""Weights on disk: one file with its configuration, training record and preprocessing version. Loading runs no code."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ichhpinet.errors import InputError
from ichhpinet.networks import HPINet, ModelConfig
from ichhpinet.paths import written_whole
from ichhpinet.preprocessing import PREPROCESSING_VERSION

FORMAT = "ichhpinet weights 1"

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Checkpoint:
    """What a weight file holds.

    weights: state of HPINet, float32. training: plain values, what the weights were trained on and how long.
    temperature: what logits are divided by before the sigmoid, so that probabilities mean what they say.
    digest: SHA-256 of the file, hex.
    """

    config: ModelConfig
    weights: dict[str, Tensor]
    training: dict[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    digest: str = ""

    def network(self) -> HPINet:
        """The network with these weights, in evaluation mode. Raises: InputError where they do not fit."""
        try:
            network = HPINet(self.config)
            network.load_state_dict(self.weights)
        except (RuntimeError, TypeError, ValueError, KeyError, IndexError, ZeroDivisionError) as error:
            raise InputError("the weights do not fit their configuration; take the file from its source") from error
        return network.float().eval()  # whatever the process's default type is


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> str:
    """Write weights as half floats (statistics, biases: float32), beside and then renamed; returns the SHA-256."""
    weights = {
        name: value.half() if value.is_floating_point() and value.ndim > 1 else value.clone()
        for name, value in checkpoint.weights.items()
    }
    buffer = io.BytesIO()
    entry = {
        "format": FORMAT,
        "preprocessing": PREPROCESSING_VERSION,
        "model": checkpoint.config.to_dict(),
        "training": checkpoint.training,
        "temperature": checkpoint.temperature,
        "weights": weights,
    }
    torch.save(entry, buffer)
    with written_whole(path) as beside:
        beside.write_bytes(buffer.getvalue())
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    path.with_suffix(".sha256").write_text(f"{digest}  {path.name}\n")
    return digest


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a weight file; a `.sha256` file beside it must agree.

    Raises: InputError where the file is missing, damaged, not ours, or made for another preprocessing.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{Path(path).name} cannot be read; it must be a weight file of this program") from error
    digest = hashlib.sha256(content).hexdigest()
    _check_digest(Path(path), digest)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.testzip() is not None:  # torch itself does not look at the checksums
                raise ValueError("a checksum is wrong")
        entry = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        return _unpack(Path(path).name, entry, digest)
    except InputError:
        raise
    except Exception as error:  # what a damaged or forged file can raise is an open list
        message = f"the weights {Path(path).name} are damaged or no weights; take them from their source again"
        raise InputError(message) from error


def _unpack(name: str, entry: Any, digest: str) -> Checkpoint:
    if not isinstance(entry, dict) or entry.get("format") != FORMAT:
        raise InputError(f"the weights {name} are of another program; their format must be {FORMAT!r}")
    if entry["preprocessing"] != PREPROCESSING_VERSION:
        raise InputError(
            f"the weights were trained with preprocessing {entry['preprocessing']}; this version has "
            f"{PREPROCESSING_VERSION}: take the weights that came with this version"
        )
    weights = {name: v.float() if v.is_floating_point() else v for name, v in entry["weights"].items()}
    config = ModelConfig.from_dict(entry["model"])
    return Checkpoint(config, weights, dict(entry["training"]), float(entry["temperature"]), digest)


def _check_digest(path: Path, digest: str) -> None:
    record = path.with_suffix(".sha256")
    if record.exists() and record.read_bytes().split()[:1] != [digest.encode()]:
        raise InputError(f"the weights {path.name} do not have the SHA-256 in {record.name}; install them again")


def fold_batch_norm(network: Network) -> Network:
    """Merge every batch norm into the convolution before it: the same function in evaluation, and less to move."""
    for module in network.modules():
        for name, child in list(module.named_children()):
            parts = list(child.children()) if isinstance(child, nn.Sequential) else []
            if len(parts) == 2 and isinstance(parts[1], (nn.BatchNorm2d, nn.BatchNorm3d)):
                folded: nn.Module = nn.utils.fusion.fuse_conv_bn_eval(parts[0], parts[1])  # type: ignore[type-var]
                setattr(module, name, folded)
    return network


def channels_last(network: nn.Module) -> nn.Module:
    """Lay out the kernels with channels innermost: the same function, faster convolutions on a CPU."""
    for module in network.modules():
        if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
            module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        elif isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
