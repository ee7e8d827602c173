"""Nobody is judged on what he learned from: the weights' training record against the folds, and against each CT."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from ichhpinet.errors import InputError
from ichhpinet.volume import CTVolume

from ..datasets.folds import trained_without
from ..datasets.manifest import Manifest
from ..peers.session import training_record
from .contestants import WEIGHTS, Contestant, weights_path


def check_held_out(one: Contestant, manifest: Manifest, folds: Iterable[int]) -> None:
    """Raises InputError where weights that were trained on this manifest are to be judged on a fold of their training.

    Weights of another manifest, or of this one before it was split anew, are found CT by CT (`check_not_learned`).
    """
    if one.kind != WEIGHTS:
        return
    records: dict[str, str] = {}
    for fold in folds:
        source = one.source_of(fold)
        if source not in records:
            records[source] = str(training_record(weights_path(source)).get("learned_from", ""))
        held_out = trained_without(manifest, records[source], fold)
        if held_out is not None:
            raise InputError(
                f"{one.name}: the weights for fold {fold} were trained without fold {held_out} and have learned from "
                f"fold {fold}; write {{fold}} in their path, or judge --folds {held_out}"
            )


def check_not_learned(one: Contestant, fold: int, volume: CTVolume) -> None:
    """Raises InputError where the weights that would judge this fold's case have learned from its CT.

    Whatever the file's name, its folder, its manifest and its fold are now; the CT's values and grid tell.
    """
    if one.kind == WEIGHTS and volume.digest() in _cts(one.source_of(fold)):
        raise InputError(
            f"the weights of {one.name} have learned from this CT; it must be held out from their training"
        )


@lru_cache(maxsize=8)
def _cts(source: str) -> frozenset[str]:
    return frozenset(training_record(weights_path(source)).get("cts", ()))
