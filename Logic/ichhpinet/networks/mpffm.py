"""MPFFM, multi-propagation feature fusion: query encoder, memory encoder, affinity, mask decoder (eqs. 2-5)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from .blocks import BasicBlock, ChannelSpatialAttention, SliceEncoder, convolution


class SliceFeatures(NamedTuple):
    """What depends on the image alone: computed once when a volume is opened. N slices."""

    skips: tuple[Tensor, Tensor]  # fine, middle: f4, f8 (paper) or f2, f4 (compact)
    coarse: Tensor  # (N, C, h/s, w/s): f16 (paper) or f8 (compact)
    key: Tensor  # (N, Ck, h/s, w/s)
    value: Tensor  # V_k (N, Cv, h/s, w/s)

    @property
    def nbytes(self) -> int:
        """What they take in memory."""
        return sum(tensor.nbytes for tensor in (*self.skips, self.coarse, self.key, self.value))

    def take(self, index: Tensor) -> SliceFeatures:
        """The features of some of the slices."""
        skips = (self.skips[0][index], self.skips[1][index])
        return SliceFeatures(skips, self.coarse[index], self.key[index], self.value[index])

    def split(self, sizes: list[int]) -> list[SliceFeatures]:
        """Consecutive groups of slices, as views."""
        rows = zip(*(tensor.split(sizes) for tensor in (*self.skips, self.coarse, self.key, self.value)))
        return [SliceFeatures((fine, middle), *rest) for fine, middle, *rest in rows]

    @classmethod
    def cat(cls, parts: list[SliceFeatures]) -> SliceFeatures:
        """Slices of several batches, in order."""
        skips = (torch.cat([p.skips[0] for p in parts]), torch.cat([p.skips[1] for p in parts]))
        rest = (torch.cat([getattr(p, name) for p in parts]) for name in ("coarse", "key", "value"))
        return cls(skips, *rest)


class QueryEncoder(nn.Module):
    """S -> {f^1, f^2, f^3, K, V}; shared by S_k and S_r."""

    def __init__(
        self, widths: tuple[int, ...], depths: tuple[int, ...], block: str, stem: int, key_value: tuple[int, int]
    ) -> None:
        super().__init__()
        self.encoder = SliceEncoder(1, widths, depths, block, stem)
        self.key = nn.Conv2d(widths[-1], key_value[0], 3, padding=1)
        self.value = nn.Conv2d(widths[-1], key_value[1], 3, padding=1)
        self.stride = self.encoder.stride

    def forward(self, image: Tensor) -> SliceFeatures:
        fine, middle, coarse = self.encoder(image)
        return SliceFeatures((fine, middle), coarse, self.key(coarse), self.value(coarse))


class MemoryEncoder(nn.Module):
    """V_r = MemoryEncoder(S_r, M_r, f_r^3) (equation 2)."""

    def __init__(self, widths: tuple[int, ...], depths: tuple[int, ...], stem: int, coarse: int, value: int) -> None:
        super().__init__()
        self.encoder = SliceEncoder(2, widths, depths, "basic", stem)
        self.first = BasicBlock(widths[-1] + coarse, value)
        self.attention = ChannelSpatialAttention(value)
        self.second = BasicBlock(value, value)

    def forward(self, image: Tensor, mask: Tensor, coarse: Tensor) -> Tensor:
        """image, mask: (N, 1, h, w); coarse: (N, C, h/s, w/s). Returns (N, Cv, h/s, w/s)."""
        encoded = self.encoder(torch.cat([image, mask], 1))[-1]
        fused = self.first(torch.cat([encoded, coarse], 1))
        value: Tensor = self.second(fused + self.attention(fused))
        return value


def readout(key_r: Tensor, value_r: Tensor, key_k: Tensor, valid: Tensor, places: Tensor | None = None) -> Tensor:
    """V_r x A, A = softmax(A~ / sqrt(d)) over the memory, A~ = -|K_r|^2 + 2 K_r.K_k - |K_k|^2 (equations 3 and 4).

    A is never held: |K_k|^2 is the same for the whole memory and cancels in the softmax, and what is left is a dot
    product of keys with one channel more, 2 K_r.K_k - |K_r|^2 = (K_r, -|K_r|^2) . (2 K_k, 1), for a fused kernel.
    key_r: (N, M, C, P) keys of M memory slices of P positions. value_r: (N, M, Cv, P). key_k: (N, C, Q).
    valid: (N, M) bool. places: (2, P), see `places_of`: the nearer a position, the more it counts; then Q is P.
    Returns: (N, Cv, Q).
    """
    n, m, c, p = key_r.shape
    if places is not None:  # two channels of a key are where it lies: their distance is one more term of A~
        where = places[None] * c**0.25  # what it says is divided by sqrt(d) with the rest
        key_r = torch.cat([key_r, where[None].expand(n, m, -1, -1)], 2)
        key_k = torch.cat([key_k, where.expand(n, -1, -1)], 1)
    memory = key_r.transpose(2, 3).reshape(n, m * p, -1)
    memory = torch.cat([memory, -memory.square().sum(2, keepdim=True)], 2)
    query = F.pad(2 * key_k.transpose(1, 2), (0, 1), value=1.0)
    values = value_r.transpose(2, 3).reshape(n, m * p, -1)
    width = max(memory.shape[2], values.shape[2])  # the fused kernel wants one width for all three
    q, k, v = (F.pad(part, (0, width - part.shape[2]))[:, None] for part in (query, memory, values))
    mask = None if bool(valid.all()) else valid.repeat_interleave(p, 1)[:, None, None, :]
    read = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1 / math.sqrt(c))
    return read[:, 0, :, : values.shape[2]].transpose(1, 2)


def places_of(height: int, width: int, reach: float, device: torch.device) -> Tensor:
    """(2, height * width): where each position lies, so that squared distances are d^2 / (2 reach^2).

    Counted from the middle: float32 loses less of small differences between small numbers.
    """
    y = torch.arange(height, device=device, dtype=torch.float32) - (height - 1) / 2
    x = torch.arange(width, device=device, dtype=torch.float32) - (width - 1) / 2
    return torch.stack(torch.meshgrid(y, x, indexing="ij")).flatten(1) / (math.sqrt(2) * reach)


class MaskDecoder(nn.Module):
    """M_k = MaskDecoder(F_k, Concat(V_r A, V_k), f_k^1, f_k^2) (equation 5).

    Runs from the memory's stride up to stride 2, taking at each stride the skip map and the F_k element that lie there,
    then interpolates to stride 1; with `refine` channels, a last stage there sees the image.
    """

    def __init__(self, widths: tuple[int, ...], value: int, skips: tuple[int, int], stride: int, refine: int) -> None:
        super().__init__()
        self.strides = [stride >> step for step in range(len(widths))]
        self.compress = BasicBlock(2 * value, widths[0])
        skip_at = {stride // 4: skips[0], stride // 2: skips[1]}
        self.skips = nn.ModuleDict(
            {str(s): nn.Conv2d(skip_at[s], w, 3, padding=1) for s, w in zip(self.strides, widths) if s in skip_at}
        )
        narrow = zip(widths[:-1], widths[1:])
        self.narrow = nn.ModuleList(nn.Conv2d(before, after, 1) for before, after in narrow)
        self.stages = nn.ModuleList(BasicBlock(width, width) for width in widths[1:])
        self.head = nn.Conv2d(widths[-1], refine or 1, 3, padding=1)
        self.refine = (
            nn.Sequential(convolution(refine + 1, refine, 3), nn.ReLU(inplace=True), nn.Conv2d(refine, 1, 3, padding=1))
            if refine
            else None
        )

    def forward(self, fused: dict[int, Tensor], readout: Tensor, features: SliceFeatures, image: Tensor) -> Tensor:
        """fused: F_k by stride of the slice grid. readout: (N, Cv, ...). Returns logits (N, 1, h, w)."""
        x = self.compress(torch.cat([readout, features.value], 1))
        x = x + fused[self.strides[0]] if self.strides[0] in fused else x
        skips = {self.strides[0] // 4: features.skips[0], self.strides[0] // 2: features.skips[1]}
        for stride, narrow, stage in zip(self.strides[1:], self.narrow, self.stages):
            x = F.interpolate(narrow(x), scale_factor=2, mode="bilinear")
            if str(stride) in self.skips:
                x = x + self.skips[str(stride)](skips[stride])
            x = stage(x + fused[stride] if stride in fused else x)
        y = F.interpolate(self.head(x), image.shape[2:], mode="bilinear")
        return y if self.refine is None else y[:, :1] + self.refine(torch.cat([y, image], 1))
