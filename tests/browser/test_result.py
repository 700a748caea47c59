"""The result on the Stylize tab: its handle, full screen, shapes of every kind, and where it stands."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from stylecore.pictures.write import save_picture
from tests.browser.conftest import OpenPage, source_of, wait_for_change, wait_for_status

BOX = """(selector) => {
  const r = document.querySelector(selector).getBoundingClientRect(); return [r.x, r.y, r.width, r.height];
}"""
COVERED = """() => [[.02, .02], [.5, .02], [.02, .98], [.5, .98], [.98, .98], [.98, .5]]
  .map(([x, y]) => document.elementFromPoint(x * innerWidth, y * innerHeight))
  .filter((e) => !e?.closest('#result')).map((e) => e?.outerHTML.slice(0, 100))"""


def box(page: Any, selector: str) -> tuple[float, ...]:
    return tuple(page.evaluate(BOX, selector))


def show(page: Any, folder: Path, height: int, width: int, transparent: bool = False) -> None:
    alpha = torch.ones(1, height, width)
    alpha[:, :, : width // 2] = 0
    path = folder / f"{height} by {width} {transparent}.png"
    save_picture(torch.rand(3, height, width), path, alpha=alpha if transparent else None)
    before = source_of(page, "#result img")
    page.set_input_files("#photo input[type=file]", path)
    wait_for_change(page, "#result img", before)


def test_the_handle_is_a_slider_also_in_full_screen_which_shows_the_picture_and_nothing_else(
    open_page: OpenPage,
) -> None:
    width, height = 1280, 900
    page = open_page(width, height)
    wait_for_change(page, "#result img", "")
    handle = page.get_by_role("slider", name="Before and after")
    handle.focus()
    page.keyboard.press("ArrowRight")
    assert handle.input_value() == "36"
    assert handle.get_attribute("aria-valuetext") == "36 percent photo"
    assert "36%" in page.evaluate("getComputedStyle(document.querySelector('#result .after')).clipPath")
    page.keyboard.press("End")
    assert handle.input_value() == "100"
    x, y, wide, high = box(page, "#result .frame")
    page.mouse.click(x + wide / 2, y + high / 2)
    assert handle.input_value() == "50"
    # It stays there when another picture comes.
    before = source_of(page, "#result img")
    page.locator("#samples button").first.click()
    wait_for_change(page, "#result img", before)
    assert handle.input_value() == "50"
    assert all(page.locator("#result img").nth(index).get_attribute("alt") for index in range(2))

    page.get_by_role("button", name="Full screen", exact=True).last.click()
    leave = page.get_by_role("button", name="Leave full screen")
    leave.wait_for()
    assert page.evaluate(COVERED) == []
    look = page.evaluate(
        "(({ backgroundColor, borderRadius }) => [backgroundColor, borderRadius])"
        "(getComputedStyle(document.querySelector('#result dialog .ground')))"
    )
    assert look == ["rgb(11, 17, 30)", "0px"]  # dark in the light, too
    x, y, wide, high = box(page, "#result .frame")
    assert wide == pytest.approx(width, abs=1) or high == pytest.approx(height, abs=1)
    assert (x + wide / 2, y + high / 2) == pytest.approx((width / 2, height / 2), abs=1)
    page.keyboard.press("ArrowRight")
    assert page.locator("#result input").input_value() == "51"
    leave.click()
    page.locator("#result dialog[open]").wait_for(state="detached")
    page.locator("#result .viewer > .ground .frame").wait_for()
    page.get_by_role("button", name="Full screen", exact=True).last.click()
    leave.wait_for()
    page.keyboard.press("Escape")
    page.locator("#result .viewer > .ground .frame").wait_for()


def test_pictures_of_every_shape_are_centered_on_one_ground_that_stays_in_view(
    open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(1280, 900)
    wait_for_change(page, "#result img", "")
    ground = box(page, "#result .ground")
    for height, width in ((60, 60), (90, 40), (30, 120)):
        show(page, tmp_path, height, width)
        assert box(page, "#result .ground") == ground
        x, y, wide, high = box(page, "#result .frame")
        assert wide / high == pytest.approx(width / height, rel=0.02)
        assert x + wide / 2 == pytest.approx(ground[0] + ground[2] / 2, abs=1)
        assert y + high / 2 == pytest.approx(ground[1] + ground[3] / 2, abs=1)
        assert wide <= ground[2] + 1
        assert high <= ground[3] + 1
    assert page.locator("#result .frame.transparent").count() == 0
    show(page, tmp_path, 50, 60, transparent=True)
    page.locator("#result .frame.transparent").wait_for()
    assert source_of(page, "#result img").endswith(".png")

    page.evaluate("document.querySelector('#styles').style.minHeight = '4000px'")  # many styles
    page.evaluate("scrollTo(0, 1500)")
    page.wait_for_timeout(200)
    _, y, _, height = box(page, "#result")
    assert y >= 0
    assert y + height <= 900
    assert page.locator("#download-png").is_visible()
    assert box(page, "#download-png")[1] < 900


def test_photos_that_the_browser_cannot_show_are_painted_all_the_same(open_page: OpenPage, tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    page = open_page()
    wait_for_change(page, "#result img", "")
    assert "HEIC" in page.inner_text("#photo-limits")
    photos = {"IMG_1.HEIC": (72, 54), "scan.TIFF": (80, 40)}  # of the first, Chromium does not know the type
    for name, size in photos.items():
        image = Image.effect_noise(size, 60).convert("RGB")
        if name.endswith("HEIC"):
            pillow_heif.from_pillow(image).save(tmp_path / name)
        else:
            image.save(tmp_path / name)
        page.set_input_files("#photo input[type=file]", tmp_path / name)
        wait_for_status(page, "status", f"{size[0]} \N{MULTIPLICATION SIGN} {size[1]} pixels")
        page.locator("#photo.no-preview-here").wait_for()
        assert not page.locator("#photo .image-frame img").is_visible()
