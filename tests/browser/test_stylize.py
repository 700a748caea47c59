"""The Stylize tab in use: all styles at once, the webcam, several people, awkward uploads."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import gradio as gr
import pytest
import torch
from PIL import Image

from demo.services.stylize import Stylized
from stylecore.inference.engine import Engine
from stylecore.pictures.write import save_picture
from tests.browser.conftest import PATIENCE, OpenPage, slow_network, source_of, wait_for_change, wait_for_status

TIMES = "\N{MULTIPLICATION SIGN}"


def new_photo(folder: Path, seed: int, size: tuple[int, int] = (40, 52)) -> Path:
    """One that no test has shown to the page yet: a picture that is remembered is answered at once."""
    path = folder / f"photo {seed}.png"
    save_picture(torch.rand(3, *size, generator=torch.Generator().manual_seed(seed)), path)
    return path


class Held:
    """The networks, held up until `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.runs = 0


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held()
    original = Engine.paint

    def wait(engine: Engine, pixels: torch.Tensor, *given: Any) -> torch.Tensor:
        held.runs += 1
        held.go.wait(300)
        return original(engine, pixels, *given)

    monkeypatch.setattr(Engine, "paint", wait)
    yield held
    held.go.set()


def until(condition: Callable[[], bool], page: Any) -> None:
    """Wait while the browser goes on."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        page.wait_for_timeout(20)


def test_every_style_on_my_photo_and_a_sheet_that_is_stopped_says_so(
    open_page: OpenPage, tmp_path: Path, held: Held
) -> None:
    held.go.set()
    width = 390
    page = open_page(width, 844, "dark")
    page.set_input_files("#photo input[type=file]", new_photo(tmp_path, width))
    wait_for_status(page, "status", f"52 {TIMES} 40 pixels")
    assert "CPU" not in page.inner_text("#status")
    page.get_by_text("How it was made").click()
    assert "on the CPU" in page.inner_text("#status")
    page.get_by_role("button", name="All styles on my photo").click()
    page.get_by_role("button", name="Make the sheet").click()
    wait_for_status(page, "sheet-status", "2 styles")
    page.locator("#sheet img").wait_for()
    with page.expect_download() as download:
        page.click("#sheet-png")
    assert download.value.suggested_filename == f"photo-{width}-all-styles.png"
    with Image.open(download.value.path()) as image:
        assert image.width > 2 * 52
    page.locator("#sheet-run:not([disabled])").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    page.set_input_files("#photo input[type=file]", new_photo(tmp_path, 7, (66, 77)))
    wait_for_status(page, "status", f"77 {TIMES} 66 pixels")
    held.go.clear()
    page.get_by_role("button", name="Make the sheet").click()
    wait_for_status(page, "sheet-status", "0 of 2 styles")
    page.click("#sheet-stop")
    wait_for_status(page, "sheet-status", "Stopped.")
    held.go.set()
    page.locator("#sheet-run:not([disabled])").wait_for()
    page.wait_for_timeout(500)  # for what else may be told
    assert page.inner_text("#sheet-status") == "Stopped."


def test_the_last_choice_counts_and_a_late_answer_does_not_replace_a_newer_one(
    open_page: OpenPage, served: tuple[gr.Blocks, str], tmp_path: Path, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.go.set()
    page = open_page()
    held.go.clear()
    runs = held.runs
    page.set_input_files("#photo input[type=file]", new_photo(tmp_path, 1))
    until(lambda: held.runs > runs, page)
    page.get_by_role("radio", name="The Wave").check(force=True)
    page.locator(".card input[value=wave]:checked").wait_for()
    held.go.set()
    wait_for_status(page, "status", "The Wave")
    assert f"52 {TIMES} 40" in page.inner_text("#status")

    page.get_by_role("radio", name="The Night").check(force=True)
    wait_for_status(page, "status", "The Night")
    before = source_of(page, "#result img")
    page.set_input_files("#photo input[type=file]", new_photo(tmp_path, 6, (70, 80)))
    older = wait_for_change(page, "#result img", before)
    reached, go = threading.Event(), threading.Event()
    original = Stylized.finish

    def finish(result: Stylized, strength: float, keep_colors: bool) -> torch.Tensor:
        if strength == 1:
            reached.set()
            go.wait(300)
        return original(result, strength, keep_colors)

    monkeypatch.setattr(Stylized, "finish", finish)
    try:
        page.get_by_role("radio", name="The Wave").check(force=True)
        until(reached.is_set, page)
        page.get_by_label("number input for Strength of the style").fill("0.5")
        page.keyboard.press("Tab")
        newer = wait_for_change(page, "#result img", older)
    finally:
        go.set()
    until(lambda: not any(served[0]._queue.active_jobs), page)
    page.wait_for_timeout(500)  # for an answer that is on its way
    assert source_of(page, "#result img") == newer


def test_two_people_at_once_and_closed_tabs(
    open_page: OpenPage, served: tuple[gr.Blocks, str], tmp_path: Path, held: Held
) -> None:
    held.go.set()
    ann, bob, cid = open_page(), open_page(), open_page()
    queue = served[0]._queue
    held.go.clear()
    before = held.runs
    pages = {ann: 2, bob: 3, cid: 4}
    for waiting, (page, seed) in enumerate(pages.items()):
        page.set_input_files("#photo input[type=file]", new_photo(tmp_path, seed, (40 + seed, 50)))
        until(lambda: held.runs == before + 1 and len(queue) == waiting, page)  # noqa: B023 - awaited here
    # The one that works says so, those who wait see their place.
    wait_for_status(bob, "status", "queue: 1/")
    wait_for_status(cid, "status", "queue: 2/2")
    cid.close()
    until(lambda: len(queue) == 1, bob)
    held.go.set()
    wait_for_status(ann, "status", f"50 {TIMES} 42 pixels")
    wait_for_status(bob, "status", f"50 {TIMES} 43 pixels")
    assert held.runs == before + 2  # the closed tab's photo was not stylized

    # A sheet ends with the tab that asked for it.
    ann.set_input_files("#photo input[type=file]", new_photo(tmp_path, 5, (90, 110)))
    wait_for_status(ann, "status", f"110 {TIMES} 90 pixels")
    ann.get_by_role("button", name="All styles on my photo").click()
    held.go.clear()
    before = held.runs
    ann.get_by_role("button", name="Make the sheet").click()
    until(lambda: held.runs == before + 1, ann)
    wait_for_status(ann, "sheet-status", "0 of 2 styles")  # the server learns of the end from what tells Ann this
    ann.close()
    jobs = served[0]._queue.active_jobs
    until(lambda: not any(event.alive for events in jobs if events for event in events), bob)  # the server knows
    held.go.set()
    until(lambda: not any(jobs), bob)
    assert held.runs == before + 1


def test_the_webcam_is_painted_live_recorded_and_stops_by_itself(open_page: OpenPage) -> None:
    # Not strict: Gradio (6.31) sends frames until it has heard that the time is over, and gets 404s for the last.
    page = open_page(strict=False)
    page.get_by_role("button", name="Live from the webcam").click()
    page.get_by_text("Click to Access Webcam").click()
    page.locator("#camera video").wait_for()
    record = page.locator("#camera").get_by_role("button", name="capture photo")
    record.click()
    first = wait_for_change(page, "#live img", "")
    assert first.startswith("data:image/jpeg")
    page.get_by_role("button", name="Record", exact=True).click()
    stop = page.get_by_role("button", name="Stop and download")
    stop.wait_for()
    wait_for_change(page, "#live img", wait_for_change(page, "#live img", first))
    page.wait_for_timeout(300)
    with page.expect_download() as download:
        stop.click()
    assert download.value.suggested_filename in ("webcam.mp4", "webcam.webm")
    with av.open(download.value.path()) as film:
        assert next(film.decode(video=0)).width == 48
    page.get_by_role("button", name="Record", exact=True).wait_for()
    assert "a frame" in page.inner_text("#live-status")
    assert page.locator("#live-status p").get_attribute("aria-live") == "off"  # not announced five times a second
    assert page.evaluate("document.querySelector('#live img').naturalWidth") == 48
    page.get_by_role("radio", name="The Wave").check(force=True)
    record.get_by_text("Record").wait_for()  # it can be started again


def test_a_typed_number_is_brought_into_its_range_and_awkward_uploads_are_told(
    open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page()
    number = page.get_by_label("number input for Size of the brush")
    for typed, taken, key in (("99", "4", "Tab"), ("-1", "0.5", "Enter")):
        before = source_of(page, "#result img")
        number.fill(typed)
        page.keyboard.press(key)
        wait_for_change(page, "#result img", before)  # it is painted with what is shown
        assert number.input_value() == taken
    assert page.get_by_test_id("toast-body").count() == 0

    assert "up to 1 MB and 50 megapixels" in page.inner_text("#photo-limits")
    before = source_of(page, "#result img")
    huge = tmp_path / "huge.png"
    huge.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1_200_000))
    toast = page.get_by_test_id("toast-body")
    page.set_input_files("#photo input[type=file]", huge)
    toast.wait_for()
    toast.get_by_text("huge.png is larger than 1 MB; use a smaller file.").wait_for()
    assert source_of(page, "#result img") == before
    notes = tmp_path / "notes.txt"
    notes.write_text("no picture")
    page.set_input_files("#photo input[type=file]", notes)
    toast.get_by_text("notes.txt is not a picture. These kinds are read: JPEG").wait_for()


def test_a_slow_upload_is_seen_to_go_on_and_ends_well(open_page: OpenPage, tmp_path: Path) -> None:
    # Not strict: Gradio (6.31) asks how far the upload is before its first bytes have arrived, and gets a 404.
    page = open_page(strict=False)
    with slow_network(page):
        page.set_input_files("#photo input[type=file]", new_photo(tmp_path, 6, (128, 120)))
        page.locator("#photo").get_by_text("Uploading").first.wait_for()
        wait_for_status(page, "status", f"120 {TIMES} 128 pixels")
