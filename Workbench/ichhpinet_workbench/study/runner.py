"""Judge contestants on a manifest: cases stream through workers, each is written as it is done, a kill loses few."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ichhpinet.errors import InputError
from ichhpinet.volume import CTVolume

from ..datasets.loading import load_entry
from ..datasets.manifest import Entry, Manifest
from ..effects import effects
from ..keptmasks import keep_mask, mask_path
from ..ledger import Ledger
from ..parallel import each
from ..regions import Bool
from ..rounds import Reader, play
from .contestants import Contestant
from .failures import Failure, keep_failures
from .held_out import check_held_out, check_not_learned
from .scores import scores

STUDY_VERSION = 1  # raised whenever the same mask would be scored otherwise
SHOWN_ERROR = 300  # letters
Progress = Callable[[float, str], object]
Row = dict[str, Any]


@dataclass(frozen=True)
class Rules:
    """How everybody is judged. seed: of the simulated radiologist, beside the case's own name."""

    rounds: int = 8
    reader: Reader = field(default_factory=Reader)
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise InputError(f"--rounds is {self.rounds}; it must be 1 or more")

    def record(self) -> dict[str, Any]:
        """What makes figures comparable; the device does not."""
        values = asdict(self)
        del values["device"]
        return values | {"version": STUDY_VERSION}


@dataclass(frozen=True)
class Job:
    """One case for one contestant."""

    contestant: Contestant
    manifest: Manifest  # without its entries: it is sent to the workers
    entry: Entry
    rules: Rules
    out: Path


def evaluate(
    manifest: Manifest,
    contestants: Sequence[Contestant],
    out: Path,
    rules: Rules,
    *,
    folds: Sequence[int] | None = None,
    workers: int = 0,
    progress: Progress | None = None,
) -> dict[str, list[Row]]:
    """Judge all on the cases that `out` does not know yet; the rows of all cases, by contestant.

    folds: these alone; None: every case. A case that cannot be judged is kept as a failure, and tried again by the
    next run. Raises InputError, before anybody is judged: weights that are not there or have learned from what they
    are to be judged on, a folder of another setup; later: somebody who could judge no case.
    """
    entries = [entry for entry in manifest.used if folds is None or entry.fold in folds]
    entries.sort(key=lambda entry: entry.fold)  # so that each fold's weights are read once a process
    bare = replace(manifest, entries=())
    wanted = {job_key(manifest, entry) for entry in entries}
    results: dict[str, list[Row]] = {}
    failed: list[Failure] = []
    who = [one.identities(entry.fold for entry in entries) for one in contestants]
    for one in contestants:
        check_held_out(one, manifest, sorted({entry.fold for entry in entries}))
    ledgers = [Ledger(out / f"{one.name}.jsonl", rules.record()) for one in contestants]
    for ledger, identities in zip(ledgers, who, strict=True):
        agree_who(ledger, identities)
    for number, (one, ledger) in enumerate(zip(contestants, ledgers, strict=True)):
        jobs = [Job(one, bare, entry, rules, out) for entry in entries if job_key(manifest, entry) not in ledger.known]
        failures: list[Failure] = []
        for done, (job, rows) in enumerate(each(judge_or_say_why, jobs, workers)):
            if isinstance(rows, str):
                failures.append(Failure(one.name, job.entry.case, rows))
            else:
                ledger.append(job_key(bare, job.entry), rows)
            if progress is not None:
                progress((number + (done + 1) / len(jobs)) / len(contestants), f"{one.name}: {job.entry.case}")
        results[one.name] = [row for key, rows in ledger if key in wanted for row in rows]
        if failures and not wanted & ledger.known:
            raise InputError(f"{one.name} could judge no case; {failures[0].case} first: {failures[0].why}")
        failed += failures
    keep_failures(out, failed)
    return results


def job_key(manifest: Manifest, entry: Entry) -> str:
    """Of an entry in a ledger. With its fold: after another split other weights judge the case.

    And with the stamp of its files: a corrected mask is judged anew.
    """
    return f"{entry.fold} {entry.case} {manifest.stamp(entry)}"


def agree_who(ledger: Ledger, identities: Mapping[str, str]) -> None:
    """Whose figures these are, fold by fold, so that folds can be judged as they are trained.

    Raises InputError where the ledger has figures of others.
    """
    for fold, identity in identities.items():
        ledger.agree(f"who:{fold}", identity, f"contestant for fold {fold}" if fold else "contestant")


def judge_or_say_why(job: Job) -> list[Row] | str:
    """The rows, or in a line what went wrong: one broken case, or one that does not fit into memory, stops no other."""
    try:
        return judge(job)
    except InputError as error:
        return " ".join(str(error).split())
    except Exception as error:
        said = " ".join(str(error).split())[:SHOWN_ERROR]
        named = any(mark in said for mark in "/\\")  # a path may name a patient
        return type(error).__name__ + ("" if named or not said else f": {said}")


def judge(job: Job) -> list[Row]:
    """All rows of one case; its last mask is kept for the sheets."""
    loaded = load_entry(job.manifest, job.entry)
    check_not_learned(job.contestant, job.entry.fold, loaded.volume)
    session = job.contestant.predictor(job.entry.fold, job.rules.device).open(loaded.volume)
    about = {
        "case": job.entry.case,
        "dataset": job.entry.dataset,
        "patient": job.entry.patient,
        "fold": job.entry.fold,
        "kind": "+".join(job.entry.kinds),
    }
    last, rows = np.zeros(loaded.truth.shape, bool), []
    for row, mask in _rounds(session, loaded.volume, loaded.truth, loaded.brain, job):
        rows.append(about | row)
        last = mask
    keep_mask(mask_path(job.out, job.contestant.name, job.entry.case), last)
    return rows


def case_seed(case: str, seed: int = 0) -> int:
    """Of the simulated radiologist on a case: the same for everybody."""
    return zlib.crc32(case.encode()) ^ seed


def _rounds(session: Any, volume: CTVolume, truth: Bool, brain: Bool, job: Job) -> Iterator[tuple[Row, Bool]]:
    """(row, mask) of the proposal, if the session can, and of every round."""
    if hasattr(session, "propose"):
        began = time.perf_counter()
        mask = np.asarray(session.propose().mask)
        seconds = time.perf_counter() - began
        yield {"round": 0, "painted": 0, "seconds": seconds} | scores(mask, truth, volume.spacing_mm), mask
        session.undo()
    if not truth.any():
        return
    seed, last = case_seed(job.entry.case, job.rules.seed), None
    for turn in play(session, volume, truth, brain, job.rules.rounds, seed, job.rules.reader):
        if last is None or turn.painted:  # a satisfied radiologist leaves the mask, and its scores, as they are
            last = scores(turn.mask, truth, volume.spacing_mm)
        about = {"round": turn.number, "painted": int(turn.painted), "seconds": turn.seconds}
        yield about | last | effects(turn, truth, volume.spacing_mm), turn.mask
