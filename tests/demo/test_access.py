"""What can be read through the page, and what cannot; what programs and MCP clients are served."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import gradio as gr
import httpx
import pytest
from gradio_client import handle_file
from PIL import Image

from tests.conftest import REPOSITORY
from tests.demo.conftest import client_of


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "../../../../etc/passwd", "/proc/self/environ", "README.md", "mlruns/mlflow.db"),
        *(str(REPOSITORY / "README.md"), str(REPOSITORY / ".git" / "config"), "file:///etc/passwd", "demo"),
        *("http://127.0.0.1/", "https://example.com/", "HTTP://example.com/"),
    ],
)
def test_no_other_file_can_be_read(page: tuple[gr.Blocks, str], photo: Path, path: str) -> None:
    for address in (f"file={path}", f"file={quote(path, safe='')}", f"proxy={path}"):
        answer = httpx.get(f"{page[1]}gradio_api/{address}", timeout=200)
        assert answer.status_code in (400, 403, 404), (address, answer.status_code)
    # A visitor's photo on the server that nobody uploaded.
    assert httpx.get(f"{page[1]}gradio_api/file={photo}", timeout=200).status_code == 403


@pytest.mark.parametrize("address", ["https://example.com/photo.png", "http://127.0.0.1:1/photo.png"])
def test_no_photo_is_fetched_from_elsewhere(page: tuple[gr.Blocks, str], address: str) -> None:
    endpoint = f"{page[1]}gradio_api/call/stylize"
    photo = {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}}
    call = httpx.post(endpoint, json={"data": [photo, "night", "champion", 96, 1.0, False, 1.0]}, timeout=200).json()
    answer = httpx.get(f"{endpoint}/{call['event_id']}", timeout=200).text
    assert "event: error" in answer
    assert "no address is fetched here" in answer


def test_nobody_passes_by_the_queue(page: tuple[gr.Blocks, str]) -> None:
    for route in ("run/stylize", "api/stylize"):
        answer = httpx.post(f"{page[1]}gradio_api/{route}", json={"data": [None] * 7}, timeout=200)
        assert answer.status_code == 404, route


def test_the_page_asks_for_nothing_outside(page: tuple[gr.Blocks, str]) -> None:
    index = httpx.get(page[1], timeout=200).text
    loaded = re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"'](https?:)?//[^\"']+", index)
    assert loaded == []
    assert page[0].analytics_enabled is False


def test_the_documented_program_runs(
    page: tuple[gr.Blocks, str], photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = re.findall(
        r"```python\n(.*?)```", (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8"), re.DOTALL
    )
    (program,) = (text for text in programs if "gradio_client" in text)
    assert "http://127.0.0.1:7860" in program
    program = (
        program.replace("http://127.0.0.1:7860", page[1])
        .replace("starry_night", "night")
        .replace("great_wave", "wave")
    )
    with Image.open(photo) as image:
        image.convert("RGB").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert "61" in done.stdout


def test_a_program_that_names_a_file_uploads_it(page: tuple[gr.Blocks, str], photo: Path) -> None:
    painted, facts = client_of(page[1]).predict(handle_file(photo), "wave", api_name="/stylize")
    assert Path(painted).is_file()
    assert facts["runtime"]
