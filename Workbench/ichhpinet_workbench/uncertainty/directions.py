"""What a slice's neighbours say about it: the result carried one slice on from below, and from above (SLEX-Net's idea).

SLEX-Net learns a module for it; here the network's own memory does it: each slice's mask of the round is written to
memory, and read by the slice above it alone, then by the slice below it alone. Where both say the same they are sure.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ichhpinet.networks.hpinet import HPINet
from ichhpinet.networks.mpffm import readout

from ..probe import Seen

SLICES = 8  # at once


@torch.inference_mode()
def directions(network: HPINet, seen: Seen) -> tuple[Tensor, Tensor] | None:
    """(from below, from above): probability (d, h, w) of each slice by its one neighbour; None without slice branch.

    The first slice has no neighbour below, the last none above: they read themselves.
    """
    if network.config.volume_only:
        return None
    values = _written(network, seen)
    return _carried(network, seen, values, 1), _carried(network, seen, values, -1)


def disagreement(sides: tuple[Tensor, Tensor]) -> Tensor:
    """|from below - from above|, (d, h, w) in [0, 1]."""
    return (sides[0] - sides[1]).abs()


def _written(network: HPINet, seen: Seen) -> Tensor:
    """(d, Cv, h/s, w/s): every slice with its mask of the round, strokes obeyed, as memory holds it."""
    foreground, background = seen.painted.to(seen.encoded.image.device)
    probability = seen.arrays.probability.to(seen.encoded.image.device)
    masks = torch.where(foreground, 1.0, torch.where(background, 0.0, probability))[:, None]
    image, coarse = seen.encoded.image[0][:, None], seen.encoded.features.coarse
    parts = zip(image.split(SLICES), masks.split(SLICES), coarse.split(SLICES), strict=True)
    return torch.cat([network.memory_encoder(*part) for part in parts])


def _carried(network: HPINet, seen: Seen, values: Tensor, step: int) -> Tensor:
    features, image = seen.encoded.features, seen.encoded.image[0][:, None]
    said = []
    for index in torch.arange(len(values), device=values.device).split(SLICES):
        source = (index - step).clamp(0, len(values) - 1)
        read = _read(network, features.key, values, index, source)
        fused = dict(zip(network.fused_strides, (level[index] for level in seen.converted), strict=False))
        said.append(torch.sigmoid(network.decoder(fused, read, features.take(index), image[index]))[:, 0])
    return torch.cat(said).cpu()


def _read(network: HPINet, keys: Tensor, values: Tensor, index: Tensor, source: Tensor) -> Tensor:
    """What each slice reads of its one source, (N, Cv, h/s, w/s)."""
    if not network.config.use_affinity:
        return values[source]
    valid = torch.ones(len(index), 1, dtype=torch.bool, device=values.device)
    read = readout(keys[source][:, None].flatten(3), values[source][:, None].flatten(3), keys[index].flatten(2), valid)
    return read.view(len(index), -1, *values.shape[2:])
