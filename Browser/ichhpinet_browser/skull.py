"""The skull, see-through, around the haemorrhage in the 3D view: it tells where in the head the bleed lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk

from ICHHPINetSlicer.nodes import Node, ijk_to_ras, image_of, voxels

BONE_HU = 250.0
GRID_MM = 3.0  # of the coarse copy that the surface is made from: enough to know a skull, quick to draw
OPACITY = 0.16
RGB = (0.86, 0.84, 0.78)
NAME = "Skull"


def show_skull(scene: Any, volume: Node) -> Node | None:
    """A model of the CT's bone, in place of the one before; None where there is none."""
    hide_skull(scene)
    surface = _surface(volume)
    if surface.GetNumberOfPolys() == 0:
        return None
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", NAME)
    node.SetSaveWithScene(False)
    node.SetSelectable(False)
    node.SetAndObservePolyData(surface)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetVisibility2D(False)
    display.SetOpacity(OPACITY)
    display.SetColor(*RGB)
    display.SetBackfaceCulling(False)
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    return node


def hide_skull(scene: Any) -> None:
    """Take the model away."""
    node = scene.GetFirstNodeByName(NAME)
    if node is not None:
        scene.RemoveNode(node)


def _surface(volume: Node) -> Any:
    """vtkPolyData in RAS mm."""
    steps = [max(1, round(GRID_MM / step)) for step in reversed(volume.GetSpacing())]
    coarse = voxels(volume.GetImageData())[:: steps[0], :: steps[1], :: steps[2]].astype(np.float32)
    contour = vtk.vtkFlyingEdges3D()
    contour.SetInputData(image_of(coarse))
    contour.SetValue(0, BONE_HU)
    contour.ComputeScalarsOff()
    largest = vtk.vtkPolyDataConnectivityFilter()  # not the head rest, not a tube
    largest.SetInputConnection(contour.GetOutputPort())
    largest.SetExtractionModeToLargestRegion()
    smooth = vtk.vtkWindowedSincPolyDataFilter()
    smooth.SetInputConnection(largest.GetOutputPort())
    smooth.SetNumberOfIterations(12)
    smooth.SetPassBand(0.1)
    to_ras = ijk_to_ras(volume) @ np.diag([*steps[::-1], 1.0])
    transform = vtk.vtkTransform()
    transform.SetMatrix(to_ras.ravel().tolist())
    placed = vtk.vtkTransformPolyDataFilter()
    placed.SetTransform(transform)
    placed.SetInputConnection(smooth.GetOutputPort())
    placed.Update()
    return placed.GetOutput()
