"""A training plan: recipe, data, devices; from options or a JSON file, and checked whole before anything starts."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from ichhpinet.errors import InputError
from ichhpinet.networks import ModelConfig

from ..losses import LossWeights
from .checkpoints import load_state
from .engine import PRECISIONS
from .networks import OURS, PEERS, make_network, peer_config
from .recipe import HEADS, HeadRecipe, Recipe, named_recipe
from .start import Start, check_start, learned, read_start
from .supply import ManifestSupply, Supply, SyntheticSupply
from .values import typed, typed_fields

ALL_FOLDS = "all"
PLACES = ("manifest", "cache", "start")
PLANE = 16  # crops and windows are multiples of it in plane
LEAST = {  # what a number of a recipe must at least be
    "seed": 0,
    "steps": 0,
    "weight_decay": 0,
    "warm_up_steps": 0,
    "batch": 1,
    "rounds": 1,
    "pool": 1,
    "workers": 0,
    "uses": 0,
    "soup": 0,
}
SHARES = (
    "average",
    "volume_first",
    "zero_stroke_start",
    "paper_points",
    "corrupt",
    "refuse",
    "hard",
    "before",
)  # in [0, 1]
CHOICES = {"schedule": ("cosine", "constant"), "optimizer": ("adamw", "adam"), "model": (*OURS, *PEERS)}
MAY_CHANGE = ("minutes", "steps", "workers", "pool", "uses")  # of a recipe, between the parts of one run


@dataclass(frozen=True)
class Plan:
    """manifest: None trains on synthetic heads alone. folds: empty without a manifest.

    start: a file of weights to begin with; None: fresh ones.
    """

    recipe: Recipe
    manifest: Path | None = None
    folds: tuple[int, ...] = ()
    synthetic_share: float = 0.0
    cache: Path | None = None
    start: Path | None = None
    device: str = "cpu"
    devices: int = 1
    nodes: int = 1
    precision: str = "bf16"
    snapshots: int = 0
    validate_minutes: float = 10.0

    def begin(self) -> Start | None:
        """The weights to start from. Raises InputError where they cannot be."""
        return None if self.start is None else read_start(self.start, self.recipe)

    def runs(self, out: Path) -> Iterator[tuple[Path, Supply]]:
        """The folder and the data of each run: one, or one a fold."""
        if self.manifest is None:
            yield out, SyntheticSupply()
            return
        from ..datasets.manifest import read_manifest

        manifest = read_manifest(self.manifest)
        cache = out / "cache" if self.cache is None else self.cache
        for fold in self.folds:
            yield out / f"fold-{fold}", ManifestSupply(manifest, fold, cache, self.synthetic_share)


def read_plan(path: Path) -> dict[str, Any]:
    """The fields of a JSON file, not checked yet. Raises InputError where it is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"{path.name} cannot be read; it must be a configuration in JSON") from None
    except ValueError as error:
        raise InputError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path.name} holds a {type(values).__name__}; it must hold an object with named fields")
    return values


def make_plan(values: Mapping[str, Any], folder: Path = Path(".")) -> Plan:
    """A whole plan from fields; each that is wrong is refused by name. folder: where relative paths start.

    Fields: those of Plan; `recipe` is the name of a preset, `changes` an object of fields of Recipe (`loss` and
    `switches` are objects), `folds` a list or "all". Raises InputError.
    """
    known = {field.name for field in fields(Plan)} | {"changes"}
    unknown = sorted(set(values) - known)
    if unknown:
        raise InputError(f"{', '.join(unknown)} is no field of a plan; the fields are {', '.join(sorted(known))}")
    recipe = checked_recipe(_recipe(values.get("recipe", "compact"), values.get("changes", {})))
    rest = {name: value for name, value in values.items() if name not in ("recipe", "changes", "folds")}
    plan = Plan(recipe)
    for name, value in rest.items():
        made = _place(name, value, folder) if name in PLACES else typed(name, getattr(plan, name), value)
        plan = replace(plan, **{name: made})
    _check_plan(plan)
    if plan.start is None and recipe.before:
        raise InputError(f"before is {recipe.before}; it must be 0 where a run starts from no weights: give start")
    if plan.start is not None:  # every part has learned already
        plan = replace(plan, recipe=replace(plan.recipe, volume_first=0.0))
    return replace(plan, folds=_folds(plan, values.get("folds", ALL_FOLDS)))


def _place(name: str, value: Any, folder: Path) -> Path | None:
    if not isinstance(value, (str, Path, type(None))):
        raise InputError(f"{name} is {value!r}; it must be a path")
    return None if value is None else folder / value


def checked_recipe(recipe: Recipe) -> Recipe:
    """The recipe, if every field can be meant and its network can be built. Raises InputError."""
    for name, least in LEAST.items():
        if not getattr(recipe, name) >= least:
            raise InputError(f"{name} is {getattr(recipe, name)}; it must be {least} or more")
    for name in SHARES:
        if not 0 <= getattr(recipe, name) <= 1:
            raise InputError(f"{name} is {getattr(recipe, name)}; it must be between 0 and 1")
    for name, choices in CHOICES.items():
        if getattr(recipe, name) not in choices:
            raise InputError(f"{name} is {getattr(recipe, name)!r}; it must be one of {', '.join(choices)}")
    if not (recipe.learning_rate > 0 and recipe.minutes > 0):
        raise InputError(f"learning_rate {recipe.learning_rate}, minutes {recipe.minutes}: both must be above 0")
    if math.isinf(recipe.minutes) and not recipe.steps:
        raise InputError("neither minutes nor steps bound the run; one of them must")
    if len(recipe.crop) != 3 or recipe.crop[0] < 2 or any(n < PLANE or n % PLANE for n in recipe.crop[1:]):
        raise InputError(f"crop is {recipe.crop}; it must be (d, h, w), d 2 or more, h and w multiples of {PLANE}")
    if recipe.volume_first and recipe.model in PEERS:
        raise InputError(f"volume_first is {recipe.volume_first}; {recipe.model} has no volume branch, it must be 0")
    if any(not weight >= 0 for weight in recipe.loss.__dict__.values()):
        raise InputError(f"the loss weights are {recipe.loss}; each must be 0 or more")
    for name in HEADS:
        head = getattr(recipe, name)
        if any(not value >= 0 for value in head.__dict__.values()) or min(head.batch, head.passes) < 1:
            raise InputError(f"{name} is {head}; each must be 0 or more, batch and passes 1 or more")
        if head.minutes and not head.play_minutes:
            raise InputError(f"{name}.play_minutes is 0; it must be above 0 where {name}.minutes is")
    recipe = replace(recipe, switches=_switches(recipe))
    _check_network(recipe)
    return recipe


def check_resumes(recipe: Recipe, folder: Path, supply: Supply, start: Start | None = None) -> None:
    """Raises InputError where the folder's run was begun with another recipe, and says which field, or on other cases.

    A run that goes on after its manifest was split anew would have learned from cases that are now held out.
    """
    check_start(supply, start)
    state = load_state(folder)
    if state is None:
        return
    if state.get("started_from", "") != ("" if start is None else start.digest):
        raise InputError(f"the run in {folder.name} was begun from other weights: take another folder")
    identity = learned(supply, start)
    if state.get("learned_from", identity) != identity:
        raise InputError(f"the run in {folder.name} was begun on other cases ({state['data']}): take another folder")
    before, now = Recipe.from_dict(state["recipe"]).to_dict(), recipe.to_dict()
    differ = [name for name in now if name not in MAY_CHANGE and _plain(before[name]) != _plain(now[name])]
    if differ:
        name = differ[0]
        raise InputError(
            f"the run in {folder.name} was begun with {name} {before[name]}; it is {now[name]} now: take another folder"
        )
    parts = make_network(recipe).state_dict().keys()
    if state["network"].keys() != parts:
        raise InputError(
            f"the run in {folder.name} was begun with other parts of the network '{recipe.model}': take another folder"
        )


def _switches(recipe: Recipe) -> dict[str, Any]:
    """Those of the recipe, each of the kind that the model's field has; fields that are none are left to the model."""
    plain = replace(recipe, switches={})
    before = peer_config(plain) if recipe.model in PEERS else ModelConfig.named(recipe.model)
    known = before.to_dict()
    return {
        name: typed(f"switches.{name}", getattr(before, name), value) if name in known else value
        for name, value in recipe.switches.items()
    }


def _check_network(recipe: Recipe) -> None:
    """A network that cannot be built is found now. Of ours, shapes alone are made; a peer may need numbers."""
    if recipe.model in PEERS:
        peer_config(recipe)
        missing = [name for name in ("monai", "einops") if importlib.util.find_spec(name) is None]
        if missing:
            raise InputError(
                f"{recipe.model} needs the package {missing[0]}; install the extra 'workbench' of ichhpinet"
            )
        return
    try:
        with torch.device("meta"):
            make_network(recipe)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"switches are {recipe.switches}; no network has such a shape ({error})") from None


def _recipe(name: Any, changes: Any) -> Recipe:
    if not isinstance(changes, Mapping):
        raise InputError(f"changes is a {type(changes).__name__}; it must be an object of a recipe's fields")
    base = named_recipe(str(name))
    unknown = sorted(set(changes) - {field.name for field in fields(Recipe)})
    if unknown:
        raise InputError(f"{', '.join(unknown)} is no field of a recipe")
    if changes.get("model", base.model) in PEERS:  # what only our network knows is left out
        base = replace(base, volume_first=0.0, soup=0, before=0.0, **{name: HeadRecipe() for name in HEADS})
    made = {key: _value(base, key, value) for key, value in changes.items() if value is not None}
    return replace(base, **made)


def _value(base: Recipe, name: str, value: Any) -> Any:
    """A field's value from JSON, of the type that the preset has."""
    before = getattr(base, name)
    if isinstance(before, (LossWeights, HeadRecipe)):
        return typed_fields(name, before, value)
    if isinstance(before, dict):
        if not isinstance(value, Mapping):
            raise InputError(f"{name} is {value!r}; it must be an object of fields of the model")
        return {**before, **value}
    return typed(name, before, value)


def _check_plan(plan: Plan) -> None:
    _check_device(plan.device)
    if plan.precision not in PRECISIONS:
        raise InputError(f"precision is {plan.precision!r}; it must be one of {', '.join(PRECISIONS)}")
    for name in ("devices", "nodes"):
        if getattr(plan, name) < 1:
            raise InputError(f"{name} is {getattr(plan, name)}; it must be 1 or more")
    if plan.synthetic_share and plan.manifest is None:
        raise InputError("synthetic_share is given without a manifest; without one all heads are synthetic")
    if not 0 <= plan.synthetic_share < 1:
        raise InputError(f"synthetic_share is {plan.synthetic_share}; it must be from 0 to below 1")
    if not (plan.snapshots >= 0 and plan.validate_minutes > 0):
        raise InputError(f"snapshots {plan.snapshots}, validate_minutes {plan.validate_minutes}: 0 or more, above 0")


def _check_device(name: str) -> None:
    """Raises InputError for a device that is none, or that this machine lacks."""
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if device.type not in there:
        raise InputError(f"device is {name!r}; it must be one of {', '.join(there)}")
    if (device.index or 0) >= there[device.type]:
        raise InputError(f"device is {name!r}; this machine has {there[device.type]} of that kind")


def _folds(plan: Plan, asked: Any) -> tuple[int, ...]:
    """The folds to train, each of which must leave something to train on."""
    if plan.manifest is None:
        return ()
    from ..datasets.manifest import read_manifest

    manifest = read_manifest(plan.manifest)
    if asked == ALL_FOLDS:
        asked = manifest.folds
    if not isinstance(asked, (list, tuple)) or not all(type(fold) is int for fold in asked) or not asked:
        raise InputError(
            f'folds is {asked!r}; it must be a list of folds, or "{ALL_FOLDS}" of a manifest that is split'
        )
    for fold in asked:
        if not manifest.training(fold):
            raise InputError(f"fold {fold} leaves no case to train on; the manifest must have two folds or more")
    return tuple(asked)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
