"""The parts that can be taken out, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WHOLE = "whole"


@dataclass(frozen=True)
class Part:
    """shown: in the table. switches: of ModelConfig, what is set instead."""

    shown: str
    switches: Mapping[str, Any] = field(default_factory=dict)


PARTS = {
    WHOLE: Part("as shipped"),
    "propagation": Part("without propagation and memory (volume branch alone)", {"volume_only": True}),
    "volume": Part("without the volume branch (propagation alone)", {"slice_only": True}),
    "memory": Part("without the slices corrected in earlier rounds", {"use_memory": False}),
    "affinity": Part("without the affinity (each place reads itself)", {"use_affinity": False}),
    "reach": Part("without the reach of the affinity (anywhere alike, as published)", {"affinity_reach": 0.0}),
    "fusion": Part("without the volume's features in the propagation", {"use_fusion": False}),
    "waves": Part("slice by slice (in place of three distances at a time)", {"wave_slices": 1}),
    "sweep": Part("all slices at once from the corrected ones", {"wave_slices": 1 << 20}),
    "paths": Part("strokes told where they lie alone (without the distance along tissue)", {"stroke_reach": "painted"}),
    "likeness": Part("without the likeness of densities to the painted", {"use_likeness": False}),
    "head": Part("without the boundary head"),
    "correction": Part("without the correction head"),
    "lean": Part("without the line of greatest expected Dice"),
    "boldness": Part("without the line that moves with corrections"),
    "elsewhere": Part("with corrections that change the mask elsewhere too"),
    "heed": Part("without what corrections ask for (the line drawn anew near them, their head, no change elsewhere)"),
}
