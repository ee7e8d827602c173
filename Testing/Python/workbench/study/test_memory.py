"""A study of a hundred cases takes no more memory than one of twenty."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workbench.processes import ALONE, LIMIT_SECONDS

# Ten heads of different sizes (0.6 to 2 MB as float32), each ten times under another name.
HUNDRED = """
import sys
from pathlib import Path
import numpy as np
from ichhpinet.volume import CTVolume
from ichhpinet.writing import write_mask, write_volume
from ichhpinet_workbench.datasets import Entry, Manifest
from ichhpinet_workbench.datasets.folds import with_folds
from ichhpinet_workbench.study.contestants import Contestant
from ichhpinet_workbench.study.runner import Rules, evaluate

root, after = Path(sys.argv[1]), []
for size in range(10):
    hu = np.full((6 + size, 160 + 2 * size, 160 + 4 * size), 30.0, np.float32)
    hu[:, :20], hu[2:4, 60:70, 60:80 + size] = -1000, 60
    volume = CTVolume.from_array(hu, (5.0, 1.0, 1.0))
    write_volume(root / f"ct{size}.nii.gz", volume)
    write_mask(root / f"mask{size}.nii.gz", hu > 50, volume)
entries = [Entry(f"c{n}", "own", f"own:{n}", f"ct{n % 10}.nii.gz", f"mask{n % 10}.nii.gz") for n in range(100)]
manifest = with_folds(Manifest(tuple(entries), root), 2)

def judged(share, text):
    after.append(int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0]) / 1024)

stand_in = Contestant("ours", "python", "workbench.tiny_sets:stand_in")
evaluate(manifest, [stand_in], root / "out", Rules(rounds=1), progress=judged)
print(len(after), after[-1] - after[19])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="what a process holds is read from /proc")
def test_memory_does_not_grow_with_the_number_of_cases(tmp_path: Path) -> None:
    words = [sys.executable, "-c", HUNDRED, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, env=ALONE, timeout=LIMIT_SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    count, grown = done.stdout.split()
    assert count == "100" and float(grown) < 30
