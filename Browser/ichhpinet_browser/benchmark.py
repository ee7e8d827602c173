"""`ichhpinet bench-app`: how soon the page is usable, and how soon it answers, in a real browser."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ichhpinet.errors import InputError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_BROWSER = "no browser was found to measure in; install Chromium (Debian: apt-get install chromium) and playwright"
SAMPLES = 24
BREAK_MS = 450  # between two measurements, so that the sharper second frame of the one is not taken for the other
STROKES = (((0.55, 0.35), (0.58, 0.37)), ((0.35, 0.60), (0.40, 0.62)), ((0.56, 0.38), (0.57, 0.40)))
AIMS = {
    "page usable after the command": 15.0,
    "second page usable": 3.0,
    "a slice on, to its picture (median)": 0.1,
    "a brush move, to its picture (median)": 0.1,
    "a round, over the engine's own time (median)": 0.3,
}
LAUNCH = """
import argparse, sys
from ichhpinet_browser import command
parser = argparse.ArgumentParser()
command.register(parser.add_subparsers())
arguments = parser.parse_args(["app", "--no-browser", "--port", "0"])
sys.exit(arguments.run(arguments))
"""
# From an event in the axial view to the next picture in it, in ms.
NEXT_PICTURE = """async ([kind, x, y, turn]) => {
  const view = document.querySelector(".view.axial"), image = view.querySelector("img");
  const box = image.getBoundingClientRect();
  const at = { clientX: box.x + x * box.width, clientY: box.y + y * box.height, bubbles: true, cancelable: true,
    pointerId: 1, pointerType: "mouse", isPrimary: true, buttons: kind === "wheel" ? 0 : 1 };
  const began = performance.now();
  const shown = new Promise((done, failed) => {
    const seen = () => requestAnimationFrame(() => done(performance.now() - began));
    const watch = new MutationObserver(() => { watch.disconnect(); seen(); });
    watch.observe(image, { attributes: true, attributeFilter: ["src"] });
    setTimeout(() => { watch.disconnect(); failed(new Error("no picture within 5 s")); }, 5000);
  });
  if (kind === "wheel") image.dispatchEvent(new WheelEvent("wheel", { ...at, deltaY: turn }));
  else image.dispatchEvent(new PointerEvent("pointermove", at));
  return await shown;
}"""

# From a click on Refine to the new row, in ms.
ROUND = """async (number) => {
  const button = [...document.querySelectorAll("button")].find((one) => one.textContent.trim() === "Refine");
  const began = performance.now();
  button.click();
  while (trame.state.get("rows").length < number) await new Promise((done) => setTimeout(done, 10));
  return performance.now() - began;
}"""


def register(subparsers: Any) -> None:
    """Add `bench-app` to the command line."""
    parser = subparsers.add_parser("bench-app", help="measure the web page's speed in a browser")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for app.md and app.json")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the table, write it. Raises: InputError where there is no browser."""
    browser = next((file for file in map(shutil.which, BROWSERS) if file), None)
    if browser is None or importlib.util.find_spec("playwright") is None:
        raise InputError(NO_BROWSER)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        window = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        found = measured(window)
        window.close()
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = as_table(found)
    (arguments.out / "app.md").write_text(table, encoding="utf-8")
    (arguments.out / "app.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    sys.stdout.write(table)
    return 0


def measured(window: Any) -> dict[str, float]:
    """Seconds, by what they are."""
    began = time.perf_counter()
    with _served() as address:
        page = _opened(window, address)
        found = {"page usable after the command": time.perf_counter() - began}
        page.wait_for_timeout(8000)  # a person looks; meanwhile the next place is made ready
        began = time.perf_counter()
        other = _opened(window, address)
        found["second page usable"] = time.perf_counter() - began
        other.close()
        began = time.perf_counter()
        page.get_by_role("button", name="Try it on the sample CT").click()
        page.locator(".view.axial img").wait_for()
        found["sample shown after the click"] = time.perf_counter() - began
        page.wait_for_timeout(12000)  # until the CT is prepared, which the views need not wait for
        found["a slice on, to its picture (median)"] = _median_picture(page, "wheel")
        found["a brush move, to its picture (median)"] = _median_picture(page, "move")
        _rounds(page, found)
        page.close()
    return found


def as_table(found: dict[str, float]) -> str:
    """Markdown."""
    lines = ["| web page | seconds | aim |", "|---|---|---|"]
    for what, seconds in found.items():
        aim = f"≤ {AIMS[what]:g}" if what in AIMS else ""
        lines.append(f"| {what} | {seconds:.2f} | {aim} |")
    return "\n".join(lines) + "\n"


@contextmanager
def _served() -> Iterator[str]:
    """The command in a process of its own; the address it tells."""
    process = subprocess.Popen([sys.executable, "-c", LAUNCH], stdout=subprocess.PIPE, text=True)
    try:
        out = process.stdout
        found = re.search(r"http://\S+", out.readline() if out is not None else "")
        if found is None:
            raise InputError("the server did not start; `ichhpinet app` says why")
        yield found[0]
    finally:
        process.terminate()
        process.wait()


def _opened(window: Any, address: str) -> Any:
    page = window.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(90_000)
    page.goto(address)
    page.get_by_role("heading", name="Open a head CT").wait_for()
    return page


def _median_picture(page: Any, kind: str, samples: int = SAMPLES) -> float:
    """Seconds from an event to its picture."""
    taken = []
    for number in range(samples):
        turn = 120 if number % 2 else -120
        taken.append(page.evaluate(NEXT_PICTURE, [kind, 0.45 + 0.005 * number, 0.5, turn]))
        page.wait_for_timeout(BREAK_MS)
    return statistics.median(taken) / 1000


def _rounds(page: Any, found: dict[str, float]) -> None:
    """Rounds from clicks on Refine; what the page adds to the engine's own seconds."""
    added = []
    for number, stroke in enumerate(STROKES, 1):
        _paint(page, *stroke)
        page.wait_for_timeout(BREAK_MS)  # no hand is faster from the stroke to the button
        seconds = page.evaluate(ROUND, number) / 1000
        own = float(page.evaluate("trame.state.get('rows')[0].exact_seconds"))
        added.append(seconds - own)
        found[f"round {number}, the engine's own time"] = own
        page.wait_for_timeout(1500)
    found["a round, over the engine's own time (median)"] = statistics.median(added)
    _paint(page, *STROKES[0])
    page.get_by_role("button", name="Refine", exact=True).click()
    found["a slice on, during a round (median)"] = _median_picture(page, "wheel", 8)


def _paint(page: Any, *places: tuple[float, float]) -> None:
    box = page.locator(".view.axial").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*points[0])
    page.wait_for_timeout(100)
    page.mouse.down()
    page.mouse.move(*points[1], steps=6)
    page.mouse.up()
    page.wait_for_function("trame.state.get('can').refine")
