"""torch for the engine's process: is it there; if not, ask once and install it. Never at import, never in a thread."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from ichhpinet.errors import InputError

TORCH_SINCE = (2, 4)
TORCH = "torch>=2.4"
SLICER_SINCE = (5, 12)


def torch_is_there() -> bool:
    """Whether torch is installed, TORCH_SINCE or newer. It is not imported: only the engine's process does that."""
    if importlib.util.find_spec("torch") is None:
        return False
    try:
        have = re.match(r"(\d+)\.(\d+)", importlib.metadata.version("torch") or "")  # None: half removed
    except importlib.metadata.PackageNotFoundError:
        return True  # put there by hand: the engine will tell
    return have is None or tuple(map(int, have.groups())) >= TORCH_SINCE


def ensure_torch() -> None:
    """Install torch if it is not there, or too old: asks the user once, in Slicer's own dialogs.

    Raises: InputError with the way out where the user declines, or the installation fails.
    """
    if torch_is_there():
        return
    try:
        import PyTorchUtils  # of the PyTorch extension: picks the build for this machine's GPU
    except ImportError:
        PyTorchUtils = None
    try:
        if PyTorchUtils is not None:
            PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=">=2.4")
        else:
            import slicer.packaging

            slicer.packaging.pip_ensure(TORCH, requester="ICHHPINet")
    except Exception as error:  # what an installer may raise is an open list
        raise InputError(_way_out()) from error
    importlib.invalidate_caches()
    if not torch_is_there():
        raise InputError(_way_out())


def engine_python() -> str:
    """The interpreter for the engine's process: PythonSlicer, which has Slicer's packages.

    On Windows the one behind it: PythonSlicer is a launcher there, and what multiprocessing hands over to the process
    it starts (the pipe, the event) would stay with the launcher. Slicer's own environment is inherited.
    """
    launcher = shutil.which("PythonSlicer")
    if launcher is None:
        return sys.executable
    behind = Path(launcher).with_name(f"python-real{Path(launcher).suffix}")
    return str(behind) if sys.platform == "win32" and behind.exists() else launcher


def check_slicer() -> None:
    """Raises: InputError for a Slicer older than SLICER_SINCE."""
    have = (slicer.app.majorVersion, slicer.app.minorVersion)
    if have < SLICER_SINCE:
        sentence = _("this is Slicer {have}; ICHHPINet needs {since} or newer")
        raise InputError(sentence.format(have="{}.{}".format(*have), since="{}.{}".format(*SLICER_SINCE)))


def _way_out() -> str:
    return _(
        "ICHHPINet needs PyTorch 2.4 or newer to compute. Install the PyTorch extension from the Extensions Manager "
        'and choose "Install PyTorch" there, or run pip_install("{torch}") in the Python console; then click Refine '
        "again."
    ).format(torch=TORCH)
