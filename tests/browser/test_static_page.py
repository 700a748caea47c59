"""The page without a server, in Chromium: it paints what the engine paints, asks nobody else, works offline."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from demo.services.catalogue import BundleCatalogue
from stylecore.__main__ import main
from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from stylecore.pictures.read import save_picture
from tests.demo.conftest import write_bundle

pytest.importorskip("onnx", reason="onnx is not installed")

NETWORK = TransformNetConfig(residual_blocks=1, width=0.25, input_noise=0.06)
PAINTED_SIDE = 128
ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
LEAST_PSNR = 35.0
SAMPLE = "90 \N{MULTIPLICATION SIGN} 60 pixels"
OWN = "211 \N{MULTIPLICATION SIGN} 157 pixels"
PAINTED = f"painted at {PAINTED_SIDE} \N{MULTIPLICATION SIGN} 95"


def smooth(height: int, width: int) -> torch.Tensor:
    """A photo of soft shapes with some fine detail, (3, height, width)."""
    coarse = torch.rand(1, 3, 6, 8)
    shapes = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")[0]
    return (shapes + 0.05 * torch.randn(1, height, width)).clamp(0, 1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("styles") / "bundle"
    models = []
    for seed, (name, title) in enumerate([("night", "The Night"), ("wave", "The Wave")]):
        torch.manual_seed(seed)
        card = StyleCard(name=name, title=title, network=NETWORK, painted_side=PAINTED_SIDE)
        models.append((StyleModel(TransformNet(NETWORK), card), "1", ["champion"]))
    return write_bundle(folder, models)


@pytest.fixture(scope="module")
def folder(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with two small networks, written once."""
    from demo.static.folder import write_page

    photos = tmp_path_factory.mktemp("photos")
    save_picture(smooth(60, 90), photos / "china.jpg")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STYLECORE_PHOTOS", str(photos))
        patch.setenv("npm_config_fetch_retries", "0")
        patch.setenv("npm_config_fetch_timeout", "20000")
        try:
            return write_page(tmp_path_factory.mktemp("build") / "static", BundleCatalogue(bundle))
        except StylecoreError as error:
            if "npm" not in str(error):
                raise
            pytest.skip(f"onnxruntime-web is not to be had: {error}")


class _Files(SimpleHTTPRequestHandler):
    headers_to_add: Mapping[str, str] = MappingProxyType({})

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")  # what works offline is kept by the page itself
        for name, value in self.headers_to_add.items():
            self.send_header(name, value)
        super().end_headers()

    def do_GET(self) -> None:
        if self.headers_to_add and self.path == "/manifest.webmanifest":
            time.sleep(2)  # so that the service worker is there only after the network
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[[dict[str, str]], ThreadingHTTPServer]]:
    """Serve the folder with additional headers."""
    servers: list[ThreadingHTTPServer] = []

    def start(headers: dict[str, str]) -> ThreadingHTTPServer:
        handler = type("Handler", (_Files,), {"headers_to_add": headers})
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        close(server)


def close(server: ThreadingHTTPServer) -> None:
    server.shutdown()
    server.server_close()


def wait_for(page: Any, text: str) -> str:
    """Wait for words in the status; the page forbids `eval`, so by a locator. Returns the status."""
    page.locator("#status", has_text=text).or_(page.locator("#status.failed")).first.wait_for()
    status = str(page.inner_text("#status"))
    assert text in status
    return status


def downloaded(page: Any) -> np.ndarray:
    with page.expect_download() as download:
        page.click("#png")
    with Image.open(download.value.path()) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float64)


def painted_by_the_engine(bundle: Path, style: str, photo: Path, *flags: str) -> np.ndarray:
    out = photo.with_name(f"{style}-{len(flags)}.png")
    command = ["stylize", str(photo), "--style", str(bundle / f"{style}-1.safetensors"), "-o", str(out)]
    assert main([*command, "--runtime", "torch", *flags]) == 0
    with Image.open(out) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float64)


def psnr(picture: np.ndarray, expected: np.ndarray) -> float:
    assert picture.shape == expected.shape
    return float(10 * np.log10(255**2 / max(((picture - expected) ** 2).mean(), 1e-9)))


@pytest.mark.parametrize("headers", [{}, ISOLATION], ids=["plain host", "isolated by the host"])
def test_the_page_paints_like_the_engine_alone_and_offline(
    browser: Any, serve: Callable[[dict[str, str]], ThreadingHTTPServer], headers: dict[str, str],
    bundle: Path, tmp_path: Path,
) -> None:  # fmt: skip
    server = serve(headers)
    address = f"http://127.0.0.1:{server.server_port}/"
    photo = tmp_path / "my photo.png"
    save_picture(smooth(157, 211), photo)
    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    asked: list[str] = []
    troubles: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(address)

    assert "This is a sample photo" in wait_for(page, f"The Night · {SAMPLE}")
    page.set_input_files("#photo", photo)
    wait_for(page, f"The Night · {OWN} · {PAINTED}")
    night = painted_by_the_engine(bundle, "night", photo)
    assert night.std() > 20  # not a gray area, of which any two are alike
    assert psnr(downloaded(page), night) > LEAST_PSNR

    page.get_by_role("radio", name="The Wave").check(force=True)
    wait_for(page, f"The Wave · {OWN}")
    page.locator("#strength").fill("0.5")
    page.locator("#keep-colors").check(force=True)
    wave = painted_by_the_engine(bundle, "wave", photo, "--strength", "0.5", "--keep-colors")
    assert psnr(night, wave) < LEAST_PSNR - 10
    assert psnr(downloaded(page), wave) > LEAST_PSNR

    page.set_input_files("#photo", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"})
    page.locator("#status.failed").wait_for()
    said = "That did not work. a.jpg is not a picture that this browser can read; choose a JPEG, PNG or WebP."
    assert page.inner_text("#status") == said
    assert psnr(downloaded(page), wave) > LEAST_PSNR  # the picture before is still there

    page.get_by_text("Ready to work without a network.").wait_for()
    assert page.evaluate("crossOriginIsolated")  # else there is one thread only
    assert troubles == []
    assert [url for url in asked if not url.startswith((address, "data:", f"blob:{address}"))] == []

    close(server)
    context.set_offline(True)
    page.reload()
    wait_for(page, f"The Night · {SAMPLE}")
    page.get_by_role("radio", name="The Wave").check(force=True)
    wait_for(page, f"The Wave · {SAMPLE}")
    context.close()
