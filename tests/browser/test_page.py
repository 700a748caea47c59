"""The page's story, as a visitor lives it."""

from pathlib import Path

import pytest
from PIL import Image

from demo.services.catalogue import BundleCatalogue
from tests.browser.conftest import OpenPage, source_of, wait_for_change, wait_for_status

BESIDE = """() => {
  const transfer = new DataTransfer();
  transfer.items.add(new File(['x'], 'x.jpg', { type: 'image/jpeg' }));
  const drop = new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: transfer });
  return !document.querySelector('#status').dispatchEvent(drop);
}"""
"""Drops a file where no box is; says whether the page takes care of it, so that the browser does not."""


def test_a_photo_becomes_a_painting(open_page: OpenPage, photo_file: Path, tmp_path: Path) -> None:
    page = open_page()
    # It opens with a sample photo painted in the first style.
    wait_for_status(page, "status", "The Night")
    assert "sample photo" in page.inner_text("#status")
    first = source_of(page, "#result img")
    # Another one is a click away, and a file beside the boxes does not lead away from the page.
    assert page.evaluate(BESIDE)
    page.locator("#samples button").first.click()
    sample = wait_for_change(page, "#result img", first)
    page.wait_for_function("!document.querySelector('#status').innerText.includes('sample photo')")

    page.set_input_files("#photo input[type=file]", photo_file)
    wait_for_status(page, "status", "61 \N{MULTIPLICATION SIGN} 45 pixels")
    own = wait_for_change(page, "#result img", sample)

    page.get_by_role("radio", name="The Wave").check(force=True)
    wait_for_status(page, "status", "The Wave")
    wave = wait_for_change(page, "#result img", own)

    page.locator("#strength input[type=range]").fill("0.5")
    page.locator("#strength input[type=range]").dispatch_event("pointerup")
    half = wait_for_change(page, "#result img", wave)
    page.get_by_label("Keep my photo's colors").check()
    wait_for_change(page, "#result img", half)

    for button, suffix in (("#download-png", ".png"), ("#download-jpeg", ".jpg")):
        with page.expect_download() as download:
            page.click(button)
        target = tmp_path / f"downloaded{suffix}"
        download.value.save_as(target)
        assert download.value.suggested_filename == f"my-photo-wave{suffix}"
        with Image.open(target) as image:
            assert image.size == (61, 45)


def test_styles_are_chosen_with_the_keyboard_and_versions_from_a_list(open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_role("radio", name="The Night").focus()
    page.keyboard.press("ArrowRight")
    wait_for_status(page, "status", "The Wave")
    page.keyboard.press("ArrowLeft")
    wait_for_status(page, "status", "The Night")
    # Of several picked quickly the last one counts; it is in the card and in the picture.
    for key in ("ArrowRight", "ArrowLeft", "ArrowRight"):
        page.keyboard.press(key, delay=30)
    wait_for_status(page, "status", "The Wave")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    before = source_of(page, "#result img")
    page.locator("#brush input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "(before) => document.querySelector('#status').innerText.includes('The Wave')"
        " && [...document.querySelectorAll('#result img')].at(-1).src !== before",
        arg=before,
    )
    page.get_by_role("radio", name="The Night").check(force=True)
    wait_for_status(page, "status", "The Night")
    before = source_of(page, "#result img")
    page.get_by_role("button", name="Size and version").click()
    page.get_by_label("Version of the style").click()
    page.get_by_role("option", name="10 iterations").click()
    wait_for_change(page, "#result img", before)


def test_a_file_that_is_no_picture_and_a_style_that_is_gone_are_answered_in_one_sentence(
    open_page: OpenPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page()
    before = source_of(page, "#result img")
    text = tmp_path / "photo.jpg"
    text.write_text("I am text")
    page.set_input_files("#photo input[type=file]", text)
    wait_for_status(page, "status", "That did not work. This file is not a picture")
    assert "from before" not in page.inner_text("#status")  # there may be none
    assert source_of(page, "#result img") == before
    for button in ("#download-png", "#download-jpeg"):
        assert page.locator(button).is_disabled()
    # No broken picture, and none of Gradio's own words.
    page.locator("#photo.no-preview-here").wait_for()
    assert not page.locator("#photo .image-frame img").is_visible()
    assert page.get_by_text("Error", exact=True).count() == 0
    page.locator("#samples button").first.click()
    wait_for_change(page, "#result img", before)
    page.locator("#download-png:not([disabled])").wait_for()
    page.locator("#photo .image-frame img").wait_for()

    all_of_them = BundleCatalogue._entries
    monkeypatch.setattr(BundleCatalogue, "_entries", lambda catalogue: all_of_them(catalogue)[1:])
    page.get_by_label("number input for Size of the brush").fill("2")
    page.keyboard.press("Tab")
    wait_for_status(page, "status", "That did not work. There is no style 'night'")
    page.get_by_role("radio", name="The Wave").check(force=True)
    wait_for_status(page, "status", "The Wave")
    page.get_by_role("radio", name="The Night").check(force=True)
    page.get_by_test_id("toast-body").get_by_text("There is no style 'night'").wait_for()


def test_the_api_page_opens_without_a_trouble(open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_role("button", name="Use via API").click()
    page.get_by_text("API name: /stylize").wait_for()
    page.wait_for_timeout(500)  # what it asks for is answered, or would be a trouble
