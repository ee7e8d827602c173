"""What a network costs: parameters module by module beside the published figures, and FLOPs of a round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..preprocessing import CHANNELS
from .config import ModelConfig
from .hpinet import HPINet
from .mpffm import readout

SLICES, PIXELS = 32, 512  # the volume that costs are quoted for; on 512 pixels of the slice grid, whatever its mm
MEMORY_SLICES = 2  # one corrected slice and one recent one are read for each slice

# M parameters: (the paper's network as its authors' code builds it, module by module). Their readme states 317.2 M.
PUBLISHED_MILLIONS = {"VIM": 141.3, "SIM": 39.6, "FCM": 1.1, "MPFFM": 55.5, "total": 237.5}
STATED_MILLIONS = 317.2
PUBLISHED_GFLOP = 12_090  # measured on the authors' code, first round, 512 x 512 x 32; their readme states 325


@dataclass(frozen=True)
class Cost:
    """One module: parameters in millions, and GFLOP (two for a multiply-add) of a first round."""

    name: str
    millions: float
    gflop: float


def count_millions(*modules: nn.Module) -> float:
    """Parameters in millions."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters()) / 1e6


def costs(config: ModelConfig, slices: int = SLICES, pixels: int = PIXELS) -> list[Cost]:
    """VIM, SIM, FCM, MPFFM, and the boundary and correction heads where they are, on (slices, pixels, pixels).

    Nothing is allocated: shapes alone run.
    """
    with torch.device("meta"):
        network = HPINet(config).eval()
        channels = len(CHANNELS)
        volume = torch.empty(1, channels, slices, pixels // 2, pixels // 2)
        plane = torch.empty(1, channels, pixels, pixels)
        image, thickness = torch.empty(slices, 1, pixels, pixels), torch.empty(1, 1)
    maps = network.vim(volume, thickness)[1]
    features = network.encode(image[:, 0])
    fused = dict(zip(network.fused_strides, network.fcm(maps)))
    value = network.memory_encoder(image, image, features.coarse)

    def propagate() -> Tensor:
        network.encode(image[:, 0])
        network.memory_encoder(image, image, features.coarse)
        keys = torch.stack([features.key.flatten(2)] * MEMORY_SLICES, 1)
        valid = torch.ones(slices, MEMORY_SLICES, dtype=torch.bool)  # on the CPU: its values are looked at
        values = torch.stack([value.flatten(2)] * MEMORY_SLICES, 1)
        read = readout(keys, values, features.key.flatten(2), valid).view_as(value)
        return network.decoder(fused, read, features, image)  # type: ignore[no-any-return]

    mpffm = count_millions(network.query_encoder, network.memory_encoder, network.decoder)
    rows = [
        Cost("VIM", count_millions(network.vim), _gflop(lambda: network.vim(volume, thickness))),
        Cost("SIM", count_millions(network.sim), _gflop(lambda: network.sim(plane))),
        Cost("FCM", count_millions(network.fcm), _gflop(lambda: network.fcm(maps))),
        Cost("MPFFM", mpffm, _gflop(propagate)),
    ]
    boundary = network.boundary
    if boundary is not None:
        with torch.device("meta"):
            told, said = torch.empty(slices, channels, pixels, pixels), torch.empty(slices, 2, pixels, pixels)
        rows.append(Cost("border", count_millions(boundary), _gflop(lambda: boundary.correct(told, said))))
    correction = network.correction
    if correction is not None:  # has no say in a first round
        rows.append(Cost("correction", count_millions(correction), 0.0))
    return rows


def _gflop(run: Callable[[], object]) -> float:
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        run()
    return counter.get_total_flops() / 1e9


def summary(name: str) -> str:
    """The table that `ichhpinet info --model` prints. Raises: InputError for an unknown name."""
    config = ModelConfig.named(name)
    rows = costs(config)
    rows.append(Cost("total", sum(row.millions for row in rows), sum(row.gflop for row in rows)))
    lines = [
        f"{config.name}: {config.pixel_mm} mm working pixels",
        f"{'module':<10}{'parameters':>14}{'authors code':>16}{'GFLOP':>12}",
    ]
    for row in rows:
        known = PUBLISHED_MILLIONS.get(row.name) if name == "paper" else None
        published = "" if known is None else f"{known:.1f} M"
        lines.append(f"{row.name:<10}{row.millions:>12.2f} M{published:>16}{row.gflop:>12,.0f}")
    lines.append(f"GFLOP: first round on {SLICES} slices of {PIXELS} x {PIXELS} working pixels, one slice touched.")
    if name == "paper":
        lines.append(f"Published: {STATED_MILLIONS} M parameters, 325 GFLOP as stated in the authors' readme;")
        lines.append(f"{PUBLISHED_MILLIONS['total']} M and {PUBLISHED_GFLOP:,} GFLOP as measured on the authors' code.")
    return "\n".join(lines)
