"""Measure a network's or a peer's uncertainty on a manifest: every case once, written as it is done, then tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ichhpinet.checkpoint import load_checkpoint
from ichhpinet.metrics import dice
from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume

from ..datasets.loading import LoadedEntry, load_entry
from ..datasets.manifest import Entry, Manifest
from ..ledger import Ledger
from ..parallel import each
from ..peers.session import PeerPredictor, read_peer
from ..probe import ProbedPredictor, Seen
from ..rounds import Reader, play
from ..study.contestants import Contestant, weights_path
from ..study.held_out import check_held_out, check_not_learned
from ..study.runner import agree_who, case_seed, job_key
from .gain import ORACLE, RANDOM, gains, slice_by_chance, slice_by_map, slice_by_oracle
from .maps import Map, peer_maps, uncertainty_maps
from .measures import Calibration, error_auc, in_head, near_border
from .sheet import draw_maps

UNCERTAINTY_VERSION = 4
Progress = Callable[[float, str], object]
Row = dict[str, Any]


@dataclass
class Watched:
    """A session whose last round stays at hand, whatever is tried beside it and undone."""

    predictor: ProbedPredictor | PeerPredictor
    session: Any
    result: Any = None
    seen: Seen | None = None

    def refine(self, scribbles: Scribbles) -> Any:
        """One round, kept."""
        self.result = self.session.refine(scribbles)
        if isinstance(self.predictor, ProbedPredictor):
            self.seen = self.predictor.seen
        return self.result

    def maps(self) -> dict[str, Map]:
        """Each map of the kept round. Raises RuntimeError where there was none yet."""
        if isinstance(self.predictor, ProbedPredictor) and self.seen is not None:
            return uncertainty_maps(self.predictor.network, self.seen)
        if isinstance(self.predictor, PeerPredictor) and self.result is not None:
            return peer_maps(self.predictor, self.result)
        raise RuntimeError("there was no round yet; refine first")


@dataclass(frozen=True)
class Job:
    """One case."""

    weights: Contestant
    manifest: Manifest  # without its entries
    entry: Entry
    after: tuple[int, ...]
    device: str


def measure(
    manifest: Manifest,
    weights: Contestant,
    out: Path,
    *,
    after: Sequence[int] = (1, 3),
    folds: Sequence[int] | None = None,
    workers: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> list[Row]:
    """Rows of every case with blood, one a round of `after`; those that `out` knows are not measured again.

    weights: our network's or a peer's. Raises InputError: weights that are not there or have learned
    from a case that is measured, a folder of another setup.
    """
    entries = [entry for entry in manifest.used if folds is None or entry.fold in folds]
    who = weights.identities(entry.fold for entry in entries)
    check_held_out(weights, manifest, sorted({entry.fold for entry in entries}))
    setup = {"version": UNCERTAINTY_VERSION, "after": tuple(after)}
    ledger = Ledger(out / f"uncertainty-{weights.name}.jsonl", setup)
    agree_who(ledger, who)
    bare = replace(manifest, entries=())
    jobs = [
        Job(weights, bare, entry, tuple(after), device) for entry in entries if job_key(bare, entry) not in ledger.known
    ]
    for number, (job, rows) in enumerate(each(measure_case, jobs, workers)):
        ledger.append(job_key(bare, job.entry), rows)
        if progress is not None:
            progress((number + 1) / len(jobs), job.entry.case)
    wanted = {job_key(bare, entry) for entry in entries}
    return [row for key, rows in ledger if key in wanted for row in rows]


def measure_case(job: Job) -> list[Row]:
    """After each round of `after`: calibration counts, AUC of every map, gain of every way to choose the next slice."""
    loaded = load_entry(job.manifest, job.entry)
    check_not_learned(job.weights, job.entry.fold, loaded.volume)
    if not loaded.truth.any():
        return []
    session, seed = _opened(job, loaded.volume), case_seed(job.entry.case)
    rows: list[Row] = []
    last = max(job.after)
    for turn in play(session, loaded.volume, loaded.truth, loaded.brain, last, seed, Reader()):
        if turn.number in job.after and session.result is not None:
            rows.append(_measured(job, loaded, session, turn.number, seed))
    return rows


def show(path: Path, manifest: Manifest, weights: Contestant, rows: Sequence[Row], device: str = "auto") -> None:
    """Draw the maps of the case whose Dice lies in the middle after the last round; nothing where there are no rows."""
    last = max((row["round"] for row in rows), default=0)
    ordered = sorted((row for row in rows if row["round"] == last), key=lambda row: row["dice"])
    if not ordered:
        return
    name = ordered[len(ordered) // 2]["case"]
    entry = next(entry for entry in manifest.used if entry.case == name)
    loaded = load_entry(manifest, entry)
    session = _opened(Job(weights, manifest, entry, (last,), device), loaded.volume)
    for _ in play(session, loaded.volume, loaded.truth, loaded.brain, last, case_seed(name), Reader()):
        pass
    draw_maps(path, loaded.volume, np.asarray(session.result.mask), loaded.truth, session.maps())


def calibration_of(rows: Sequence[Row], where: str = "near") -> Calibration:
    """All cases' counts together. where: near the border, or in the whole head."""
    total = Calibration()
    for row in rows:
        for name in ("count", "true"):
            setattr(total, name, getattr(total, name) + np.array(row["calibration"][where][name]))
    return total


def _measured(job: Job, loaded: LoadedEntry, session: Watched, number: int, seed: int) -> Row:
    volume, truth = loaded.volume, loaded.truth
    mask, probability = np.asarray(session.result.mask), np.asarray(session.result.probability)
    maps = session.maps()
    calibrations = {"near": Calibration(), "head": Calibration()}
    calibrations["near"].add(probability, truth, near_border(mask, truth, volume.spacing_mm))
    calibrations["head"].add(probability, truth, in_head(volume.hu))
    rng = np.random.default_rng([seed, number, 7])
    slices = {name: slice_by_map(uncertain) for name, uncertain in maps.items()}
    slices |= {RANDOM: slice_by_chance(mask, rng), ORACLE: slice_by_oracle(mask, truth)}
    return {
        "method": job.weights.name,
        "case": job.entry.case,
        "patient": job.entry.patient,
        "fold": job.entry.fold,
        "round": number,
        "dice": dice(mask, truth),
        "calibration": {
            where: {name: values.tolist() for name, values in vars(one).items()} for where, one in calibrations.items()
        },
        "auc": {name: error_auc(uncertain, mask, truth, volume.spacing_mm, seed) for name, uncertain in maps.items()},
        "gain": gains(session.session, volume, truth, mask, slices, seed),
    }


def _opened(job: Job, volume: CTVolume) -> Watched:
    path = weights_path(job.weights.source_of(job.entry.fold))
    peer = read_peer(path)
    predictor: ProbedPredictor | PeerPredictor = (
        ProbedPredictor(load_checkpoint(path), job.device) if peer is None else PeerPredictor(peer, job.device)
    )
    return Watched(predictor, predictor.open(volume))
