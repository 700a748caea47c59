"""The story of a comparison: picked, watched, mixed with the photo, seen large, chosen by hand, downloaded."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.conftest import OpenPage

DONE = "#compare-result figure[data-done]"


def open_tab(page: Any, photo: Path) -> None:
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare-ready button").first.wait_for()
    page.set_input_files("#compare-photo input[type=file]", photo)
    page.wait_for_function("document.querySelector('#compare-photo img')?.complete")


def labels(page: Any) -> list[str]:
    return page.locator(f"{DONE} strong").all_inner_texts()


def cut_off(page: Any, within: str) -> list[str]:
    """Texts that do not fit their box."""
    return page.evaluate(
        """(within) => [...document.querySelectorAll(`${within} *`)]
          .filter((e) => e.children.length === 0 && e.innerText && e.offsetParent
                  && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline')
          .map((e) => e.innerText)""",
        within,
    )


def test_a_comparison_from_the_button_to_the_download(open_page: OpenPage, photo_file: Path, tmp_path: Path) -> None:
    width, height = 390, 844
    page = open_page(width, height, "dark")
    open_tab(page, photo_file)
    page.get_by_role("button", name="One photo in several styles").click()
    page.locator(DONE).nth(1).wait_for()
    assert labels(page) == ["The Night", "The Wave"]
    # On a phone it is brought into view.
    assert page.evaluate("document.querySelector('#compare-result').getBoundingClientRect().y") < height / 4
    picked = page.get_by_role("button", name="One photo in several styles")
    assert (picked.get_attribute("aria-pressed"), picked.get_attribute("data-name")) == ("true", "night/2 wave/1")

    # All at the same scale, none wider than the page, no word cut off.
    boxes = [page.locator(f"{DONE} .layers").nth(index).bounding_box() for index in (0, 1)]
    assert boxes[0]["width"] == pytest.approx(boxes[1]["width"], abs=1)  # the browser rounds
    assert boxes[0]["width"] > 200
    assert boxes[0]["height"] == pytest.approx(boxes[0]["width"] * 45 / 61, abs=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert cut_off(page, "#compare-result") == []
    assert page.locator(f"{DONE} a").count() == 0  # no page of MLflow is known here

    # The strength is the browser's affair: no request, the picture over the photo fades.
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.locator("#compare-strength input[type=range]").fill("0.25")
    page.wait_for_function(
        "(at) => getComputedStyle(document.querySelector(at)).opacity === '0.25'", arg=f"{DONE} img.after"
    )
    assert requests == []

    # Large, one after the other at the same place, by keyboard.
    page.get_by_role("button", name="Show large: The Night").press("Enter")
    dialog = page.get_by_role("dialog")
    assert "2 of 3: The Night" in dialog.inner_text()
    page.keyboard.press("ArrowLeft")  # the photo, at the same place
    assert "1 of 3: The photo" in dialog.inner_text()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert "3 of 3: The Wave" in dialog.inner_text()
    box = dialog.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    # It stays while pictures come.
    page.evaluate(
        "() => { document.querySelector('#compare-result figure').dataset.old = '';"
        " document.querySelector('#compare-run').click(); }"
    )
    page.locator("#compare-result [data-old]").wait_for(state="detached")
    page.locator(DONE).nth(1).wait_for(state="attached")
    assert page.locator("dialog:modal").count() == 1
    assert "3 of 3: The Wave" in dialog.inner_text()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()

    with page.expect_download() as download:
        page.click("#compare-sheet")
    assert download.value.suggested_filename == "comparison-my-photo.png"
    download.value.save_as(tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 2 * 61


def test_another_comparison_replaces_the_one_that_runs_and_versions_are_chosen_by_hand(
    open_page: OpenPage, photo_file: Path
) -> None:
    page = open_page()
    open_tab(page, photo_file)
    page.get_by_role("button", name="One photo in several styles").click()
    page.locator("#compare-ready button[aria-pressed=true]", has_text="One photo in several styles").wait_for()
    page.get_by_role("button", name="How do its versions differ?").click()
    page.wait_for_function(
        "(at) => [...document.querySelectorAll(at)].some((e) => e.innerText.includes('version'))", arg=f"{DONE} strong"
    )
    page.locator("#compare-sheet").wait_for()
    assert labels(page) == ["version 1", "version 2"]

    page.get_by_role("button", name="Choose versions").click()
    versions = page.get_by_label("Versions, up to 6")
    chosen = page.locator("#compare-versions .token")
    chosen.first.wait_for()
    versions.click()
    for _ in range(chosen.count()):
        page.keyboard.press("Backspace")
    page.keyboard.press("Escape")
    page.click("#compare-run")
    page.wait_for_function(
        "document.querySelector('#compare-status').innerText.includes('Choose at least one version to compare.')"
    )
    assert page.get_by_test_id("toast-body").count() == 0
    # A searchable list: what is typed narrows it.
    versions.fill("wave")
    options = page.get_by_role("option")
    options.first.wait_for()
    assert options.all_inner_texts() == ["The Wave, version 1 (best)"]
    options.first.click()
    page.keyboard.press("Escape")
    page.click("#compare-run")
    page.wait_for_function("(at) => document.querySelectorAll(at).length === 1", arg=DONE)
    page.locator("#compare-sheet").wait_for()
    assert labels(page) == ["version 1"]
