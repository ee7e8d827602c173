"""Imports run one way: an arrow against the order of the house fails here, and so does a package a room may not use."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE, WORKBENCH, SLICER, BROWSER = "ichhpinet", "ichhpinet_workbench", "ICHHPINetSlicer", "ichhpinet_browser"
FOLDERS = {CORE: "Logic", WORKBENCH: "Workbench", SLICER: ".", BROWSER: "Browser"}

# Rooms of the core, the lowest first. A room imports only lower ones; those on one line do not know each other.
CORE_ORDER = (
    ("errors", "resources", "filevoxels", "orientation"),
    ("itk", "paths", "hounsfield", "straighten", "fileheaders", "grid"),
    ("volume", "dicom"),
    ("reading", "writing"),
    ("scribbles",),
    ("preprocessing",),
    ("networks",),
    ("checkpoint",),
    ("memory",),
    ("history",),
    ("uncertainty", "measurements", "metrics", "decision", "secondlook", "regions"),
    ("corrections",),
    ("elsewhere",),
    ("predictor", "result", "sessionfile"),
    ("session",),
    ("report",),
    ("cli",),
)
CORE_RANK = {room: rank for rank, rooms in enumerate(CORE_ORDER) for room in rooms}
ARROWS_BACK = {("predictor", "session")}  # Predictor.open makes a Session; not on import, only inside the function
NETWORK_ORDER = ("config", "blocks", "vim", "sim", "fcm", "mpffm", "boundary", "correction", "hpinet")

ABOVE_THE_CORE = {WORKBENCH: {CORE}, SLICER: {CORE}, BROWSER: {CORE, SLICER}}
# Of ICHHPINetSlicer: everything that knows no Qt and no panel.
BROWSER_MAY_USE = {"boxes", "controls", "history", "logic", "nodes", "overlays", "rounds", "sample", "worker"}
PANEL = {"widget", "brush", "painting", "keys", "roundtable", "status"}  # what knows Qt
WEB_LIBRARIES = {"trame", "trame_client", "trame_server", "trame_rca", "trame_slicer", "aiohttp", "wslink"}
WEB_NOT_NEEDED = {"__init__", "settings", "sessionarchive", "uploads", "command", "pageprocess"}  # rooms of the page
CORE_THIRD_PARTY = {"torch", "numpy", "SimpleITK"}
# What runs on a bare GPU machine: torch and numpy when imported; anything else only inside the function that needs it.
BARE_MACHINE_ROOMS = {
    "phantom",
    "counts",
    "regions",
    "robot",
    "losses",
    "brain",
    "parallel",
    "train",
    "training",
    "synthesize",
}
BARE_MACHINE_THIRD_PARTY = {"torch", "numpy"}
BARE_MACHINE_CORE = {
    "errors",
    "resources",
    "paths",
    "orientation",
    "grid",
    "preprocessing",
    "networks",
    "checkpoint",
    "decision",
    "corrections",
    "elsewhere",
    "regions",
}


def _files(package: str) -> list[Path]:
    folder = ROOT / FOLDERS[package] / package
    return sorted(folder.rglob("*.py")) if folder.is_dir() else []


def _room(file: Path, package: str) -> str:
    """The first name below the package: a module or a subpackage; the package's own __init__ is `__init__`."""
    return file.relative_to(ROOT / FOLDERS[package] / package).with_suffix("").parts[0]


def _nodes_run_on_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Every statement that runs when the module is imported: not what stands in functions or under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _nodes_run_on_import(node)


def _imports(file: Path, package: str, *, on_import_only: bool = False) -> set[str]:
    """Absolute dotted names that a file imports; `from a import b` counts as both a.b and a."""
    tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
    dotted = file.relative_to(ROOT / FOLDERS[package]).with_suffix("").parts
    names: set[str] = set()
    for node in _nodes_run_on_import(tree) if on_import_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = dotted[: len(dotted) - node.level] if node.level else ()
            base = ".".join((*parents, *filter(None, [node.module])))
            names.update({base, *(f"{base}.{alias.name}" for alias in node.names)})
    return names


def _third_party(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - FOLDERS.keys()


def _rooms_of(package: str, names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith(f"{package}.")}


CORE_FILES = _files(CORE)
NETWORK_FILES = [file for file in CORE_FILES if _room(file, CORE) == "networks" and file.stem in NETWORK_ORDER]
OUTER_FILES = [(package, file) for package in ABOVE_THE_CORE for file in _files(package)]


def _name(value: object) -> str:
    return value.relative_to(ROOT).as_posix() if isinstance(value, Path) else str(value)


def test_every_room_of_the_core_has_its_place_in_the_order() -> None:
    rooms = {_room(file, CORE) for file in CORE_FILES} - {"__init__", "__main__"}
    assert rooms, "the core was not found"
    assert rooms <= CORE_RANK.keys(), f"give these a place in CORE_ORDER: {sorted(rooms - CORE_RANK.keys())}"


@pytest.mark.parametrize("file", CORE_FILES, ids=_name)
def test_the_core_imports_only_lower_rooms(file: Path) -> None:
    room = _room(file, CORE)
    rank = CORE_RANK.get(room, len(CORE_ORDER))  # __init__ and __main__ stand above all
    for on_import_only, allowed in ((True, set()), (False, {to for start, to in ARROWS_BACK if start == room})):
        names = _rooms_of(CORE, _imports(file, CORE, on_import_only=on_import_only)) & CORE_RANK.keys() - {room}
        upward = {name for name in names if CORE_RANK[name] >= rank} - allowed
        assert not upward, f"{_name(file)} may not import {sorted(upward)}"


@pytest.mark.parametrize("file", CORE_FILES, ids=_name)
def test_the_core_needs_torch_numpy_and_simpleitk_and_nothing_else(file: Path) -> None:
    names = _imports(file, CORE)
    assert _third_party(names) <= CORE_THIRD_PARTY
    assert not {name.split(".")[0] for name in names} & ABOVE_THE_CORE.keys(), "the core knows nothing above it"


@pytest.mark.parametrize("file", NETWORK_FILES, ids=_name)
def test_the_networks_build_on_each_other_in_the_order_of_the_paper(file: Path) -> None:
    rooms = {name.split(".")[2] for name in _imports(file, CORE) if name.startswith(f"{CORE}.networks.")} - {file.stem}
    rank = NETWORK_ORDER.index(file.stem)
    assert not {room for room in rooms if room in NETWORK_ORDER and NETWORK_ORDER.index(room) >= rank}


@pytest.mark.parametrize(("package", "file"), OUTER_FILES, ids=_name)
def test_what_stands_on_the_core_knows_only_the_core(package: str, file: Path) -> None:
    names = _imports(file, package)
    used = {name.split(".")[0] for name in names} & FOLDERS.keys() - {package}
    assert used <= ABOVE_THE_CORE[package]
    if package == BROWSER:
        assert _rooms_of(SLICER, names) <= BROWSER_MAY_USE


@pytest.mark.parametrize("file", [f for f in _files(WORKBENCH) if _room(f, WORKBENCH) in BARE_MACHINE_ROOMS], ids=_name)
def test_generator_and_training_import_torch_and_numpy_alone(file: Path) -> None:
    names = _imports(file, WORKBENCH, on_import_only=True)
    assert _third_party(names) <= BARE_MACHINE_THIRD_PARTY
    assert _rooms_of(CORE, names) <= BARE_MACHINE_CORE
    assert _rooms_of(WORKBENCH, names) <= BARE_MACHINE_ROOMS


def test_generator_and_training_start_where_there_is_no_simpleitk() -> None:
    files = [file for file in _files(WORKBENCH) if _room(file, WORKBENCH) in BARE_MACHINE_ROOMS]
    dotted = [".".join(file.relative_to(ROOT / "Workbench").with_suffix("").parts) for file in files]
    modules = [name.removesuffix(".__init__") for name in dotted]
    absent = ["SimpleITK", "scipy", "skimage", "matplotlib", "vtk", "slicer"]
    code = (
        f"import sys, importlib; sys.path[:0] = {[str(ROOT / 'Logic'), str(ROOT / 'Workbench')]}\n"
        f"sys.modules.update(dict.fromkeys({absent}))\n"
        f"for name in {modules}: importlib.import_module(name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", _files(BROWSER), ids=_name)
def test_the_page_uses_no_torch_and_only_its_outer_rooms_start_without_web_libraries(file: Path) -> None:
    now = _third_party(_imports(file, BROWSER, on_import_only=True))
    assert "torch" not in _third_party(_imports(file, BROWSER)), "the engine's process alone computes"
    assert _room(file, BROWSER) not in WEB_NOT_NEEDED or not now & (WEB_LIBRARIES | {"slicer", "vtk"})


@pytest.mark.parametrize("file", [f for room in (CORE, WORKBENCH, SLICER) for f in _files(room)], ids=_name)
def test_web_libraries_stay_in_the_page(file: Path) -> None:
    package = next(name for name in (CORE, WORKBENCH, SLICER) if f"/{name}/" in file.as_posix())
    assert not _third_party(_imports(file, package)) & WEB_LIBRARIES


@pytest.mark.parametrize("file", _files(SLICER), ids=_name)
def test_qt_stays_in_the_panel(file: Path) -> None:
    assert file.stem in PANEL or not _third_party(_imports(file, SLICER)) & {"qt", "ctk"}


@pytest.mark.parametrize("file", [*_files(SLICER), ROOT / "ICHHPINet.py"], ids=_name)
def test_the_extension_never_imports_torchvision(file: Path) -> None:
    assert "torchvision" not in _third_party(_imports(file, SLICER))


def test_an_arrow_the_wrong_way_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    file = tmp_path / "Logic" / "ichhpinet" / "volume.py"
    file.parent.mkdir(parents=True)
    file.write_text("from . import session\nfrom .networks.vim import VIM\ndef f():\n    import scipy.ndimage\n")
    with pytest.raises(AssertionError, match=r"\['networks', 'session'\]"):
        test_the_core_imports_only_lower_rooms(file)
    assert _third_party(_imports(file, CORE)) == {"scipy"}
    assert _third_party(_imports(file, CORE, on_import_only=True)) == set()
