"""HPINet: the four modules composed. One round, from prompts and memory to the logits of every slice (Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from ..preprocessing import CHANNELS, compose, stroke_maps
from .boundary import BoundaryHead
from .config import ModelConfig
from .correction import CorrectionHead
from .fcm import FeatureConvertModule
from .mpffm import MaskDecoder, MemoryEncoder, QueryEncoder, SliceFeatures, places_of, readout
from .sim import SliceInteractionModule
from .vim import VolumeInteractionModule

# VIM sees this many slices at once, and this many more on either side that are thrown away: memory stays bounded.
CHUNK_SLICES, HALO_SLICES = 48, 16
WAVE_PART = 16  # slices of a wave decoded at once: bounds the memory
GROUP_SLICES = 8  # in SIM and the memory encoder at once: a cancel is noticed between groups

Tick = Callable[[float], None]


def _silent(fraction: float) -> None:
    """No progress, no cancel."""


class RoundInputs(NamedTuple):
    """B volumes of d slices on the slice grid (h, w multiples of 16)."""

    image: Tensor  # (B, d, h, w) normalised
    previous: Tensor  # PM (B, d, h, w) probability of the round before, zeros at first
    painted: Tensor  # (B, 2, d, h, w) bool: all strokes so far, foreground and background
    touched: Tensor  # (B, d) bool: slices painted on in this round
    spacing_mm: Tensor  # (B, 3) float32 (z, y, x) of the slice grid


class Memory(NamedTuple):
    """`corrected` slices and their masks M_r, kept for the session; the `recent` entry lives inside a round."""

    corrected: Tensor  # (B, d) bool
    masks: Tensor  # (B, d, h, w) probability; read only where `corrected`

    @classmethod
    def empty(cls, image: Tensor) -> Memory:
        """No corrected slices yet, for images (B, d, h, w)."""
        return cls(torch.zeros(image.shape[:2], dtype=torch.bool, device=image.device), torch.zeros_like(image))


class RoundOutputs(NamedTuple):
    """What a round computes; `logits` is the result, the rest is for the losses, the memory and the uncertainty."""

    logits: Tensor  # (B, d, h, w): M_k of every slice, joined with M_r on the slices just touched and with VM
    volume_logits: Tensor | None  # VM (B, 1, d, h/2, w/2)
    touched_logits: Tensor  # M_r (N, h, w) of the touched slices, in the order of `touched`
    converted_logits: list[Tensor]  # one (B * d, 1, h_i, w_i) an element of F_k
    memory: Memory


class HPINet(nn.Module):
    """ICH-HPINet (Tao et al., 2025), on STCN's memory (Cheng et al., 2021) and the hybrid of Shi et al. (2022)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        prompts = len(CHANNELS)
        self.vim = VolumeInteractionModule(prompts, c.volume_widths, c.volume_pools, c.volume_convolutions)
        aspp = (c.aspp_width, c.aspp_rates)
        self.sim = SliceInteractionModule(
            prompts, c.sim_widths, c.sim_depths, c.slice_block, c.sim_stem, aspp, c.sim_low_level
        )
        key_value = (c.key_channels, c.value_channels)
        self.query_encoder = QueryEncoder(c.key_widths, c.key_depths, c.slice_block, c.key_stem, key_value)
        self.memory_encoder = MemoryEncoder(
            c.value_widths, c.value_depths, c.key_stem, c.key_widths[-1], c.value_channels
        )
        stride = self.query_encoder.stride
        skips = (c.key_widths[0], c.key_widths[1])
        self.decoder = MaskDecoder(c.decoder_widths, c.value_channels, skips, stride, c.refine_channels)
        width_at = dict(zip(self.decoder.strides, c.decoder_widths))
        self.fused_strides = tuple(2 << i for i in range(3))  # volume strides 1, 2, 4 on the slice grid
        self.fcm = FeatureConvertModule(c.volume_widths[:3], tuple(width_at[s] for s in self.fused_strides))
        self.boundary = BoundaryHead(prompts, c.boundary_channels) if c.boundary_channels else None
        self.correction = CorrectionHead(c.correction_channels) if c.correction_channels else None

    def encode(self, image: Tensor) -> SliceFeatures:
        """Image-only features of N slices (N, h, w): once when a volume is opened, never again."""
        features: SliceFeatures = self.query_encoder(image[:, None])
        return features

    def forward(
        self, inputs: RoundInputs, features: SliceFeatures, memory: Memory, tick: Tick = _silent
    ) -> RoundOutputs:
        """One round: VIM, SIM on the touched slices, FCM, MPFFM from the corrected slices outwards.

        `features` are those of all B * d slices, volumes one after the other. `tick(fraction)` is called often; what it
        raises ends the round.
        """
        maps, volume_prompts = None, self._volume_prompts(inputs, partial(tick, 0.05))
        tick(0.1)
        volume_logits = None
        if not self.config.slice_only:
            volume_logits, maps = self._volume(inputs, volume_prompts, tick)
        touched_logits, memory = self._correct(inputs, volume_prompts[1], memory, partial(tick, 0.45))
        tick(0.5)
        if self.config.volume_only and volume_logits is not None:
            logits = F.interpolate(volume_logits[:, 0], inputs.image.shape[2:], mode="bilinear")
            return RoundOutputs(logits, volume_logits, touched_logits, [], memory)
        converted = self.fcm(maps) if maps is not None and self.config.use_fusion else []
        logits = self._propagate(inputs, features, memory, converted, volume_logits, tick)
        logits = _join(logits, touched_logits, inputs.touched)
        if volume_logits is not None:
            logits = self._weigh(inputs, volume_prompts[1], logits, volume_logits, partial(tick, 1.0))
        return RoundOutputs(logits, volume_logits, touched_logits, self.fcm.logits(converted), memory)

    def _weigh(
        self, inputs: RoundInputs, maps: Tensor, logits: Tensor, volume_logits: Tensor, between: Callable[[], None]
    ) -> Tensor:
        """Both branches have a say: what is carried on far from a stroke, the volume may know to be bone or noise."""
        wide = F.interpolate(volume_logits[:, 0], logits.shape[2:], mode="bilinear")
        joined = 0.5 * (logits + wide)
        if self.boundary is None:
            return joined
        strokes = F.interpolate(maps.transpose(1, 2).flatten(0, 1), logits.shape[2:], mode="bilinear")
        prompts = compose(inputs.image.flatten(0, 1), inputs.previous.flatten(0, 1), strokes)
        said = torch.stack([logits.flatten(0, 1), wide.flatten(0, 1)], 1)
        correction: Tensor = self.boundary(prompts, said, between)
        return joined + correction.view_as(joined)

    def _volume_prompts(self, inputs: RoundInputs, between: Callable[[], None] = lambda: None) -> tuple[Tensor, Tensor]:
        """Image and stroke maps on the volume grid: (B, d, h/2, w/2) and (B, 3, d, h/2, w/2)."""
        image = F.avg_pool2d(inputs.image, 2)
        foreground, background = F.max_pool3d(inputs.painted.to(image.dtype), (1, 2, 2)).bool().unbind(1)
        painted = torch.stack([foreground, background & ~foreground], 1)
        scale = inputs.spacing_mm.new_tensor([1.0, 2.0, 2.0])
        maps = stroke_maps(image, painted, inputs.spacing_mm * scale, between, self.config.stroke_reach)
        if not self.config.use_likeness:
            maps = torch.cat([maps[:, :2], torch.zeros_like(maps[:, 2:])], 1)
        return image, maps

    def _volume(self, inputs: RoundInputs, prompts: tuple[Tensor, Tensor], tick: Tick) -> tuple[Tensor, list[Tensor]]:
        """VIM over all slices, in chunks with a halo where there are many."""
        image, maps = prompts
        x = compose(image, F.avg_pool2d(inputs.previous, 2), maps)
        thickness = torch.log(inputs.spacing_mm[:, :1] / inputs.spacing_mm[:, 1:2] / 4)
        depth = x.shape[2]
        if depth <= CHUNK_SLICES + 2 * HALO_SLICES:
            whole: tuple[Tensor, list[Tensor]] = self.vim(x, thickness, partial(tick, 0.2))
            return whole
        parts = []
        for start in range(0, depth, CHUNK_SLICES):
            low, high = max(0, start - HALO_SLICES), min(depth, start + CHUNK_SLICES + HALO_SLICES)
            keep = slice(start - low, min(depth, start + CHUNK_SLICES) - low)
            logits, levels = self.vim(x[:, :, low:high], thickness, partial(tick, 0.1 + 0.3 * start / depth))
            parts.append([part[:, :, keep] for part in (logits, *levels)])
        joined = [torch.cat(level, 2) for level in zip(*parts)]
        return joined[0], joined[1:]

    def _correct(
        self, inputs: RoundInputs, maps: Tensor, memory: Memory, between: Callable[[], None]
    ) -> tuple[Tensor, Memory]:
        """SIM on every touched slice; its mask replaces what the memory holds of that slice."""
        volume, index = torch.nonzero(inputs.touched, as_tuple=True)
        if not len(index):
            return inputs.image.new_zeros((0, *inputs.image.shape[2:])), memory
        painted = inputs.painted[volume, :, index]
        wide = F.interpolate(maps[volume, :, index], painted.shape[2:], mode="bilinear")
        strokes = torch.where(painted, 1.0, torch.where(painted.flip(1), 0.0, wide[:, :2]))
        x = compose(inputs.image[volume, index], inputs.previous[volume, index], torch.cat([strokes, wide[:, 2:]], 1))
        parts = []
        for part in x.split(GROUP_SLICES):
            between()
            parts.append(self.sim(part)[:, 0])
        logits = torch.cat(parts)
        masks = memory.masks.clone()
        masks[volume, index] = torch.sigmoid(logits.detach()).to(masks.dtype)
        masks[volume, index] = masks[volume, index].masked_fill(painted[:, 0], 1.0).masked_fill(painted[:, 1], 0.0)
        return logits, Memory(memory.corrected | inputs.touched, masks)

    def _propagate(
        self,
        inputs: RoundInputs,
        features: SliceFeatures,
        memory: Memory,
        converted: list[Tensor],
        volume_logits: Tensor | None,
        tick: Tick,
    ) -> Tensor:
        """MPFFM: every slice, in waves of growing distance from the slices that a mask is known of."""
        depth = inputs.image.shape[1]
        starts, masks = _starts(memory, volume_logits, inputs.image.shape[2:])
        gap, nearest = _distance(starts)
        images, flat_masks = inputs.image.flatten(0, 1)[:, None], masks.flatten(0, 1)[:, None]
        values: dict[int, Tensor] = {}

        def remember(index: Tensor, known: Tensor, between: Callable[[], None]) -> None:
            for part, mask in zip(index.split(GROUP_SLICES), known.split(GROUP_SLICES)):
                between()
                coded = self.memory_encoder(images[part], mask.to(images.dtype), features.coarse[part])
                values.update(zip(part.tolist(), coded))

        remember(torch.nonzero(starts.flatten()).flatten(), flat_masks[starts.flatten()], partial(tick, 0.5))
        waves = self._waves(gap)
        parts = [part for wave in waves for part in wave.split(WAVE_PART)]
        order, sizes = torch.cat(waves), [len(part) for part in parts]
        # One gather of everything, then views: an index a wave would cost a whole volume's gradient each.
        by_part = features.take(order).split(sizes)
        fused_by_part = [level[order].split(sizes) for level in converted]
        logits: list[Tensor] = []
        for number, part in enumerate(parts):
            read = self._read(part, features.key, values, (starts, gap, nearest), depth)
            fused = {stride: level[number] for stride, level in zip(self.fused_strides, fused_by_part)}
            decoded = self.decoder(fused, read, by_part[number], images[part])
            logits.append(decoded[:, 0])
            kept = self._carries_on(gap, part)
            done = 0.5 + 0.5 * (number + 1) / len(parts)
            if kept.any():
                remember(part[kept], torch.sigmoid(decoded.detach())[kept], partial(tick, done))
            tick(done)
        return torch.cat(logits)[order.argsort()].view(*inputs.image.shape)

    def _waves(self, gap: Tensor) -> list[Tensor]:
        """Flat slice indices by distance: the starts, then `wave_slices` further distances at a time."""
        wave = (gap.flatten() + self.config.wave_slices - 1) // self.config.wave_slices
        return [torch.nonzero(wave == number).flatten() for number in range(int(wave.max()) + 1)]

    def _carries_on(self, gap: Tensor, part: Tensor) -> Tensor:
        """Which slices of a wave the next wave reads as its recent one: the furthest of the wave."""
        distance = gap.flatten()[part]
        return (distance > 0) & (distance % self.config.wave_slices == 0) & (distance < gap.max())

    def _read(
        self,
        wave: Tensor,
        keys: Tensor,
        values: dict[int, Tensor],
        route: tuple[Tensor, Tensor, Tensor],
        depth: int,
    ) -> Tensor:
        """V_r x A for the slices of a wave: (N, Cv, h/s, w/s). Cost: at most read_limit + 1 slices a query."""
        chosen = [self._entries(int(index), route, depth) for index in wave]
        most = max(len(entries) for entries in chosen)
        valid = torch.tensor([[i < len(e) for i in range(most)] for e in chosen], device=wave.device)
        padded = [entries + entries[:1] * (most - len(entries)) for entries in chosen]
        value = torch.stack([torch.stack([values[entry] for entry in entries]) for entries in padded])
        if not self.config.use_affinity:
            return value[:, 0]
        key_r = keys[torch.tensor(padded, device=wave.device)].flatten(3).float()  # (N, M, Ck, P)
        with torch.autocast(wave.device.type, enabled=False):
            reach, height, width = self.config.affinity_reach, value.shape[3], value.shape[4]
            places = places_of(height, width, reach, value.device) if reach else None
            read = readout(key_r, value.flatten(3).float(), keys[wave].flatten(2).float(), valid, places)
        return read.view(len(wave), -1, *value.shape[3:])

    def _entries(self, index: int, route: tuple[Tensor, Tensor, Tensor], depth: int) -> list[int]:
        """The memory slices that slice `index` reads, as flat indices: the recent one, the nearest corrected ones."""
        starts, gap, nearest = route
        volume, z = divmod(index, depth)
        start, distance = int(nearest[volume, z]), int(gap[volume, z])
        passed = (distance - 1) // self.config.wave_slices * self.config.wave_slices
        recent = [start + (passed if z > start else -passed)] if passed > 0 else []
        known = torch.nonzero(starts[volume]).flatten().tolist()
        known = sorted(known, key=lambda other: (abs(other - z), other))[: self.config.read_limit]
        if not self.config.use_memory:
            known = [] if recent else [start]
        return [volume * depth + entry for entry in (recent + known)]


def _join(logits: Tensor, touched_logits: Tensor, touched: Tensor) -> Tensor:
    """On the slices just touched both branches have spoken: their mean."""
    if not len(touched_logits):
        return logits
    joined = logits.clone()
    joined[touched] = 0.5 * (logits[touched] + touched_logits.to(logits.dtype))
    return joined


def _starts(memory: Memory, volume_logits: Tensor | None, plane: torch.Size) -> tuple[Tensor, Tensor]:
    """Where propagation starts, (B, d) bool, and the masks there, (B, d, h, w).

    The corrected slices; in a volume with none (a round without strokes) the slice where VIM sees most blood.
    """
    starts, masks = memory.corrected.clone(), memory.masks
    for volume in torch.nonzero(~starts.any(1)).flatten().tolist():
        if volume_logits is None:
            starts[volume, starts.shape[1] // 2] = True
            continue
        seen = torch.sigmoid(volume_logits[volume, 0].detach().float())
        best = int(seen.sum((1, 2)).argmax())
        starts[volume, best] = True
        masks = masks.clone()
        masks[volume, best] = F.interpolate(seen[None, best : best + 1], plane, mode="bilinear")[0, 0]
    return starts, masks


def _distance(starts: Tensor) -> tuple[Tensor, Tensor]:
    """For every slice the distance, in slices, to the nearest start, and that start: two (B, d) int64."""
    index = torch.arange(starts.shape[1], device=starts.device)
    gaps = (index[None, :, None] - index[None, None, :]).abs().expand(len(starts), -1, -1)
    gap, nearest = gaps.masked_fill(~starts[:, None, :], 1 << 30).min(2)
    return gap, nearest
