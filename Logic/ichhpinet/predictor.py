"""Predictor: weights on a device. Opens a volume (encodes every slice once) and computes rounds; holds no session."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ichhpinet.checkpoint import Checkpoint, channels_last, fold_batch_norm, load_checkpoint
from ichhpinet.corrections import Correction, heeded, listened
from ichhpinet.decision import lean
from ichhpinet.elsewhere import kept_elsewhere, may_refuse, without_refused, without_unasked
from ichhpinet.errors import Cancelled, InputError
from ichhpinet.grid import WorkingGrid
from ichhpinet.networks import Memory, RoundInputs
from ichhpinet.networks.mpffm import SliceFeatures
from ichhpinet.paths import as_path
from ichhpinet.preprocessing import working_grid, working_image
from ichhpinet.resources import bundled_weights
from ichhpinet.secondlook import LOOK, propose, unseen
from ichhpinet.volume import CTVolume

if TYPE_CHECKING:
    from ichhpinet.session import Session

logger = logging.getLogger(__name__)

Progress = Callable[[float, str], None]
Cancel = Callable[[], bool]

RULES_VERSION = 13  # raised whenever the same weights and strokes give another mask: figures are kept by it
DEVICES = ("cpu", "cuda", "mps")  # torch knows others, on which rounds were never run
ENCODE_SLICES = 8  # slices encoded at once: enough to fill two cores, few enough to cancel between
UPRIGHT = 0.85  # cosine: an acquisition axis further than about 30 degrees from head-feet is worth a note


@dataclass(frozen=True)
class EncodedVolume:
    """What depends on the image alone: computed once when a volume is opened.

    image: (1, d, h, w) float32 normalised, on `grid`. features: of all d slices.
    """

    grid: WorkingGrid
    image: Tensor
    features: SliceFeatures

    @property
    def nbytes(self) -> int:
        """What the image and its features take in memory."""
        return self.image.nbytes + self.features.nbytes


@dataclass(frozen=True)
class RoundArrays:
    """A round on the working grid: probability (d, h, w), VIM's own (d, h/2, w/2) or None, and the memory after it."""

    probability: Tensor
    volume_probability: Tensor | None
    memory: Memory


def watch(progress: Progress | None, cancel: Cancel | None, what: str) -> Callable[[float], None]:
    """A tick that reports `what` and raises Cancelled once `cancel()` is true. Raises: InputError for no callables."""
    for name, given in (("progress", progress), ("cancel", cancel)):
        if given is not None and not callable(given):
            raise InputError(f"{name} is a {type(given).__name__}; it must be callable, or None")

    def tick(fraction: float) -> None:
        if cancel is not None and cancel():
            raise Cancelled(f"{what} was cancelled; nothing has changed")
        if progress is not None:
            progress(min(1.0, fraction), what)

    return tick


def choose_device(device: str) -> torch.device:
    """'auto': CUDA, else CPU. Raises: InputError for a device that this machine does not have."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        if chosen.type in DEVICES:
            torch.empty(1, device=chosen)
            return chosen
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(f"the device is {device!r}; this machine has {', '.join(_devices())}") from error
    raise InputError(f"the device is {device!r}; this machine has {', '.join(_devices())}")


def _devices() -> list[str]:
    found = ["cpu"]
    found += ["cuda"] if torch.cuda.is_available() else []
    found += ["mps"] if torch.backends.mps.is_available() else []
    return found


class Predictor:
    """ICH-HPINet with weights, ready to open volumes.

    Not a medical device: for research only.
    """

    def __init__(self, checkpoint: Checkpoint, device: str = "auto") -> None:
        self.device = choose_device(device)
        self.config = checkpoint.config
        self.digest = checkpoint.digest
        self.training = checkpoint.training
        self._temperature = checkpoint.temperature
        network = checkpoint.network()
        channels_last(fold_batch_norm(network))  # both change it in place
        self._network = network.to(self.device)

    @classmethod
    def load(cls, checkpoint: str | Path | None = None, device: str = "auto") -> Predictor:
        """Read weights; None: the bundled ones. Raises: InputError where the file or the device will not do."""
        try:
            path = bundled_weights() if checkpoint is None else as_path(checkpoint, "the checkpoint")
        except FileNotFoundError as error:
            raise InputError(str(error)) from None
        return cls(load_checkpoint(path), device)

    def open(self, volume: CTVolume, progress: Progress | None = None, cancel: Cancel | None = None) -> Session:
        """Encode every slice once and start a session on the volume.

        Raises: InputError for what is no CTVolume, Cancelled.
        """
        from ichhpinet.session import Session

        if not isinstance(volume, CTVolume):
            raise InputError(f"the volume is a {type(volume).__name__}; it must be a CTVolume (see read_volume)")
        return Session(self, volume, self.encode(volume, progress, cancel))

    @torch.inference_mode()
    def encode(self, volume: CTVolume, progress: Progress | None = None, cancel: Cancel | None = None) -> EncodedVolume:
        """The working grid, the normalised image and the image-only features of every slice."""
        tick = watch(progress, cancel, "opening the volume")
        tick(0.0)
        grid = working_grid(volume, self.config.pixel_mm, self.config.min_slice_mm)
        tick(0.1)
        image = working_image(volume, grid, partial(tick, 0.15)).to(self.device)
        features = self._features(image, lambda done: tick(0.2 + 0.8 * done))
        tick(1.0)
        return EncodedVolume(grid, image[None], features)

    def _features(self, image: Tensor, tick: Callable[[float], None]) -> SliceFeatures:
        """Of all slices of an image (d, h, w)."""
        parts = []
        for start in range(0, len(image), ENCODE_SLICES):
            tick(start / len(image))
            parts.append(self._network.encode(image[start : start + ENCODE_SLICES]))
        return SliceFeatures.cat(parts)

    @torch.inference_mode()
    def compute_round(
        self,
        encoded: EncodedVolume,
        previous: Tensor,
        painted: Tensor,
        touched: Tensor,
        memory: Memory,
        tick: Callable[[float], None],
        boldness: float = 0.0,
    ) -> RoundArrays:
        """One round: a function of the image, the state and the strokes, and of nothing else.

        previous: (d, h, w) probability before the round. painted: (2, d, h, w) bool, all strokes so far.
        touched: (d,) bool, slices painted on in this round. boldness: logits added to the result, see
        `decision.boldness`. Raises what `tick` raises.
        """
        spacing = torch.tensor([encoded.grid.spacing_mm], dtype=torch.float32)
        before, strokes, slices = (tensor[None].to(self.device) for tensor in (previous, painted, touched))
        inputs = RoundInputs(encoded.image, before, strokes, slices, spacing.to(self.device))
        outputs = self._network(inputs, encoded.features, memory, tick)
        logits, volume = outputs.logits[0] / self._temperature, outputs.volume_logits
        if bool(painted[0].any()):  # without a stroke there may be no blood at all
            logits = logits + self._line(logits, boldness)
        probability = torch.sigmoid(logits).cpu()
        if volume is None:
            return RoundArrays(probability, None, outputs.memory)
        return RoundArrays(probability, torch.sigmoid(volume[0, 0] / self._temperature).cpu(), outputs.memory)

    @torch.inference_mode()
    def compute_proposal(self, encoded: EncodedVolume, tick: Callable[[float], None]) -> RoundArrays:
        """A round without strokes, in several looks from nothing (`secondlook.propose`).

        The memory stays empty: it is for slices that a person has corrected. Raises what `tick` raises.
        """
        nothing, memory, done = torch.zeros(encoded.grid.shape, dtype=torch.float32), Memory.empty(encoded.image), 0.0

        def look(image: Tensor | None, own: Tensor | None) -> RoundArrays:
            nonlocal done
            begin, seen = done, encoded
            if image is not None:
                features = self._features(image[0], lambda part: tick(begin + LOOK / 4 * part))
                begin, seen = done + LOOK / 4, replace(encoded, image=image, features=features)
            done += LOOK
            painted = torch.zeros(2, *encoded.grid.shape, dtype=torch.bool)
            if own is not None:
                painted[0] = own
            touched, share = painted[0].flatten(1).any(1), done - begin
            return self.compute_round(seen, nothing, painted, touched, memory, lambda part: tick(begin + share * part))

        seen, shown = propose(encoded.image, encoded.grid.spacing_mm, look)
        tick(1.0)
        return replace(seen, probability=seen.probability if shown else unseen(seen.probability), memory=memory)

    @torch.inference_mode()
    def heed(self, arrays: RoundArrays, encoded: EncodedVolume, given: Correction) -> RoundArrays:
        """A round after another one, with its corrections heeded (`corrections`).

        A proposal's mask may be a part of the bleed: it limits neither how far a correction reaches nor what changes
        elsewhere, and the correction head, which has learned from masks that strokes had made, is not asked.
        """
        made, head = heeded(arrays.probability, given), self._network.correction
        if given.after_strokes:
            made = made if head is None else listened(made, given, head, encoded.image[0])
            made = self._elsewhere(made, given)
        return replace(arrays, probability=without_refused(made, given))

    def heed_first(
        self, arrays: RoundArrays, encoded: EncodedVolume, given: Correction, tick: Callable[[float], None]
    ) -> RoundArrays:
        """A first round, without the islands that its background strokes refuse, as if they had come second.

        The mask that they refuse is then that of the foreground strokes alone: another look, taken where a background
        stroke lies by an island that holds no foreground. Raises what `tick` raises.
        """
        if not may_refuse(arrays.probability, given):
            return arrays
        alone = given.painted.clone()
        alone[1] = False
        nothing, memory = torch.zeros(encoded.grid.shape, dtype=torch.float32), Memory.empty(encoded.image)
        before = self.compute_round(encoded, nothing, alone, alone[0].flatten(1).any(1), memory, tick)
        return replace(
            arrays, probability=without_refused(arrays.probability, replace(given, previous=before.probability))
        )

    def _elsewhere(self, probability: Tensor, given: Correction) -> Tensor:
        """What a correction leaves as it was. A method, for the workbench to take it out."""
        return kept_elsewhere(without_unasked(probability, given), given)

    def _line(self, logits: Tensor, boldness: float) -> float:
        """What to add to the logits, so that 0.5 is where the mask ends. A method, for the workbench to take it out."""
        return lean(logits) + boldness


def axis_notes(grid: WorkingGrid, volume: CTVolume) -> tuple[str, ...]:
    """One sentence where the slices do not run head-feet, or are merged."""
    notes = []
    if grid.orientation.slice_axis != 0:
        notes.append("the acquisition is not axial; the engine works on the array axis nearest head-feet")
    elif abs(float(volume.direction[2, 2])) < UPRIGHT:
        notes.append("the slices are tilted by more than 30 degrees from axial; results may be worse than on axial CT")
    if grid.merge > 1:
        notes.append(f"slices are thin: the engine averages {grid.merge} at a time and interpolates the result")
    return tuple(notes)
