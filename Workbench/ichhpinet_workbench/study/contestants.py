"""Who is judged: a line of text -> something that opens sessions, the same in every process."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ichhpinet.errors import InputError

CLASSIC = ("grow_from_seeds", "threshold_islands", "random_walker")  # as baselines.METHODS
WEIGHTS, COMMAND, PYTHON = "weights", "command", "python"
KINDS = (WEIGHTS, *CLASSIC, COMMAND, PYTHON)
FOLD = "{fold}"
NAME = re.compile(r"[\w.+-]+")


@dataclass(frozen=True)
class Contestant:
    """name: its row and its files. kind: one of KINDS. source: of the kind; `{fold}` in it is the case's fold.

    weights: a file of this program's network or of a peer's, '' for the bundled ones. command: the line that is run,
    python: `module:factory`; see peers.external.
    """

    name: str
    kind: str
    source: str = ""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or not self.name.strip("."):
            raise InputError(f"the name {self.name!r} cannot name a file; it must be letters, digits and . + - _")
        if self.kind not in KINDS:
            raise InputError(f"{self.name} is a {self.kind!r}; it must be one of {', '.join(KINDS)}")
        if self.kind in (COMMAND, PYTHON) and not self.source:
            raise InputError(f"{self.name} is a {self.kind} without one; write {self.name}={self.kind}:...")

    @classmethod
    def parse(cls, text: str) -> Contestant:
        """`NAME=KIND:SOURCE`, `NAME=KIND` or `KIND` alone. Raises InputError for anything else."""
        name, equals, rest = text.partition("=")
        kind, _, source = (rest if equals else text).partition(":")
        return cls(name if equals else kind, kind, source)

    def source_of(self, fold: int) -> str:
        """The source for a fold's cases."""
        return self.source.replace(FOLD, str(fold))

    def identity(self, fold: int) -> str:
        """What would make its figures other figures: the weights' SHA-256 and our rules, or the line itself.

        Raises InputError where the weights are not there.
        """
        if self.kind in (COMMAND, PYTHON):
            self.predictor(fold)  # says what the line lacks, or that there is no such object
        if self.kind != WEIGHTS:
            return f"{self.kind}:{self.source_of(fold)}"
        from ichhpinet.predictor import RULES_VERSION  # brings torch: not before a figure is asked for

        path = weights_path(self.source_of(fold))
        try:
            return f"{hashlib.sha256(path.read_bytes()).hexdigest()} rules {RULES_VERSION}"
        except OSError:
            raise InputError(f"{self.name}: {path.name} of fold {fold} cannot be read; train that fold first") from None

    def identities(self, folds: Iterable[int]) -> dict[str, str]:
        """`identity` by fold; without `{fold}` in the source there is one, under ''. Raises InputError as it does."""
        if FOLD in self.source:
            return {str(fold): self.identity(fold) for fold in sorted(set(folds))}
        return {"": self.identity(min(folds, default=0))}

    def predictor(self, fold: int, device: str = "auto") -> Any:
        """What opens sessions; made once a process. Raises InputError where it cannot be."""
        return _predictor(self.kind, self.source_of(fold), device)


def weights_path(source: str) -> Path:
    """The file of a weights contestant."""
    from ichhpinet.resources import bundled_weights

    return Path(source) if source else bundled_weights()


@lru_cache(maxsize=2)
def _predictor(kind: str, source: str, device: str) -> Any:
    if kind in CLASSIC:
        from ..baselines import METHODS
        from ..baselines.session import ClassicPredictor

        return ClassicPredictor(METHODS[kind])
    if kind == COMMAND:
        from ..peers.external import CommandPredictor

        return CommandPredictor(source)
    if kind == PYTHON:
        from ..peers.external import python_predictor

        return python_predictor(source)
    from ..peers.session import load_weights

    return load_weights(weights_path(source), device)
