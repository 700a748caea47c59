"""A painting is taught in the page: started, watched, found again after a reload and a kill, ended, kept and used."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from demo.app import build_demo
from demo.services.catalogue import BundleCatalogue
from demo.services.limits import Limits
from demo.services.teach.teacher import Teacher
from stylecore.errors import StylecoreError
from stylecore.files import default_cache
from stylecore.johnson.style_model import StyleModel
from stylecore.pictures.write import save_picture
from stylecore.vgg.weights import find_weights
from tests.browser.conftest import Watched, wait_for_status
from tests.browser.test_accessibility import AXE, SCRIPTS
from tests.demo.conftest import make_style, serving, write_bundle

LIMITS = Limits(lesson_minutes=(30,), smallest_side=32, stylize_side=96, stylize_max_side=128, lesson_photo_side=64)
FLAGS = [
    *("--width", "0.25", "--residual-blocks", "1", "--style-size", "48", "--crop", "32", "--workers", "1"),
    *("--save-minutes", "0", "--evaluate-sizes", "--cpu", "--mixed-precision", "no", "--input-noise", "0"),
]
NO_STORAGE = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); }, configurable: true });"
SHOWN = "() => document.querySelector('.taught-photo img')?.src ?? ''"


@pytest.fixture
def teaching(new_store: Callable[[Path], str], tmp_path: Path) -> Iterator[str]:
    """The address of a page with one style and a teacher of tiny networks."""
    try:
        find_weights("vgg16")
    except StylecoreError as error:
        pytest.skip(f"VGG-16's weights are not here: {error}")
    bundle, photos = tmp_path / "bundle", tmp_path / "photos"
    photos.mkdir()
    save_picture(torch.rand(3, 60, 80), photos / "sample.jpg")
    write_bundle(bundle, [(make_style(0, name="night", title="The Night"), "1", ["champion"])])
    variables = {
        "MLFLOW_TRACKING_URI": new_store(tmp_path),
        "STYLECORE_CACHE": str(default_cache()),
        "STYLECORE_PHOTOS": str(photos),
        "STYLECORE_STYLES": str(bundle),
        "OMP_NUM_THREADS": "1",
    }
    flags = [*FLAGS, "--init-from", str(bundle / "night-1.safetensors")]
    teacher = Teacher(tmp_path / "lessons", LIMITS, flags=flags, environment=variables).start()
    page = build_demo(BundleCatalogue(bundle), limits=LIMITS, teacher=teacher)
    with serving(page, LIMITS) as url:
        yield url
    teacher.close()


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_the_tab_can_be_read_and_says_what_is_wrong(
    browser: Any, teaching: str, tmp_path: Path, width: int, theme: str
) -> None:
    watched = Watched(browser, teaching, width, 844, theme)
    page = watched.page
    page.emulate_media(reduced_motion="reduce")
    page.add_script_tag(path=AXE)
    page.get_by_role("tab", name="Your style").click()
    page.locator("#teach-photo img").wait_for()
    page.get_by_text("a copy of the photo, reduced to 64 pixels").wait_for()  # it is told what stays
    text = tmp_path / "painting.png"
    text.write_text("no picture")
    page.set_input_files("#teach-painting input[type=file]", text)
    page.locator("#teach-painting.no-preview-here").wait_for()
    page.click("#teach-start")
    wait_for_status(page, "teach-status", "That did not work. The file of the painting is not a picture")
    assert page.locator("#teach-start").is_enabled()
    for script in SCRIPTS:
        assert page.evaluate(script) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.add_init_script(NO_STORAGE)
    watched.reload()
    wait_for_status(page, "status", "The Night")  # the page begins all the same
    watched.context.close()
    assert watched.troubles == []


def test_a_painting_is_taught_killed_found_again_kept_and_used(
    browser: Any, teaching: str, photo_file: Path, tmp_path: Path
) -> None:
    painting = tmp_path / "My waves.png"
    save_picture(torch.rand(3, 120, 150), painting)
    watched = Watched(browser, teaching)
    page = watched.page
    page.get_by_role("tab", name="Your style").click()
    page.locator("#teach-photo img").wait_for()
    page.click("#teach-start")
    wait_for_status(page, "teach-status", "That did not work. There is no painting yet")
    page.set_input_files("#teach-painting input[type=file]", painting)
    page.set_input_files("#teach-photo input[type=file]", photo_file)
    page.wait_for_function("document.querySelector('#teach-painting img')?.complete")
    page.wait_for_function("document.querySelector('#teach-photo img')?.complete")
    page.click("#teach-start")
    wait_for_status(page, "teach-status", "My waves")
    wait_for_status(page, "teach-status", "iterations, loss")
    page.wait_for_function(f"{SHOWN[6:]} !== ''")
    first = page.evaluate(SHOWN)
    page.wait_for_function(f"(first) => ({SHOWN})() !== first", arg=first)

    process = next((tmp_path / "lessons").glob("*/process"))
    os.kill(int(process.read_text()), signal.SIGKILL)
    watched.reload()
    page.get_by_role("tab", name="Your style").click()
    wait_for_status(page, "teach-status", "It goes on after an interruption")
    wait_for_status(page, "teach-status", "iterations, loss")
    page.locator("#teach-enough", has_text="Stop and keep it").click()
    wait_for_status(page, "teach-status", "is a card in Stylize")

    page.click("#teach-use")
    page.locator("#styles input[value^=taught_my_waves_]:checked").wait_for(state="attached")
    page.get_by_role("button", name="Mix with another style").click()
    page.locator("#mix input").click()
    page.get_by_role("option", name="My waves").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Gatys").click()
    page.locator("#gatys-start input").click()
    page.get_by_role("option", name="The photo stylized by My waves").click()
    page.locator("#gatys-style img[src*=painting]").wait_for()
    page.get_by_role("tab", name="Compare").click()
    page.get_by_role("button", name="Choose versions").click()
    page.locator("#compare-versions input").click()
    page.get_by_role("option", name="My waves").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Your style").click()
    with page.expect_download() as download:
        page.click("#teach-weights")
    download.value.save_as(tmp_path / "kept.safetensors")
    card = StyleModel.load(tmp_path / "kept.safetensors").card
    assert card.title == "My waves"
    assert card.training["style_image"] == "painting.png"
    with page.expect_download() as download:
        page.click("#teach-int8")
    assert download.value.suggested_filename == f"{card.name}.int8.json"

    stranger = Watched(browser, teaching)
    stranger.page.locator("#styles input[value=night]").wait_for(state="attached")
    assert stranger.page.locator("#styles input[value^=taught_]").count() == 0
    watched.reload()
    page.locator("#styles input[value^=taught_my_waves_]").wait_for(state="attached")
    assert watched.troubles + stranger.troubles == []
    taught = page.locator("#styles input[value^=taught_my_waves_]").get_attribute("value")
    stranger.page.goto(f"{teaching}?style={taught}")
    stranger.page.locator(f"#styles input[value={taught}]:checked").wait_for(state="attached")
    for each in (watched, stranger):
        each.context.close()
    assert not list((tmp_path / "lessons").glob("*/runs"))
