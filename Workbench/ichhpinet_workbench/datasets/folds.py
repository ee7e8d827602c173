"""Who is trained on and who is judged: by patient, seeded, never a patient on both sides."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ichhpinet.errors import InputError

from .manifest import NO_FOLD, Entry, Manifest

FOLDS = 5
SELECTION_SHARE = 0.1  # of a fold's training patients, set aside to choose the best weights by
SPLITS = ("train", "val", "test")


def with_folds(manifest: Manifest, folds: int = FOLDS, seed: int = 0) -> Manifest:
    """The manifest split anew: the same seed, the same folds, whatever the order of its entries.

    Patients are drawn set by set, so that each fold holds its share of each; a patient with more scans comes first.
    Raises InputError: fewer than 2 folds, or fewer patients than folds.
    """
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be 0 or more")
    patients = _patients(manifest.used)
    if folds < 2 or folds > len(patients):
        raise InputError(f"folds is {folds}; it must be 2 or more and at most {len(patients)}, the number of patients")
    rng = np.random.default_rng(seed)
    names = sorted(patients)
    order = [names[index] for index in rng.permutation(len(names))]
    order.sort(key=lambda name: (patients[name][0].dataset, -len(patients[name])))
    fold_of, sizes = {}, np.zeros(folds)
    for name in order:
        fold_of[name] = int(np.argmin(sizes))
        sizes[fold_of[name]] += len(patients[name])
    entries = tuple(replace(e, fold=NO_FOLD if e.excluded else fold_of[e.patient]) for e in manifest.entries)
    return replace(manifest, entries=entries, seed=seed)


def with_published_split(manifest: Manifest) -> Manifest:
    """Fold 0 is the published test set, fold 1 all else: `--folds 0` then trains and judges as was published.

    Raises InputError where a case has no published side.
    """
    without = [entry.case for entry in manifest.used if entry.split not in SPLITS]
    if without:
        raise InputError(f"{len(without)} cases have no published split, {without[0]} first; split by folds instead")
    folds = {"test": 0, "train": 1, "val": 1}
    entries = (replace(e, fold=NO_FOLD if e.excluded else folds[e.split]) for e in manifest.entries)
    return replace(manifest, entries=tuple(entries))


def set_aside(entries: Sequence[Entry], seed: int, share: float = SELECTION_SHARE) -> tuple[list[Entry], list[Entry]]:
    """(to train on, to choose weights by), by patient. At least one patient each; one patient alone serves as both."""
    patients = _patients(entries)
    names = sorted(patients)
    if len(names) < 2:
        return list(entries), list(entries)
    count = max(1, round(share * len(names)))
    order = np.random.default_rng((seed, 1)).permutation(len(names))
    chosen = {names[index] for index in order[:count]}
    return [e for e in entries if e.patient not in chosen], [e for e in entries if e.patient in chosen]


def learned_from(manifest: Manifest, fold: int) -> str:
    """What a fold's run learns from: a digest of its training cases, from which no name can be read."""
    names = "\n".join(sorted(entry.case for entry in manifest.training(fold)))
    return hashlib.sha256(names.encode()).hexdigest()


def trained_without(manifest: Manifest, record: str, fold: int) -> int | None:
    """Another fold of the manifest that weights were trained without: they have learned from `fold`. None: of none.

    record: what they have learned from, as `learned_from` gives it; several with blanks between.
    """
    without = {learned_from(manifest, other): other for other in manifest.folds if other != fold}
    return next((without[one] for one in record.split() if one in without), None)


def regrouped(entries: Sequence[Entry]) -> tuple[list[Entry], int]:
    """Published splits with each patient in one only, and how many patients were moved.

    A patient goes where most of his scans are; in a draw, where it is earlier of train, val, test, so that nobody
    joins the test set who was trained on.
    """
    moved, changed = [], set()
    homes = {patient: _home(theirs) for patient, theirs in _patients(entries).items()}
    for entry in entries:
        home = homes[entry.patient]
        if entry.split != home:
            changed.add(entry.patient)
        moved.append(replace(entry, split=home))
    return moved, len(changed)


def _home(entries: Sequence[Entry]) -> str:
    counts = Counter(entry.split for entry in entries)
    known = [split for split in SPLITS if split in counts] or sorted(counts)
    return max(known, key=lambda split: counts[split])


def _patients(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    patients: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        patients[entry.patient].append(entry)
    return dict(patients)
