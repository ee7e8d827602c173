"""Fixtures of the page's tests: a server with a tiny network, a real browser, and a place for screenshots."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

for needed in ("slicer_core", "trame_slicer", "aiohttp"):
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed; the page's tests were skipped", allow_module_level=True)

from browser.serving import SCREENSHOTS, Served, browser_file, serve  # noqa: E402
from extension.scenes import write_weights  # noqa: E402


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a tiny network's random weights."""
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def served(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`ichhpinet app` with two places."""
    with serve("--checkpoint", weights, "--sessions", "2", log=tmp_path_factory.mktemp("log") / "server.txt") as one:
        yield one


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless browser. While it is open, its event loop runs in this thread; other modules need theirs."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    file = browser_file()
    if file is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium); tests in a browser were skipped")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=file, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium: Any, served: Served) -> Iterator[Callable[..., Any]]:
    """Opens a new tab, of a person of its own, on the page; keywords as for a browser context."""
    contexts = []

    def opened(address: str | None = None, **choices: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 720}, **choices})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.goto(address or served.address)
        return page

    yield opened
    for context in contexts:
        context.close()
    served.all_free()


@pytest.fixture(scope="session")
def picture() -> Callable[[Any, str], Path]:
    """Keeps a screenshot of a state under a name, outside of git."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    def keep(page: Any, name: str) -> Path:
        file = SCREENSHOTS / f"{name}.png"
        page.screenshot(path=file)
        return file

    return keep
