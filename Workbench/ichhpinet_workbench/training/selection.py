"""Model selection while training: a few whole heads of the validation family, three rounds of careful strokes each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from ichhpinet.networks import Memory, ModelConfig, RoundInputs
from ichhpinet.preprocessing import normalise

from ..robot import add_strokes, strokes
from .crops import Head
from .pool import make_head

CASES = 6
FIRST_SEED = 900_000  # apart from the seeds of the reported validation
ROUNDS = 3
THICKNESS_MM = (2.5, 4.0, 5.0, 6.0)
PLANE = 16


class Selection:
    """Fixed cases; `score` plays the rounds on each."""

    def __init__(self, pixel_mm: float, cases: int = CASES, heads: Sequence[Head] | None = None) -> None:
        """heads: these cases instead of synthetic ones."""
        if heads is not None:
            self._cases = [_as_case(head) for head in heads]
            return
        self._cases = [_case(FIRST_SEED + i, THICKNESS_MM[i % len(THICKNESS_MM)], pixel_mm) for i in range(cases)]

    @classmethod
    def of_heads(cls, heads: Sequence[Head]) -> Selection:
        """These heads' cases; one without blood counts 1 where nothing is found."""
        return cls(0.0, heads=heads)

    @classmethod
    def of(cls, config: ModelConfig) -> Selection:
        """The cases at a model's pixel size, made once a process."""
        return _of(config.pixel_mm, 2 if config.name == "tiny" else CASES)

    @torch.inference_mode()
    def score(self, network: nn.Module, device: torch.device, half: bool = True) -> dict[str, float]:
        """Mean Dice after each round, Dice with no stroke, and `score`, the mean of rounds 1 to 3.

        half: in mixed precision, as the training is.
        """
        rounds = np.array([self._play(network, device, half, *case, seed) for seed, case in enumerate(self._cases)])
        named = {f"dice_{number}": float(value) for number, value in enumerate(rounds.mean(0))}
        return named | {"score": float(rounds[:, 1:].mean())}

    def _play(
        self,
        network: nn.Module,
        device: torch.device,
        half: bool,
        image: Tensor,
        truth: np.ndarray,
        spacing: Tensor,
        seed: int,
    ) -> list[float]:
        """[Dice without strokes, after round 1, 2, 3]."""
        rng = np.random.default_rng(seed)
        image, spacing = image.to(device), spacing.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            features = network.encode(image[0])
        dices = []
        painted = np.zeros((2, *truth.shape), bool)
        mask = np.zeros_like(truth)
        previous, memory = torch.zeros_like(image), Memory.empty(image)
        for number in range(ROUNDS + 1):
            new = strokes(truth, mask, tuple(spacing[0].tolist()), rng, hand="line") if number else None
            touched = np.zeros(len(truth), bool)
            if new is not None:
                painted = np.stack(add_strokes(painted[0], painted[1], *new))
                touched = (new[0] | new[1]).any(axis=(1, 2))
            inputs = RoundInputs(
                image,
                previous,
                torch.from_numpy(painted)[None].to(device),
                torch.from_numpy(touched)[None].to(device),
                spacing,
            )
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                outputs = network(inputs, features, memory)
            probability = torch.sigmoid(outputs.logits.float())
            result = ((probability[0] >= 0.5).cpu().numpy() | painted[0]) & ~painted[1]
            both = int(result.sum() + truth.sum())
            dices.append(float(2 * (result & truth).sum() / both) if both else 1.0)
            if number:  # the look without strokes is no round of the three
                mask, memory = result, outputs.memory
                previous = torch.where(inputs.painted[:, 0], 1.0, torch.where(inputs.painted[:, 1], 0.0, probability))
        return dices


@cache
def _of(pixel_mm: float, cases: int) -> Selection:
    return Selection(pixel_mm, cases)


def _case(seed: int, thickness_mm: float, pixel_mm: float) -> tuple[Tensor, np.ndarray, Tensor]:
    """Image (1, d, h, w), truth bool (d, h, w), spacing (1, 3); cut to multiples of 16."""
    kinds = (("IPH",), ("IPH", "IVH"), ("SDH",), ("IPH",), ("SAH",), ("IVH",))[seed % 6]
    return _as_case(make_head(seed, pixel_mm, thickness_mm=thickness_mm, kinds=kinds, family="validation"))


def _as_case(head: Head) -> tuple[Tensor, np.ndarray, Tensor]:
    depth, height, width = head.hu.shape
    height, width = height // PLANE * PLANE, width // PLANE * PLANE
    image = normalise(torch.from_numpy(head.hu[:, :height, :width].astype(np.float32)))
    return image[None], head.blood[:, :height, :width] >= 0.5, torch.tensor([head.spacing_mm], dtype=torch.float32)
