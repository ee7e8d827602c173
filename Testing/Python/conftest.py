"""Fixtures that several tests share; Logic and Workbench are importable even when nothing is installed."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")  # for images this small, threads only cost
ROOT = Path(__file__).resolve().parents[2]
for folder in ("Workbench", "Logic"):
    if str(ROOT / folder) not in sys.path:
        sys.path.insert(0, str(ROOT / folder))

from core.ct_files import head_volume  # noqa: E402
from ichhpinet.reading import read_volume  # noqa: E402
from ichhpinet.volume import CTVolume  # noqa: E402

# No test asserts a time, and each run tries the same examples, so that a failure is the change's and not chance's.
settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def real_series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled real head CT, unpacked: a folder of 28 DICOM slices with gantry tilt and uneven steps. Read only."""
    folder = tmp_path_factory.mktemp("sample")
    with zipfile.ZipFile(ROOT / "Resources" / "SampleData" / "head_ct_dicom.zip") as archive:
        archive.extractall(folder)
    return folder / "head_ct_dicom"


@pytest.fixture(scope="session")
def real_volume(real_series: Path) -> CTVolume:
    """The real head CT as it is read: straightened, (37, 611, 512)."""
    return read_volume(real_series)


@pytest.fixture(scope="session")
def head() -> CTVolume:
    """A little made-up head in whole HU, (6, 24, 20), slices of 5 mm, oblique."""
    return head_volume()
