"""One forward and backward step of a network on a small volume: `python -m ichhpinet_workbench.bench.training_step`.

Prints time and peak memory of the process. The loss is equation 6 with the paper's weights; values are noise.
"""

from __future__ import annotations

import argparse
import sys
import time

import torch

from ichhpinet.networks import HPINet, Memory, ModelConfig, RoundInputs
from ichhpinet_workbench.bench.measure import peak_memory_gib
from ichhpinet_workbench.losses import LossWeights, round_loss


def inputs(depth: int, size: int, spacing_mm: tuple[float, float, float]) -> RoundInputs:
    """Noise of (1, depth, size, size) with a stroke of each kind on the middle slice."""
    image = torch.randn(1, depth, size, size)
    painted = torch.zeros(1, 2, depth, size, size, dtype=torch.bool)
    painted[0, 0, depth // 2, size // 3, size // 3 : size // 2] = True
    painted[0, 1, depth // 2, size // 2, size // 3 : size // 2] = True
    touched = painted.flatten(3).any(3).any(1)
    return RoundInputs(image, torch.zeros_like(image), painted, touched, torch.tensor([spacing_mm]))


def main(arguments: list[str] | None = None) -> int:
    """Measure and print one line for each step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="paper")
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--size", type=int, default=128, help="rows and columns, a multiple of 32")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    network = HPINet(ModelConfig.named(chosen.model)).train()
    given = inputs(chosen.slices, chosen.size, (5.0, network.config.pixel_mm, network.config.pixel_mm))
    truth = (torch.rand_like(given.image) > 0.98).float()
    began = time.perf_counter()
    outputs = network(given, network.encode(given.image[0]), Memory.empty(given.image))
    loss, _ = round_loss(outputs, truth, given.previous, given.touched, LossWeights())
    forward = time.perf_counter()
    loss.backward()
    backward, value = time.perf_counter(), float(loss.detach())
    shape = f"{chosen.slices} x {chosen.size} x {chosen.size}"
    sys.stdout.write(
        f"{chosen.model}, {shape}, float32, {chosen.threads} threads: forward {forward - began:.1f} s, backward "
        f"{backward - forward:.1f} s, peak memory {peak_memory_gib() or float('nan'):.1f} GiB, loss {value:.3f}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
