"""The page without a server in headless Chromium: its speed and start, and how near its pictures are to the engine's.

    make static
    python -m tests.benchmarks.browser                       # all, as tables
    python -m tests.benchmarks.browser --only pictures       # every style beside the engine

The speed is that of the network alone, at a square with its border. ONNX Runtime and the engine in float32 run the
same style in turn with it, on as many threads. `start` is the first visit: no cache, all files from this machine.
"""

import argparse
import http.server
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from demo.static.folder import FOLDER
from stylecore.command import run_command
from stylecore.errors import StylecoreError
from stylecore.inference.engine import Engine, crop_of, frame
from stylecore.inference.onnx_graph import export_onnx
from stylecore.inference.openvino import EVERY
from stylecore.library import open_style
from stylecore.pictures.read import load_picture
from tests.browser.screenshots import ARGUMENTS, BROWSER

SIDES = (256, 512, 1024)
THREADS = (1, 2)
ASK = """async ([name, side, threads, turns]) => {
  const { styles } = await (await fetch('styles.json')).json();
  const worker = new Worker('worker.js', { type: 'module' });
  const ask = (task, values = {}) => new Promise((done, failed) => {
    worker.onmessage = ({ data }) => (data.error ? failed(new Error(data.error)) : done(data));
    worker.postMessage({ id: 1, task, ...values });
  });
  const { runtime } = await ask('start', { wanted: threads === 1 ? 'wasm1' : 'wasm' });
  const canvas = new OffscreenCanvas(side, side);
  const photo = await createImageBitmap(await (await fetch('photos/china.jpg')).blob());
  canvas.getContext('2d').drawImage(photo, 0, 0, side, side);
  await ask('photo', { bitmap: canvas.transferToImageBitmap() });
  const style = { ...styles.find((each) => each.name === name), side };
  const seconds = [];
  for (let turn = 0; turn <= turns; turn += 1) {
    seconds.push((await ask('stylize', { style, brush: 1, strength: 1 })).seconds);
  }
  worker.terminate();
  return { runtime, seconds: seconds.slice(1) };
}"""

WHEN_PAINTED = """new MutationObserver(() => {
  if (document.getElementById('status')?.textContent.includes('pixels')) globalThis.painted ??= Date.now();
}).observe(document, { subtree: true, childList: true, characterData: true });"""


class Files(http.server.SimpleHTTPRequestHandler):
    """A server of files that notes when it sent how many bytes."""

    sent: ClassVar[list[tuple[float, int]]] = []

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        Files.sent.append((time.time(), len(content)))
        outputfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def open_page(browser: Any, address: str) -> Any:
    """A first visit, until the first picture is there."""
    page = browser.new_context(accept_downloads=True).new_page()
    page.set_default_timeout(300_000)
    page.goto(f"{address}?runtime=wasm")
    page.locator("#status", has_text="pixels").wait_for()
    return page


def start(browser: Any, address: str, options: argparse.Namespace) -> None:
    print("| | |\n|---|---|")
    Files.sent.clear()
    began = time.time()
    page = browser.new_context().new_page()
    page.set_default_timeout(300_000)
    page.add_init_script(WHEN_PAINTED)
    page.goto(f"{address}?runtime=wasm", wait_until="commit")
    paint = None
    while paint is None:
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null")
    page.locator("#status", has_text="pixels").wait_for()
    painted = page.evaluate("globalThis.painted") / 1000  # after it, the page fetches the rest for use offline
    print(f"| first paint | {paint / 1000:.2f} s |")
    print(f"| first picture | {painted - began:.1f} s |")
    print(f"| bytes until then | {sum(size for when, size in Files.sent if when < painted) / 1e6:.1f} MB |")


def speed(browser: Any, address: str, options: argparse.Namespace) -> None:
    import onnxruntime  # type: ignore[import-untyped]

    model = open_style(options.style)
    crop = crop_of(model.card.network)
    page = open_page(browser, address)
    print("| side | threads | browser | ONNX Runtime | engine, float32 | browser to ONNX Runtime, to engine |")
    print("|---|---|---|---|---|---|")
    for side in SIDES:
        for threads in THREADS:
            answer = page.evaluate(ASK, [options.style, side, threads, options.turns])
            pixels = frame(torch.rand(1, 3, side, side), model.card.network)[0]
            torch.set_num_threads(threads)
            settings = onnxruntime.SessionOptions()
            settings.intra_op_num_threads = threads
            session = onnxruntime.InferenceSession(export_onnx(model, "float32", crop=crop), settings)
            runtime = timed(partial(session.run, None, {"pixels": pixels.numpy()}), options.turns)
            engine = Engine(model, "cpu", "openvino")
            own = timed(partial(engine._stylize, pixels, EVERY, EVERY), options.turns)
            web = statistics.median(answer["seconds"])
            print(f"| {side} | {threads} | {web * 1e3:.0f} ms | {runtime * 1e3:.0f} ms | {own * 1e3:.0f} ms "
                  f"| {web / runtime:.1f}, {web / own:.1f} |", flush=True)  # fmt: skip


def timed(call: Callable[[], Any], turns: int) -> float:
    """The median of the seconds, after one call to warm up."""
    seconds = []
    for _ in range(turns + 1):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def pictures(browser: Any, address: str, options: argparse.Namespace) -> None:
    page = open_page(browser, address)
    styles = json.loads((options.folder / "styles.json").read_text("utf-8"))["styles"]
    photo = options.folder / "photos" / "china.jpg"
    pixels = load_picture(photo).pixels
    print(f"| style | PSNR at {pixels.shape[2]} x {pixels.shape[1]} |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for style in styles:
            page.locator(f"input[value={style['name']}]").check(force=True)
            page.locator("#status", has_text=f"{style['title']} · ").wait_for()
            with page.expect_download() as download:
                page.click("#png")
            out = Path(folder) / f"{style['name']}.png"
            download.value.save_as(out)
            found = np.asarray(Image.open(out).convert("RGB"), dtype=np.float64) / 255
            expected = Engine(open_style(style["name"]), "cpu", "torch").stylize(pixels).permute(1, 2, 0).numpy()
            error = float(((found - expected) ** 2).mean())
            print(f"| {style['title']} | {-10 * np.log10(error):.1f} dB |", flush=True)


SECTIONS = {"start": start, "speed": speed, "pictures": pictures}


def run(options: argparse.Namespace) -> None:
    from playwright.sync_api import sync_playwright

    if not (options.folder / "styles.json").is_file():
        raise StylecoreError(f"{options.folder} has no page; `make static` writes it.")
    with sync_playwright() as playwright, served(options.folder) as address:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=list(ARGUMENTS))
        for name in options.only:
            SECTIONS[name](browser, address, options)
            print()
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the page")
    parser.add_argument("--style", default="starry_night", metavar="NAME", help="the one that is timed")
    parser.add_argument("--turns", type=int, default=5)
    raise SystemExit(run_command(run, parser.parse_args()))
