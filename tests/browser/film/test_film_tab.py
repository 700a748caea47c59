"""The tab Film in use: a film is painted, played and downloaded; stopping; what is refused; a film of the webcam."""

from pathlib import Path
from typing import Any

import av
import pytest

from tests.browser.conftest import OpenPage, wait_for_status
from tests.demo.conftest import write_film

PLAYS = """async () => {
  const film = document.querySelector('#film-result video');
  film.muted = true;
  await film.play();
  const began = film.currentTime;
  await new Promise((resolve) => setTimeout(resolve, 300));
  film.pause();
  return { ready: film.readyState, length: film.duration, moved: film.currentTime - began, width: film.videoWidth };
}"""


def open_tab(open_page: OpenPage, *screen: Any) -> Any:
    page = open_page(*screen)
    page.get_by_role("tab", name="Film").click()
    page.wait_for_function("document.querySelector('#film-style input')?.value === 'The Night'")
    return page


def paint(page: Any, film: Path) -> None:
    page.set_input_files("#film input[type=file]", film)
    page.locator("#film video").wait_for()
    page.click("#film-paint")


def test_a_film_is_painted_played_and_downloaded(open_page: OpenPage, tmp_path: Path) -> None:
    width = 390
    page = open_tab(open_page, width, 844, "dark")
    assert "up to 30 seconds and 1 MB" in page.inner_text("#film-limits")
    # On a phone the settings stand below the result.
    tops = [page.locator(place).bounding_box()["y"] for place in ("#film-style", "#film-paint", "#film-calm")]
    assert tops == sorted(tops)
    paint(page, write_film(tmp_path / "my film.mp4", 35))
    wait_for_status(page, "film-status", "35 frames")
    page.locator("#film-paint:not([disabled])").wait_for()
    page.wait_for_function("document.querySelector('#film-result video')?.readyState === 4")
    played = page.evaluate(PLAYS)
    assert played["ready"] == 4
    assert played["length"] == pytest.approx(3.5, abs=0.1)
    assert played["moved"] > 0
    assert played["width"] == 64
    with page.expect_download() as download:
        page.click("#film-download")
    assert download.value.suggested_filename == "my-film-night.mp4"
    with av.open(download.value.path()) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264", "aac"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_is_no_film_is_one_sentence_and_a_film_that_is_stopped_is_kept(
    open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_tab(open_page)
    page.click("#film-paint")
    wait_for_status(page, "film-status", "There is no film yet; upload one, or record one.")
    page.locator("#film-paint:not([disabled])").wait_for()
    paint(page, write_film(tmp_path / "long.mp4", 320))
    wait_for_status(page, "film-status", "lasts 32 seconds, and may last 30 here")
    page.locator("#film-paint:not([disabled])").wait_for()
    assert page.locator("#film-download[disabled]").count() == 1

    page.locator("#film").get_by_role("button", name="Clear").click()
    paint(page, write_film(tmp_path / "stopped.mp4", 290, (320, 240)))
    wait_for_status(page, "film-status", "Your film: frame")
    assert page.locator("#film-result video").count() == 1  # the first second
    page.get_by_role("button", name="Stop and keep it").last.click()
    wait_for_status(page, "film-status", "then stopped")
    page.locator("#film-paint:not([disabled])").wait_for()
    page.wait_for_function("document.querySelector('#film-result video')?.duration > 0")


def test_a_film_of_the_webcam_is_painted(open_page: OpenPage) -> None:
    # Not strict: Chromium's film has no length until it has been played, and Gradio's player asks for one.
    page = open_page(strict=False)
    page.get_by_role("tab", name="Film").click()
    page.locator("#film").get_by_role("button", name="Record video from camera").or_(
        page.locator("#film .source-selection button").nth(1)
    ).first.click()
    page.locator("#film").get_by_text("Click to Access Webcam").click()
    page.locator("#film video").wait_for()
