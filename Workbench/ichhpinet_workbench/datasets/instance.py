"""INSTANCE 2022: `train_2/data/001.nii.gz`, `train_2/label/001.nii.gz`. Its validation images have no public labels.

Li et al., 2023, arXiv:2301.03281; 100 training cases, one a patient.
"""

from __future__ import annotations

from pathlib import Path

from ichhpinet.errors import InputError

from .manifest import Entry, Manifest

NAME = "instance-2022"
FOLDERS = ("train_2", "train", ".")
IMAGES, LABELS = "data", "label"
ENDING = ".nii.gz"


def read_instance(root: Path) -> Manifest:
    """The data set unpacked at root (its folder, or the one that holds `data` and `label`).

    Raises InputError: no such folders, or no image with a label.
    """
    home = next((root / name for name in FOLDERS if (root / name / IMAGES).is_dir()), None)
    if home is None or not (home / LABELS).is_dir():
        raise InputError(
            f"{root.name} holds no train_2/{IMAGES} and train_2/{LABELS}; it must be INSTANCE 2022, unpacked"
        )
    images, labels = (_named(home / name) for name in (IMAGES, LABELS))
    both = sorted(images.keys() & labels.keys())
    if not both:
        raise InputError(f"no image in {home.name}/{IMAGES} has a label of the same name; they must be 001{ENDING} ...")
    entries = tuple(
        Entry(
            case=f"{NAME}-{name}",
            dataset=NAME,
            patient=f"instance:{name}",
            image=images[name].resolve().as_posix(),
            mask=labels[name].resolve().as_posix(),
        )
        for name in both
    )
    alone = len(images.keys() ^ labels.keys())
    return Manifest(entries, root, notes=(f"{alone} files without a partner: left out",) if alone else ())


def _named(folder: Path) -> dict[str, Path]:
    return {path.name.removesuffix(ENDING): path for path in sorted(folder.glob(f"*{ENDING}"))}
