"""The story of a painting: started, watched, stopped, kept; and what must not disturb it."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from stylecore.pictures.write import save_picture
from tests.browser.conftest import OpenPage, slow_network, source_of, wait_for_change, wait_for_status

ON_TOP = """() => {
  const box = document.querySelector('#gatys-result img').getBoundingClientRect();
  return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2).tagName;
}"""
CURVE = "() => document.querySelector('#gatys-curve')?.innerHTML.length ?? 0"


def open_tab(page: Any, photo: Path) -> None:
    page.get_by_role("tab", name="Gatys").click()
    wait_for_status(page, "gatys-estimate", "About")
    page.set_input_files("#gatys-photo input[type=file]", photo)
    page.wait_for_function("document.querySelector('#gatys-photo img')?.complete")


def wait_for(page: Any, text: str) -> None:
    wait_for_status(page, "gatys-status", text)


def set_number(page: Any, name: str, value: int) -> None:
    page.locator(f"#gatys-{name} input[type=number]").fill(str(value))
    page.keyboard.press("Tab")


def recipe_of(page: Any) -> str:
    """The commands that paint it, on one line."""
    return " ".join(page.inner_text("#gatys-recipe").split())


def top_of(page: Any, place: str) -> float:
    return float(page.locator(place).bounding_box()["y"])


def wait_for_preview(page: Any, before: str) -> str:
    return wait_for_change(page, "#gatys-result img", before)


def test_a_painting_is_watched_stopped_and_kept(open_page: OpenPage, photo_file: Path, tmp_path: Path) -> None:
    page = open_page(390, 844)
    page.set_input_files("#photo input[type=file]", photo_file)
    wait_for_status(page, "status", "61 \N{MULTIPLICATION SIGN} 45 pixels")
    page.get_by_role("tab", name="Gatys").click()  # which takes the photo of the first tab
    wait_for_status(page, "gatys-estimate", "About")
    assert "at most 500" in page.inner_text("#gatys-steps")
    # On a phone the settings stand below the result.
    assert top_of(page, "#gatys-samples") < top_of(page, "#gatys-paint") < top_of(page, "#gatys-steps")
    page.get_by_role("button", name="Style picture: starry night").click()
    set_number(page, "steps", 500)
    page.click("#gatys-paint")
    first = wait_for_preview(page, "")
    page.locator("#gatys-curve canvas, #gatys-curve svg").first.wait_for()
    curve = page.evaluate(CURVE)
    second = wait_for_preview(page, first)
    wait_for_preview(page, second)
    page.locator("#gatys-result").scroll_into_view_if_needed()
    assert page.evaluate(ON_TOP) in ("IMG", "BUTTON")  # nothing lies over the picture while it changes
    assert page.evaluate(CURVE) != curve
    assert "of 500" in page.inner_text("#gatys-status")
    assert "left" in page.inner_text("#gatys-status")
    page.click("#gatys-stop")
    wait_for(page, "Stopped after")
    kept = source_of(page, "#gatys-result img")
    assert "--style starry_night.jpg --max-side 64 --steps" in recipe_of(page)
    with page.expect_download() as download:
        page.click("#gatys-png")
    assert download.value.suggested_filename == "my-photo-starry_night.png"
    download.value.save_as(tmp_path / "painting.png")
    with Image.open(tmp_path / "painting.png") as image:
        assert image.size == (61, 45)
    page.locator("#gatys-paint:not([disabled])").wait_for()
    assert source_of(page, "#gatys-result img") == kept
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_painting_begins_with_a_networks_picture_and_goes_on_at_twice_the_size(
    open_page: OpenPage, tmp_path: Path
) -> None:
    large = tmp_path / "my photo.png"
    save_picture(torch.rand(3, 96, 128), large)
    page = open_page()
    open_tab(page, large)
    page.get_by_label("Start from").click()
    page.get_by_role("option", name="The photo stylized by The Wave").click()
    set_number(page, "steps", 10)
    page.click("#gatys-paint")
    wait_for(page, "Painted after 10 steps")
    recipe = recipe_of(page)
    assert "stylecore stylize my-photo.png --style wave" in recipe.replace("'my photo.png'", "my-photo.png")
    assert "--start-picture start.png" in recipe
    # What was painted stays told beside an estimate of what could be.
    before = page.inner_text("#gatys-estimate")
    set_number(page, "steps", 500)
    page.wait_for_function(
        "(before) => !['', before].includes(document.querySelector('#gatys-estimate').innerText.trim())", arg=before
    )
    assert "Painted after 10 steps" in page.inner_text("#gatys-status")

    page.get_by_role("button", name="Go on at twice the size").click()
    wait_for(page, "128 \N{MULTIPLICATION SIGN} 96 pixels")
    assert "--start-picture painting.png" in recipe_of(page)
    page.locator("#gatys-paint:not([disabled])").wait_for()
    assert not page.locator("#gatys-larger").is_visible()  # the photo has no more pixels


def test_the_estimate_follows_what_is_typed_and_a_style_that_is_no_picture_is_one_sentence(
    open_page: OpenPage, photo_file: Path, tmp_path: Path
) -> None:
    page = open_page()
    open_tab(page, photo_file)
    said = set()
    for steps in (500, 10):
        page.locator("#gatys-steps input[type=number]").fill(str(steps))  # and nothing else is pressed
        page.wait_for_function(
            "(said) => { const text = document.querySelector('#gatys-estimate').innerText;"
            " return text.includes('About') && !said.includes(text); }",
            arg=sorted(said),
        )
        said.add(page.inner_text("#gatys-estimate"))
    page.locator("#gatys-steps input[type=number]").fill("5")  # less than the least: on the way to 50
    page.wait_for_timeout(700)
    assert page.get_by_test_id("toast-body").count() == 0

    text = tmp_path / "style.jpg"
    text.write_text("I am text")
    before = page.locator("#gatys-style img").get_attribute("src")
    page.set_input_files("#gatys-style input[type=file]", text)
    page.wait_for_function(
        "(before) => document.querySelector('#gatys-style img')?.getAttribute('src') !== before", arg=before
    )
    page.click("#gatys-paint")
    wait_for(page, "The file of the style picture is not a picture")
    assert page.get_by_test_id("toast-body").count() == 0
    page.locator("#gatys-paint:not([disabled])").wait_for()  # ready for another try


def test_who_waits_sees_the_place_in_the_queue_and_a_closed_tab_stops_its_painting(
    open_page: OpenPage, photo_file: Path, tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    save_picture(torch.rand(3, 192, 256), large)
    ann, bob = open_page(), open_page()
    open_tab(ann, large)
    set_number(ann, "steps", 500)
    set_number(ann, "size", 256)
    open_tab(bob, photo_file)
    set_number(bob, "steps", 10)
    ann.click("#gatys-paint")
    wait_for_preview(ann, "")
    bob.click("#gatys-paint")
    wait_for(bob, "queue: 1/1")
    ann.close()  # paintings are made one at a time: Bob's can only begin when Ann's is over
    wait_for(bob, "Painted after 10 steps")


def test_a_photo_uploaded_at_once_is_not_replaced_by_a_sample(open_page: OpenPage, tmp_path: Path) -> None:
    # Not strict: Gradio (6.31) asks how far the upload is before its first bytes have arrived, and gets a 404.
    mine = tmp_path / "mine.png"
    save_picture(torch.rand(3, 120, 128), mine)
    page = open_page(strict=False)
    page.locator("#download-png:not([disabled])").wait_for()
    tabs = ("Gatys", "Compare")
    with slow_network(page, latency=200):
        for tab in tabs:
            page.get_by_role("tab", name=tab).click()
            page.set_input_files(f"#{tab.lower()}-photo input[type=file]", mine)
            page.wait_for_function(f"document.querySelector('#{tab.lower()}-photo img')?.naturalWidth === 128")
        page.wait_for_timeout(2500)
    for tab in tabs:
        assert page.evaluate(f"document.querySelector('#{tab.lower()}-photo img').naturalWidth") == 128
