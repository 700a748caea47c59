"""The examples on the API page, run as they are pasted."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import httpx
import pytest
from PIL import Image

from demo.app import build_demo
from demo.server.examples import PLACEHOLDER, sample_at
from demo.services.catalogue import BundleCatalogue
from stylecore.samples import sample_photos
from tests.demo.conftest import LIMITS, client_of, serving
from tests.small_vgg import small_vgg

pytestmark = pytest.mark.skipif(not sample_photos(), reason="there are no sample photos here")


@pytest.fixture(scope="module")
def page(catalogue: BundleCatalogue) -> Iterator[tuple[gr.Blocks, str]]:
    """A served page that takes photos as large as the samples."""
    limits = replace(LIMITS, photo_pixels=1_000_000)
    demo = build_demo(catalogue, load_vgg=small_vgg, limits=limits)
    with serving(demo, limits) as url:
        yield demo, url


def snippets(url: str, language: str) -> dict[str, str]:
    """Endpoint to program, with little to do."""
    endpoints = httpx.get(f"{url}gradio_api/info", timeout=200).json()["named_endpoints"]
    found = {name: about["code_snippets"][language] for name, about in endpoints.items()}
    few = {"longest_side": r"32", "steps": r"2"}
    for word, number in few.items():
        found = {
            name: re.sub(rf'("?{word}"?[=:] ?)[\d.]+', rf"\g<1>{number}", program) for name, program in found.items()
        }
    return found


@pytest.mark.slow
def test_the_python_programs_run(page: tuple[gr.Blocks, str], tmp_path: Path) -> None:
    programs = snippets(page[1], "python")
    assert set(programs) == {"/styles", "/stylize", "/compare", "/gatys", "/film"}
    together = "\n".join(programs.values())
    done = subprocess.run(
        [sys.executable, "-c", together], capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(".png") >= 3


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ["/styles", "/stylize", "/compare", "/gatys", "/film"])
def test_the_shell_commands_run(page: tuple[gr.Blocks, str], tmp_path: Path, endpoint: str) -> None:
    program = snippets(page[1], "bash")[endpoint]
    done = subprocess.run(
        ["bash", "-c", program], capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "event: complete" in done.stdout, done.stdout + done.stderr
    assert "event: error" not in done.stdout


def test_no_name_is_declared_twice_in_javascript(page: tuple[gr.Blocks, str]) -> None:
    for program in snippets(page[1], "javascript").values():
        names = re.findall(r"const (\w+)", program)
        assert len(names) == len(set(names)), program


def test_the_sample_photo_is_where_the_examples_say(page: tuple[gr.Blocks, str]) -> None:
    for place in ("", "gradio_api/info", "gradio_api/openapi.json"):
        text = httpx.get(f"{page[1]}{place}", timeout=200).text
        assert PLACEHOLDER not in text
    assert "bus.png" not in httpx.get(f"{page[1]}gradio_api/info", timeout=200).text  # Gradio's own, on another server
    behind_a_proxy = {"x-forwarded-host": "styles.example.org", "x-forwarded-proto": "https"}
    served = httpx.get(page[1], headers=behind_a_proxy, timeout=200).text
    (address,) = set(re.findall(r"[^\"'\\]+/sample/\w+\.jpg", served)) & set(
        re.findall(r"https://styles\.example\.org/sample/\w+\.jpg", served)
    )
    photo = httpx.get(page[1] + address.removeprefix("https://styles.example.org/"), timeout=200)
    assert photo.status_code == 200
    assert photo.headers["content-type"] == "image/jpeg"
    assert sample_at(address) in sample_photos()


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1/sample/none.jpg", "http://127.0.0.1/china.jpg", "/sample/china.jpg", "sample/../china.jpg"],
)
def test_only_sample_photos_are_taken_by_address(page: tuple[gr.Blocks, str], address: str) -> None:
    assert sample_at(address) is None
    assert httpx.get(f"{page[1]}sample/none.jpg", timeout=200).status_code == 404


def test_an_example_can_be_given_by_a_program(page: tuple[gr.Blocks, str]) -> None:
    photo = {"path": f"{page[1]}sample/{next(iter(sample_photos()))}.jpg", "meta": {"_type": "gradio.FileData"}}
    picture, _ = client_of(page[1]).predict(photo, "night", longest_side=48, api_name="/stylize")
    with Image.open(picture) as image:
        assert max(image.size) == 48
