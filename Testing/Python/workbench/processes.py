"""Commands in processes of their own, for the tests of what several processes do, and of what a kill leaves."""

from __future__ import annotations

import os
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parents[1]
PLACES = [str(place) for place in (TESTS, ROOT / "Logic", ROOT / "Workbench")]
ALONE = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(PLACES)}
LIMIT_SECONDS = 240.0  # then a test fails instead of hanging

# `train` and `evaluate`, saved after every batch; each process of a training tells its weights to a file.
COMMANDS = """
import argparse, hashlib, os, sys
from pathlib import Path
import torch
from ichhpinet_workbench import commands, train
from ichhpinet_workbench.training import loop

torch.set_num_threads(1)
loop.SAVE_SECONDS = 0.0
save = loop.Trainer.save

def telling(self):
    save(self)
    weights = b"".join(weight.detach().numpy().tobytes() for weight in self.network.parameters())
    place = Path(os.environ["TOLD"]) / f"step-{self.step}-rank-{self.engine.rank}"
    place.write_text(hashlib.sha256(weights).hexdigest())

if "TOLD" in os.environ:
    loop.Trainer.save = telling
if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    train.register(subparsers)
    commands.register_evaluate(subparsers)
    arguments = parser.parse_args()
    sys.exit(arguments.run(arguments))
"""


def commands_in(folder: Path) -> Path:
    """The script, written there."""
    script = folder / "commands.py"
    script.write_text(COMMANDS)
    return script
