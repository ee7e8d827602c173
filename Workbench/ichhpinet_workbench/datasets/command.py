"""`ichhpinet data ...`: a published layout, or one's own, becomes a manifest; manifests are checked, split, merged."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ichhpinet.errors import InputError

from ..counts import at_least

if TYPE_CHECKING:
    from .manifest import Manifest


def register(subparsers: Any) -> None:
    """Add `data` to the command line."""
    parser = subparsers.add_parser("data", help="data sets: read, convert, check, split")
    kinds = parser.add_subparsers(metavar="WHAT", required=True)
    _add_physionet(kinds)
    _add_hemseg(kinds)
    _add_instance(kinds)
    _add_folder(kinds)
    _add_synthetic(kinds)
    _add_check(kinds)
    _add_split(kinds)
    _add_merge(kinds)


def _add_physionet(kinds: Any) -> None:
    parser = kinds.add_parser("physionet", help="PhysioNet CT-ICH 1.3.1, unpacked")
    parser.add_argument("root", type=Path, help="the folder with ct_scans, masks and the two CSV files")
    parser.add_argument(
        "--least-lesion-slices", type=at_least(0), default=3, help="the paper's filter (3); 0: all cases"
    )
    _out_and_folds(parser)
    parser.set_defaults(run=_run_physionet)


def _add_hemseg(kinds: Any) -> None:
    parser = kinds.add_parser("hemseg", help="HemSeg-200 or -500: convert the listed RSNA 2019 slices; resumes")
    parser.add_argument("--list", type=Path, required=True, help="annotion_file_info.jsonl or ..._500.jsonl")
    parser.add_argument("--labels", type=Path, required=True, help="IPH_IVH_label.zip or HemSeg-500.zip")
    parser.add_argument("--rsna", type=Path, required=True, help="the folder with ID_*.dcm, or with stage_2_train")
    parser.add_argument("--name", default="hemseg-200", help="of the set (hemseg-200)")
    parser.add_argument("--workers", type=at_least(0), default=0, help="processes that convert")
    _out_and_folds(parser, "folder for images, masks and manifest.json")
    parser.set_defaults(run=_run_hemseg)


def _add_instance(kinds: Any) -> None:
    parser = kinds.add_parser("instance", help="INSTANCE 2022, unpacked")
    parser.add_argument("root", type=Path, help="the folder with train_2")
    _out_and_folds(parser)
    parser.set_defaults(run=_run_instance)


def _add_folder(kinds: Any) -> None:
    parser = kinds.add_parser("folder", help="your own image and mask pairs: a folder, or a CSV")
    parser.add_argument(
        "path", type=Path, help="folder with images and masks, or CSV with columns image, mask, patient"
    )
    parser.add_argument("--name", default="own", help="of the set (own)")
    parser.add_argument(
        "--patient-letters", type=at_least(0), default=0, help="first letters of a name that are the patient's"
    )
    _out_and_folds(parser)
    parser.set_defaults(run=_run_folder)


def _add_synthetic(kinds: Any) -> None:
    parser = kinds.add_parser("synthetic", help="a set of synthetic heads, for whoever has no other; resumes")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--spacing", nargs=3, type=float, metavar=("Z", "Y", "X"), help="mm (thickness in turn, 0.5)")
    _out_and_folds(parser, "folder for images, masks and manifest.json")
    parser.set_defaults(run=_run_synthetic)


def _add_check(kinds: Any) -> None:
    parser = kinds.add_parser("check", help="look at every case; what cannot be used is excluded, with the reason")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder for integrity.csv, integrity.md, manifest.json")
    parser.add_argument("--mend-grids", action="store_true", help="same size, other header: take voxel by voxel")
    parser.add_argument("--workers", type=at_least(0), default=0)
    parser.set_defaults(run=_run_check)


def _add_split(kinds: Any) -> None:
    parser = kinds.add_parser("split", help="split a manifest anew, by patient")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--published", action="store_true", help="fold 0 is the published test set, fold 1 the rest")
    _out_and_folds(parser)
    parser.set_defaults(run=_run_split)


def _add_merge(kinds: Any) -> None:
    parser = kinds.add_parser("merge", help="several manifests as one")
    parser.add_argument("manifests", type=Path, nargs="+")
    _out_and_folds(parser)
    parser.set_defaults(run=_run_merge)


def _out_and_folds(parser: argparse.ArgumentParser, out: str = "the manifest's file") -> None:
    parser.add_argument("--out", type=Path, required=True, help=out)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=at_least(0), default=0, help="of the folds")


def _run_physionet(arguments: argparse.Namespace) -> int:
    from .physionet import read_physionet

    return _write(arguments, read_physionet(arguments.root, arguments.least_lesion_slices))


def _run_hemseg(arguments: argparse.Namespace) -> int:
    from ..alone import alone_in
    from ..bar import Bar
    from .hemseg import convert_hemseg

    _check_folds(arguments.folds)
    places = (arguments.list, arguments.labels, arguments.rsna, arguments.out)
    with alone_in(arguments.out), Bar("convert") as bar:
        manifest = convert_hemseg(arguments.name, *places, workers=arguments.workers, progress=bar)
    arguments.out = arguments.out / "manifest.json"
    return _write(arguments, manifest)


def _run_instance(arguments: argparse.Namespace) -> int:
    from .instance import read_instance

    return _write(arguments, read_instance(arguments.root))


def _run_folder(arguments: argparse.Namespace) -> int:
    from .folder import read_folder

    return _write(arguments, read_folder(arguments.path, arguments.name, arguments.patient_letters))


def _run_synthetic(arguments: argparse.Namespace) -> int:
    from ..alone import alone_in
    from ..bar import Bar
    from .synthetic import synthetic_set

    _check_folds(arguments.folds, arguments.count)
    with alone_in(arguments.out), Bar("synthetic") as bar:
        manifest = synthetic_set(
            arguments.out, arguments.count, arguments.seed, spacing_mm=arguments.spacing, progress=bar
        )
    arguments.out = arguments.out / "manifest.json"
    return _write(arguments, manifest)


def _run_split(arguments: argparse.Namespace) -> int:
    from .manifest import read_manifest

    return _write(arguments, read_manifest(arguments.manifest))


def _run_merge(arguments: argparse.Namespace) -> int:
    from .manifest import merge, read_manifest

    return _write(arguments, merge([read_manifest(path) for path in arguments.manifests], arguments.out.parent))


def _run_check(arguments: argparse.Namespace) -> int:
    from ..alone import alone_in
    from ..bar import Bar
    from .integrity import check
    from .manifest import read_manifest

    manifest = read_manifest(arguments.manifest)
    with alone_in(arguments.out):
        with Bar("check") as bar:
            _, checked = check(
                manifest, arguments.out, workers=arguments.workers, mend=arguments.mend_grids, progress=bar
            )
        checked.write(arguments.out / "manifest.json")
    sys.stdout.write((arguments.out / "integrity.md").read_text(encoding="utf-8"))
    return 0


def _check_folds(folds: int, cases: int | None = None) -> None:
    """Before the work, as far as it can be known. cases: that will be made. Raises InputError."""
    if cases is not None and cases < 2:
        raise InputError(f"count is {cases}; it must be 2 or more")
    if folds < 2 or (cases is not None and folds > cases):
        most = "" if cases is None else f" and at most {cases}"
        raise InputError(f"folds is {folds}; it must be 2 or more{most}")


def _write(arguments: argparse.Namespace, manifest: Manifest) -> int:
    """Split, write, and say what it is."""
    from .folds import with_folds, with_published_split

    published = getattr(arguments, "published", False)
    split = with_published_split(manifest) if published else with_folds(manifest, arguments.folds, arguments.seed)
    split.write(arguments.out)
    sizes = ", ".join(str(len(split.test(fold))) for fold in split.folds)
    patients = len({entry.patient for entry in split.used})
    lines = [
        f"{len(split.used)} of {len(split.entries)} cases, {patients} patients; cases by fold: {sizes}",
        *split.notes,
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0
