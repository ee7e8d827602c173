"""What can be laid over the slices besides the mask: what a round added and removed, and where it is uncertain."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from . import rounds
from .boxes import Boxed
from .nodes import Node, ijk_to_ras, image_of, set_segment
from .rounds import Round

KIND = "ICHHPINet.Overlay"  # attribute: "changes" or "uncertainty"
BEFORE = "ICHHPINet.Before."  # attribute, with a view's ID: the opacity and the ID of the foreground it had
ADDED_ID, REMOVED_ID = "Added", "Removed"
ADDED_RGB, REMOVED_RGB = (0.30, 0.75, 0.35), (0.85, 0.35, 0.85)  # green and purple: told apart by the colour-blind
UNCERTAIN = 32  # of 255: below, nothing is drawn
UNCERTAINTY_OPACITY = 0.7
UNCERTAINTY_RANGE = (-96, 160)  # where the colours begin and end: what is drawn starts half-way, in their bright half
COLOURS = "vtkMRMLColorTableNodeFileViridis.txt"  # Slicer's own; WARM where the scene lacks it
WARM = "ICH uncertainty colours"
WARM_ENDS_RGB = (0.45, 0.10, 0.35), (1.0, 0.85, 0.25)  # dark to light, so that it reads without telling hues apart


def show_changes(volume: Node, one: Round | None) -> Node | None:
    """Added and removed voxels of a round against its parent, as two outlined segments; None: hide them.

    They are hidden too where the parent is no longer in the scene.
    """
    node = _find(volume, "changes", "vtkMRMLSegmentationNode")
    known = rounds.rounds_of(volume)
    if one is None or one.delta_ml(known) is None:
        if node is not None:
            node.GetDisplayNode().SetVisibility(False)
        return None
    both = _weighed(rounds.round_box(one, volume), 1)
    if one.parent is not None:
        both = Boxed.summed(both, _weighed(rounds.round_box(known[one.parent], volume), 2))
    if node is None:
        node = _new(volume, "changes", "vtkMRMLSegmentationNode", "ICH changes")
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetSaveWithScene(False)
        node.GetDisplayNode().SetOpacity2DFill(0.5)
        node.GetDisplayNode().SetVisibility3D(False)
    set_segment(node, ADDED_ID, both.holding(both.part == 1), volume, "Added", ADDED_RGB)
    set_segment(node, REMOVED_ID, both.holding(both.part == 2), volume, "Removed", REMOVED_RGB)
    node.GetDisplayNode().SetVisibility(True)
    return node


def _weighed(mask: Boxed, weight: int) -> Boxed:
    return mask.holding(mask.part * np.uint8(weight))


def show_uncertainty(volume: Node, uncertainty: NDArray[np.uint8] | None) -> Node | None:
    """(D, H, W) uint8, 255 = 1, colour-mapped and see-through over the views that show the volume; None: hide."""
    node = _find(volume, "uncertainty", "vtkMRMLScalarVolumeNode")
    if uncertainty is None:
        if node is not None:
            _in_slice_views(volume, node, None)
        return None
    if node is None:
        node = _new(volume, "uncertainty", "vtkMRMLScalarVolumeNode", "ICH uncertainty")
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    node.SetIJKToRASMatrix(matrix)
    node.SetAndObserveImageData(image_of(uncertainty))
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetSaveWithScene(False)
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_colours(display.GetScene()).GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(*UNCERTAINTY_RANGE)
    display.SetThreshold(UNCERTAIN, 255)
    display.ApplyThresholdOn()
    _in_slice_views(volume, node, UNCERTAINTY_OPACITY)
    return node


def uncertain_slices(uncertainty: NDArray[np.uint8], axis: int = 0) -> list[int]:
    """Slice indices along an array axis, the most uncertain first; slices with nothing above UNCERTAIN are left out."""
    others = tuple(other for other in range(3) if other != axis)
    weight = np.where(uncertainty > UNCERTAIN, uncertainty, 0).sum(axis=others, dtype=np.int64)
    order = np.argsort(-weight, kind="stable")
    return [int(index) for index in order if weight[index] > 0]


def slice_centre_ras(volume: Node, uncertainty: NDArray[np.uint8], index: int) -> tuple[float, float, float]:
    """RAS mm, in world coordinates, of the most uncertain place of a slice: where a view should jump to."""
    plane = np.where(uncertainty[index] > UNCERTAIN, uncertainty[index], 0).astype(np.float64)
    total = plane.sum()
    rows, columns = np.indices(plane.shape)
    middle = [(n - 1) / 2 for n in plane.shape]
    row, column = (((grid * plane).sum() / total) if total else m for grid, m in zip((rows, columns), middle))
    point = ijk_to_ras(volume) @ [column, row, index, 1.0]
    world = [0.0, 0.0, 0.0]
    volume.TransformPointToWorld(point[:3].tolist(), world)
    return world[0], world[1], world[2]


def jump_to(scene: Node, ras: tuple[float, float, float]) -> None:
    """Bring every slice view to a place."""
    slicer.vtkMRMLSliceNode.JumpAllSlices(scene, *ras)


def _find(volume: Node, what: str, kind: str) -> Node | None:
    scene = volume.GetScene()
    for index in range(scene.GetNumberOfNodesByClass(kind)):
        node = scene.GetNthNodeByClass(index, kind)
        if node.GetAttribute(KIND) == what and rounds.belongs_to(node, volume):
            return node
    return None


def _new(volume: Node, what: str, kind: str, name: str) -> Node:
    scene = volume.GetScene()
    node = scene.CreateNodeByClass(kind)
    node.UnRegister(None)
    node.SetName(scene.GenerateUniqueName(f"{volume.GetName()} {name}"))
    node.SetAttribute(KIND, what)
    node.SetHideFromEditors(node.IsA("vtkMRMLVolumeNode"))  # no CT to choose; selectors look when it is added
    node.SetSaveWithScene(False)  # made anew from the rounds whenever it is asked for
    scene.AddNode(node)
    rounds.adopt(volume, node)
    return node


def _colours(scene: Node) -> Node:
    known = scene.GetNodeByID(COLOURS) or scene.GetFirstNodeByName(WARM)
    if known is not None:
        return known
    node = scene.AddNewNodeByClass("vtkMRMLColorTableNode", WARM)
    node.SetTypeToUser()
    node.SetSaveWithScene(False)
    node.SetHideFromEditors(True)
    node.SetNumberOfColors(256)
    low, high = (np.array(rgb) for rgb in WARM_ENDS_RGB)
    for level in range(256):
        node.SetColor(level, str(level), *(low + (high - low) * level / 255).tolist(), 1.0)
    return node


def _in_slice_views(volume: Node, overlay: Node, opacity: float | None) -> None:
    """As the foreground of the views whose background is the volume; opacity None: what was there comes back."""
    scene = volume.GetScene()
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        view = scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode")
        before = BEFORE + view.GetID()
        if opacity is not None and view.GetBackgroundVolumeID() == volume.GetID():
            if view.GetForegroundVolumeID() != overlay.GetID():
                overlay.SetAttribute(before, f"{view.GetForegroundOpacity()} {view.GetForegroundVolumeID() or ''}")
            view.SetForegroundVolumeID(overlay.GetID())
            view.SetForegroundOpacity(opacity)
        elif opacity is None and view.GetForegroundVolumeID() == overlay.GetID():
            level, _, known = (overlay.GetAttribute(before) or "0 ").partition(" ")
            there = bool(known) and scene.GetNodeByID(known) is not None
            view.SetForegroundVolumeID(known if there else None)
            view.SetForegroundOpacity(float(level) if there else 0.0)
