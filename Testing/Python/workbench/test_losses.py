"""Equation 6: against a computation by hand, and on what makes losses break."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.engine import round_inputs, tiny_network
from ichhpinet.networks import Memory, RoundOutputs
from ichhpinet_workbench.losses import EMPTY_SMOOTH_VOXELS, SMOOTH_VOXELS, LossWeights, dice_loss, round_loss, sub_loss

RNG = torch.Generator().manual_seed(0)
TOUCHED = torch.tensor([[False, True, False]])


def outputs_of(truth: Tensor, scale: float | None = None) -> RoundOutputs:
    """Logits of every branch for truth (1, 3, 16, 16): noise, or the truth itself times +-scale."""

    def logits(wanted: Tensor) -> Tensor:
        return torch.randn(wanted.shape, generator=RNG) if scale is None else (2 * wanted - 1) * scale

    pooled = [torch.nn.functional.avg_pool2d(truth, s).round() for s in (2, 4, 8)]
    memory = Memory(TOUCHED, torch.zeros_like(truth))
    converted = [logits(level).reshape(3, 1, *level.shape[2:]) for level in pooled]
    return RoundOutputs(logits(truth), logits(pooled[0])[:, None], logits(truth[TOUCHED]), converted, memory)


def truth_with_blood() -> Tensor:
    """(1, 3, 16, 16): a block that every stride divides, on the middle slice."""
    truth = torch.zeros(1, 3, 16, 16)
    truth[0, 1, 0:8, 8:16] = 1.0
    return truth


def by_hand(logits: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """0.5 Dice loss of each item + 0.5 mean cross-entropy, in float64."""
    probability = 1 / (1 + np.exp(-logits))
    entropy = -(truth * np.log(probability) + (1 - truth) * np.log(1 - probability)).mean()
    rows = [
        1 - (2 * (p * t).sum() + SMOOTH_VOXELS) / (p.sum() + t.sum() + SMOOTH_VOXELS)
        for p, t in zip(probability, truth)
    ]
    return float(0.5 * np.mean(rows) + 0.5 * entropy)


def test_the_loss_is_equation_six_with_the_weights_of_the_paper() -> None:
    truth = truth_with_blood()
    outputs = outputs_of(truth)
    total, terms = round_loss(outputs, truth, torch.zeros_like(truth), TOUCHED, LossWeights())
    t = truth.numpy().astype(float)
    half = t.reshape(1, 3, 8, 2, 8, 2).mean((3, 5))
    ssl = by_hand(outputs.logits.numpy(), t) + by_hand(outputs.touched_logits.numpy(), t[:, 1])
    vsl = by_hand(outputs.volume_logits[:, 0].numpy(), half)
    fcl = np.mean(
        [
            by_hand(level.numpy().reshape(1, 3, n, n), t.reshape(1, 3, n, 16 // n, n, 16 // n).mean((3, 5)))
            for level, n in zip(outputs.converted_logits, (8, 4, 2))
        ]
    )
    assert terms == {"ssl": pytest.approx(ssl), "vsl": pytest.approx(vsl), "fcl": pytest.approx(fcl)}
    assert float(total) == pytest.approx((5 * vsl + 1 * ssl + 4 * fcl) / 10)


def test_a_perfect_round_costs_next_to_nothing_and_a_wrong_one_much() -> None:
    truth = truth_with_blood()
    perfect, wrong = (
        float(round_loss(outputs_of(truth, scale), truth, torch.zeros_like(truth), TOUCHED, LossWeights())[0])
        for scale in (30.0, -30.0)
    )
    assert perfect < 1e-4
    assert wrong > 1.0


def test_a_crop_without_blood_has_a_finite_loss_and_gradient() -> None:
    truth = torch.zeros(1, 3, 16, 16)
    for scale in (None, 80.0, -80.0):
        outputs = outputs_of(truth, scale)
        outputs.logits.requires_grad_(True)
        total, _ = round_loss(outputs, truth, truth, TOUCHED, LossWeights(lesion=2, wrong=2))
        total.backward()
        assert torch.isfinite(total)
        assert outputs.logits.grad is not None and torch.isfinite(outputs.logits.grad).all()


def test_branches_that_did_not_run_add_nothing() -> None:
    truth = truth_with_blood()
    outputs = outputs_of(truth)
    alone = outputs._replace(volume_logits=None, converted_logits=[], touched_logits=torch.zeros(0, 16, 16))
    total, terms = round_loss(alone, truth, truth, torch.zeros_like(TOUCHED), LossWeights())
    assert list(terms) == ["ssl"]
    assert float(total) == pytest.approx(terms["ssl"] / 10)  # the weights keep their scale: 5 + 1 + 4


def test_dice_is_the_mean_over_items_and_the_smoothing_keeps_it_in_the_unit_range() -> None:
    sure = torch.full((2, 4, 4), 50.0)
    truth = torch.stack([torch.ones(4, 4), torch.zeros(4, 4)])
    wanted = (0.0 + (1 - EMPTY_SMOOTH_VOXELS / (16 + EMPTY_SMOOTH_VOXELS))) / 2  # the second item holds no blood
    assert float(dice_loss(sure, truth)) == pytest.approx(wanted, abs=1e-6)
    assert float(dice_loss(-sure, torch.zeros(2, 4, 4))) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", ["lesion", "wrong", "heard"])
def test_weighted_voxels_count_more(name: str) -> None:
    truth = truth_with_blood()
    logits = torch.full_like(truth, -3.0)  # the blood is missed
    outputs = outputs_of(truth)._replace(logits=logits, touched_logits=torch.zeros(0, 16, 16))
    nothing = torch.zeros_like(truth)  # and was missed before
    plain, weighted = (
        round_loss(outputs, truth, nothing, TOUCHED & False, weights, truth >= 0.5)[1]["ssl"]
        for weights in (LossWeights(), LossWeights(**{name: 2.0}))
    )
    assert weighted > plain


def test_half_floats_are_lifted_before_the_loss() -> None:
    truth = truth_with_blood()
    loss = sub_loss(outputs_of(truth).logits.bfloat16(), truth, torch.ones_like(truth), LossWeights())
    assert loss.dtype == torch.float32


def test_a_round_of_training_reaches_every_weight_but_those_of_the_correction_head() -> None:
    network = tiny_network().train()
    inputs, memory = round_inputs(touched=(1, 3), batch=2)
    truth = (inputs.previous > 0.7).float()
    outputs = network(inputs, network.encode(inputs.image.flatten(0, 1)), memory)
    round_loss(outputs, truth, inputs.previous, inputs.touched, LossWeights())[0].backward()
    idle = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert network.correction is not None  # it learns by itself, afterwards
    assert idle == [f"correction.{name}" for name, _ in network.correction.named_parameters()]
