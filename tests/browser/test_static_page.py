"""The page without a server, in Chromium: it paints what the engine paints, asks nobody else, works offline."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

import av
import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from demo.services.catalogue import BundleCatalogue
from demo.static.runtime import PACKAGES
from stylecore.__main__ import main
from stylecore.errors import StylecoreError
from stylecore.johnson.transform_net import TransformNetConfig
from stylecore.pictures.write import save_picture
from tests.browser.conftest import Watched
from tests.demo.conftest import make_style, write_bundle, write_film

pytest.importorskip("onnx", reason="onnx is not installed")

NETWORK = TransformNetConfig(residual_blocks=1, width=0.25, input_noise=0.06)
NARROW = replace(NETWORK, width=0.125)  # for a large photo
PAINTED_SIDE = 128
LARGEST_WHOLE, SHOWN = 1_000_000, 1024
"""What is large: so many pixels are painted whole, such a side is shown."""
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
def bundle(folder: Path) -> Path:
    return folder.parent / "bundle"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with three small networks, written once for all workers."""
    here = tmp_path_factory.getbasetemp()
    shared = (here.parent if "PYTEST_XDIST_WORKER" in os.environ else here) / "static-page"
    with FileLock(f"{shared}.lock"):
        if not (shared / "static").exists():
            write_folder(shared)
    return shared / "static"


def write_folder(shared: Path) -> None:
    from demo.static.folder import write_page

    models = [
        make_style(0, NETWORK, name="night", title="The Night", painted_side=PAINTED_SIDE),
        make_style(1, NETWORK, name="wave", title="The Wave", painted_side=PAINTED_SIDE),
        make_style(2, NARROW, name="sea", title="The Sea", painted_side=640),
    ]
    (shared / "photos").mkdir(parents=True, exist_ok=True)
    bundle = write_bundle(shared / "bundle", [(model, "1", ["champion"]) for model in models])
    save_picture(smooth(60, 90), shared / "photos" / "china.jpg")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STYLECORE_PHOTOS", str(shared / "photos"))
        patch.setenv("npm_config_fetch_retries", "0")
        patch.setenv("npm_config_fetch_timeout", "20000")
        try:
            built = write_page(shared / "building", BundleCatalogue(bundle))
        except StylecoreError as error:
            if "npm" not in str(error):
                raise
            pytest.skip(f"onnxruntime-web is not to be had: {error}")
    # A photo that is large for a browser would take it a minute.
    replace_in(built / "tiles.js", "LARGEST_WHOLE = 4e6;", f"LARGEST_WHOLE = {LARGEST_WHOLE};")
    replace_in(built / "worker.js", "SHOWN = 2048;", f"SHOWN = {SHOWN};")
    built.rename(shared / "static")


def replace_in(file: Path, text: str, by: str) -> None:
    content = file.read_text("utf-8")
    assert content.count(text) == 1
    file.write_text(content.replace(text, by), "utf-8")


class _Files(SimpleHTTPRequestHandler):
    headers_to_add: Mapping[str, str] = MappingProxyType({})
    keep = "no-store"  # what works offline is kept by the page itself

    def end_headers(self) -> None:
        self.send_header("Cache-Control", self.keep)
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
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
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


@pytest.fixture
def page(browser: Any, serve: Callable[[dict[str, str]], ThreadingHTTPServer]) -> Iterator[Any]:
    """The page of a plain host, which has painted its first picture. Nothing may go wrong in it."""
    watched = Watched(browser, f"http://127.0.0.1:{serve({}).server_port}/", permissions=["camera"])
    wait_for(watched.page, f"The Night · {SAMPLE}")
    yield watched.page
    watched.context.close()
    assert watched.troubles == []


DROP = """([onto, name, type, content]) => {
  const files = new DataTransfer(); files.items.add(new File([new Uint8Array(content)], name, { type }));
  for (const kind of ['dragover', 'drop']) {
    const event = new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: files });
    if (document.querySelector(onto).dispatchEvent(event)) throw new Error('the browser would leave the page');
  }
}"""


def drop(page: Any, onto: str, file: Path, kind: str) -> None:
    page.evaluate(DROP, [onto, file.name, kind, list(file.read_bytes())])


def downloaded(page: Any, button: str = "#png", mode: str = "RGB") -> np.ndarray:
    with page.expect_download() as download:
        page.click(button)
    with Image.open(download.value.path()) as image:
        return np.asarray(image.convert(mode), dtype=np.float64)


def painted_by_the_engine(bundle: Path, style: str, photo: Path, *flags: str, mode: str = "RGB") -> np.ndarray:
    out = photo.with_name(f"{style}-{len(flags)}.png")
    command = ["stylize", str(photo), "--style", str(bundle / f"{style}-1.safetensors"), "-o", str(out)]
    assert main([*command, "--runtime", "torch", *flags]) == 0
    with Image.open(out) as image:
        return np.asarray(image.convert(mode), dtype=np.float64)


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
    watched = Watched(browser, address)
    page, context = watched.page, watched.context
    assert "This is a sample photo" in wait_for(page, f"The Night · {SAMPLE}")
    page.set_input_files("#photo", photo)
    wait_for(page, f"The Night · {OWN} · {PAINTED}")
    night = painted_by_the_engine(bundle, "night", photo)
    assert night.std() > 20  # no gray area
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
    said = "That did not work. a.jpg is not a picture that this browser can read, or it is too large; "
    assert page.inner_text("#status") == said + "choose a JPEG, PNG or WebP."
    assert psnr(downloaded(page), wave) > LEAST_PSNR  # the picture before is still there

    page.get_by_text("Ready to work without a network.").wait_for()
    assert page.evaluate("crossOriginIsolated")  # else there is one thread only
    assert watched.troubles == []

    close(server)
    context.set_offline(True)
    page.reload()
    wait_for(page, f"The Night · {SAMPLE}")
    page.get_by_role("radio", name="The Wave").check(force=True)
    wait_for(page, f"The Wave · {SAMPLE}")
    context.close()


def test_a_large_photo_is_painted_in_tiles_upright_and_at_its_size(
    page: Any, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tmp_path / "large.jpg"
    pixels = smooth(1000, 1400).permute(1, 2, 0).mul(255).byte().numpy()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(pixels).save(photo, quality=95, exif=exif)
    page.get_by_role("radio", name="The Sea").check(force=True)
    page.locator("#brush").fill("0.5")
    page.set_input_files("#photo", photo)
    page.evaluate(KEEP_STATUS)
    page.get_by_role("radio", name="The Wave").check(force=True)
    wait_for(page, "The Wave · 1000 \N{MULTIPLICATION SIGN} 1400")
    page.get_by_role("radio", name="The Sea").check(force=True)
    wait_for(page, "The Sea · 1000 \N{MULTIPLICATION SIGN} 1400 pixels · painted at 914 \N{MULTIPLICATION SIGN} 1280")
    assert any("The Sea, 50 %" in " ".join(said.split()) for said in page.evaluate("window.said"))  # of the tiles
    assert page.evaluate("document.querySelector('#after').height") == SHOWN  # the screen gets no more
    monkeypatch.setattr("stylecore.inference.engine.LARGEST_WHOLE", LARGEST_WHOLE)
    expected = painted_by_the_engine(bundle, "sea", photo, "--brush", "0.5")
    assert expected.shape == (1400, 1000, 3)
    picture = downloaded(page)
    assert psnr(picture, expected) > LEAST_PSNR
    for edge in (np.s_[:12], np.s_[:, :12]):  # where another border of the tiles would be seen
        assert psnr(picture[edge], expected[edge]) > LEAST_PSNR + 10


def over_white(picture: np.ndarray) -> np.ndarray:
    alpha = picture[..., 3:] / 255
    return picture[..., :3] * alpha + 255 * (1 - alpha)


def test_a_transparent_photo_is_painted_over_white_and_keeps_its_alpha(
    page: Any, bundle: Path, tmp_path: Path
) -> None:
    photo = tmp_path / "logo.png"
    alpha = torch.linspace(-0.5, 1.5, 211).clamp(0, 1).expand(1, 157, 211)
    rgba = torch.cat([smooth(157, 211) * (alpha > 0), alpha]).permute(1, 2, 0).mul(255).round().byte().numpy()
    Image.fromarray(rgba).save(photo)
    drop(page, "h1", photo, "image/png")  # anywhere on the page
    wait_for(page, f"The Night · {OWN}")
    expected = painted_by_the_engine(bundle, "night", photo, mode="RGBA")
    picture = downloaded(page, mode="RGBA")
    np.testing.assert_array_equal(picture[..., 3], rgba[..., 3])
    assert psnr(over_white(picture), over_white(expected)) > LEAST_PSNR
    jpeg = downloaded(page, "#jpeg")
    assert psnr(jpeg, over_white(expected)) > LEAST_PSNR - 5  # JPEG costs some


def test_of_two_photos_the_one_chosen_last_is_painted(page: Any, tmp_path: Path) -> None:
    for name, size in (("slow", (120, 90)), ("quick", (60, 80))):
        save_picture(smooth(*size), tmp_path / f"{name}.png")
    page.evaluate("""() => {
      const decode = window.createImageBitmap;
      window.createImageBitmap = async (file, options) => {
        const bitmap = await decode(file, options);
        if (file.name === 'slow.png') await new Promise((end) => { window.end = end; });
        return bitmap;
      };
    }""")
    page.set_input_files("#photo", tmp_path / "slow.png")
    page.set_input_files("#photo", tmp_path / "quick.png")
    wait_for(page, "The Night · 80 \N{MULTIPLICATION SIGN} 60")
    page.evaluate("window.end()")
    page.get_by_role("radio", name="The Wave").check(force=True)
    wait_for(page, "The Wave · 80 \N{MULTIPLICATION SIGN} 60")


def test_the_readme_names_every_library(folder: Path) -> None:
    said = (folder / "README.md").read_text()
    assert all(f"`{each.folder}/` is {each.name.split('@')[0]}" in said for each in PACKAGES)


def test_the_webcam_is_painted_live(page: Any) -> None:
    page.get_by_text("Live from the webcam").click()
    page.get_by_role("button", name="Start the webcam").click()
    page.locator("#live-status", has_text="frames a second").wait_for()
    first = page.evaluate(LIVE_PICTURE)
    assert page.inner_text("#live-status").startswith("The Night · 320 \N{MULTIPLICATION SIGN} 240 pixels · ")
    page.wait_for_timeout(1500)
    assert page.evaluate(LIVE_PICTURE) != first  # the fake webcam's picture moves
    page.evaluate(KEEP_TRACKS)
    page.get_by_role("button", name="Stop the webcam").click()
    page.get_by_role("button", name="Start the webcam").click()
    page.get_by_role("button", name="Stop the webcam").wait_for()
    page.get_by_text("Live from the webcam").click()  # what is closed is off
    page.locator("#camera", has_text="Start the webcam").wait_for(state="attached")
    assert page.evaluate("window.tracks.map((track) => track.readyState)") == ["ended"]
    page.get_by_text("Live from the webcam").click()
    page.evaluate(FAIL_LATE)
    page.get_by_role("button", name="Start the webcam").click()
    page.evaluate("window.began")
    page.get_by_role("button", name="Stop the webcam").click()
    for name, said in CAMERA_TROUBLES.items():
        page.evaluate(REFUSE, name)
        page.get_by_role("button", name="Start the webcam").click()
        told = page.locator("#live-status", has_text=f"That did not work. {said}")
        told.wait_for()
        page.evaluate("window.failLate()")
        assert told.is_visible()  # what was stopped says nothing over it
    page.evaluate("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")  # as without https
    page.get_by_role("button", name="Start the webcam").click()
    page.locator(
        "#live-status", has_text="That did not work. Browsers give the webcam only to pages with https"
    ).wait_for()


CAMERA_TROUBLES = {
    "NotAllowedError": "The browser does not allow the webcam; allow it for this page.",
    "NotFoundError": "There is no webcam on this device.",
    "NotReadableError": "Another program uses the webcam; close it first.",
}
KEEP_TRACKS = """() => {
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  window.tracks = [];
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await ask(wanted);
    window.tracks.push(...stream.getTracks());
    return stream;
  };
}"""
REFUSE = """(name) => {
  navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('in its own words', name));
}"""
FAIL_LATE = """() => { window.began = new Promise((begin) => { window.createImageBitmap = () => {
  begin(); return new Promise((_, fail) => { window.failLate = () => fail(new Error('late')); }); }; }); }"""
KEEP_STATUS = """() => {
  const status = document.querySelector('#status'); window.said = [];
  new MutationObserver(() => window.said.push(status.textContent)).observe(status, { childList: true, subtree: true });
}"""
LIVE_PICTURE = "document.querySelector('#live').toDataURL()"


def test_a_film_is_painted_with_its_sound(page: Any, tmp_path: Path) -> None:
    clip, out = tmp_path / "my clip.mp4", tmp_path / "out.mp4"
    write_film(clip, 12, (160, 120))
    drop(page, "#photo", clip, "video/mp4")
    page.get_by_role("radio", name="The Wave").check(force=True)  # for the photo; the film has its own style
    page.locator("#film-save[href]").wait_for()
    said = page.inner_text("#film-status")
    assert said == "The Night · 160 \N{MULTIPLICATION SIGN} 120 pixels"
    with page.expect_download() as download:
        page.click("#film-save")
    assert download.value.suggested_filename == "my-clip-night.mp4"
    download.value.save_as(out)
    with av.open(str(clip)) as before, av.open(str(out)) as after:
        frames = [frame.to_ndarray(format="rgb24").astype(float) for frame in after.decode(video=0)]
        source = [frame.to_ndarray(format="rgb24").astype(float) for frame in before.decode(video=0)]
        assert len(frames) == len(source) == 12
        assert [stream.type for stream in after.streams] == ["video", "audio"]
        assert float(after.streams.video[0].average_rate or 0) == pytest.approx(10, rel=0.1)
    assert all(psnr(a, b) < 25 for a, b in zip(frames, source, strict=True))  # painted, and not copied

    page.locator("#film-shown").evaluate("(video) => video.play()")
    page.set_input_files("#film", {"name": "a.mp4", "mimeType": "video/mp4", "buffer": b"no film"})
    page.locator("#film-status", has_text="That did not work.").wait_for()
    said = "That did not work. a.mp4 is not a film that this browser can read; choose an MP4 or WebM."
    assert page.inner_text("#film-status") == said
    assert page.locator("#film-shown").evaluate("(video) => video.paused")  # it is hidden, and has sound

    write_film(clip, 300)
    page.set_input_files("#film", clip)
    page.click("#film-stop")
    page.locator("#film-stop").wait_for(state="hidden")
    assert page.inner_text("#film-status") == "Stopped."
