"""The page without a server, in Chromium: a visitor who does not wait, a new version, a browser that keeps little."""

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from test_static_page import (  # noqa: F401 - fixtures
    ISOLATION,
    OWN,
    SAMPLE,
    _Files,
    bundle,
    close,
    folder,
    page,
    serve,
    smooth,
    wait_for,
)

from stylecore.pictures.write import save_picture
from tests.browser.conftest import PATIENCE
from tests.browser.test_accessibility import AXE, FINDINGS, NEXT_FRAME

Serve = Callable[[dict[str, str]], ThreadingHTTPServer]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    save_picture(smooth(157, 211), tmp_path / "my photo.png")
    return tmp_path / "my photo.png"


@pytest.fixture
def visit(browser: Any, serve: Serve) -> Iterator[Callable[[str], tuple[Any, list[Any]]]]:
    """Opens the page without a service worker; gives it, and the requests for a file, which are held back."""
    contexts = []

    def open_page(held_back: str) -> tuple[Any, list[Any]]:
        contexts.append(browser.new_context(accept_downloads=True, service_workers="block"))
        opened = contexts[-1].new_page()
        opened.set_default_timeout(1000 * PATIENCE)
        held: list[Any] = []
        opened.route(f"**/{held_back}", lambda route: held.append(route))
        opened.goto(f"http://127.0.0.1:{serve(ISOLATION).server_port}/")
        return opened, held

    yield open_page
    for context in contexts:
        context.close()


def wait_for_request(page: Any, held: list[Any]) -> Any:
    while not held:
        page.wait_for_timeout(50)
    return held.pop()


def test_who_does_not_wait_for_the_start_gets_the_own_photo(visit: Any, photo: Path) -> None:
    page, held = visit("*.wasm.gz")
    runtime = wait_for_request(page, held)
    page.set_input_files("#photo", photo)
    page.wait_for_timeout(500)
    runtime.continue_()
    wait_for(page, f"The Night · {OWN}")
    page.wait_for_timeout(1500)  # no sample comes after it
    assert OWN in page.inner_text("#status")


def test_what_is_not_painted_yet_is_not_there_to_download(visit: Any, photo: Path) -> None:
    page, held = visit("styles/wave.onnx")
    wait_for(page, f"The Night · {SAMPLE}")
    assert page.is_enabled("#png")
    page.get_by_role("radio", name="The Wave").check(force=True)
    network = wait_for_request(page, held)
    with page.expect_download() as download:
        page.click("#png")
    assert download.value.suggested_filename == "china-night.png"  # what painted it, and not what is chosen
    page.set_input_files("#photo", photo)
    page.locator("#png:disabled").wait_for()
    assert page.is_disabled("#jpeg")
    page.locator("#after").wait_for(state="hidden")  # the painting of the other photo
    network.fulfill(status=404)
    wait_for_request(page, held).fulfill(status=404)
    page.locator("#status.failed").wait_for()
    assert not page.is_visible("#after")
    page.locator("#strength").fill("0.5")
    wait_for_request(page, held).continue_()  # it is tried again
    wait_for(page, f"The Wave · {OWN}")
    assert page.is_enabled("#png")
    assert page.is_visible("#after")

    page.route("**/photos/*.jpg", lambda route: route.abort())
    page.locator("#samples button").first.click()
    page.locator("#status.failed").wait_for()


def test_the_same_file_can_be_chosen_again(page: Any, photo: Path) -> None:
    for box in ("#photo", "#film"):
        page.set_input_files(box, photo)
        page.locator(box).evaluate("(box) => { if (box.value) throw new Error('it would be no change'); }")
    wait_for(page, OWN)


def test_the_webcam_that_is_stopped_is_off(page: Any) -> None:
    page.get_by_text("Live from the webcam").click()
    page.evaluate("""() => {
      window.streams = [];
      const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wish) => { streams.push(await ask(wish)); return streams.at(-1); };
      for (let press = 0; press < 2; press += 1) document.getElementById('camera').click();
    }""")
    page.locator("#live-status", has_text="frames a second").wait_for()
    page.get_by_role("button", name="Stop the webcam").click()
    page.get_by_role("button", name="Start the webcam").wait_for()
    states = page.evaluate("streams.flatMap((stream) => stream.getTracks()).map((track) => track.readyState)")
    assert set(states) == {"ended"}


NO_STORAGE = """Object.defineProperty(window, 'sessionStorage', {
  get() { throw new DOMException('denied', 'SecurityError'); },
});"""


@pytest.mark.parametrize("limit", ["no storage", "little storage"])
def test_a_browser_that_keeps_nothing_or_little_paints_all_the_same(browser: Any, serve: Serve, limit: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    address = f"http://127.0.0.1:{serve({}).server_port}"
    if limit == "no storage":
        page.add_init_script(NO_STORAGE)
    else:
        session = context.new_cdp_session(page)
        session.send("Storage.overrideQuotaForOrigin", {"origin": address, "quotaSize": 2_000_000})
    page.goto(f"{address}/")
    wait_for(page, f"The Night · {SAMPLE}")
    context.close()


ITS_OWN = """async () => {
  const { active, waiting } = await navigator.serviceWorker.getRegistration();
  return !waiting && active.state === 'activated' && active === navigator.serviceWorker.controller;
}"""


def test_a_new_version_takes_no_file_of_the_one_before(browser: Any, folder: Path, tmp_path: Path) -> None:
    served = tmp_path / "served"
    shutil.copytree(folder, served)
    handler = type("Handler", (_Files,), {"keep": "max-age=600"})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(served)))
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    context = browser.new_context()

    def visit() -> Any:
        opened = context.new_page()
        opened.set_default_timeout(1000 * PATIENCE)
        opened.goto(f"http://127.0.0.1:{server.server_port}/")
        wait_for(opened, f"The Night · {SAMPLE}")
        opened.get_by_text("Ready to work without a network.").wait_for()
        return opened

    visit().close()
    (served / "styles" / "sea-preview.jpg").write_bytes(b"new")
    os.utime(served / "styles" / "sea-preview.jpg", (2e9, 2e9))
    worker = (served / "sw.js").read_text()
    (served / "sw.js").write_text(worker.replace("stylecore-", "stylecore-new-", 1))
    page = visit()
    while not page.evaluate("async () => Boolean((await navigator.serviceWorker.getRegistration()).waiting)"):
        page.wait_for_timeout(50)
    while not page.evaluate(ITS_OWN):  # the new one begins when the last page of the old one is gone
        page.close()
        page = visit()
    shown = page.evaluate("async () => (await fetch('styles/sea-preview.jpg')).text()")
    context.close()
    close(server)
    assert shown == "new"


def test_axe_finds_nothing_serious(page: Any) -> None:
    page.get_by_text("Live from the webcam").click()
    page.get_by_text("A film", exact=True).click()
    page.evaluate(AXE.read_text("utf-8") + ";0")  # the page allows no script of others by a tag
    themes: tuple[Any, ...] = ("light", "dark")
    for theme in themes:
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 844})
            page.evaluate(NEXT_FRAME)
            assert page.evaluate(FINDINGS) == [], (theme, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_keyboard_moves_the_slider_and_chooses_styles(page: Any) -> None:
    page.locator("#at").focus()
    before = page.evaluate("document.querySelector('#viewer').style.getPropertyValue('--at')")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.querySelector('#viewer').style.getPropertyValue('--at')") != before
    page.get_by_role("radio", name="The Night").focus()
    page.keyboard.press("ArrowRight")
    wait_for(page, f"The Sea · {SAMPLE}")
