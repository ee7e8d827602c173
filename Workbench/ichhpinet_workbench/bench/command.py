"""The run of `ichhpinet bench`: each measurement in a process of its own, the tables written after each."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ichhpinet import errors
from ichhpinet.checkpoint import load_checkpoint
from ichhpinet_workbench import robot
from ichhpinet_workbench.bench import OURS
from ichhpinet_workbench.bench.case import Head, cut_into, small_head, with_strokes
from ichhpinet_workbench.bench.table import machine, markdown

ROUNDS = (1, 1, 4, 1, 4, 1, 4)  # slices touched in each round; the first opens the session's memory
FEW_ROUNDS = (1, 1, 4)  # for the growth and for the other methods, which start anew each round
LONGEST_S = 3600.0
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    "VTK_SMP_MAX_THREADS",
)


@dataclass(frozen=True)
class Job:
    """One measurement: a method on a head cut into so many slices."""

    method: str
    slices: int
    rounds: tuple[int, ...]
    device: str = "cpu"


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the tables, write bench.md and bench.json after each measurement. Returns 1 where ours failed.

    Raises: InputError for weights that cannot be loaded and counts that cannot be meant.
    """
    _check(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    described = machine(arguments.threads)
    comparison, growth = _jobs(arguments)
    results: dict[str, list[dict[str, Any]]] = {"comparison": [], "growth": []}
    head = small_head(arguments.size)
    with tempfile.TemporaryDirectory(prefix="ichhpinet-bench-") as folder:
        for part, job in _announced([("comparison", j) for j in comparison] + [("growth", j) for j in growth]):
            results[part].append(_measured(job, head, Path(folder) / "case.npz", arguments))
            text = markdown(described, results["comparison"], results["growth"])
            (arguments.out / "bench.md").write_text(text, encoding="utf-8")
            written = json.dumps({"machine": described, "size": arguments.size, **results}, indent=1)
            (arguments.out / "bench.json").write_text(written, encoding="utf-8")
    print(text)
    print(f"Written to {arguments.out / 'bench.md'} and bench.json.")
    return int(any("failed" in row for rows in results.values() for row in rows if row["method"] == OURS))


def _check(arguments: argparse.Namespace) -> None:
    if not arguments.methods and not arguments.growth:
        raise errors.InputError("there is nothing to measure; name a method, or a number of slices for --growth")
    for name in ("threads", "size", "slices"):
        if getattr(arguments, name) < 1:
            raise errors.InputError(f"--{name} is {getattr(arguments, name)}; it must be 1 or more")
    if any(slices < 1 for slices in arguments.growth):
        raise errors.InputError(f"--growth is {' '.join(map(str, arguments.growth))}; every count must be 1 or more")
    if arguments.checkpoint:
        load_checkpoint(Path(arguments.checkpoint))


def _jobs(arguments: argparse.Namespace) -> tuple[list[Job], list[Job]]:
    ours = OURS in arguments.methods
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    comparison = [Job(OURS, arguments.slices, ROUNDS, device) for device in devices if ours]
    comparison += [Job(peer, arguments.slices, FEW_ROUNDS) for peer in arguments.methods if peer != OURS]
    return comparison, [Job(OURS, slices, FEW_ROUNDS) for slices in arguments.growth if ours]


def _announced(jobs: list[tuple[str, Job]]) -> Iterator[tuple[str, Job]]:
    """Say on stderr what is being measured, and how far the run is."""
    for number, (part, job) in enumerate(jobs, 1):
        print(f"[{number}/{len(jobs)}] {job.method}, {job.slices} slices, {job.device}", file=sys.stderr, flush=True)
        yield part, job


def _measured(job: Job, head: Head, file: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One row. A method that fails keeps its row, with the reason in place of figures."""
    case = with_strokes(cut_into(head, job.slices), job.rounds)
    case.save(file)
    row = {"method": job.method, "device": job.device, "shape": list(case.head.hu.shape)}
    del case
    command = [sys.executable, "-m", "ichhpinet_workbench.bench.measure", str(file), job.method]
    command += ["--device", job.device, "--threads", str(arguments.threads)]
    command += ["--checkpoint", arguments.checkpoint] if arguments.checkpoint and job.method == OURS else []
    options = {"env": _environment(arguments.threads), "capture_output": True, "text": True, "check": False}
    try:
        done = subprocess.run(command, timeout=LONGEST_S, **options)
    except subprocess.TimeoutExpired:
        return {**row, "failed": f"stopped after {LONGEST_S:.0f} s"}
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        return {**row, "failed": reason}
    return json.loads(done.stdout.splitlines()[-1])


def _environment(threads: int) -> dict[str, str]:
    """This environment with the thread counts set, and with the packages on the path where they are not installed."""
    counts = dict.fromkeys(THREAD_VARIABLES, str(threads))
    roots = [str(Path(str(module.__file__)).resolve().parents[1]) for module in (errors, robot)]
    path = os.pathsep.join([*roots, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, **counts, "PYTHONPATH": path}
