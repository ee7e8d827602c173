"""What each experiment changes, and what the analysis measures on maps."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.engine import line, small_ct, tiny_checkpoint
from ichhpinet.errors import InputError
from ichhpinet.networks import Memory
from ichhpinet.scribbles import Scribbles
from ichhpinet_workbench.experiments import command
from ichhpinet_workbench.experiments.features import attention, focus, likenesses, separation, sim_strides
from ichhpinet_workbench.experiments.variants import EXPERIMENTS, experiment_named
from ichhpinet_workbench.probe import ProbedPredictor, Seen
from ichhpinet_workbench.training.networks import make_network
from ichhpinet_workbench.training.plan import checked_recipe
from ichhpinet_workbench.training.recipe import RECIPES

RECIPE = replace(RECIPES["tiny"], volume_first=0.2)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_variant_of_every_experiment_can_be_trained(name: str) -> None:
    variants = EXPERIMENTS[name].variants(RECIPE)
    assert len({variant.name for variant in variants}) == len(variants)
    for variant in variants:
        if variant.recipe.model == "tiny":
            make_network(checked_recipe(variant.recipe))


def test_the_ablation_switches_one_thing_off_at_a_time_and_has_the_papers_rows() -> None:
    variants = {variant.name: variant for variant in EXPERIMENTS["ablation"].variants(RECIPE)}
    switches = {name: variant.recipe.switches for name, variant in variants.items()}
    assert switches["no-memory"] == {"use_memory": False} and switches["ichhpinet"] == {}
    assert variants["slice-only"].recipe.volume_first == 0 and variants["no-fusion"].recipe.volume_first == 0.2
    assert {v.shown for v in variants.values()} >= {"Volume-Pro", "Slice-Pro", "w/o Memory", "ICH-HPINet"}


def test_loss_experiments_have_the_weights_of_the_papers_rows() -> None:
    third = EXPERIMENTS["loss-weights"].variants(RECIPE)
    assert len(third) == 9 and all(v.recipe.loss.cross_entropy + v.recipe.loss.dice == pytest.approx(2) for v in third)
    fourth = EXPERIMENTS["lambda"].variants(RECIPE)
    sums = [v.recipe.loss.volume + v.recipe.loss.slice + v.recipe.loss.convert for v in fourth]
    assert len(fourth) == 10 and sums == [10.0] * 10
    assert {v.recipe.loss.dice for v in fourth} == {RECIPE.loss.dice}


def test_an_unknown_experiment_is_refused_and_the_command_knows_them_all() -> None:
    with pytest.raises(InputError, match="the experiment is 'magic'"):
        experiment_named("magic")
    assert set(command.NAMES) == set(EXPERIMENTS)


# -- features ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seen() -> Seen:
    predictor = ProbedPredictor(tiny_checkpoint(), "cpu")
    predictor.open(small_ct()).refine(Scribbles(line(2, 5), line(2, 12)))
    assert predictor.seen is not None
    return predictor.seen


def test_branches_are_compared_at_the_strides_that_both_have(seen: Seen) -> None:
    assert sim_strides(2, 4) == (2, 4, 8, 8) and sim_strides(4, 4) == (4, 8, 16, 16)
    found = likenesses(seen, sim_strides(2, 4))
    assert [one.stride for one in found] == [2, 4, 8]
    assert all(0 <= one.cosine <= 1 and -1 <= one.centred <= 1 for one in found)
    alike = replace(seen, slice_maps=[m[:, [2]].movedim(1, 0) for m in seen.volume_maps])
    assert all(one.cosine == pytest.approx(1) for one in likenesses(alike, (2, 4, 8)))


def test_a_round_without_strokes_has_nothing_to_compare() -> None:
    predictor = ProbedPredictor(tiny_checkpoint(), "cpu")
    encoded = predictor.encode(small_ct())
    nothing = torch.zeros(2, *encoded.grid.shape, dtype=torch.bool)
    untouched = nothing[0].flatten(1).any(1)
    memory = Memory.empty(encoded.image)
    predictor.compute_round(encoded, torch.zeros(encoded.grid.shape), nothing, untouched, memory, lambda _: None)
    assert predictor.seen is not None and likenesses(predictor.seen, (2, 4, 8)) == []


def test_attention_sums_to_one_and_a_slice_finds_itself_when_keys_are_sharp(seen: Seen) -> None:
    height, width = seen.encoded.features.key.shape[2:]
    where = torch.zeros(height, width, dtype=torch.bool)
    where[1, 2] = True
    looked = attention(seen, 1, 2, where)
    assert looked.shape == (height, width) and float(looked.sum()) == pytest.approx(1, abs=1e-4)
    features = seen.encoded.features._replace(key=seen.encoded.features.key * 100)
    sharp = replace(seen, encoded=replace(seen.encoded, features=features))
    assert int(attention(sharp, 2, 2, where).argmax()) == 1 * width + 2
    assert focus(torch.tensor([[0.5, 0.5], [0, 0]]), torch.tensor([[True, False], [False, False]])) == 2.0
    assert math.isnan(focus(looked, torch.zeros_like(where)))


def test_classes_that_lie_apart_are_told_apart_and_equal_ones_are_not() -> None:
    rng = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 5, 40, 40, generator=rng)
    lesion = torch.zeros(3, 40, 40, dtype=torch.bool)
    lesion[:, 10:20, 10:20] = True
    everywhere = torch.ones_like(lesion)
    same, ratio = separation(maps, lesion, everywhere)
    assert same == pytest.approx(0.5, abs=0.08) and ratio < 0.05
    maps[:, 3][lesion] += 4.0
    apart, more = separation(maps, lesion, everywhere)
    assert apart > 0.98 and more > ratio
    assert np.isnan(separation(maps, lesion & False, everywhere)[0])
