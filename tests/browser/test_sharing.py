"""Links with settings, and several photos at once."""

import base64
import io
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from demo.services.catalogue import BundleCatalogue
from tests.browser.conftest import OpenPage, wait_for_change, wait_for_status
from tests.browser.test_accessibility import FAINT, NAMELESS, SMALL

DROP = """([name, files]) => {
  const transfer = new DataTransfer();
  for (const [file, content] of files) {
    const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
    transfer.items.add(new File([bytes], file, { type: 'image/jpeg' }));
  }
  document.querySelector(name).dispatchEvent(
    new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: transfer }));
}"""


def jpeg(width: int) -> str:
    stream = io.BytesIO()
    Image.effect_noise((width, 40), 60).convert("RGB").save(stream, "JPEG")
    return base64.b64encode(stream.getvalue()).decode()


def test_a_link_opens_the_page_with_the_style_and_the_settings(open_page: OpenPage) -> None:
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("radio", name="The Wave").check(force=True)
    wait_for_status(page, "status", "The Wave")
    page.get_by_label("number input for Strength of the style").fill("0.5")
    page.keyboard.press("Tab")
    page.get_by_label("Keep my photo's colors").check()
    page.get_by_text("Mix with another style").click()
    page.locator("#mix input").click()
    page.get_by_role("option", name="The Night").click()
    wait_for_status(page, "status", "The Wave with The Night")
    page.get_by_role("button", name="Copy link").click()
    page.get_by_role("button", name="Link copied").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name="Copy link").wait_for()
    query = parse_qs(urlsplit(link).query)
    assert (query["style"], query["strength"], query["colors"]) == (["wave"], ["0.5"], ["photo"])
    assert (query["mix"], query["share"]) == (["night"], ["0.5"])
    page.goto(link)
    wait_for_status(page, "status", "The Wave with The Night")
    wait_for_change(page, "#result img", "")
    assert page.get_by_role("radio", name="The Wave").is_checked()
    assert page.get_by_label("number input for Strength of the style").input_value() == "0.5"
    assert page.get_by_label("Keep my photo's colors").is_checked()


def test_a_link_waits_for_styles_that_are_on_their_way(open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    there, words = 0, "The styles are on their way."
    all_of_them = BundleCatalogue._entries
    monkeypatch.setattr(BundleCatalogue, "_entries", lambda catalogue: all_of_them(catalogue)[:there])
    monkeypatch.setattr(BundleCatalogue, "loading", property(lambda catalogue: words), raising=False)
    page = open_page(link="&style=wave&mix=night&strength=0.5")
    page.get_by_text(words).wait_for()
    there = 1
    page.get_by_role("radio", name="The Night").wait_for(state="attached")
    page.wait_for_timeout(1000)
    assert page.locator("#result img").count() == 0
    strength = page.get_by_label("number input for Strength of the style")
    assert strength.input_value() == "0.5"
    strength.fill("0.75")
    there = 2
    wait_for_status(page, "status", "The Wave with The Night")
    assert strength.input_value() == "0.75"  # what the visitor chose meanwhile stays
    words = ""
    wait_for_change(page, "#result img", "")


def test_a_style_picked_while_that_of_the_link_is_on_its_way_stays(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, all_of_them = 1, BundleCatalogue._entries
    monkeypatch.setattr(BundleCatalogue, "_entries", lambda catalogue: all_of_them(catalogue)[:there])
    monkeypatch.setattr(BundleCatalogue, "loading", "The styles are on their way.")
    page = open_page(link="&style=wave")
    night = page.get_by_role("radio", name="The Night")
    night.check(force=True)
    wait_for_status(page, "status", "The Night")
    there = 2
    page.get_by_role("radio", name="The Wave").wait_for(state="attached")
    page.wait_for_timeout(500)
    assert night.is_checked()
    assert "The Night" in page.inner_text("#status")


def test_several_photos_dropped_at_once_come_back_as_a_zip(open_page: OpenPage) -> None:
    width = 390
    page: Any = open_page(width, 844, "dark")
    page.evaluate(DROP, ["#photo button", [["one.jpg", jpeg(50)], ["two.jpg", jpeg(60)]]])
    wait_for_status(page, "batch-status", "2 photos")
    with page.expect_download() as download:
        page.click("#batch-zip")
    assert download.value.suggested_filename == "photos-night.zip"
    with zipfile.ZipFile(Path(download.value.path())) as archive:
        assert archive.namelist() == ["one-night.jpg", "two-night.jpg"]
        with Image.open(io.BytesIO(archive.read("two-night.jpg"))) as image:
            assert image.size == (60, 40)
    page.locator("#batch-run:not([disabled])").wait_for()
    # More of them replace those.
    page.evaluate(DROP, ["#photo button", [[f"{name}.jpg", jpeg(50)] for name in ("three", "four", "five")]])
    wait_for_status(page, "batch-status", "3 photos")
    page.locator("#batch-run:not([disabled])").wait_for()
    for script in (NAMELESS, FAINT, SMALL):
        assert page.evaluate(script) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
