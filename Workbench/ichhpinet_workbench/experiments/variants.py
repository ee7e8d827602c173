"""What each experiment trains: a recipe, changed in what the paper's table changes and in nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ichhpinet.errors import InputError

from ..losses import LossWeights
from ..study import published
from ..study.tables import LAMBDAS, LOSSES
from ..training.networks import PEERS
from ..training.recipe import HeadRecipe, Recipe

FULL = "ichhpinet"
SLEX = "slex-net"


@dataclass(frozen=True)
class Variant:
    """name: of its folder and its row. shown: as the paper's table writes it, '' if it does not."""

    name: str
    recipe: Recipe
    shown: str = ""


@dataclass(frozen=True)
class Experiment:
    """table: of published, '' if the paper has none. first: headings of a row's names. says: what the paper says."""

    name: str
    title: str
    variants: Callable[[Recipe], list[Variant]]
    table: str = ""
    first: tuple[str, ...] = ("Method",)
    says: str = ""


def ablation(recipe: Recipe) -> list[Variant]:
    """Table 2, and the components of MPFFM: each switch of ModelConfig by itself."""
    switches: dict[str, tuple[dict[str, Any], str]] = {
        "volume-only": ({"volume_only": True}, "Volume-Pro"),
        "slice-only": ({"slice_only": True}, "Slice-Pro"),
        "no-memory": ({"use_memory": False}, "w/o Memory"),
        "no-affinity": ({"use_affinity": False}, ""),
        "no-fusion": ({"use_fusion": False}, ""),
    }
    made = [Variant(name, _switched(recipe, changes), shown) for name, (changes, shown) in switches.items()]
    return [*made, Variant(FULL, recipe, "ICH-HPINet")]


def choices(recipe: Recipe) -> list[Variant]:
    """What `compact` chose otherwise than the paper, or at all: the ablation's rows, and how it could have been.

    Two are left out: propagation alone, which is of the ablation, and finer pixels, with which a round takes longer.
    """
    switches: dict[str, dict[str, Any]] = {
        "affinity-anywhere": {"affinity_reach": 0.0},
        "slice-by-slice": {"wave_slices": 1},
        "all-slices-at-once": {"wave_slices": 1 << 20},
        "strokes-as-painted": {"stroke_reach": "painted"},
        "strokes-by-distance": {"stroke_reach": "distance"},
        "no-likeness": {"use_likeness": False},
        "pixels-1.25-mm": {"pixel_mm": 1.25},
    }
    losses = {
        "loss-as-published": LossWeights(),
        "loss-heard-3": replace(recipe.loss, heard=3.0),
    }
    made = [Variant(name, _switched(recipe, changes)) for name, changes in switches.items()]
    made += [Variant(name, replace(recipe, loss=weights)) for name, weights in losses.items()]
    made += [replace(variant, shown="") for variant in ablation(recipe) if variant.name != "slice-only"]
    return made


def loss_weights(recipe: Recipe) -> list[Variant]:
    """Table 3: cross-entropy and Dice, which sum to 2."""
    made = []
    for line in published.lines(published.TABLE_3):
        entropy, dice = map(float, line.name.split())
        weights = replace(recipe.loss, cross_entropy=entropy, dice=dice)
        made.append(Variant(f"ce-{entropy:g}-dice-{dice:g}", replace(recipe, loss=weights), line.name))
    return made


def loss_lambdas(recipe: Recipe) -> list[Variant]:
    """Table 4: volume, slice and feature convert loss, which sum to 10."""
    made = []
    for line in published.lines(published.TABLE_4):
        volume, slices, convert = map(float, line.name.split())
        weights = replace(recipe.loss, volume=volume, slice=slices, convert=convert)
        made.append(Variant(f"lambda-{volume:g}-{slices:g}-{convert:g}", replace(recipe, loss=weights), line.name))
    return made


def alone(recipe: Recipe) -> list[Variant]:
    """The network as it is."""
    return [Variant(FULL, recipe, "ICH-HPINet")]


def unsure(recipe: Recipe) -> list[Variant]:
    """Ours, and SLEX-Net, which has an uncertainty of its own."""
    return [*alone(recipe), Variant(SLEX, _peer(recipe, SLEX))]


def comparison(recipe: Recipe) -> list[Variant]:
    """Table 1 and HemSeg-200's: ours and every peer, on the same crops and strokes for the same time."""
    peers = [Variant(name, _peer(recipe, name)) for name in PEERS]
    return [Variant(FULL, recipe, "ICH-HPINet"), *peers]


def _switched(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Without a volume branch it cannot learn first; alone it needs no first."""
    one_branch = changes.keys() & {"slice_only", "volume_only"}
    volume_first = 0.0 if one_branch else recipe.volume_first
    return replace(recipe, switches=recipe.switches | changes, volume_first=volume_first)


def _peer(recipe: Recipe, name: str) -> Recipe:
    """The peer in the size that stands for the recipe's: tiny beside tiny, else as published."""
    size = "tiny" if recipe.model == "tiny" else "published"
    none = HeadRecipe()
    return replace(recipe, model=name, volume_first=0.0, soup=0, border=none, correction=none, switches={"size": size})


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "ablation",
            "Table 2: ablation of propagation, memory and MPFFM",
            ablation,
            published.TABLE_2,
            says=f"Paper: no affinity, {published.WITHOUT_AFFINITY}; no fusion, {published.WITHOUT_FUSION}.",
        ),
        Experiment("choices", "What the compact network chose, every variant trained alike", choices),
        Experiment(
            "loss-weights",
            "Table 3: cross-entropy and Dice",
            loss_weights,
            published.TABLE_3,
            LOSSES,
        ),
        Experiment("lambda", "Table 4: weights of the three losses", loss_lambdas, published.TABLE_4, LAMBDAS),
        Experiment("interaction", "Tables 5 and 6: by interaction", alone, published.TABLE_1),
        Experiment("comparison", "Table 1: methods", comparison, published.TABLE_1),
        Experiment("analysis", "Analysis of the hybrid propagation", alone),
        Experiment("uncertainty", "Uncertainty", unsure),
    )
}


def experiment_named(name: str) -> Experiment:
    """Raises InputError for an unknown name."""
    if name not in EXPERIMENTS:
        raise InputError(f"the experiment is {name!r}; it must be one of {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]
