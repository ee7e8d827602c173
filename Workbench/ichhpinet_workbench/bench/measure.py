"""One measurement in a process of its own: `python -m ichhpinet_workbench.bench.measure CASE METHOD`; JSON on stdout.

A fresh process, because memory that another method has used, and warm caches, would count otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ichhpinet.metrics import dice
from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume
from ichhpinet_workbench import robot
from ichhpinet_workbench.bench import OURS, PEERS
from ichhpinet_workbench.bench.case import Case, Strokes

Mask = NDArray[np.bool_]
BYTES_PER_GIB = 2**30


def peak_memory_gib() -> float | None:
    """The most memory this process has held at once, in GiB; None where the system does not say.

    Linux: VmHWM, which starts anew with the process (ru_maxrss may carry over from the process that started this one).
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), None)
        if line is not None:
            return int(line.split()[1]) * 1024 / BYTES_PER_GIB
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / BYTES_PER_GIB


def measure(case: Case, method: str, device: str, checkpoint: str | None) -> dict[str, Any]:
    """Times in seconds, memory in GiB, Dice after each round, for one method on one case."""
    volume = _volume(case)
    start_gib = peak_memory_gib()
    if method == OURS:
        load_s, open_s, answer = _open_ours(volume, device, checkpoint)
    else:
        load_s, open_s, answer = None, None, _peer(method, volume)
    seconds, scores = [], []
    for strokes in case.rounds:
        painted = _arrays(strokes, volume.shape)
        elapsed_s, mask = _timed(answer, *painted)
        seconds.append(elapsed_s)
        scores.append(float(dice(mask, case.head.truth)))
        del mask, painted
    return {
        "method": method,
        "device": device,
        "shape": list(volume.shape),
        "load_s": load_s,
        "open_s": open_s,
        "rounds_s": seconds,
        "slices_touched": list(case.slices_touched),
        "dice": scores,
        "before_gib": start_gib,
        "peak_gib": peak_memory_gib(),
        "gpu_gib": torch.cuda.max_memory_allocated() / BYTES_PER_GIB if device == "cuda" else None,
    }


def _open_ours(
    volume: CTVolume, device: str, checkpoint: str | None
) -> tuple[float, float, Callable[[Mask, Mask], Mask]]:
    from ichhpinet.predictor import Predictor

    load_s, predictor = _timed(Predictor.load, checkpoint, device)
    open_s, session = _timed(predictor.open, volume)
    return load_s, open_s, lambda inside, outside: session.refine(Scribbles(inside, outside)).mask


def _peer(method: str, volume: CTVolume) -> Callable[[Mask, Mask], Mask]:
    """The other methods see all strokes so far and start anew each time."""
    from ichhpinet_workbench import baselines

    segment = getattr(baselines, method)
    _warm_up(segment)
    inside, outside = np.zeros(volume.shape, bool), np.zeros(volume.shape, bool)

    def answer(new_inside: Mask, new_outside: Mask) -> Mask:
        nonlocal inside, outside
        inside, outside = robot.add_strokes(inside, outside, new_inside, new_outside)
        return np.asarray(segment(volume, inside, outside))

    return answer


def _warm_up(segment: Callable[[CTVolume, Mask, Mask], Mask]) -> None:
    """Let a method import what it needs, on a volume so small that nothing else is gained."""
    hu = np.full((4, 16, 16), 30.0, np.float32)
    hu[:, 4:8, 4:8] = 70.0
    painted = np.zeros((2, *hu.shape), bool)
    painted[0, 2, 5:7, 5:7] = painted[1, 2, 12, 12] = True
    segment(CTVolume.from_array(hu, (5.0, 1.0, 1.0)), *painted)


def _timed(function: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function(*arguments)
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def _volume(case: Case) -> CTVolume:
    case.head.hu.setflags(write=False)  # taken over, not copied
    return CTVolume.from_array(case.head.hu, case.head.spacing_mm)


def _arrays(strokes: Strokes, shape: tuple[int, int, int]) -> tuple[Mask, Mask]:
    painted = np.zeros(shape, bool), np.zeros(shape, bool)
    for array, indices in zip(painted, strokes, strict=True):
        array.reshape(-1)[indices] = True
    return painted


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", type=Path)
    parser.add_argument("method", choices=(OURS, *PEERS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--checkpoint")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    measured = measure(Case.load(arguments.case), arguments.method, arguments.device, arguments.checkpoint)
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
