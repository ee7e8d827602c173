"""ICHHPINet: the module file that 3D Slicer loads. It hands over four classes; they live in ICHHPINetSlicer/."""

import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

_CORE = str(Path(__file__).resolve().parent / "Logic")
if _CORE not in sys.path:  # beside this file in a checkout and in an installed extension alike
    sys.path.insert(0, _CORE)

from ICHHPINetSlicer.logic import ICHHPINetLogic  # noqa: E402
from ICHHPINetSlicer.selftest import ICHHPINetTest  # noqa: E402
from ICHHPINetSlicer.volumes import register_sample_data  # noqa: E402
from ICHHPINetSlicer.widget import ICHHPINetWidget  # noqa: E402

__all__ = ["ICHHPINet", "ICHHPINetLogic", "ICHHPINetTest", "ICHHPINetWidget"]


class ICHHPINet(ScriptedLoadableModule):
    """Title, help and sample data."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("ICHHPINet")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["SegmentEditor", "SampleData"]
        parent.contributors = ["The ICHHPINet developers"]
        parent.helpText = _(
            "Segment intracranial haemorrhage in a head CT: paint a stroke on the bleed, click Refine, correct with "
            "another stroke. Research use, not a medical device."
        )
        parent.acknowledgementText = _(
            "The engine is ICH-HPINet (Tao et al., Scientific Reports 2025), on STCN's memory (Cheng et al., NeurIPS "
            "2021) and the hybrid propagation network of Shi et al. (MICCAI 2022), built and trained anew."
        )
        slicer.app.connect("startupCompleted()", register_sample_data)
