"""The manifest: which image, which mask, whose head, which fold. One JSON file for every data set; no pixels here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ichhpinet.errors import InputError
from ichhpinet.paths import written_whole

FORMAT = "ichhpinet manifest 1"
NO_FOLD = -1
HEAD_BYTES = 200  # the format stands in the first line of what we write
NO_NAME = frozenset("/\\|")
LONGEST_NAME = 150  # letters of a case's name, which names files


@dataclass(frozen=True)
class Entry:
    """One image with its mask.

    case: unique in a manifest. patient: with a prefix of the source (`rsna:ID_...`), so that two sets made of the same
    scans know it. image, mask: relative to the manifest's folder, or absolute. fold: NO_FOLD before the split.
    split: as published, '' if nothing is. kinds: of haemorrhage, as far as the set tells.
    declared_blood_slices: how many slices the set's own table says hold blood, -1 if it says nothing.
    by_index: the mask's header disagrees with the image's; they belong together voxel by voxel.
    excluded: why the case is not used; '' if it is.
    """

    case: str
    dataset: str
    patient: str
    image: str
    mask: str
    fold: int = NO_FOLD
    split: str = ""
    kinds: tuple[str, ...] = ()
    declared_blood_slices: int = -1
    by_index: bool = False
    excluded: str = ""


@dataclass(frozen=True)
class Manifest:
    """Entries, and where their relative paths start. seed: of the folds. notes: a sentence each, on how it was made."""

    entries: tuple[Entry, ...]
    folder: Path
    seed: int = 0
    notes: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        _check_cases(self.entries)
        _check_patients(self.entries)

    @property
    def used(self) -> tuple[Entry, ...]:
        """What is trained on and judged."""
        return tuple(entry for entry in self.entries if not entry.excluded)

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds there are; empty before the split."""
        return tuple(sorted({entry.fold for entry in self.used} - {NO_FOLD}))

    def test(self, fold: int) -> tuple[Entry, ...]:
        """The cases held out in a fold. Raises InputError for a fold that is not there."""
        if fold not in self.folds:
            known = ", ".join(map(str, self.folds)) or "none: split it first (ichhpinet data split)"
            raise InputError(f"fold is {fold}; the manifest's folds are {known}")
        return tuple(entry for entry in self.used if entry.fold == fold)

    def training(self, fold: int) -> tuple[Entry, ...]:
        """The cases of all other folds. Raises InputError for a fold that is not there."""
        held_out = set(self.test(fold))
        return tuple(entry for entry in self.used if entry not in held_out)

    def path(self, relative: str) -> Path:
        """Where an entry's file lies."""
        return self.folder / relative

    def stamp(self, entry: Entry) -> str:
        """Changes with either file of a case, and with how they are read: what was made of others is made again."""
        parts = ["by index"] if entry.by_index else []
        for part in (entry.image, entry.mask):
            path = self.path(part)
            parts.append(f"{path.stat().st_size}-{path.stat().st_mtime_ns}" if path.exists() else "none")
        return " ".join(parts)

    def absolute(self, relative: str) -> str:
        """The same, wherever the manifest is written to."""
        return self.path(relative).resolve().as_posix()

    def write(self, path: Path) -> None:
        """As JSON, beside and renamed; relative paths are made to start at its folder.

        Raises InputError where something else than a manifest would be written over.
        """
        check_writable(path)
        moved = [
            replace(e, image=self._seen_from(path, e.image), mask=self._seen_from(path, e.mask)) for e in self.entries
        ]
        content = {"format": FORMAT, "seed": self.seed, "notes": list(self.notes), "cases": [asdict(e) for e in moved]}
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as beside:
            beside.write_text(json.dumps(content, indent=1), encoding="utf-8")

    def _seen_from(self, path: Path, relative: str) -> str:
        """Below the manifest's folder: relative to it, so that the two can be moved together; elsewhere: absolute."""
        absolute, folder = self.path(relative).resolve(), path.parent.resolve()
        return absolute.relative_to(folder).as_posix() if absolute.is_relative_to(folder) else absolute.as_posix()


def check_writable(path: Path) -> None:
    """Before the work. Raises InputError where `path` is a folder, or a file that is no manifest."""
    if path.is_dir():
        raise InputError(f"{path.name} is a folder; --out must name the manifest's file")
    if path.exists() and b'"ichhpinet manifest' not in path.open("rb").read(HEAD_BYTES):
        raise InputError(f"{path.name} is there already and is no manifest; --out must name another file")


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file. Raises InputError: no manifest, no case, a case twice, a patient in two folds."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError:
        raise InputError(f"{path.name} cannot be read; it must be a manifest (see ichhpinet data)") from None
    except ValueError:
        raise InputError(f"{path.name} is not JSON; it must be a manifest (see ichhpinet data)") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path.name} is no manifest of this version; its format must be {FORMAT!r}")
    try:
        entries = tuple(_entry(row) for row in content["cases"])
        if not entries:
            raise InputError(f"{path.name} holds no case; it must hold one or more")
        return Manifest(entries, path.parent, int(content["seed"]), tuple(map(str, content["notes"])))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path.name} is damaged: {error}; each case needs {', '.join(_needed())}") from None


def merge(manifests: Sequence[Manifest], folder: Path) -> Manifest:
    """All cases together, without folds. Raises InputError: none given, or a case in two of them."""
    if not manifests:
        raise InputError("there is nothing to merge; give two manifests or more")
    entries = [
        replace(entry, image=one.absolute(entry.image), mask=one.absolute(entry.mask), fold=NO_FOLD)
        for one in manifests
        for entry in one.entries
    ]
    return Manifest(tuple(entries), folder, notes=tuple(note for one in manifests for note in one.notes))


def _entry(row: dict[str, Any]) -> Entry:
    entry = Entry(**(row | {"kinds": tuple(row.get("kinds", ()))}))
    for one in fields(Entry):
        value, wanted = getattr(entry, one.name), type(one.default) if one.default is not MISSING else str
        if type(value) is not wanted or not all(isinstance(kind, str) for kind in entry.kinds):
            raise TypeError(f"{one.name} is {value!r}")
    return entry


def _needed() -> list[str]:
    return [f.name for f in fields(Entry)][:5]


def _check_cases(entries: Iterable[Entry]) -> None:
    seen: set[str] = set()
    for entry in entries:
        if entry.case in seen:
            raise InputError(f"the case {entry.case} stands in the manifest twice; each must stand once")
        if not _can_name_a_file(entry.case):
            raise InputError(f"the case {entry.case!r} cannot name a file; it must be a short name without slashes")
        seen.add(entry.case)


def _can_name_a_file(case: str) -> bool:
    """It does, in tables and folders: no path, no dots alone, nothing unseen."""
    return 0 < len(case) <= LONGEST_NAME and case.strip(".") != "" and case.isprintable() and not set(case) & NO_NAME


def _check_patients(entries: Iterable[Entry]) -> None:
    first: dict[str, Entry] = {}
    for entry in entries:
        if entry.excluded:
            continue
        known = first.setdefault(entry.patient, entry)
        if known.fold != entry.fold:
            raise InputError(
                f"{known.case} and {entry.case} are of one patient and lie in folds {known.fold} and {entry.fold}; "
                "a patient's scans must share a fold"
            )
