"""What the analysis measures on maps: likeness of two branches, where attention falls, how far classes lie apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ichhpinet.networks.mpffm import readout

from ..probe import Seen
from ..uncertainty.measures import area_under_curve

VOLUME_STRIDES = (2, 4, 8)  # of D_1..D_3 on the slice grid
MOST_PIXELS = 4000  # of each class, for the separation
RIDGE = 1e-3  # of the pooled covariance's mean variance


@dataclass(frozen=True)
class Likeness:
    """Of the volume and the slice branch at one stride: cosine of their energy maps, and the same with means taken off.

    The branches have other numbers of channels, so what is compared is where each is active: the mean of the absolute
    values over channels. Such maps are nowhere negative, and their plain cosine is high for any two; the second figure
    is not.
    """

    stride: int
    cosine: float
    centred: float


def likenesses(seen: Seen, sim_strides: tuple[int, ...]) -> list[Likeness]:
    """At every stride that both branches have, on the slices touched in this round; none without touched slices."""
    found = []
    touched = torch.nonzero(seen.touched).flatten()
    for volume, stride in zip(seen.volume_maps, VOLUME_STRIDES, strict=False):
        if stride not in sim_strides or not seen.slice_maps or not len(touched):
            continue
        slices = seen.slice_maps[sim_strides.index(stride)]
        first = volume[:, touched].abs().mean(0).flatten(1).float().cpu()
        second = slices.abs().mean(1).flatten(1).float().cpu()
        cosine = F.cosine_similarity(first, second).mean()
        centred = F.cosine_similarity(first - first.mean(1, True), second - second.mean(1, True)).mean()
        found.append(Likeness(stride, float(cosine), float(centred)))
    return found


def sim_strides(stem: int, stages: int) -> tuple[int, ...]:
    """Strides of the slice branch's stages: halving until four times the stem, dilated from there on."""
    return tuple(min(stem << stage, 4 * stem) for stage in range(stages))


def attention(seen: Seen, query: int, memory: int, where: Tensor) -> Tensor:
    """Where in slice `memory` the pixels `where` of slice `query` look: equations 3 and 4, mean over them.

    where: (h/s, w/s) bool on the memory's grid, at least one set. Returns (h/s, w/s), sum 1.
    """
    keys = seen.encoded.features.key
    height, width = keys.shape[2:]
    key_r = keys[memory].flatten(1)[None, None]
    looking = keys[query].flatten(1)[:, where.flatten().to(keys.device)][None]
    valid = torch.ones(1, 1, dtype=torch.bool, device=keys.device)
    places = torch.eye(key_r.shape[3], dtype=keys.dtype, device=keys.device)[None, None]  # so weights are read
    looked = readout(key_r, places, looking, valid)[0].mean(1)
    return looked.view(height, width).float().cpu()


def focus(looked: Tensor, lesion: Tensor) -> float:
    """How many times more attention falls on the lesion than its area would get; nan without lesion there."""
    share = float(lesion.float().mean())
    return float(looked[lesion].sum()) / share if share > 0 else math.nan


def separation(maps: Tensor, lesion: Tensor, region: Tensor, seed: int = 0) -> tuple[float, float]:
    """(AUC of the best linear direction, Fisher's ratio) between lesion and the rest of the region.

    maps: (d, C, h, w). lesion, region: (d, h, w) bool on the same grid. The direction is fitted on one half of the
    pixels and judged on the other. nan where a class has fewer than 20 pixels.
    """
    pixels = maps.movedim(1, -1).float().cpu().numpy()
    inside = _drawn(pixels[lesion.numpy()], seed)
    outside = _drawn(pixels[(region & ~lesion).numpy()], seed + 1)
    if min(len(inside), len(outside)) < 20:
        return math.nan, math.nan
    direction = _discriminant(inside[::2], outside[::2])
    scores = np.concatenate([inside[1::2] @ direction, outside[1::2] @ direction])
    labels = np.arange(len(scores)) < len(inside[1::2])
    gap = np.square(inside.mean(0) - outside.mean(0)).sum()
    return area_under_curve(scores, labels), float(gap / (inside.var(0).sum() + outside.var(0).sum() + 1e-12))


def _discriminant(inside: NDArray[np.float32], outside: NDArray[np.float32]) -> NDArray[np.float64]:
    """Fisher's linear discriminant with a ridge."""
    pooled = np.cov(inside.T) * 0.5 + np.cov(outside.T) * 0.5
    pooled = np.atleast_2d(pooled)
    pooled += np.eye(len(pooled)) * (RIDGE * max(float(np.trace(pooled)) / len(pooled), 1e-9))
    return np.linalg.solve(pooled, inside.mean(0) - outside.mean(0))


def _drawn(pixels: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """At most MOST_PIXELS, in a random order."""
    order = np.random.default_rng(seed).permutation(len(pixels))[:MOST_PIXELS]
    return pixels[order]
