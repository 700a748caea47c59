"""What can be read through the page, and what cannot; what programs and MCP clients are served."""

import asyncio
import base64
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
import httpx
import pytest
from gradio_client import handle_file
from PIL import Image

from demo import app
from demo.app import build_demo, main
from demo.services.catalogue import BundleCatalogue
from tests.conftest import REPOSITORY
from tests.demo.conftest import LIMITS, client_of, serving
from tests.small_vgg import small_vgg


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "../../../../etc/passwd", "/proc/self/environ", "README.md", "mlruns/mlflow.db"),
        *(str(REPOSITORY / "README.md"), str(REPOSITORY / ".git" / "config"), "file:///etc/passwd", "demo"),
        *("http://127.0.0.1/", "https://example.com/", "HTTP://example.com/"),
    ],
)
def test_no_other_file_can_be_read(page: tuple[gr.Blocks, str], http: httpx.Client, photo: Path, path: str) -> None:
    for address in (f"file={path}", f"file={quote(path, safe='')}", f"proxy={path}"):
        answer = http.get(f"{page[1]}gradio_api/{address}")
        assert answer.status_code in (400, 403, 404), (address, answer.status_code)
    # A visitor's photo on the server that nobody uploaded.
    assert http.get(f"{page[1]}gradio_api/file={photo}").status_code == 403


@pytest.mark.parametrize("address", ["https://example.com/photo.png", "http://127.0.0.1:1/photo.png"])
def test_no_photo_is_fetched_from_elsewhere(page: tuple[gr.Blocks, str], http: httpx.Client, address: str) -> None:
    endpoint = f"{page[1]}gradio_api/call/stylize"
    photo = {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}}
    call = http.post(endpoint, json={"data": [photo, "night", "champion", 96, 1.0, False, 1.0]}).json()
    answer = http.get(f"{endpoint}/{call['event_id']}").text
    assert "event: error" in answer
    assert "no address is fetched here" in answer


def test_nobody_passes_by_the_queue(page: tuple[gr.Blocks, str], http: httpx.Client) -> None:
    for route in ("run/stylize", "run/gatys", "api/stylize"):
        answer = http.post(f"{page[1]}gradio_api/{route}", json={"data": [None] * 7})
        assert answer.status_code == 404, route


def test_the_page_asks_for_nothing_outside(page: tuple[gr.Blocks, str], http: httpx.Client) -> None:
    index = http.get(page[1]).text
    loaded = re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"'](https?:)?//[^\"']+", index)
    assert loaded == []
    assert page[0].analytics_enabled is False


def test_the_documented_program_runs(
    page: tuple[gr.Blocks, str],
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
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
    exec(compile(program, "docs/python.md", "exec"), {"__name__": "__main__"})
    assert "61" in capsys.readouterr().out


@pytest.fixture
def mcp_page(catalogue: BundleCatalogue) -> Iterator[str]:
    pytest.importorskip("mcp", reason="the package mcp is not installed")
    with serving(build_demo(catalogue, load_vgg=small_vgg, limits=LIMITS), mcp_server=True) as url:
        yield url


def test_an_mcp_client_lists_the_styles_and_stylizes(mcp_page: str, photo: Path) -> None:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    picture = f"data:image/png;base64,{base64.b64encode(photo.read_bytes()).decode()}"

    async def ignore(progress: float, total: float | None, message: str | None) -> None: ...

    async def talk() -> tuple[list[str], Any, Any]:
        async with (
            streamablehttp_client(f"{mcp_page}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = [tool.name for tool in (await session.list_tools()).tools]
            named = {word: next(name for name in tools if name.endswith(word)) for word in ("styles", "stylize")}
            styles = await session.call_tool(named["styles"], {})
            # Without a callback Gradio (6.31) answers several outputs as one text, with the picture's address in it.
            painted = await session.call_tool(
                named["stylize"], {"photo": picture, "style": "night"}, progress_callback=ignore
            )
            return tools, styles, painted

    with ThreadPoolExecutor(1) as another:  # in this thread a browser's loop may be running
        tools, styles, painted = another.submit(asyncio.run, talk()).result()
    assert len(tools) == 5  # with compare_versions, gatys and film
    assert not styles.isError
    assert "wave" in str(styles.content)
    assert not painted.isError, painted.content
    assert any(content.type == "image" for content in painted.content), painted.content


def test_without_the_package_mcp_one_sentence_says_what_to_install(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "find_spec", lambda name: None)
    assert main(["--bundle", str(bundle), "--mcp"]) == 2
    assert "pip install mcp" in capsys.readouterr().err


def test_a_program_that_names_a_file_uploads_it(page: tuple[gr.Blocks, str], photo: Path) -> None:
    painted, facts = client_of(page[1]).predict(handle_file(photo), "wave", api_name="/stylize")
    assert Path(painted).is_file()
    assert facts["runtime"]
