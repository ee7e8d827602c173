"""Weights that a run starts from in place of fresh ones: to tune the network to your own data, or to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ichhpinet.checkpoint import load_checkpoint
from ichhpinet.errors import InputError

from .networks import PEERS, make_network
from .recipe import Recipe
from .supply import ManifestSupply, Supply

SMALL_HEADS = ("boundary.", "correction.")  # of the network: what their weights are named by


@dataclass(frozen=True)
class Start:
    """Weights, the SHA-256 of their file, and what their training record says they have seen.

    cts: digests of the CTs they have learned from, or were chosen by.
    """

    weights: Mapping[str, Tensor]
    digest: str
    data: str
    learned_from: str
    cts: frozenset[str] = frozenset()


def read_start(path: Path, recipe: Recipe) -> Start:
    """The weights, if the recipe's network can take them. Raises InputError."""
    if recipe.model in PEERS:
        raise InputError(
            f"start is {path.name} and the model {recipe.model}; only a network of ours starts from weights"
        )
    checkpoint = load_checkpoint(path)
    weights = _with_heads(checkpoint.weights, recipe)
    try:
        make_network(recipe).load_state_dict(weights)
    except RuntimeError:
        raise InputError(
            f"the weights {path.name} are of a network '{checkpoint.config.name}'; they must fit the recipe's, "
            f"'{recipe.model}' with its switches"
        ) from None
    record = checkpoint.training
    data, learned_from = str(record.get("data", "unknown")), str(record.get("learned_from", ""))
    return Start(weights, checkpoint.digest, data, learned_from, frozenset(record.get("cts", ())))


def _with_heads(weights: Mapping[str, Tensor], recipe: Recipe) -> Mapping[str, Tensor]:
    """A head that the weights do not know is fresh, and so changes nothing until it has learned."""
    fresh = make_network(recipe).state_dict()
    missing = [name for name in SMALL_HEADS if not any(key.startswith(name) for key in weights)]
    return {key: value for key, value in fresh.items() if key.startswith(tuple(missing))} | dict(weights)


def learned(supply: Supply, start: Start | None) -> str:
    """What a run's weights will have learned from, those it starts from included: identities with blanks between."""
    before = [] if start is None else start.learned_from.split()
    return " ".join(sorted({*before, supply.identity}))


def check_start(supply: Supply, start: Start | None) -> None:
    """Raises InputError where the weights to start from have learned from cases that this run holds out."""
    if start is None or not isinstance(supply, ManifestSupply):
        return
    from ..datasets.folds import trained_without

    without = trained_without(supply.manifest, start.learned_from, supply.fold)
    if without is not None:
        raise InputError(
            f"the weights to start from were trained without fold {without} and have learned from fold {supply.fold}, "
            "which this run holds out; start from others"
        )
