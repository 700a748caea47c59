"""A painting is taught in the page: started, watched, found again after a kill and a reload, ended, kept and used."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from demo.app import build_demo
from demo.services.catalogue import BundleCatalogue
from demo.services.limits import Limits
from demo.services.teach import course
from demo.services.teach.teacher import Teacher
from stylecore.errors import StylecoreError
from stylecore.files import default_cache
from stylecore.johnson.style_model import StyleModel
from stylecore.pictures.write import save_picture
from stylecore.vgg.weights import find_weights
from tests.browser.conftest import Watched, wait_for_status
from tests.browser.test_accessibility import AXE, SCRIPTS, check
from tests.demo.conftest import make_style, serving, write_bundle

LIMITS = Limits(lesson_minutes=(30,), smallest_side=32, stylize_side=96, stylize_max_side=128, lesson_photo_side=64)
FLAGS = [
    *("--width", "0.25", "--residual-blocks", "1", "--style-size", "48", "--crop", "32", "--workers", "1"),
    *("--save-minutes", "0", "--evaluate-sizes", "--cpu", "--mixed-precision", "no", "--input-noise", "0"),
]
NO_STORAGE = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); }, configurable: true });"
SHOWN = "() => document.querySelector('.taught-photo img')?.src ?? ''"


@pytest.fixture(scope="module")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("teaching") / "lessons"


@pytest.fixture(scope="module")
def teaching(new_store: Callable[[Path], str], lessons: Path) -> Iterator[str]:
    """The address of a page with one style and a teacher of tiny networks."""
    tmp_path = lessons.parent
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
    teacher = Teacher(lessons, LIMITS, flags=flags, environment=variables).start()
    page = build_demo(BundleCatalogue(bundle), limits=LIMITS, teacher=teacher)
    with serving(page, LIMITS) as url:
        yield url
    teacher.close()


@pytest.fixture(scope="module")
def visitor(browser: Any, teaching: str) -> Iterator[Watched]:
    """A visitor at the tab, in whose page nothing may go wrong."""
    watched = Watched(browser, teaching)
    watched.page.get_by_role("tab", name="Your style").click()
    watched.page.locator("#teach-photo img").wait_for()
    yield watched
    watched.context.close()
    assert watched.troubles == []


def test_the_tab_can_be_read_and_says_what_is_wrong(visitor: Watched, tmp_path: Path) -> None:
    page = visitor.page
    page.emulate_media(reduced_motion="reduce")
    page.add_script_tag(path=AXE)
    page.get_by_text("a copy of the photo, reduced to 64 pixels").wait_for()  # it is told what stays
    text = tmp_path / "painting.png"
    text.write_text("no picture")
    page.set_input_files("#teach-painting input[type=file]", text)
    page.locator("#teach-painting.no-preview-here").wait_for()
    page.click("#teach-start")
    wait_for_status(page, "teach-status", "That did not work. The file of the painting is not a picture")
    assert page.locator("#teach-start").is_enabled()
    check(page, *SCRIPTS)


def test_a_painting_is_taught_killed_found_again_kept_and_used(
    browser: Any, teaching: str, visitor: Watched, lessons: Path, photo_file: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    painting = tmp_path / "My waves.png"
    save_picture(torch.rand(3, 120, 150), painting)
    page = visitor.page
    visitor.visit()
    page.get_by_role("tab", name="Your style").click()
    page.locator("#teach-photo img").wait_for()
    page.click("#teach-start")
    wait_for_status(page, "teach-status", "That did not work. There is no painting yet")
    page.set_input_files("#teach-painting input[type=file]", painting)
    page.set_input_files("#teach-photo input[type=file]", photo_file)
    page.wait_for_function("document.querySelector('#teach-painting img')?.complete")
    page.wait_for_function("document.querySelector('#teach-photo img')?.complete")
    # The first process only waits, and is killed; tests/training/train/test_teach.py kills one that learns.
    with monkeypatch.context() as patch:
        patch.setattr(course, "COMMAND", (sys.executable, "-c", "import time; time.sleep(1000)"))
        page.click("#teach-start")
        wait_for_status(page, "teach-status", "My waves")
        while not (written := [file.read_text() for file in lessons.glob("*/process")]) or not written[0]:
            page.wait_for_timeout(50)
    os.kill(int(written[0]), signal.SIGKILL)
    wait_for_status(page, "teach-status", "It goes on after an interruption")
    wait_for_status(page, "teach-status", "iterations, loss")
    page.wait_for_function(f"{SHOWN[6:]} !== ''")
    first = page.evaluate(SHOWN)
    page.wait_for_function(f"(first) => ({SHOWN})() !== first", arg=first)

    visitor.reload()
    page.get_by_role("tab", name="Your style").click()
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
    visitor.reload()
    taught = page.locator("#styles input[value^=taught_my_waves_]")
    taught.wait_for(state="attached")
    name = taught.get_attribute("value")
    assert stranger.troubles == []
    stranger.page.add_init_script(NO_STORAGE)  # the page begins all the same
    stranger.visit(link=f"&style={name}")
    stranger.page.locator(f"#styles input[value={name}]:checked").wait_for(state="attached")
    wait_for_status(stranger.page, "status", "My waves")
    stranger.context.close()
    assert stranger.troubles == []
    assert not list(lessons.glob("*/runs"))
