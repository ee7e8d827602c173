"""The sample CT comes out of the extension's folder as one file that Slicer loads, with its haemorrhage in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ichhpinet.reading import read_volume
from ichhpinet.resources import sample_data
from ichhpinet.volume import CTVolume
from ichhpinet_workbench.sample_haemorrhage import ADDED, TRUTH, added_haemorrhage
from ICHHPINetSlicer.sample import box_in, sample_file


def test_the_sample_is_the_real_ct_straightened_with_blood_in_one_place_and_written_once(
    tmp_path: Path, real_volume: CTVolume
) -> None:
    file = sample_file(tmp_path / "new")
    read = read_volume(file)
    truth = sitk.ReadImage(str(sample_data(TRUTH)))
    box = box_in(read, truth)
    blood = np.zeros(read.shape, bool)
    blood[box] = sitk.GetArrayFromImage(truth) > 0
    assert read.shape == real_volume.shape
    assert 10 < blood.sum() * read.voxel_ml < 20
    assert 50 < np.median(read.hu[blood]) < 65
    outside = np.ones(read.shape, bool)
    outside[box] = False
    assert np.allclose(read.hu[outside], real_volume.hu[outside], atol=0.51)
    written = file.stat().st_mtime_ns
    assert sample_file(tmp_path / "new") == file and file.stat().st_mtime_ns == written


def test_the_bundled_haemorrhage_is_what_the_workbench_makes(real_volume: CTVolume) -> None:
    added, truth, box = added_haemorrhage(real_volume)
    bundled = sitk.GetArrayFromImage(sitk.ReadImage(str(sample_data(ADDED))))
    bundled_truth = sitk.ReadImage(str(sample_data(TRUTH)))
    assert bundled.shape == added.shape and box == box_in(real_volume, bundled_truth)
    assert np.mean(np.abs(bundled - added) <= 1) > 0.999  # torch's random numbers may round otherwise elsewhere
    assert np.mean((sitk.GetArrayFromImage(bundled_truth) > 0) == truth) > 0.999
