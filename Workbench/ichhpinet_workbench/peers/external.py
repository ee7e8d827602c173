"""The adapter for models that live elsewhere: a command that writes a mask, or a Python object that opens sessions.

A command is run once a round, in the folder where the program was started; what it reads and writes lies in a folder
that is deleted afterwards. In its line these are replaced:

    {ct}        NIfTI, HU, the volume as it was read
    {strokes}   NIfTI label map: all strokes so far, 1 haemorrhage, 2 not
    {new}       the same, this round's strokes alone
    {previous}  NIfTI, 0 and 1: the mask of the round before (empty at first)
    {prompts}   JSON: the strokes as points and boxes, for models that take those (`prompts_of`)
    {out}       where the mask must be written: NIfTI on the CT's grid, 0 and 1
    {round}     1, 2, ...

A Python object is named `module:factory`, a module that is installed or lies in the folder where the program was
started; calling the factory gives something with `open(volume)`, which gives something with `refine(scribbles)`, whose
result has a `mask` (D, H, W) bool; `propose()` and `undo()` if it can do without strokes. After a command
strokes are obeyed: what was painted is in the mask, or out of it.
"""

from __future__ import annotations

import importlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ichhpinet.errors import InputError
from ichhpinet.reading import read_labels
from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume, image_on_grid
from ichhpinet.writing import write_mask, write_volume

from ..regions import Bool, bounding_box, components
from ..robot import add_strokes

LIMIT_SECONDS = 1800.0
POINTS = 5  # of a stroke, spread along its voxels
SHOWN_ERROR = 300  # letters of what the command said


@dataclass(frozen=True)
class ExternalResult:
    """mask: (D, H, W) bool."""

    mask: Bool


@dataclass(frozen=True)
class CommandPredictor:
    """Opens sessions that run a command. Raises InputError for a line without {ct} or {out}, or a quote left open."""

    line: str
    limit_seconds: float = LIMIT_SECONDS
    proposes = False  # strokes are what a promptable model is given

    def __post_init__(self) -> None:
        missing = [name for name in ("{ct}", "{out}") if name not in self.line]
        if missing:
            raise InputError(f"the command has no {' and no '.join(missing)}; it must say where the CT and the mask go")
        try:
            shlex.split(self.line)
        except ValueError as error:
            raise InputError(f"the command cannot be taken apart: {error}; it must be as for a shell") from None

    def open(self, volume: CTVolume) -> CommandSession:
        """A session with no strokes yet."""
        return CommandSession(self, volume)


class CommandSession:
    """Keeps the strokes and the last mask; every round is one run of the command."""

    def __init__(self, predictor: CommandPredictor, volume: CTVolume) -> None:
        self._predictor, self._volume = predictor, volume
        self._foreground, self._background = np.zeros(volume.shape, bool), np.zeros(volume.shape, bool)
        self._mask, self._round = np.zeros(volume.shape, bool), 0

    def refine(self, scribbles: Scribbles) -> ExternalResult:
        """One run. Raises InputError: it failed, took too long, or wrote no mask on the CT's grid."""
        painted = add_strokes(self._foreground, self._background, scribbles.foreground, scribbles.background)
        with tempfile.TemporaryDirectory() as folder:
            places = self._written(Path(folder), scribbles, Scribbles(*painted))
            self._run(places)
            if not places["out"].exists():
                raise InputError("the command ended well and wrote no mask; it must write {out}")
            mask = read_labels(places["out"], self._volume) > 0
        self._foreground, self._background = painted
        self._mask, self._round = (mask | painted[0]) & ~painted[1], self._round + 1
        return ExternalResult(self._mask)

    def _written(self, folder: Path, new: Scribbles, strokes: Scribbles) -> dict[str, Path]:
        names = ("ct", "strokes", "new", "previous", "out")
        places = {name: folder / f"{name}.nii.gz" for name in names} | {"prompts": folder / "prompts.json"}
        write_volume(places["ct"], self._volume)
        write_mask(places["previous"], self._mask, self._volume)
        _write_labels(places["strokes"], strokes, self._volume)
        _write_labels(places["new"], new, self._volume)
        places["prompts"].write_text(json.dumps(prompts_of(strokes)), encoding="utf-8")
        return places

    def _run(self, places: dict[str, Path]) -> None:
        values = {name: str(path) for name, path in places.items()} | {"round": str(self._round + 1)}
        words = [_filled(word, values) for word in shlex.split(self._predictor.line)]
        try:
            done = subprocess.run(
                words,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self._predictor.limit_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InputError(f"the command took more than {self._predictor.limit_seconds:g} s a round") from None
        except OSError as error:
            raise InputError(f"the command {words[0]} cannot be run: {error.strerror}") from None
        if done.returncode:
            said = " ".join(done.stderr.split())[-SHOWN_ERROR:]
            raise InputError(f"the command ended with {done.returncode}: {said}")


def python_predictor(source: str) -> Any:
    """What `module:factory` gives. Raises InputError: no such module or factory, or what it gives opens nothing."""
    module, colon, factory = source.partition(":")
    if os.getcwd() not in sys.path:  # a console script lacks it; last, so that it hides nothing
        sys.path.append(os.getcwd())
    try:
        made = getattr(importlib.import_module(module), factory)()
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(f"{source} cannot be used: {error}; it must be module:factory") from None
    if not colon or not callable(getattr(made, "open", None)):
        raise InputError(f"{source} gives a {type(made).__name__} without open(volume); see peers.external")
    return made


def prompts_of(strokes: Scribbles) -> dict[str, Any]:
    """Strokes as SAM-like models take them: (z, y, x) points, 1 haemorrhage or 0 not, and a box a foreground stroke.

    A stroke is a connected painted region; its points are spread along it in the order of its voxels. A box is
    ((z0, y0, x0), (z1, y1, x1)), the last index included.
    """
    points: list[list[int]] = []
    labels: list[int] = []
    boxes = []
    for label, painted in ((1, strokes.foreground), (0, strokes.background)):
        regions, sizes = components(painted)
        for number in range(1, len(sizes) + 1):
            voxels = np.argwhere(regions == number)
            spread = voxels[np.unique(np.linspace(0, len(voxels) - 1, POINTS).astype(int))]
            points += spread.tolist()
            labels += [label] * len(spread)
            if label:
                box = bounding_box(regions == number) or ()
                boxes.append([[part.start for part in box], [part.stop - 1 for part in box]])
    return {"points_zyx": points, "labels": labels, "boxes_zyx": boxes}


def _filled(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(f"{{{name}}}", value)
    return word


def _write_labels(path: Path, strokes: Scribbles, volume: CTVolume) -> None:
    from ichhpinet.itk import simpleitk

    simpleitk().WriteImage(image_on_grid(strokes.labels(), volume), str(path))
