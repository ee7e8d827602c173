"""Training in several processes: by torchrun, by --devices, gone on with; every process ends with the same weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ichhpinet.checkpoint import load_checkpoint
from workbench.processes import ALONE, LIMIT_SECONDS, commands_in
from workbench.tiny_sets import tiny_set

SMALL = ["--recipe", "tiny", "--crop", "4", "32", "32", "--minutes", "60"]


def trained(root: Path, before: list[str], *line: object) -> dict[str, str]:
    """Run `train` on fold 0 of the set in `root`; what each process said of its weights."""
    told = root / "told"
    told.mkdir(exist_ok=True)
    whole = [*before, commands_in(root), "train", "--out", root / "run", "--manifest", root / "manifest.json"]
    done = subprocess.run(
        [*map(str, whole), "--folds", "0", *SMALL, *map(str, line)],
        capture_output=True,
        text=True,
        env=ALONE | {"TOLD": str(told)},
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {path.name: path.read_text() for path in told.iterdir()}


def test_processes_train_one_network_one_of_them_writes_and_torchrun_goes_on(tmp_path: Path) -> None:
    tiny_set(tmp_path, 4, 2)
    folder = tmp_path / "run" / "fold-0"
    told = trained(tmp_path, [sys.executable], "--devices", 2, "--device", "cpu", "--steps-in-all", 2)
    assert told["step-2-rank-0"] == told["step-2-rank-1"]
    rows = (folder / "log.csv").read_text().splitlines()
    assert len(rows) == 2  # a heading and one row: a second writer would leave two
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    told = trained(tmp_path, torchrun, "--steps-in-all", 4)
    assert told["step-4-rank-0"] == told["step-4-rank-1"] != told["step-2-rank-0"]
    assert len((folder / "log.csv").read_text().splitlines()) == 3
    assert load_checkpoint(folder / "weights.pt").training["steps"] in (2, 4)  # the better of the two
