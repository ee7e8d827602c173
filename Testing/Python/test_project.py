"""What a newcomer meets: one version, licences beside what others made, no machine's traces, commands that resolve."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[2]
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".cff", ".json", ".ui", ".cmake", ".s4ext", ".yml", ".yaml", ".csv", ""}
DATA_SUFFIXES = {".dcm", ".zip", ".mha", ".mhd", ".nhdr", ".nii", ".npy", ".npz", ".gz", ".csv", ".nrrd"}
LARGEST_FILE_BYTES = 15 * 2**20  # hosting warns above; checkpoints are split to stay below
LARGEST_WEIGHTS_BYTES = 14_000_000
LARGEST_CHECKOUT_BYTES = 80 * 2**20
THIRD_PARTY_DATA = ("Resources/SampleData", "Workbench/ichhpinet_workbench/phantom")
# Beyond ASCII, text may use the field's signs and the letters of names; look-alikes and invisible marks are a surprise.
SIGNS = "\u00a1-\u017f\u0370-\u03ff\u2010-\u2027\u2030-\u205e\u2070-\u209f\u2190-\u22ff\u2500-\u257f\u25a0-\u25ff"
UNEXPECTED = re.compile(f"[^\x00-\x7f{SIGNS}]|\u00ad")  # no-break spaces, byte order marks, direction marks, ...
MACHINE_PATHS = re.compile(
    r"(?<![\w.])/(?:root|work|mnt|data|scratch|home/(?!user\b|you\b))[/\w]|/Users/(?!you\b)\w|[A-Z]:\\Users|pyenv"
)


@cache
def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@cache
def _files() -> tuple[Path, ...]:
    """Files of the project as git sees them: tracked, and new ones that are not ignored."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return tuple(ROOT / name for name in listed if name and (ROOT / name).is_file())


def _texts() -> list[tuple[str, str]]:
    files = [file for file in _files() if file.suffix in TEXT_SUFFIXES]
    return [(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")) for file in files]


def _found(pattern: re.Pattern[str]) -> list[str]:
    """`file:line: what was found` for each text file's first match; this file is not searched for its own patterns."""
    found = []
    for name, text in _texts():
        match = None if name.endswith("test_project.py") else pattern.search(text)
        if match:
            found.append(f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()!a}")
    return found


def test_the_version_is_the_same_wherever_it_is_written() -> None:
    version = _project()["project"]["version"]
    citation = re.search(r"^version: [\"']?([\w.]+)", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    newest = re.search(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert citation is not None and citation.group(1) == version
    assert newest is not None and newest.group(1) == version


def test_every_package_on_disk_is_in_the_distribution() -> None:
    setuptools = _project()["tool"]["setuptools"]
    folders = {file.parent for file in _files() if file.suffix == ".py"}
    on_disk = {
        ".".join(folder.relative_to(ROOT / part).parts)
        for part in ("Logic", "Workbench", "Browser")
        for folder in folders
        if (ROOT / part) in folder.parents
    }
    listed = set(setuptools["packages"])
    assert on_disk <= listed, f"pyproject.toml does not ship {sorted(on_disk - listed)}"
    for package in listed:
        top, _, rest = package.partition(".")
        mapped = setuptools["package-dir"].get(package) or "/".join([setuptools["package-dir"][top], *rest.split(".")])
        assert (ROOT / mapped).is_dir(), f"{package} is listed and {mapped} does not exist"


def _entry_points() -> dict[str, str]:
    project = _project()["project"]
    return {**project["scripts"], **project["entry-points"]["ichhpinet.commands"]}


@pytest.mark.parametrize("command", _entry_points())
def test_every_command_resolves_to_a_function(command: str) -> None:
    module, _, function = _entry_points()[command].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_development_pins_lie_in_the_run_time_ranges() -> None:
    packaging = pytest.importorskip("packaging.requirements")
    pins = [line for line in (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines() if "==" in line]
    pinned = [packaging.Requirement(line) for line in pins]
    project = _project()["project"]
    ranges = project["dependencies"] + [r for extra in project["optional-dependencies"].values() for r in extra]
    for wanted in map(packaging.Requirement, ranges):
        versions = [next(iter(pin.specifier)).version for pin in pinned if pin.name == wanted.name]
        assert all(wanted.specifier.contains(version) for version in versions), f"{wanted}: pinned {versions}"
    assert next(r for r in map(packaging.Requirement, ranges) if r.name == "torch").specifier.contains("2.11")


@pytest.mark.parametrize("folder", THIRD_PARTY_DATA)
def test_a_licence_stands_beside_data_that_others_made(folder: str) -> None:
    inside = [file for file in _files() if (ROOT / folder) in file.parents and file.suffix in DATA_SUFFIXES]
    for file in inside:
        places = [place for place in file.parents if (ROOT / folder) in (place, *place.parents)]
        name = file.relative_to(ROOT).as_posix()
        assert any(list(place.glob("*LICEN[CS]E*")) for place in places), f"no licence beside {name}"


def test_images_lie_where_a_licence_is_asked_for_and_nowhere_else() -> None:
    inside = {name for name in THIRD_PARTY_DATA for file in _files() if (ROOT / name) in file.parents}
    assert inside == set(THIRD_PARTY_DATA)
    loose = [file for file in _files() if file.suffix in DATA_SUFFIXES]
    loose = [file for file in loose if not any((ROOT / folder) in file.parents for folder in THIRD_PARTY_DATA)]
    assert not [file.relative_to(ROOT).as_posix() for file in loose]


def test_files_stay_under_the_stated_sizes() -> None:
    sizes = {file.relative_to(ROOT).as_posix(): file.stat().st_size for file in _files()}
    assert not {name: size for name, size in sizes.items() if size > LARGEST_FILE_BYTES}
    assert not {n: s for n, s in sizes.items() if n.startswith("Resources/Models/") and s > LARGEST_WEIGHTS_BYTES}
    assert sum(sizes.values()) <= LARGEST_CHECKOUT_BYTES


def test_no_file_names_a_path_of_one_machine() -> None:
    assert not _found(MACHINE_PATHS)


def test_set_up_names_no_package_index() -> None:
    assert not _found(re.compile(r"(?:--(?:extra-)?index-url|--find-links|\bpypi\.org/simple|download\.pytorch\.org)"))


def test_text_holds_no_invisible_or_unexpected_characters() -> None:
    assert not _found(UNEXPECTED)


def test_only_the_slicer_module_is_a_python_file_at_the_root() -> None:
    assert {file.name for file in _files() if file.parent == ROOT and file.suffix == ".py"} <= {"ICHHPINet.py"}


def test_every_target_of_the_makefile_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert {"demo", "test"} <= named <= targets
