"""Small data made in exactly the published layouts: PhysioNet CT-ICH 1.3.1, HemSeg-200 and -500, INSTANCE 2022."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from core.ct_files import head_hu, stacked, write_slice
from ichhpinet.volume import CTVolume
from ichhpinet.writing import write_mask, write_volume

SHAPE = (6, 24, 20)
SPACING = (5.0, 1.0, 1.0)
DIAGNOSES = "PatientNumber,SliceNumber,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,No_Hemorrhage,"
DIAGNOSES += "Fracture_Yes_No"
DEMOGRAPHICS = 'Patient Number,"Age\n(years)",Gender,"Hemorrhage type based on the radiologists diagnosis ",,,,,'
SUB_HEADING = ",,,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,Fracture"


def pair(seed: int, slices: int = 3) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """hu (6, 24, 20) and truth: a little head with a bright block on so many slices."""
    hu, truth = head_hu(SHAPE, seed), np.zeros(SHAPE, bool)
    truth[1 : 1 + slices, 9:14, 8:13] = True
    hu[truth] += 30
    return hu, truth


def write_pair(image: Path, mask: Path, seed: int, slices: int = 3, value: int = 1) -> None:
    """Both files on one grid; value: of the mask's lesion."""
    hu, truth = pair(seed, slices)
    volume = CTVolume.from_array(hu, SPACING)
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(image, volume)
    write_mask(mask, truth, volume)
    if value != 1:
        found = sitk.ReadImage(str(mask))
        scaled = sitk.GetImageFromArray(sitk.GetArrayFromImage(found) * np.uint8(value))
        scaled.CopyInformation(found)
        sitk.WriteImage(scaled, str(mask))


def physionet(root: Path, lesion_slices: dict[int, int]) -> Path:
    """Patients by number, each with so many slices with lesion; 0: a patient without haemorrhage."""
    rows, people = [DIAGNOSES], [DEMOGRAPHICS, SUB_HEADING]
    for number, count in lesion_slices.items():
        names = f"{number:03d}.nii"
        write_pair(root / "ct_scans" / names, root / "masks" / names, number, count, value=255)
        people.append(f"{number},{30 + number},Male,,1,,,,")
        for index in range(SHAPE[0]):
            blood = int(1 <= index < 1 + count)
            rows.append(f"{number},{index + 1},0,{blood},0,0,{blood},{1 - blood},0")
    rows += [",,,,,,,,"] * 2  # the published table ends in empty rows
    (root / "hemorrhage_diagnosis_raw_ct.csv").write_text("\n".join(rows) + "\n")
    (root / "Patient_demographics.csv").write_text("\n".join(people) + "\n")
    return root


def instance(root: Path, count: int) -> Path:
    """train_2/data and train_2/label; evaluation images without labels."""
    for number in range(1, count + 1):
        home = root / "train_2"
        write_pair(home / "data" / f"{number:03d}.nii.gz", home / "label" / f"{number:03d}.nii.gz", number)
    (root / "evaluation").mkdir(parents=True)
    return root


def hemseg(root: Path, scans: dict[str, tuple[str, str]], *, five_hundred: bool = False) -> tuple[Path, Path, Path]:
    """(list, labels, rsna): scan -> (patient, published split); DICOM files in a random order of their codes."""
    rsna, lines, labels = root / "stage_2_train", [], root / "labels"
    rsna.mkdir(parents=True)
    for seed, (scan, (patient, split)) in enumerate(scans.items()):
        hu, truth = pair(seed)
        codes = [f"{scan}{index:02d}" for index in np.random.default_rng(seed).permutation(SHAPE[0])]
        for code, plane, position in zip(codes, hu, stacked(SHAPE[0]), strict=True):
            write_slice(rsna / f"ID_{code}.dcm", plane.astype(np.int16), position)
        _write_label(labels / "IPH_IVH_label" / split / "label" / f"{scan}.nii.gz", truth)
        if five_hundred:
            by_number = {str(n): code for n, code in enumerate(sorted(codes))}
            lines.append({"patient_name": patient, "scan_name": scan, "slice_list": by_number})
        else:
            lines.append({"patient": patient, "scan_": scan, "slice_list": sorted(codes)})
    listed = root / ("annotion_file_info_500.jsonl" if five_hundred else "annotion_file_info.jsonl")
    listed.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return listed, zipped(labels, root / "IPH_IVH_label.zip"), root


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


def _write_label(path: Path, truth: NDArray[np.bool_]) -> None:
    """int16, on a grid whose slice step is written a little differently from the series', as published."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(truth.astype(np.int16))
    image.SetSpacing((0.5, 0.5, 5.1))
    sitk.WriteImage(image, str(path))
