"""A CT or a session, from wherever it comes, into the scene; and out of it again. No views, no waiting."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ichhpinet.itk import simpleitk
from ichhpinet.reading import read_volume
from ichhpinet.resources import sample_data
from ichhpinet.volume import CTVolume
from ICHHPINetSlicer import rounds
from ICHHPINetSlicer.history import Strokes
from ICHHPINetSlicer.logic import ICHHPINetLogic
from ICHHPINetSlicer.nodes import (
    BACKGROUND_ID,
    FOREGROUND_ID,
    Node,
    node_from_volume,
    segment_box,
    set_segment,
    volume_from_node,
)
from ICHHPINetSlicer.sample import NOTE, sample_file

from .sessionarchive import KeptRound, KeptSession, read_archive
from .uploads import is_session

NAME = "Head CT"  # never a file's name, which may be a patient's
COLOURS = {FOREGROUND_ID: rounds.FOREGROUND_RGB, BACKGROUND_ID: rounds.BACKGROUND_RGB}
Progress = Callable[[float, str], object]
_counter = itertools.count(1)


def read(path: Path, progress: Progress, **how: Any) -> CTVolume | KeptSession:
    """What lies at a path: a CT, or a session that was unpacked there. Slow. Raises: InputError, SeveralSeries.

    how: of `read_volume`, series, hounsfield or window.
    """
    if is_session(path):
        return read_archive(path)
    return read_volume(path, progress=progress, **how)


def read_sample(folder: Path) -> CTVolume:
    """The bundled head CT with its synthetic haemorrhage; kept in `folder` for the next page. Slow."""
    return with_notes(read_volume(sample_file(folder)), (NOTE,))


def sample_place() -> tuple[float, float, float]:
    """RAS mm: the middle of the sample's haemorrhage, where a first look should be."""
    sitk = simpleitk()
    truth = sitk.ReadImage(str(sample_data("synthetic_haemorrhage.seg.nrrd")))
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(sitk.Cast(truth, sitk.sitkUInt8))
    left, posterior, superior = shape.GetCentroid(1)
    return -left, -posterior, superior


def into_scene(scene: Any, logic: ICHHPINetLogic, found: CTVolume | KeptSession) -> Node:
    """A volume node, with the rounds, strokes and memory of a session."""
    if isinstance(found, CTVolume):
        return node_from_volume(scene, found, f"{NAME} {next(_counter)}")
    volume = node_from_volume(scene, found.ct, f"{NAME} {next(_counter)}")
    for one in found.rounds:
        facts = one.number, one.parent, one.seconds, one.mask_box, Strokes.boxed(one.strokes_box)
        rounds.show_3d(rounds.add_round(volume, *facts), False)
    if found.memory is not None:
        rounds.keep_memory(volume, found.memory, found.current)
    strokes = logic.strokes_node(volume)
    pending = Strokes.boxed(found.pending)
    for box, segment_id in ((pending.foreground, FOREGROUND_ID), (pending.background, BACKGROUND_ID)):
        set_segment(strokes, segment_id, box, volume, segment_id, COLOURS[segment_id])
    logic.strokes_changed(volume)
    return volume


def ct_of(volume: Node, notes: tuple[str, ...]) -> CTVolume:
    """The CT of a volume, with what reading it assumed."""
    return with_notes(volume_from_node(volume), notes)


def out_of_scene(logic: ICHHPINetLogic, volume: Node, notes: tuple[str, ...]) -> KeptSession:
    """Everything on a volume, as a session is kept. Raises: InputError where the scene's memory is damaged."""
    ct = ct_of(volume, notes)
    kept = tuple(
        KeptRound.of(
            one.number,
            one.parent,
            one.seconds,
            rounds.round_box(one, volume),
            rounds.round_strokes(one, volume).box(),
        )
        for one in rounds.rounds_of(volume).values()
    )
    memory = rounds.kept_memory(volume)
    strokes = logic.strokes_node(volume)
    pending = Strokes.of(*(segment_box(strokes, name, volume) for name in (FOREGROUND_ID, BACKGROUND_ID))).box()
    return KeptSession(ct, kept, memory[1] if memory else None, pending, memory[0] if memory else None)


def remove(scene: Any, volume: Node) -> None:
    """The volume and everything that was made for it."""
    rounds.forget(volume)
    scene.RemoveNode(volume)


def with_notes(ct: CTVolume, notes: tuple[str, ...]) -> CTVolume:
    """The same CT with what reading it assumed."""
    return CTVolume(ct.hu, ct.spacing_mm, ct.origin, ct.direction, notes)
