"""A running `ichhpinet app`, and what a hand does in its page: open, paint, refine, read."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ichhpinet.reading import read_volume
from ichhpinet.resources import sample_data
from ichhpinet.volume import CTVolume
from ichhpinet.writing import write_volume
from ICHHPINetSlicer.sample import FILE, with_haemorrhage

ROOT = Path(__file__).resolve().parents[3]
SCREENSHOTS = ROOT / "out" / "screenshots"
# The command, with shorter patience for pages that are gone, and with the sample at half its resolution. Signals end it
# also where the tests run under nohup or in the background of a shell, which have them ignored.
LAUNCH = """
import argparse, dataclasses, os, signal, sys
from ichhpinet_browser import command, seats
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
seats.LEFT_SECONDS = 0.5
likeness = command._likeness
command._likeness = lambda *given: dataclasses.replace(likeness(*given), samples=os.environ["ICHHPINET_TEST_SAMPLES"])
parser = argparse.ArgumentParser()
command.register(parser.add_subparsers())
arguments = parser.parse_args(["app", "--port", "0", "--no-browser", *sys.argv[1:]])
try:
    sys.exit(arguments.run(arguments))
except command.InputError as error:
    sys.exit(str(error))
"""
STARTS_SECONDS = 60.0
DRAWN_SECONDS = 10.0


@dataclass
class Served:
    """A running server. log: what it wrote on both outputs."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def all_free(self) -> None:
        """Wait until the pages that were closed are ended. Raises: AssertionError when one is not."""
        end = time.monotonic() + 40
        while (left := page_processes(self.process.pid)) and len(left) > 1:
            assert time.monotonic() < end, f"closed pages whose processes run on: {left}"
            time.sleep(0.2)


@contextmanager
def serve(*arguments: object, log: Path, start_new_session: bool = False) -> Iterator[Served]:
    """`ichhpinet app` in a process of its own, ended as Ctrl+C ends it."""
    folders = [str(ROOT / name) for name in ("Logic", "Workbench", ".", "Browser")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "TMPDIR": str(log.parent)}
    environment["ICHHPINET_TEST_SAMPLES"] = str(samples())
    with log.open("wb") as file:
        command = [sys.executable, "-c", LAUNCH, *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=environment, start_new_session=start_new_session
        )
        try:
            yield Served(_address(process, log), process, log)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@lru_cache
def samples() -> Path:
    """A folder with the sample as `sample_file` keeps it, with every second row and column."""
    kept = Path(tempfile.mkdtemp(prefix="samples-"))
    atexit.register(shutil.rmtree, kept, ignore_errors=True)
    with zipfile.ZipFile(sample_data("head_ct_dicom.zip")) as archive:
        archive.extractall(kept / "dicom")
    whole = with_haemorrhage(read_volume(kept / "dicom" / "head_ct_dicom"))
    z, y, x = whole.spacing_mm
    write_volume(
        kept / FILE, CTVolume.from_array(whole.hu[:, ::2, ::2], (z, 2 * y, 2 * x), whole.origin, whole.direction)
    )
    return kept


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + STARTS_SECONDS
    while time.monotonic() < end:
        found = re.search(r"is at (http://\S+)", log.read_text(encoding="utf-8"))
        if found:
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start: {log.read_text(encoding='utf-8')}")


def browser_file() -> str | None:
    """The Chromium of this machine."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((file for file in map(shutil.which, names) if file), None)


def get(address: str, **headers: str) -> tuple[int, bytes]:
    """Status and body of a request, whatever the status."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


# -- processes (Linux) -----------------------------------------------------------------------------------------------


def children(pid: int, words: str) -> list[int]:
    """Process IDs below `pid` whose command line holds `words`."""
    found, wave = [], [pid]
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        parents[int(folder.name)] = (int(fields[1]), line)
    while wave:
        wave = [child for child, (parent, _) in parents.items() if parent in wave]
        found += [child for child in wave if words in parents[child][1]]
    return found


def page_processes(pid: int) -> list[int]:
    """The processes behind tabs, the spare one among them."""
    return children(pid, "ichhpinet_browser.pageprocess")


def engines(pid: int) -> list[int]:
    """The engine processes."""
    return children(pid, "spawn_main")


def ended(pid: int) -> bool:
    """Whether a killed process has let go of its pipes: all its threads are gone, not its command line alone."""
    folder = Path("/proc") / str(pid)
    try:
        state = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
        return state in "ZX" and len(list((folder / "task").iterdir())) <= 1
    except OSError:
        return True


# -- hands -----------------------------------------------------------------------------------------------------------


def open_sample(page: Any) -> None:
    """The sample CT, painted in all views."""
    page.get_by_role("button", name="Try it on the sample CT").click()
    ready(page)


def ready(page: Any) -> None:
    """Until a CT is shown, and its views are drawn."""
    page.locator(".panel").wait_for(state="visible")
    page.wait_for_function("document.querySelectorAll('.view.axial img, .view.axial canvas').length > 0")
    until_still(page)


def until_still(page: Any, seconds: float = 0.4) -> None:
    """Until the views have had time to be drawn."""
    page.wait_for_timeout(1000 * seconds)


def at(page: Any, view: str, x: float, y: float) -> tuple[float, float]:
    """A place in a view by shares of its width and height, in pixels of the page."""
    box = page.locator(f".view.{view}").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def paint(page: Any, view: str, *places: tuple[float, float]) -> None:
    """A stroke with the left button through places given as shares of the view."""
    first, *others = (at(page, view, *place) for place in places)
    before = state(page, "can")
    page.mouse.move(*first)
    page.wait_for_timeout(80)
    page.mouse.down()
    for place in others:
        page.mouse.move(*place, steps=5)
        page.wait_for_timeout(30)
    page.mouse.up()
    if not before["refine"]:
        page.wait_for_function("trame.state.get('can').refine || trame.state.get('busy')")
    until_still(page)


def refine(page: Any) -> dict[str, Any]:
    """A round; its row of the table."""
    count = len(state(page, "rows"))
    page.get_by_role("button", name="Refine", exact=True).click()
    return landed(page, count)


def landed(page: Any, count: int) -> dict[str, Any]:
    """Until there are more than `count` rounds; the newest row."""
    page.wait_for_function("count => trame.state.get('rows').length > count && !trame.state.get('busy')", arg=count)
    until_still(page)
    return state(page, "rows")[0]


def state(page: Any, name: str) -> Any:
    """What the page shows, by name."""
    return page.evaluate("name => JSON.parse(JSON.stringify(trame.state.get(name)))", name)


def colour(page: Any, view: str, x: float, y: float) -> tuple[int, int, int]:
    """The colour that is seen at a place of a view, the mean of 5 × 5 pixels."""
    import io

    import numpy as np
    from PIL import Image

    column, row = at(page, view, x, y)
    shot = page.screenshot(clip={"x": column - 2, "y": row - 2, "width": 5, "height": 5})
    mean = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), float).mean((0, 1))
    return tuple(int(round(value)) for value in mean)  # type: ignore[return-value]


def comes_to_be(page: Any, view: str, place: tuple[float, float], likeness: Callable[..., bool]) -> bool:
    """Whether a place of a view comes to have a likely colour, in a moment or some."""
    end = time.monotonic() + DRAWN_SECONDS
    while not likeness(colour(page, view, *place)):
        if time.monotonic() > end:
            return False
        page.wait_for_timeout(100)
    return True


def downloaded(page: Any, label: str, folder: Path) -> Path:
    """A file from the Save menu."""
    page.locator("summary", has_text="Save").click()
    with page.expect_download() as got:
        page.get_by_role("link", name=label).click()
    file = folder / got.value.suggested_filename
    got.value.save_as(file)
    return file
