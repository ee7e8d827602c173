"""Scenes on slicer-core with a CT in them, strokes as the Segment Editor paints them, an engine in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util import numpy_support

from core.engine import small_ct, tiny_checkpoint
from ichhpinet.checkpoint import save_checkpoint
from ichhpinet.errors import Cancelled, InputError
from ichhpinet.volume import CTVolume
from ICHHPINetSlicer.engine import Engine, Failed, refusal
from ICHHPINetSlicer.logic import ICHHPINetLogic
from ICHHPINetSlicer.nodes import set_segment, voxels
from ICHHPINetSlicer.worker import Worker

Bool = NDArray[np.bool_]
SHAPE = (5, 16, 16)


def new_scene() -> Any:
    """An empty scene with a subject hierarchy."""
    scene = slicer.vtkMRMLScene()
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    return scene


def matrix(values: NDArray[np.float64]) -> Any:
    """vtkMatrix4x4 of a (4, 4) array."""
    out = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            out.SetElement(row, column, float(values[row, column]))
    return out


def add_volume(scene: Any, ct: CTVolume | None = None, name: str = "CT") -> Any:
    """A scalar volume node with the CT's values and grid."""
    ct = ct or ct_with_air()
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(ct.shape))
    image.AllocateScalars(vtk.VTK_SHORT, 1)
    voxels(image)[:] = np.rint(ct.hu)
    node.SetAndObserveImageData(image)
    to_lps = np.eye(4)
    to_lps[:3, :3] = ct.direction * np.array(ct.spacing_mm[::-1])
    to_lps[:3, 3] = ct.origin
    node.SetIJKToRASMatrix(matrix(np.diag([-1.0, -1, 1, 1]) @ to_lps))
    node.CreateDefaultDisplayNodes()
    return node


def bend(volume: Any, shifts: NDArray[np.float64]) -> Any:
    """Put the volume under a grid transform, as Slicer's DICOM reader does: (D, 2, 2, 3) mm at its slices' corners."""
    width, height, depth = volume.GetImageData().GetDimensions()
    x, y, z = volume.GetSpacing()
    grid, directions, transform = vtk.vtkImageData(), vtk.vtkMatrix4x4(), slicer.vtkOrientedGridTransform()
    grid.SetOrigin(volume.GetOrigin())
    grid.SetDimensions(2, 2, depth)
    grid.SetSpacing(x * width, y * height, z)
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    numpy_support.vtk_to_numpy(grid.GetPointData().GetScalars())[:] = shifts.reshape(-1, 3)
    volume.GetIJKToRASDirectionMatrix(directions)
    transform.SetGridDirectionMatrix(directions)
    transform.SetDisplacementGridData(grid)
    node = volume.GetScene().AddNewNodeByClass("vtkMRMLGridTransformNode", "acquisition transform")
    node.SetAndObserveTransformToParent(transform)
    volume.SetAndObserveTransformNodeID(node.GetID())
    return node


def ct_with_air(shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> CTVolume:
    """`small_ct` with a corner of air, as every CT has: its values are then HU beyond doubt."""
    ct = small_ct(shape, seed=seed)
    hu = np.array(ct.hu)
    hu[:, 0, 0] = -1000
    return CTVolume.from_array(hu, ct.spacing_mm)


def paint(logic: ICHHPINetLogic, volume: Any, segment_id: str, *voxel_indices: tuple[int, int, int]) -> None:
    """A stroke: voxels added to a segment of the strokes node, and the logic told of it."""
    from ICHHPINetSlicer.nodes import segment_mask

    node = logic.strokes_node(volume)
    mask = segment_mask(node, segment_id, volume)
    for index in voxel_indices:
        mask[index] = True
    set_segment(node, segment_id, mask, volume, segment_id, (1, 1, 0))
    logic.strokes_changed(volume)


class DirectWorker(Worker):
    """The engine in this process: a job runs inside `poll`. For tests that are not about the process."""

    def __init__(self, weights: Path) -> None:
        super().__init__(str(weights), "cpu")
        self.engine = Engine(str(weights), "cpu")
        self.cancelled = False
        self.jobs: list[Any] = []
        self.starts = 1

    @property
    def alive(self) -> bool:
        """Always."""
        return True

    def warm_up(self) -> None:
        """Nothing to start."""

    def submit(self, job: Any, done: Any, failed: Any, progress: Any = None) -> None:
        """Keep it for `poll`."""
        if self.jobs:
            raise InputError("a round is under way; wait for it, or cancel it")
        self.cancelled = False
        self.jobs = [(job, done, failed, progress or (lambda fraction, what: None))]

    @property
    def busy(self) -> bool:
        """Whether a job waits."""
        return bool(self.jobs)

    def cancel(self) -> None:
        """As the real one."""
        self.cancelled = True

    def forget(self, key: str) -> None:
        """As the real one."""
        self.engine.forget(key)

    def poll(self, wait_seconds: float = 0.0) -> bool:
        """Run the job."""
        while self.jobs:
            job, done, failed, progress = self.jobs.pop()
            try:
                answer = self.engine.answer(job, progress, lambda: self.cancelled)
            except Cancelled as error:
                failed(Failed("cancelled", str(error)))
            except InputError as error:
                failed(refusal(error))
            else:
                done(answer)
        return False

    def close(self) -> None:
        """Nothing to end."""


def write_weights(folder: Path) -> Path:
    """A file with the tiny network's random weights."""
    path = folder / "tiny.pt"
    save_checkpoint(path, tiny_checkpoint())
    return path


def wait(logic: ICHHPINetLogic, seconds: float = 120.0) -> None:
    """Poll until the engine is idle."""
    import time

    end = time.monotonic() + seconds
    while logic.poll(0.05):
        if time.monotonic() > end:
            raise TimeoutError("the engine did not answer")


def refine(logic: ICHHPINetLogic, volume: Any) -> Any:
    """A round, waited for; raises what it failed with."""
    got: list[Any] = []
    logic.refine(volume, got.append, lambda kind, sentence: got.append(RuntimeError(f"{kind}: {sentence}")))
    wait(logic)
    if isinstance(got[0], Exception):
        raise got[0]
    return got[0]
