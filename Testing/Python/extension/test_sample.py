"""The bundled CT comes out of the extension's own folder as one file that Slicer can load."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ichhpinet.reading import read_volume
from ichhpinet.volume import CTVolume
from ICHHPINetSlicer.sample import sample_file


def test_the_sample_is_the_real_ct_straightened_and_written_once(tmp_path: Path, real_volume: CTVolume) -> None:
    file = sample_file(tmp_path / "new")
    read = read_volume(file)
    assert read.shape == real_volume.shape and np.allclose(read.hu, real_volume.hu, atol=0.01)
    written = file.stat().st_mtime_ns
    assert sample_file(tmp_path / "new") == file and file.stat().st_mtime_ns == written
