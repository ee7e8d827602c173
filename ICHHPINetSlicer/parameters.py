"""The choices that a scene keeps: a parameter node, which exists in 3D Slicer alone (not in slicer-core)."""

from typing import Annotated

import slicer
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

MODULE = "ICHHPINet"


@parameterNodeWrapper
class ICHHPINetParameterNode:
    """volume: the CT. brushMm: brush diameter. autoRefine: a round after each stroke. target: where Copy goes."""

    volume: vtkMRMLScalarVolumeNode
    target: vtkMRMLSegmentationNode
    brushMm: Annotated[float, WithinRange(0.5, 30.0)] = 3.0
    autoRefine: bool = False
    showChanges: bool = False
    showUncertainty: bool = False
    showUsedStrokes: bool = False
    show3D: bool = False


def parameter_node() -> ICHHPINetParameterNode:
    """The scene's one; made where there is none."""
    node = slicer.mrmlScene.GetSingletonNode(MODULE, "vtkMRMLScriptedModuleNode")
    if node is None:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        node.SetSingletonTag(MODULE)
        node.SetModuleName(MODULE)
        node = slicer.mrmlScene.AddNode(node)
    return ICHHPINetParameterNode(node)
