"""Plans: made of a file and of options, and refused by name, field for field, before anything starts."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from ichhpinet.errors import InputError
from ichhpinet.networks import ModelConfig
from ichhpinet.resources import bundled_weights
from ichhpinet_workbench import train as command
from ichhpinet_workbench.peers.registry import PEERS as REGISTERED
from ichhpinet_workbench.training.networks import PEERS
from ichhpinet_workbench.training.plan import checked_recipe, make_plan, read_plan
from ichhpinet_workbench.training.recipe import RECIPES
from workbench.tiny_sets import tiny_set

PEER = {"model": "monai-unet"}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"colour": 1}, "colour is no field of a plan"),
        ({"changes": {"colour": 1}}, "colour is no field of a recipe"),
        ({"changes": [1]}, "changes is a list"),
        ({"changes": {"batch": 0}}, "batch is 0; it must be 1 or more"),
        ({"changes": {"batch": "six"}}, "batch is 'six'; it must be a whole number like 2"),
        ({"changes": {"batch": 1.5}}, "batch is 1.5"),
        ({"changes": {"crop": [4, 30, 32]}}, "crop is"),
        ({"changes": {"crop": [4, 32]}}, "crop is"),
        ({"changes": {"paper_points": 2}}, "paper_points is 2.0; it must be between 0 and 1"),
        ({"changes": {"schedule": "steps"}}, "schedule is 'steps'"),
        ({"changes": {"model": "resnet"}}, "model is 'resnet'"),
        ({"changes": {"learning_rate": 0}}, "both must be above 0"),
        ({"changes": {"loss": {"border": 1}}}, "loss has border"),
        ({"changes": {"loss": {"volume": -1}}}, "each must be 0 or more"),
        ({"changes": {"switches": {"wings": 2}}}, "wings is not a field of ModelConfig"),
        ({"changes": {"model": "monai-unet", "switches": {"wings": 2}}}, "wings is not a field of PeerConfig"),
        ({"changes": {"switches": {"volume_only": True, "slice_only": True}}}, "both set"),
        ({"changes": {"hard": -0.1}}, "hard is -0.1; it must be between 0 and 1"),
        ({"changes": {"before": 0.4}}, "before is 0.4; it must be 0 where a run starts from no weights"),
        ({"recipe": "further"}, "before is 0.4; it must be 0 where a run starts from no weights"),
        ({"recipe": "huge"}, "recipe is 'huge'"),
        ({"precision": "8"}, "precision is '8'"),
        ({"devices": 0}, "devices is 0"),
        ({"synthetic_share": 0.5}, "without a manifest"),
        ({"manifest": "gone.json"}, "gone.json cannot be read"),
        ({"manifest": "manifest.json", "folds": [9]}, "fold is 9"),
        ({"manifest": "manifest.json", "folds": [True]}, r"folds is \[True\]; it must be a list of folds"),
        ({"manifest": "manifest.json", "folds": "some"}, "folds is 'some'"),
        ({"manifest": "manifest.json", "synthetic_share": 1.0}, "synthetic_share is 1.0"),
        ({"manifest": "manifest.json", "synthetic_share": "0.3"}, "synthetic_share is '0.3'; it must be a number like"),
        ({"validate_minutes": "x"}, "validate_minutes is 'x'; it must be a number like 10.0"),
        ({"cache": 7}, "cache is 7; it must be a path"),
        ({"manifest": 7}, "manifest is 7; it must be a path"),
        ({"snapshots": 1.5}, "snapshots is 1.5; it must be a whole number like 0"),
        ({"devices": True}, "devices is True; it must be a whole number like 1"),
        ({"device": 7}, "device is 7; it must be a text like 'cpu'"),
        ({"device": "gpu"}, "device is 'gpu'; it must be one of cpu, cuda, mps"),
        ({"device": "meta"}, "device is 'meta'; it must be one of cpu, cuda, mps"),
        ({"device": "cuda:99"}, "device is 'cuda:99'; this machine has"),
        ({"changes": {"crop": []}}, "crop is"),
        ({"changes": {"crop": "abc"}}, "crop is 'abc'; it must be a list of whole numbers"),
        ({"changes": {"learning_rate": math.inf}}, "learning_rate is inf; it must be finite"),
        ({"changes": {"minutes": math.nan}}, "minutes is nan; it must be finite"),
        ({"changes": {"loss": {"volume": "x"}}}, "loss.volume is 'x'; it must be a number"),
        ({"changes": {"loss": 3}}, "loss has int 3; its fields are"),
        ({"changes": {"border": {"minutes": "1"}}}, "border.minutes is '1'; it must be a number"),
        ({"changes": {"border": {"batch": 1.5}}}, "border.batch is 1.5; it must be a whole number"),
        ({"changes": {"switches": 3}}, "switches is 3; it must be an object"),
        ({"changes": {"switches": {"use_memory": "no"}}}, "switches.use_memory is 'no'; it must be true or false"),
        ({"changes": {"switches": {"use_memory": None}}}, "switches.use_memory is None; it must be true or false"),
        ({"changes": {"switches": {"volume_widths": [-1, 2, 3]}}}, "switches are .* no network has such a shape"),
        ({"changes": PEER | {"switches": {"prompts": "no"}}}, "switches.prompts is 'no'; it must be true or false"),
        ({"changes": PEER | {"switches": {"roi": "abc"}}}, "switches.roi is 'abc'; it must be a list of whole numbers"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused_by_name_before_anything_starts(
    tmp_path: Path, values: dict[str, Any], says: str
) -> None:
    tiny_set(tmp_path, 2)
    with pytest.raises(InputError, match=says):
        make_plan({"recipe": "tiny"} | values, tmp_path)


def test_a_plan_of_a_file_is_overruled_by_options(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps({"recipe": "tiny", "changes": {"batch": 3, "loss": {"volume": 7}}}))
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    line = ["train", "--out", str(tmp_path), "--config", str(tmp_path / "plan.json"), "--batch", "5"]
    plan = command.plan_of(parser.parse_args(line))
    assert plan.recipe.batch == 5 and plan.recipe.loss.volume == 7 and plan.recipe.loss.convert == 4


@pytest.mark.parametrize(("content", "says"), [("{", "is not JSON"), ("[1]", "holds a list")])
def test_a_file_that_is_no_plan_is_refused(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(InputError, match=says):
        read_plan(tmp_path / "plan.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_plan(tmp_path / "gone.json")


@pytest.mark.parametrize("name", RECIPES)
def test_every_preset_is_a_plan_that_can_be_meant(name: str) -> None:
    assert checked_recipe(RECIPES[name]) == RECIPES[name]


def test_the_preset_that_goes_on_is_made_for_weights_of_the_one_that_ships(tmp_path: Path) -> None:
    plan = make_plan({"recipe": "further", "start": str(bundled_weights())}, tmp_path)
    start = plan.begin()
    assert start is not None and plan.recipe.before > 0 and plan.recipe.hard > 0
    assert plan.recipe.seed != RECIPES["compact"].seed  # the same seed draws the same heads


@pytest.mark.parametrize("model", PEERS)
def test_every_peer_can_be_planned_with_the_recipe_that_ships(model: str) -> None:
    for recipe in ("compact", "further"):
        plan = make_plan({"recipe": recipe, "changes": {"model": model}})
        assert plan.recipe.model == model and plan.recipe.volume_first == plan.recipe.before == 0


def test_the_peers_that_training_knows_are_those_that_there_are() -> None:
    assert PEERS == REGISTERED


def test_a_device_that_this_machine_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match="device is 'cuda'; this machine has 0 of that kind"):
        make_plan({"recipe": "tiny", "device": "cuda"})


def test_lists_of_a_file_are_what_the_network_takes(tmp_path: Path) -> None:
    widths = list(ModelConfig.named("tiny").volume_widths)
    plan = make_plan({"recipe": "tiny", "changes": {"switches": {"volume_widths": widths, "use_memory": False}}})
    assert plan.recipe.switches == {"volume_widths": tuple(widths), "use_memory": False}
