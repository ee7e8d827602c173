"""Integrity: grids that differ, empty masks, wrong units, twins; what is excluded, what is mended, what is kept."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from ichhpinet_workbench.datasets import integrity
from ichhpinet_workbench.datasets.folder import read_folder
from ichhpinet_workbench.datasets.folds import with_folds
from ichhpinet_workbench.datasets.integrity import check
from ichhpinet_workbench.datasets.loading import load_entry
from ichhpinet_workbench.datasets.manifest import NO_FOLD, Manifest
from workbench.published_layouts import write_pair


def folder(root: Path, count: int = 2) -> Path:
    for number in range(count):
        write_pair(root / "images" / f"c{number}.nii.gz", root / "masks" / f"c{number}.nii.gz", number)
    return root


def change(path: Path, **how: Any) -> None:
    """Rewrite a file: values=function of the array, origin=..., dtype."""
    image = sitk.ReadImage(str(path))
    made = sitk.GetImageFromArray(how.get("values", lambda array: array)(sitk.GetArrayFromImage(image)))
    if made.GetSize() == image.GetSize():
        made.CopyInformation(image)
    if "origin" in how:
        made.SetOrigin(how["origin"])
    sitk.WriteImage(made, str(path))


def checked(root: Path, out: str = "out", **options: Any) -> tuple[list[dict[str, Any]], Manifest]:
    return check(read_folder(root, "own"), root / out, **options)


def test_good_data_is_found_good_and_measured(tmp_path: Path) -> None:
    rows, manifest = checked(folder(tmp_path))
    assert len(manifest.used) == 2 and [row["findings"] for row in rows] == [[], []]
    assert rows[0]["lesion_slices"] == 3 and rows[0]["components"] == 1
    assert rows[0]["lesion_ml"] == pytest.approx(3 * 5 * 5 * 5 / 1000)
    with (tmp_path / "out" / "integrity.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["verdict"] for row in table] == ["good", "good"] and table[0]["shape"] == "6 24 20"
    assert "2 cases of 2 patients; 2 can be used" in (tmp_path / "out" / "integrity.md").read_text()


@pytest.mark.parametrize(("factor", "dtype"), [(1000, np.int16), (0.7, np.float32)])
def test_a_mask_that_cannot_be_read_as_labels_is_a_fault(tmp_path: Path, factor: float, dtype: Any) -> None:
    change(folder(tmp_path) / "masks" / "c0.nii.gz", values=lambda array: (array.astype(float) * factor).astype(dtype))
    rows, manifest = checked(tmp_path)
    assert "every value must be a whole number from 0 to 255" in manifest.entries[0].excluded
    assert rows[1]["findings"] == [] and [entry.case for entry in manifest.used] == ["own-c1"]


def test_a_mask_on_another_grid_is_excluded_and_taken_voxel_by_voxel_when_asked(tmp_path: Path) -> None:
    change(folder(tmp_path) / "masks" / "c0.nii.gz", origin=(30.0, 0.0, 0.0))
    rows, manifest = checked(tmp_path)
    assert "on two grids: its origin is" in manifest.entries[0].excluded
    assert "--mend-grids" in rows[0]["findings"][-1]
    _, mended = checked(tmp_path, mend=True)
    assert len(mended.used) == 2 and mended.entries[0].by_index
    assert load_entry(mended, mended.entries[0]).truth.sum() == 75


def test_a_mask_on_another_grid_that_holds_no_labels_is_not_taken_voxel_by_voxel(tmp_path: Path) -> None:
    mask = folder(tmp_path) / "masks" / "c0.nii.gz"
    change(mask, origin=(30.0, 0.0, 0.0), values=lambda array: array.astype(np.float32) * 0.7)
    _, manifest = checked(tmp_path, mend=True)
    assert "its values are no labels" in manifest.entries[0].excluded


def test_a_case_that_was_mended_is_used_again_and_who_was_left_out_by_others_is_not(tmp_path: Path) -> None:
    mask = folder(tmp_path, 3) / "masks" / "c0.nii.gz"
    whole = mask.read_bytes()
    mask.write_bytes(b"no mask")
    manifest = read_folder(tmp_path, "own")
    left_out = replace(manifest.entries[2], excluded="too few slices")
    manifest = replace(manifest, entries=(*manifest.entries[:2], left_out))
    _, first = check(manifest, tmp_path / "out")
    assert [bool(entry.excluded) for entry in first.entries] == [True, False, True]
    mask.write_bytes(whole)
    _, second = check(first, tmp_path / "out")
    assert [entry.excluded for entry in second.entries] == ["", "", "too few slices"]


def test_a_case_that_comes_back_after_a_split_joins_its_patient_or_no_fold(tmp_path: Path) -> None:
    masks = [folder(tmp_path, 4) / "masks" / f"c{number}.nii.gz" for number in (0, 1)]
    whole = [mask.read_bytes() for mask in masks]
    for mask in masks:
        mask.write_bytes(b"no mask")
    manifest = read_folder(tmp_path, "own")
    first, *rest = manifest.entries
    _, found = check(replace(manifest, entries=(replace(first, patient=rest[1].patient), *rest)), tmp_path / "out")
    split = with_folds(found, 2)
    for mask, content in zip(masks, whole, strict=True):
        mask.write_bytes(content)
    rows, again = check(split, tmp_path / "out")
    assert again.entries[0].fold == split.entries[2].fold and again.entries[1].fold == NO_FOLD
    assert not rows[0]["findings"] and "in no fold; split the manifest anew" in rows[1]["findings"][0]
    assert len(again.used) == 4


def test_a_mask_of_another_size_is_never_used(tmp_path: Path) -> None:
    change(folder(tmp_path) / "masks" / "c0.nii.gz", values=lambda array: array[1:])
    _, manifest = checked(tmp_path, mend=True)
    assert manifest.entries[0].excluded == "check: the mask is (5, 24, 20); the CT is (6, 24, 20)"


def test_an_empty_mask_is_noted_and_used(tmp_path: Path) -> None:
    change(folder(tmp_path) / "masks" / "c0.nii.gz", values=lambda array: array * 0)
    rows, manifest = checked(tmp_path)
    assert rows[0]["findings"] == ["note: the mask is empty"] and len(manifest.used) == 2


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (lambda array: np.clip(array, 0, 80).astype(np.uint8) * 3, "256 grey levels|brain window"),
        (lambda array: array + 1024, r"HU \+ 1024"),
        (lambda array: array.astype(np.float32) / 1000, "not HU"),
        (lambda array: array - 300, "brain has a median"),
    ],
)
def test_wrong_units_are_seen(tmp_path: Path, values: Any, says: str) -> None:
    change(folder(tmp_path) / "images" / "c0.nii.gz", values=values)
    rows, _ = checked(tmp_path)
    import re

    assert re.search(says, " ".join(rows[0]["findings"])), rows[0]["findings"]


def test_a_mask_in_air_or_of_several_values_is_told(tmp_path: Path) -> None:
    root = folder(tmp_path)
    change(root / "masks" / "c0.nii.gz", values=lambda array: np.roll(array, (12, 10), (1, 2)))
    change(root / "masks" / "c1.nii.gz", values=lambda array: np.concatenate([array[:2] * 2, array[2:]]))
    rows, manifest = checked(root)
    assert manifest.entries[0].excluded.endswith("% of the mask lie in air")
    assert any("holds 3 values" in text for text in rows[1]["findings"]) and not manifest.entries[1].excluded


def test_one_image_under_two_patients_is_used_once(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "images" / "c1.nii.gz").write_bytes((root / "images" / "c0.nii.gz").read_bytes())
    _, manifest = checked(root)
    assert manifest.entries[1].excluded == "check: the CT is also own-c0, of another patient"
    assert not manifest.entries[0].excluded


def test_an_image_whose_first_copy_cannot_be_used_is_used_by_its_second(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "images" / "c1.nii.gz").write_bytes((root / "images" / "c0.nii.gz").read_bytes())
    (root / "masks" / "c0.nii.gz").write_bytes(b"no mask")
    _, manifest = checked(root)
    assert [entry.case for entry in manifest.used] == ["own-c1"]


def test_a_patients_own_second_copy_is_no_twin_of_another_patient(tmp_path: Path) -> None:
    root = folder(tmp_path, 3)
    for name in ("c1", "c2"):
        (root / "images" / f"{name}.nii.gz").write_bytes((root / "images" / "c0.nii.gz").read_bytes())
    manifest = read_folder(root, "own")
    same = replace(manifest.entries[1], patient=manifest.entries[0].patient)
    manifest = replace(manifest, entries=(manifest.entries[0], same, manifest.entries[2]))
    _, found = check(manifest, tmp_path / "out")
    assert [entry.excluded for entry in found.entries] == ["", "", "check: the CT is also own-c0, of another patient"]


def test_files_that_cannot_be_read_are_excluded_and_stop_nothing(tmp_path: Path) -> None:
    root = folder(tmp_path, 3)
    (root / "images" / "c0.nii.gz").write_bytes(b"no image")
    (root / "masks" / "c1.nii.gz").write_bytes(b"no mask")
    _, manifest = checked(root)
    assert [entry.case for entry in manifest.used] == ["own-c2"]
    reasons = [entry.excluded for entry in manifest.entries]
    assert reasons[0].startswith("check: the CT: ") and reasons[1].startswith("check: the mask: ")


def test_a_stopped_check_goes_on_and_a_changed_file_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, looked = folder(tmp_path, 3), []
    whole = integrity.check_case

    def counting(job: Any) -> Any:
        if len(looked) == 2 and not (root / "go").exists():
            raise KeyboardInterrupt
        looked.append(job.entry.case)
        return whole(job)

    monkeypatch.setattr(integrity, "check_case", counting)
    with pytest.raises(KeyboardInterrupt):
        checked(root)
    (root / "go").touch()
    checked(root)
    assert looked == ["own-c0", "own-c1", "own-c2"]
    change(root / "masks" / "c1.nii.gz", values=lambda array: array * 0)
    checked(root)
    assert looked[3:] == ["own-c1"]


def test_what_the_sets_own_table_says_is_compared(tmp_path: Path) -> None:
    from dataclasses import replace

    manifest = read_folder(folder(tmp_path), "own")
    told = Manifest(tuple(replace(e, declared_blood_slices=5) for e in manifest.entries), manifest.folder)
    rows, _ = check(told, tmp_path / "out")
    assert rows[0]["findings"] == ["note: 3 slices have a mask; the set's table says 5"]
