"""What the Extension Manager gets: every file listed, an installed tree computes alone, panel and code agree."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ICHHPINetSlicer.controls import KEYS, UNDO_KEYS, WINDOWS

ROOT = Path(__file__).resolve().parents[3]
PANEL = ROOT / "Resources" / "UI" / "ICHHPINet.ui"
BY_RULE = {f"{name}Button" for name in (*KEYS.values(), *UNDO_KEYS.values(), *WINDOWS)}  # as the widget names them
WIDGET = "\n".join(
    (ROOT / "ICHHPINetSlicer" / f"{name}.py").read_text(encoding="utf-8") for name in ("widget", "keys", "roundtable")
)


def listed(name: str) -> list[str]:
    """The entries of a set(...) list of CMakeLists.txt."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    found = re.search(rf"set\({name}\s+(.*?)\)", text, re.DOTALL)
    assert found is not None, name
    return [entry.replace("${MODULE_NAME}", "ICHHPINet") for entry in found[1].split()]


def python_files(*folders: str) -> set[str]:
    """Relative paths of the Python files below some folders."""
    return {file.relative_to(ROOT).as_posix() for folder in folders for file in (ROOT / folder).rglob("*.py")}


def test_cmake_lists_every_script_and_resource_and_nothing_else() -> None:
    scripts, resources = listed("MODULE_PYTHON_SCRIPTS"), listed("MODULE_PYTHON_RESOURCES")
    assert len(scripts) == len(set(scripts)) and len(resources) == len(set(resources))
    assert set(scripts) == python_files("ICHHPINetSlicer", "Logic") | {"ICHHPINet.py"}
    assert set(resources) == {
        file.relative_to(ROOT).as_posix() for file in (ROOT / "Resources").rglob("*") if file.is_file()
    }


def test_the_module_file_is_the_only_python_file_at_the_root() -> None:
    assert [file.name for file in ROOT.glob("*.py")] == ["ICHHPINet.py"]  # Slicer takes every other for a module


def test_the_catalogue_entry_has_what_the_schema_asks_for() -> None:
    entry = json.loads((ROOT / "ICHHPINet.json").read_text(encoding="utf-8"))
    assert entry["$schema"].endswith("/slicer-extension-catalog-entry-schema-v1.0.2.json#")
    assert {"$schema", "category", "scm_url"} <= entry.keys()
    texts = ("$schema", "category", "scm_url", "scm_revision", "scm_type", "build_subdirectory", "dicom_support_rule")
    types = dict.fromkeys(texts, str) | {"build_dependencies": list, "enabled": bool, "tier": int}
    assert {name: type(value) for name, value in entry.items()} == {name: types.get(name) for name in entry}
    assert all(isinstance(name, str) for name in entry["build_dependencies"])
    assert entry["scm_type"] in ("git", "local") and entry["tier"] in range(1, 6)
    assert f'set(EXTENSION_DEPENDS "{" ".join(entry["build_dependencies"])}")' in (ROOT / "CMakeLists.txt").read_text()


def test_the_icon_is_128_by_128() -> None:
    content = (ROOT / "Resources" / "Icons" / "ICHHPINet.png").read_bytes()
    assert content[1:4] == b"PNG" and [int.from_bytes(content[at : at + 4], "big") for at in (16, 20)] == [128, 128]


def test_an_installed_tree_computes_a_round_with_the_bundled_weights_and_nothing_else(tmp_path: Path) -> None:
    for name in listed("MODULE_PYTHON_SCRIPTS") + listed("MODULE_PYTHON_RESOURCES"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    code = (
        "import sys, numpy as np\n"
        f"sys.path[:] = [{str(tmp_path)!r}, {str(tmp_path / 'Logic')!r}]"
        " + [p for p in sys.path if 'site-packages' in p or 'lib' in p.lower()]\n"
        "import ichhpinet, ICHHPINetSlicer\n"
        f"assert all(one.__file__.startswith({str(tmp_path)!r}) for one in (ichhpinet, ICHHPINetSlicer))\n"
        "from ICHHPINetSlicer.engine import Engine, Open, Refine\n"
        "from ichhpinet.volume import CTVolume\n"
        "hu = np.random.default_rng(0).normal(35, 3, (3, 32, 32)); hu[1, 10:18, 10:18] += 30\n"
        "engine, silent = Engine(None, 'cpu'), lambda *what: None\n"
        "engine.answer(Open('a', CTVolume.from_array(hu, (5, 2, 2))), silent, lambda: False)\n"
        "strokes = np.zeros(hu.shape, np.uint8); strokes[1, 13, 12:16] = 1\n"
        "assert engine.answer(Refine('a', None, strokes), silent, lambda: False).mask[1, 13, 12:16].all()\n"
        "assert not {'slicer', 'vtk', 'ichhpinet_workbench', 'qt'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_qt_free_half_does_not_import_torch() -> None:
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'Logic')!r}]\n"
        "from ICHHPINetSlicer import engine, history, logic, nodes, overlays, rounds, scenarios, worker\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- the panel: what the code names must be there, for nothing else tells before a user does ---------------------------


def panel_names() -> set[str]:
    """The names of the widgets in the .ui file."""
    return {element.get("name", "") for element in ElementTree.parse(PANEL).iter("widget")}


def test_every_widget_that_the_code_names_is_in_the_panel() -> None:
    named = set(re.findall(r"\bui\.(\w+)", WIDGET)) | set(re.findall(r'"(\w+(?:Button|CheckBox))"', WIDGET))
    assert len(named | BY_RULE) >= 20 and named | BY_RULE <= panel_names()


def test_every_button_of_the_panel_is_connected_and_says_what_it_does() -> None:
    for element in ElementTree.parse(PANEL).iter("widget"):
        if element.get("class") != "QPushButton":
            continue
        assert element.get("name", "") in WIDGET or element.get("name", "") in BY_RULE
        assert element.find("property[@name='toolTip']/string").text  # type: ignore[union-attr]


def test_what_is_translated_stands_in_the_call() -> None:
    """Qt's lupdate reads the source: a name, or a sentence with its values in it already, is not found there."""
    called = [
        call.args[0]
        for file in (ROOT / "ICHHPINetSlicer").glob("*.py")
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "_"
    ]
    assert len(called) >= 20 and all(isinstance(what, ast.Constant) for what in called)


def tooltip(name: str) -> str:
    """What a button of the panel says of itself."""
    found = next(element for element in ElementTree.parse(PANEL).iter("widget") if element.get("name") == name)
    return found.findtext("property[@name='toolTip']/string") or ""


@pytest.mark.parametrize(("key", "name"), [one for one in (KEYS | UNDO_KEYS).items() if one[0] != "Ctrl+Shift+Z"])
def test_a_button_tells_its_key(key: str, name: str) -> None:
    assert f"({key})" in tooltip(f"{name}Button")


@pytest.mark.parametrize(("name", "level", "width"), [(name, *window) for name, window in WINDOWS.items()])
def test_a_window_button_tells_its_level_and_width(name: str, level: int, width: int) -> None:
    assert f"level {level}, width {width} HU" in tooltip(f"{name}Button")


def test_the_parameters_of_the_panel_are_those_of_the_parameter_node() -> None:
    tree = ast.parse((ROOT / "ICHHPINetSlicer" / "parameters.py").read_text(encoding="utf-8"))
    node = next(one for one in tree.body if isinstance(one, ast.ClassDef))
    fields = {one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)}
    used = {
        element.find("string").text  # type: ignore[union-attr]
        for element in ElementTree.parse(PANEL).iter("property")
        if element.get("name") == "SlicerParameterName"
    }
    assert used == fields


@pytest.mark.parametrize(
    "key", ["B", "F", "G", "L", "R", "T", "V", "I", "Q", "W", "Y", "Z", "Space", "Escape", *"0123456789"]
)
def test_no_key_shadows_one_of_slicers(key: str) -> None:
    keys = KEYS | UNDO_KEYS
    assert {"D", "N", "X", "Ctrl+Return", "Ctrl+Z", "Ctrl+Y"} <= set(keys) and key not in keys
