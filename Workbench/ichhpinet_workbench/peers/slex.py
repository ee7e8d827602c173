"""SLEX-Net (Li et al., JBHI 2022), built from its paper: what a slice's neighbours say about it, from above and below.

A 2D U-Net segments every slice. The slice expansion module, another 2D U-Net, maps the prediction of one slice to the
next from both images: forward from below, backward from above. Where the two agree they count more:
e = lambda exp(-(forward - backward)^2), result = own (1 - 2 e) + (forward + backward) e. One pass gives the
uncertainty: the entropy of the mean of the three. The result and both sides have losses; the sides' come as FCL terms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ichhpinet.networks import Memory, RoundInputs, RoundOutputs

from .base import PeerNetwork
from .config import TINY, PeerConfig

LAMBDA = 0.2


class SlexNet(PeerNetwork):
    """`sides` holds (forward, backward, own) logits of the last round, each (B, d, h, w)."""

    def __init__(self, config: PeerConfig) -> None:
        super().__init__(config)
        from monai.networks.nets import BasicUNet

        features = (4, 4, 8, 8, 8, 4) if config.size == TINY else (64, 64, 128, 256, 512, 64)
        self.backbone = BasicUNet(2, config.channels, 1, features=features)
        self.expansion = BasicUNet(2, 2 * config.channels + 1, 1, features=features)
        self.sides: tuple[Tensor, Tensor, Tensor] | None = None

    def forward(
        self, inputs: RoundInputs, features: Any, memory: Memory, tick: Callable[[float], None] = lambda fraction: None
    ) -> RoundOutputs:
        """One round over whole slices."""
        x = self.channels(inputs)
        own = self.padded(x)[:, 0]
        tick(0.4)
        forward = self._expanded(x, own, 1)
        tick(0.7)
        backward = self._expanded(x, own, -1)
        self.sides = (forward.detach(), backward.detach(), own.detach())
        logits = joined(forward, backward, own)
        tick(1.0)
        nothing = inputs.image.new_zeros((0, *inputs.image.shape[2:]))
        sides = [side.flatten(0, 1)[:, None] for side in (forward, backward)]
        return RoundOutputs(logits, None, nothing, sides, memory)

    def segment(self, x: Tensor) -> Tensor:
        return self._by_slice(self.backbone, x)

    def uncertainty(self) -> Tensor:
        """(B, d, h, w) in [0, 1]: entropy, in bits, of the mean of the three probabilities of the last round."""
        if self.sides is None:
            raise RuntimeError("there was no round yet")
        return one_pass([torch.sigmoid(side.float()) for side in self.sides])

    def _expanded(self, x: Tensor, own: Tensor, step: int) -> Tensor:
        """What the slice `step` below says about each slice; the first has no neighbour and speaks for itself."""
        index = torch.arange(x.shape[2], device=x.device)
        source = (index - step).clamp(0, x.shape[2] - 1)
        said = torch.sigmoid(own[:, source])[:, None]
        pairs = torch.cat([x[:, :, source], x, said], 1)
        short = [-n % m for n, m in zip(pairs.shape[3:], self.multiple[1:], strict=True)]
        if any(short):
            pairs = torch.nn.functional.pad(pairs, (0, short[1], 0, short[0], 0, 0), mode="replicate")
        return self._by_slice(self.expansion, pairs)[:, 0, :, : x.shape[3], : x.shape[4]]

    def _by_slice(self, network: torch.nn.Module, x: Tensor) -> Tensor:
        slices = x.transpose(1, 2).flatten(0, 1)
        logits = torch.cat([network(part) for part in slices.split(16)])
        return logits.view(x.shape[0], x.shape[2], 1, *x.shape[3:]).transpose(1, 2)


def one_pass(said: Sequence[Tensor]) -> Tensor:
    """Entropy, in bits, of the mean of what forward, backward and the slice itself say: probabilities of one shape."""
    mean = torch.stack(list(said)).mean(0).clamp(1e-6, 1 - 1e-6)
    return -(mean * mean.log2() + (1 - mean) * (1 - mean).log2())


def joined(forward: Tensor, backward: Tensor, own: Tensor) -> Tensor:
    """The weighing by consistency, on logits."""
    error = LAMBDA * torch.exp(-(forward - backward).square())
    return own * (1 - 2 * error) + (forward + backward) * error
