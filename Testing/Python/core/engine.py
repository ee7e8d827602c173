"""A tiny engine with seeded random weights, and small CTs: for the tests of everything that computes rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ichhpinet.checkpoint import Checkpoint
from ichhpinet.networks import HPINet, Memory, ModelConfig, RoundInputs
from ichhpinet.predictor import EncodedVolume, Predictor, RoundArrays
from ichhpinet.preprocessing import working_grid
from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume

SHAPE = (5, 16, 16)
SPACING_MM = (5.0, 2.0, 2.0)  # on 1 mm working pixels: (5, 32, 32)


def tiny_network(seed: int = 1, **switches: Any) -> HPINet:
    """The tiny model in evaluation mode, its weights and batch norm statistics random, its logits of either sign."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = HPINet(ModelConfig.tiny(**switches)).eval()
    for module in network.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)):
            count = module.num_features
            module.running_mean.copy_(torch.randn(count, generator=generator) * 0.2)
            module.running_var.copy_(torch.rand(count, generator=generator) + 0.5)
            module.weight.data.copy_(torch.rand(count, generator=generator) + 0.7)
            module.bias.data.copy_(torch.randn(count, generator=generator) * 0.3)
    with torch.no_grad():
        for head in (network.vim.head, network.sim.head, network.decoder.head):
            head.weight.mul_(4)
            head.bias.zero_()
        if network.boundary is not None:  # starts at 0, which would hide it
            network.boundary.last.weight.copy_(torch.randn(network.boundary.last.weight.shape, generator=generator))
        if network.correction is not None:
            network.correction.last.weight.copy_(torch.randn(network.correction.last.weight.shape, generator=generator))
    return network


def tiny_checkpoint(seed: int = 1, **switches: Any) -> Checkpoint:
    """Weights of `tiny_network`, with a digest of their own."""
    network = tiny_network(seed, **switches)
    return Checkpoint(network.config, network.state_dict(), {"seed": seed}, 1.0, f"{seed + 1:064x}")


def tiny_predictor(seed: int = 1, **switches: Any) -> Predictor:
    """A predictor on the CPU with the weights of `tiny_network`."""
    return Predictor(tiny_checkpoint(seed, **switches), "cpu")


def small_ct(
    shape: tuple[int, int, int] = SHAPE,
    spacing_mm: Sequence[float] = SPACING_MM,
    direction: NDArray[np.float64] | None = None,
    seed: int = 0,
) -> CTVolume:
    """Brain with noise and a bright clot off the middle; no skull, so that the whole plane is the head."""
    rng = np.random.default_rng(seed)
    hu = rng.normal(35, 4, shape)
    hu[shape[0] // 2, shape[1] // 4 : shape[1] // 2, shape[2] // 4 : shape[2] // 2] += 35
    return CTVolume.from_array(hu.astype(np.float32), spacing_mm, direction=direction)


def stroke(*voxels: tuple[int, int, int], shape: tuple[int, int, int] = SHAPE) -> NDArray[np.bool_]:
    """(D, H, W) bool with these voxels painted."""
    painted = np.zeros(shape, bool)
    for voxel in voxels:
        painted[voxel] = True
    return painted


def line(z: int, y: int, x: slice = slice(4, 9), shape: tuple[int, int, int] = SHAPE) -> NDArray[np.bool_]:
    """(D, H, W) bool with a horizontal stroke."""
    painted = np.zeros(shape, bool)
    painted[z, y, x] = True
    return painted


def foreground(*voxels: tuple[int, int, int], shape: tuple[int, int, int] = SHAPE) -> Scribbles:
    """Foreground strokes alone."""
    return Scribbles(stroke(*voxels, shape=shape))


def background(*voxels: tuple[int, int, int], shape: tuple[int, int, int] = SHAPE) -> Scribbles:
    """Background strokes alone."""
    return Scribbles(None, stroke(*voxels, shape=shape))


def round_inputs(
    shape: tuple[int, int, int] = (5, 16, 16), touched: Sequence[int] = (2,), seed: int = 0, batch: int = 1
) -> tuple[RoundInputs, Memory]:
    """What a network takes: noise, a foreground and a background stroke on each touched slice, an empty memory."""
    rng = torch.Generator().manual_seed(seed)
    image = torch.randn(batch, *shape, generator=rng)
    previous = torch.rand(batch, *shape, generator=rng)
    painted = torch.zeros(batch, 2, *shape, dtype=torch.bool)
    slices = torch.zeros(batch, shape[0], dtype=torch.bool)
    for z in touched:
        painted[:, 0, z, 4:6, 4:9] = True
        painted[:, 1, z, 10:12, 8:12] = True
        slices[:, z] = True
    spacing = torch.tensor([[5.0, 1.0, 1.0]]).repeat(batch, 1)
    return RoundInputs(image, previous, painted, slices, spacing), Memory.empty(image)


def play(network: HPINet, inputs: RoundInputs, memory: Memory) -> Any:
    """One round of a bare network: RoundOutputs."""
    with torch.inference_mode():
        return network(inputs, network.encode(inputs.image.flatten(0, 1)), memory)


class QuickPredictor(Predictor):
    """No network: a round's probability is noise of its number of painted voxels. For what the session does with it."""

    fails = False

    def __init__(self) -> None:
        super().__init__(tiny_checkpoint(), "cpu")

    def encode(self, volume: CTVolume, progress: Any = None, cancel: Any = None) -> EncodedVolume:
        """A grid and an image; no features."""
        grid = working_grid(volume, self.config.pixel_mm, self.config.min_slice_mm)
        return EncodedVolume(grid, torch.zeros(1, *grid.shape), None)  # type: ignore[arg-type]

    def said(self, shape: tuple[int, int, int], rng: torch.Generator) -> torch.Tensor:
        """The probability (d, h, w) of a round."""
        return torch.rand(shape, generator=rng)

    def compute_round(
        self,
        encoded: EncodedVolume,
        previous: Any,
        painted: Any,
        touched: Any,
        memory: Memory,
        tick: Any,
        boldness: float = 0.0,
    ) -> RoundArrays:
        """Noise, and every slice corrected so far."""
        if self.fails:
            raise MemoryError
        probability = self.said(encoded.grid.shape, torch.Generator().manual_seed(int(painted.sum())))
        corrected = memory.corrected | touched[None]
        return RoundArrays(probability, None, Memory(corrected, probability[None] * corrected[:, :, None, None]))
