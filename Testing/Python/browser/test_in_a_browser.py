"""The page as a person uses it, in a real browser: the sample, strokes with the mouse, rounds, files, two tabs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from browser.serving import (
    Served,
    at,
    comes_to_be,
    downloaded,
    ended,
    engines,
    landed,
    open_sample,
    page_processes,
    paint,
    ready,
    refine,
    state,
    until_still,
)
from core.ct_files import OTHER_UID, head_hu, stacked, write_series

Tab = Callable[..., Any]
Picture = Callable[[Any, str], Path]
ON_BLEED = ((0.53, 0.36), (0.57, 0.34), (0.60, 0.38))  # in the axial view as the sample opens
BESIDE = ((0.35, 0.62), (0.40, 0.64))


def said(page: Any) -> str:
    """The sentence in the page."""
    text: str = page.locator(".notice span, .start .notice").first.inner_text()
    return text


def reddish(rgb: tuple[int, int, int]) -> bool:
    """Whether the mask's colour lies over what is seen."""
    return rgb[0] > rgb[1] + 25


def greenish(rgb: tuple[int, int, int]) -> bool:
    """Whether the colour of what was added does."""
    return rgb[1] > rgb[0] + 15 and rgb[1] > rgb[2] + 15


def greyish(rgb: tuple[int, int, int]) -> bool:
    """Whether nothing does."""
    return max(rgb) - min(rgb) < 12 and max(rgb) > 20


def test_a_newcomer_gets_to_a_corrected_bleed_saves_it_and_comes_back(
    tab: Tab, picture: Picture, tmp_path: Path
) -> None:
    page = tab()
    page.get_by_role("heading", name="Open a head CT").wait_for()
    picture(page, "01-empty-light")
    open_sample(page)
    picture(page, "02-sample")
    assert "paint a stroke on it" in page.locator(".coach").inner_text()
    assert state(page, "brush") == "foreground", "the first stroke needs no choice"
    assert page.locator(".millilitres b").inner_text() == "–"
    assert comes_to_be(page, "axial", ON_BLEED[1], greyish)

    paint(page, "axial", *ON_BLEED)
    picture(page, "03-stroke")
    first = refine(page)
    picture(page, "04-first-round")
    assert float(first["ml"]) > 0 and first["strokes"] == 1
    assert page.locator(".millilitres b").inner_text() == first["ml"]
    assert comes_to_be(page, "axial", ON_BLEED[1], reddish), "a painted place is in the mask"

    page.get_by_role("button", name="Background").click()
    paint(page, "axial", *BESIDE)
    second = refine(page)
    picture(page, "05-corrected")
    assert (first["number"], second["number"]) == (1, 2) and second["ml"] != first["ml"]
    assert comes_to_be(page, "axial", BESIDE[0], lambda rgb: not reddish(rgb)), "a place painted as background is not"

    page.get_by_role("button", name="Undo").click()
    page.wait_for_function("trame.state.get('seen') === 1")
    page.get_by_role("button", name="Redo").click()
    page.wait_for_function("trame.state.get('seen') === 2")

    file = downloaded(page, "Mask for 3D Slicer", tmp_path)
    image = sitk.ReadImage(str(file))
    ml = float((sitk.GetArrayViewFromImage(image) > 0).sum() * np.prod(image.GetSpacing()) / 1000)
    assert ml == pytest.approx(float(second["ml"]), abs=0.06) and file.name == "haemorrhage-round-2.seg.nrrd"
    assert sitk.ReadImage(str(downloaded(page, "Mask as NIfTI", tmp_path))).GetSize() == image.GetSize()
    report = json.loads(downloaded(page, "Report for programs", tmp_path).read_text(encoding="utf-8"))
    assert [row["number"] for row in report["rounds"]] == [1, 2]
    assert report["rounds"][1]["volume_ml"] == pytest.approx(ml, abs=0.01)
    assert report["ct"]["notes"] == ["a synthetic haemorrhage is in it"]
    html = downloaded(page, "Report with key images", tmp_path).read_text(encoding="utf-8")
    assert f">{second['ml']} <small>ml" in html and html.count("data:image/png;base64,") >= 1
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    ct = sitk.ReadImage(str(downloaded(page, "The CT, on the grid", tmp_path)))
    assert ct.GetSize() == image.GetSize() and ct.GetOrigin() == pytest.approx(image.GetOrigin())
    page.keyboard.press("x")
    page.wait_for_function("trame.state.get('brush') === 'erase'"), "the report leaves the brushes alone"
    page.keyboard.press("d")
    page.wait_for_function("trame.state.get('brush') === 'foreground'")
    assert state(page, "unsaved")
    session = downloaded(page, "This session", tmp_path)

    page.wait_for_function("!trame.state.get('unsaved')")
    page.goto(f"file://{tmp_path / 'report.html'}")
    picture(page, "06-report")
    again = tab()
    again.get_by_role("heading", name="Open a head CT").wait_for()
    again.locator("#open-file").set_input_files(session)
    ready(again)
    again.wait_for_function("trame.state.get('rows').length === 2")
    kept = [{**row, "seconds": None} for row in state(again, "rows")]
    assert [(row["number"], row["ml"], row["strokes"]) for row in kept] == [
        (row["number"], row["ml"], row["strokes"]) for row in (second, first)
    ]
    assert state(again, "seen") == 2
    page.close()
    again.get_by_role("button", name="Continue from round 1").click()
    again.wait_for_function("trame.state.get('seen') === 1")
    asked: list[str] = []
    again.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    again.locator("#open-file").set_input_files(session)
    until_still(again)
    assert "not saved" in asked[0] and len(state(again, "rows")) == 2, "nothing is lost without a question"
    paint(again, "axial", (0.45, 0.45), (0.48, 0.45))
    third = refine(again)
    assert third["number"] == 3 and [row["on_line"] for row in state(again, "rows")] == [True, False, True]
    picture(again, "07-session-again-branch")


def test_keys_wheel_planes_and_overlays(tab: Tab, picture: Picture) -> None:
    page = tab(color_scheme="dark")
    page.get_by_role("heading", name="Open a head CT").wait_for()
    picture(page, "11-empty-dark")
    open_sample(page)
    for key, brush in (("n", "background"), ("x", "erase"), ("d", "foreground"), ("d", ""), ("d", "foreground")):
        page.keyboard.press(key)
        page.wait_for_function("brush => trame.state.get('brush') === brush", arg=brush)

    before = state(page, "views")["Axial"]["index"]
    page.mouse.move(*at(page, "axial", 0.5, 0.5))
    page.mouse.wheel(0, -120)
    page.wait_for_function("before => trame.state.get('views').Axial.index !== before", arg=before)
    there = state(page, "views")["Axial"]["index"]
    page.keyboard.press("ArrowUp" if there < before else "ArrowDown")
    page.wait_for_function("before => trame.state.get('views').Axial.index === before", arg=before)
    views = state(page, "views")
    assert [views["Axial"][edge] for edge in ("left", "right", "top", "bottom")] == ["R", "L", "A", "P"]
    assert [views["Coronal"][edge] for edge in ("left", "right", "top", "bottom")] == ["R", "L", "S", "I"]
    assert [views["Sagittal"][edge] for edge in ("top", "bottom")] == ["S", "I"]

    page.mouse.move(*at(page, "axial", 0.5, 0.5))
    page.mouse.down()
    page.mouse.move(*at(page, "axial", 0.55, 0.5), steps=4)
    page.mouse.wheel(0, -120)
    page.mouse.move(*at(page, "axial", 0.6, 0.5), steps=4)
    page.mouse.up()
    page.wait_for_function("trame.state.get('can').refine")
    assert state(page, "views")["Axial"]["index"] == before, "a stroke under way stays on its slice"
    page.keyboard.press("Control+z")
    page.wait_for_function("!trame.state.get('can').refine")

    for view in ("coronal", "sagittal"):
        paint(page, view, (0.5, 0.5), (0.55, 0.52))
    picture(page, "12-strokes-in-two-planes")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    page.wait_for_function("!trame.state.get('can').refine && trame.state.get('can').redo")
    page.keyboard.press("Control+y")
    page.wait_for_function("trame.state.get('can').refine")
    page.keyboard.press("x")
    page.locator("input[aria-label='Brush diameter in mm']").fill("30")
    page.wait_for_function("trame.state.get('brush_mm') === 30")
    page.mouse.move(*at(page, "coronal", 0.5, 0.5))
    page.mouse.down()
    page.mouse.move(*at(page, "coronal", 0.56, 0.52), steps=6)
    page.keyboard.press("d")  # too early: a stroke under way stays what it is
    page.mouse.up()
    page.wait_for_function("!trame.state.get('can').refine")
    assert state(page, "brush") == "erase"

    page.keyboard.press("d")
    page.locator("input[aria-label='Brush diameter in mm']").fill("4")
    paint(page, "axial", *ON_BLEED)
    page.keyboard.press("Control+Enter")
    landed(page, 0)
    assert comes_to_be(page, "axial", ON_BLEED[1], reddish)
    page.get_by_label("Mask").uncheck()
    assert comes_to_be(page, "axial", ON_BLEED[1], greyish)
    page.get_by_label("Mask").check()
    page.get_by_label("Changes").check()
    assert comes_to_be(page, "axial", ON_BLEED[1], greenish), "the first round added everything"
    picture(page, "13-changes")
    page.get_by_label("Changes").uncheck()
    page.get_by_label("Uncertainty").check()
    page.get_by_label("Its strokes").check()
    page.wait_for_function("trame.state.get('shown').strokes && !trame.state.get('busy')")
    until_still(page, 1.0)
    picture(page, "14-uncertainty")
    page.get_by_role("button", name="Next uncertain slice").click()
    until_still(page, 1.0)
    page.get_by_role("button", name="Axial only").click()
    page.wait_for_function("trame.state.get('layout') === 'axial'")
    page.get_by_role("button", name="Bone", exact=True).click()
    until_still(page)
    picture(page, "15-axial-only-bone")


def test_propose_cancel_and_refining_after_each_stroke(tab: Tab, served: Served, picture: Picture) -> None:
    page = tab()
    open_sample(page)
    page.get_by_role("button", name="Propose").click()
    page.wait_for_function("trame.state.get('busy') || trame.state.get('rows').length")
    picture(page, "21-working")
    landed(page, 0)
    assert page.get_by_role("button", name="Propose").count() == 0
    paint(page, "axial", *ON_BLEED)
    engine = engines(served.process.pid)[0]
    page.get_by_role("button", name="Refine", exact=True).click()
    page.wait_for_function("trame.state.get('busy')")
    os.kill(engine, signal.SIGSTOP)  # so that there is time to cancel
    page.get_by_role("button", name="Cancel").click()
    until_still(page)
    os.kill(engine, signal.SIGCONT)
    page.wait_for_function("!trame.state.get('busy')")
    assert said(page) == "Cancelled. Nothing has changed." and len(state(page, "rows")) == 1
    page.get_by_label("Refine after each stroke").check()
    landed(page, 1)
    paint(page, "axial", *BESIDE)
    landed(page, 2)
    assert [row["number"] for row in state(page, "rows")] == [3, 2, 1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are found in /proc")
def test_an_engine_that_dies_is_said_and_the_next_round_works(tab: Tab, served: Served, picture: Picture) -> None:
    page = tab()
    open_sample(page)
    paint(page, "axial", *ON_BLEED)
    refine(page)
    paint(page, "axial", *BESIDE)
    (first,) = engines(served.process.pid)
    os.kill(first, signal.SIGKILL)  # while it has nothing to do: the round starts another, which takes seconds
    while not ended(first):  # or the round is given to it as it dies, and is over at once
        page.wait_for_timeout(50)
    page.get_by_role("button", name="Refine", exact=True).click()
    page.wait_for_function("trame.state.get('busy')")
    (second,) = set(engines(served.process.pid)) - {first}
    os.kill(second, signal.SIGKILL)
    page.wait_for_function("trame.state.get('message').kind === 'error'")
    assert said(page) == "The engine stopped; nothing is lost, and it starts again with the next round."
    picture(page, "31-engine-died")
    assert refine(page)["number"] == 2


def test_what_cannot_be_opened_is_said_and_the_page_goes_on(tab: Tab, picture: Picture, tmp_path: Path) -> None:
    page = tab()
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"not an image at all")
    elsewhere = tmp_path / "elsewhere.nrrd"
    elsewhere.write_text("NRRD0004\ntype: short\ndimension: 3\nsizes: 4 4 4\ndata file: /etc/passwd\n\n")
    page.get_by_role("heading", name="Open a head CT").wait_for()
    for file, sentence in ((broken, "cannot be read"), (elsewhere, "names another file for its voxels")):
        page.locator("#open-file").set_input_files(file)
        page.wait_for_function("words => trame.state.get('message').text.includes(words)", arg=sentence)
        assert page.get_by_role("heading", name="Open a head CT").is_visible()
    picture(page, "41-refused")
    open_sample(page)
    page.locator("#open-file").set_input_files(broken)
    page.wait_for_function("trame.state.get('message').kind === 'error'")
    assert page.locator(".panel").is_visible() and state(page, "grid"), "the CT that was open stays"


def test_of_several_series_one_is_chosen_with_a_click(
    tab: Tab, served: Served, picture: Picture, tmp_path: Path
) -> None:
    write_series(tmp_path / "cd", head_hu(), stacked(6), {"0018|1210": "H30s", "0020|0011": "2"})
    other = {"0020|000e": OTHER_UID, "0020|0011": "7", "0018|0010": "yes"}
    write_series(tmp_path / "cd", head_hu(seed=1)[:1], stacked(1), other)
    shutil.make_archive(str(tmp_path / "cd"), "zip", tmp_path / "cd")
    first, second = "Series 2: 6 slices 5 mm apart, kernel H30s", "Series 7: 1 slice, with contrast agent"

    def kept() -> set[Path]:
        return {file for file in served.log.parent.rglob("ichhpinet-*/**/*") if file.is_file()}

    page = tab()
    page.get_by_role("heading", name="Open a head CT").wait_for()
    before = kept()
    for last in (False, True):
        page.locator("#open-file").set_input_files(tmp_path / "cd.zip")
        page.get_by_role("heading", name="Which series?").wait_for()
        assert page.evaluate("document.activeElement.id") == "offer-title", "a screen reader says the question"
        assert page.locator(".one-way").all_inner_texts() == [first, second]
        assert len(kept() - before) >= 7
        if not last:
            picture(page, "45-which-series")
            page.get_by_role("button", name="None of them").click()
            page.get_by_role("heading", name="Open a head CT").wait_for()
            assert not kept() - before
    page.get_by_role("button", name=second).click()
    page.get_by_role("alert").wait_for()
    assert "it must have at least 2" in said(page) and page.locator(".one-way").count() == 2, "the others stay"
    page.get_by_role("button", name=first).click()
    ready(page)
    assert "× 6 ·" in state(page, "grid") and not kept() - before


def test_values_that_are_not_taken_for_hu_are_asked_about(tab: Tab, picture: Picture, tmp_path: Path) -> None:
    page = tab()
    shown = head_hu().clip(0, 180)
    sitk.WriteImage(sitk.GetImageFromArray(shown), str(tmp_path / "shown.nii.gz"))
    page.get_by_role("heading", name="Open a head CT").wait_for()
    page.locator("#open-file").set_input_files(tmp_path / "shown.nii.gz")
    page.get_by_role("heading", name="What are its values?").wait_for()
    assert "its values run from 0 to 180" in page.locator(".lead").inner_text()
    picture(page, "46-which-values")
    page.get_by_role("button", name="HU, as they are").click()
    ready(page)
    assert "values 0 to 180 were read as HU, as asked" in state(page, "notes")[0]


def test_two_pages_do_not_see_each_other_a_third_is_told_and_a_closed_one_makes_room(
    tab: Tab, served: Served, picture: Picture
) -> None:
    first, second = tab(), tab()
    open_sample(first)
    open_sample(second)
    paint(first, "axial", *ON_BLEED)
    refine(first)
    assert state(second, "rows") == [] and not state(second, "can")["refine"]
    third = tab()
    third.get_by_role("heading", name="No place is free").wait_for()
    assert "All 2 places of this server are taken" in third.locator("#text").inner_text()
    picture(third, "51-full")
    third.get_by_role("button", name="Try again").click()
    third.get_by_role("heading", name="No place is free").wait_for()
    paint(first, "axial", *BESIDE)
    first.get_by_role("button", name="Refine", exact=True).click()
    first.close()  # in the middle of a round
    third.get_by_role("heading", name="Open a head CT").wait_for(timeout=40_000)  # by itself, when that round has ended
    paint(second, "axial", *ON_BLEED)
    assert refine(second)["number"] == 1
    assert len(page_processes(served.process.pid)) <= 3


def test_a_page_that_is_reloaded_keeps_its_case_and_one_that_lost_its_server_says_so(
    chromium: Any, weights: Path, tmp_path: Path, picture: Picture
) -> None:
    from browser.serving import serve

    with serve("--checkpoint", weights, "--sessions", "1", log=tmp_path / "server.txt") as own:
        page = chromium.new_page(viewport={"width": 1280, "height": 720})
        page.goto(own.address)
        open_sample(page)
        paint(page, "axial", *ON_BLEED)
        page.reload()
        ready(page)
        assert state(page, "can")["refine"], "the stroke is still there"
    page.get_by_role("heading", name="The connection is lost").wait_for()
    picture(page, "61-lost")
    page.close()


CONTRAST = """() => {
  const channel = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(one).backgroundColor);
      if (a > 0.5) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    const box = node.getBoundingClientRect();
    if (!own || box.width < 2 || box.height < 2 || node.closest(":disabled, .view, .unseen, .lost, .drop")) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${node.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


SIZES = {"laptop": (1280, 720), "large": (1920, 1080)}
SIDEWAYS = "(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.querySelector('.panel'))"
UNNAMED = """() => [...document.querySelectorAll("button, input:not([type=file]), summary, a, progress")]
  .filter((one) => one.offsetParent && !(one.getAttribute("aria-label") || one.textContent.trim()
    || (one.labels && one.labels.length))).map((one) => one.outerHTML)"""
CUT_OFF = """() => [...document.querySelectorAll("header *, .panel *")].filter((one) => one.offsetParent
  && !one.closest(".unseen") && one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML)"""


def test_texts_are_legible_controls_are_named_and_nothing_is_cut_off(tab: Tab, picture: Picture) -> None:
    page = tab()
    page.get_by_role("heading", name="Open a head CT").wait_for()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRAST) == [], scheme
    open_sample(page)
    page.get_by_role("button", name="Propose").click()
    landed(page, 0)
    page.locator("summary", has_text="Save").click()
    for scheme in ("light", "dark"):
        for name, (width, height) in SIZES.items():
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": height})
            until_still(page)
            assert page.evaluate(CONTRAST) == [], (scheme, name)
            assert page.evaluate(UNNAMED) == [] and page.evaluate(CUT_OFF) == [], (scheme, name)
            assert page.evaluate(SIDEWAYS) <= 0, "the panel does not scroll sideways"
            picture(page, f"71-{scheme}-{name}")
    page.keyboard.press("Escape")
    assert page.locator("details.menu[open]").count() == 0
    reached = set()
    for _ in range(45):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.ariaLabel"))
    assert {"Brain", "Four views", "Save", "Open", "Undo", "Next uncertain slice"} <= reached


def test_an_upload_and_a_reading_can_be_cancelled(tab: Tab, picture: Picture, tmp_path: Path) -> None:
    page = tab()
    page.get_by_role("heading", name="Open a head CT").wait_for()
    large = tmp_path / "large.nrrd"
    large.write_bytes(os.urandom(8 << 20))
    network = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 500_000}
    network.send("Network.emulateNetworkConditions", slow)
    page.locator("#open-file").set_input_files(large)
    page.get_by_role("heading", name="Uploading…").wait_for()
    page.wait_for_function("trame.state.get('uploading') > 5")
    picture(page, "47-uploading")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("heading", name="Open a head CT").wait_for()
    network.send("Network.emulateNetworkConditions", slow | {"uploadThroughput": -1})
    page.wait_for_timeout(1500)
    assert not state(page, "message")["text"], "what the user ended is no error"
    page.get_by_role("button", name="Try it on the sample CT").click()
    page.wait_for_function("trame.state.get('stage') === 'loading'")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("heading", name="Open a head CT").wait_for()
    page.wait_for_timeout(1500)
    assert state(page, "stage") == "empty", "what was read is not shown"
    open_sample(page)
    assert state(page, "grid")
