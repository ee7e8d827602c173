"""Nobody is judged on what he learned from: the weights' training record against the manifest's folds."""

from __future__ import annotations

from collections.abc import Iterable

from ichhpinet.errors import InputError

from ..datasets.folds import trained_without
from ..datasets.manifest import Manifest
from ..peers.session import training_record
from .contestants import WEIGHTS, Contestant, weights_path


def check_held_out(one: Contestant, manifest: Manifest, folds: Iterable[int]) -> None:
    """Raises InputError where weights that were trained on this manifest are to be judged on a fold of their training.

    Weights of another manifest, or of this one before it was split anew, are not known here: of them nothing is said.
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
