"""Where the bundled weights and sample data lie: in a checkout, a Slicer extension or a wheel. Stdlib alone."""

from __future__ import annotations

from pathlib import Path

WEIGHTS_NAME = "ichhpinet-compact.pt"


def bundled_weights() -> Path:
    """The weights that ship with this installation. Raises FileNotFoundError if it has none."""
    return _find("Models", WEIGHTS_NAME)


def sample_data(name: str) -> Path:
    """A file or folder below SampleData/, e.g. a DICOM folder. Raises FileNotFoundError if it is not there."""
    return _find("SampleData", name)


def _find(kind: str, name: str) -> Path:
    for folder in _folders():
        path = folder / kind / name
        if path.exists():
            return path
    raise FileNotFoundError(f"{name} is not part of this installation; install ichhpinet again, with its data")


def _folders() -> tuple[Path, ...]:
    """Candidates for the folder that holds Models/ and SampleData/, the nearest first."""
    package = Path(__file__).resolve().parent
    wheel = package / "_resources"  # pyproject.toml maps Resources/* to here
    slicer = package.parent / "Resources"  # the extension installs the package beside its Resources
    checkout = package.parent.parent / "Resources"  # Logic/ichhpinet and Resources under one root
    return wheel, slicer, checkout
