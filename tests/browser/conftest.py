"""The page in Chromium. Skipped where there is no browser or no playwright."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch

from demo.app import build_demo
from demo.services.catalogue import BundleCatalogue
from demo.services.limits import Limits
from stylecore.pictures.write import save_picture
from stylecore.vgg.network import VGG
from tests.demo.conftest import began_with, make_style, serving, write_bundle
from tests.small_vgg import small_vgg

LIMITS = Limits(
    file_size="1mb",
    smallest_side=32,
    stylize_side=128,
    stylize_max_side=256,
    sheet_side=64,
    live_side=48,
    live_seconds=2.0,
    compare_side=96,
    gatys_side=64,
    gatys_larger_steps=5,
)


def patient_vgg() -> VGG:
    """A VGG that takes its time, above all for a large picture, and hardly uses the processor."""
    vgg = small_vgg()
    at_once = vgg.activations

    def activations(pixels: torch.Tensor, layers: Iterable[str]) -> dict[str, torch.Tensor]:
        time.sleep(0.4 if max(pixels.shape[-2:]) > 128 else 0.03)
        return at_once(pixels, layers)

    vgg.activations = activations  # type: ignore[method-assign]
    return vgg


@pytest.fixture(scope="session")
def address(served: tuple[gr.Blocks, str]) -> str:
    return served[1]


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[gr.Blocks, str]]:
    """A served page with two tiny styles, one of them in two versions."""
    old, new = (make_style(seed, name="night", title="The Night") for seed in range(2))
    wave = began_with(new, make_style(2, name="wave", title="The Wave"))
    versions = [(old, "1", ["iterations-10"]), (new, "2", ["champion"]), (wave, "1", ["champion"])]
    bundle = write_bundle(tmp_path_factory.mktemp("bundle"), versions)
    demo = build_demo(BundleCatalogue(bundle), load_vgg=patient_vgg, limits=LIMITS)
    with serving(demo, LIMITS) as url:
        yield demo, url


OpenPage = Callable[..., Any]
PATIENCE = 150
"""Seconds that the browser waits for anything: a busy machine makes no test wrong."""


def source_of(page: Any, selector: str) -> str:
    return page.locator(selector).last.get_attribute("src") or ""


def wait_for_status(page: Any, status: str, text: str) -> None:
    page.wait_for_function(
        "([id, text]) => document.querySelector(id)?.innerText.includes(text)", arg=[f"#{status}", text]
    )


def wait_for_change(page: Any, selector: str, before: str) -> str:
    page.wait_for_function(
        "([selector, before]) => { const all = document.querySelectorAll(selector);"
        " return all.length && all[all.length - 1].src && all[all.length - 1].src !== before; }",
        arg=[selector, before],
    )
    return source_of(page, selector)


class Watched:
    """A browser page, with what went wrong in it."""

    def __init__(
        self, browser: Any, address: str, *screen: Any, permissions: Sequence[str] = (), **options: Any
    ) -> None:
        self.address = address
        self.context = browser.new_context(accept_downloads=True, permissions=list(permissions))
        self.page = self.context.new_page()
        self.page.set_default_timeout(1000 * PATIENCE)
        self.troubles: list[str] = []
        self.page.on("console", lambda m: self._note_error(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self._note_error(str(error)))
        self.context.on("request", lambda request: self._judge(request.url, address))
        self.page.on("response", lambda r: self.troubles.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        self.visit(*screen, **options)

    def visit(self, width: int = 1280, height: int = 900, theme: str = "light", link: str = "") -> None:
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.goto(f"{self.address}?__theme={theme}{link}")

    def reload(self) -> None:
        """Load the page anew. It is no trouble that Gradio reports the streams that it gives up."""
        earlier = len(self.troubles)
        self.page.reload()
        del self.troubles[earlier:]

    def leave(self) -> list[str]:
        """Go elsewhere, as a visitor without settings of the browser; returns what went wrong until then."""
        self.page.evaluate("0")  # what has happened is told before
        troubles = self.troubles.copy()
        self.context.clear_permissions()
        self.page.emulate_media(reduced_motion="null", color_scheme="null")
        self.page.goto("about:blank")
        self.troubles.clear()
        return troubles

    def _note_error(self, error: str) -> None:
        # Gradio reports, or logs, the streams that it gives up when the visitor goes to another address.
        if "AbortError: signal is aborted without reason" not in error:
            self.troubles.append(error)

    def _judge(self, url: str, address: str) -> None:
        if not url.startswith((address, "data:", "blob:")):
            self.troubles.append(f"a request to the outside: {url}")


@pytest.fixture(scope="session")
def windows() -> Iterator[list[Watched]]:
    """Pages that nobody uses. Another visit in one takes half of a first one's time: Chromium knows the scripts."""
    left: list[Watched] = []
    yield left
    for window in left:
        window.context.close()


@pytest.fixture
def open_page(browser: Any, address: str, windows: list[Watched]) -> Iterator[Any]:
    """Open the page at a size and theme, with its first picture, or by a link as "&style=wave"; at the end nothing may
    have gone wrong in it, unless it is not `strict`."""
    opened: list[tuple[Watched, bool]] = []

    def open_one(*screen: Any, strict: bool = True, **options: Any) -> Any:
        if windows:
            opened.append((windows.pop(), strict))
            opened[-1][0].visit(*screen, **options)
        else:
            opened.append((Watched(browser, address, *screen, **options), strict))
        page = opened[-1][0].page
        if "link" not in options:
            wait_for_status(page, "status", "The Night")
        return page

    yield open_one
    troubles = []
    for window, strict in opened:
        if window.page.is_closed():
            found = window.troubles
            window.context.close()
        else:
            found = window.leave()
            windows.append(window)
        troubles += found if strict else []
    assert troubles == []


@contextmanager
def slow_network(page: Any, latency: int = 0) -> Iterator[None]:
    """Uploads take seconds."""
    network = page.context.new_cdp_session(page)
    network.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": latency, "downloadThroughput": -1, "uploadThroughput": 30_000},
    )
    try:
        yield
    finally:
        network.detach()  # which ends it


@pytest.fixture
def photo_file(tmp_path: Path) -> Path:
    torch.manual_seed(5)
    path = tmp_path / "my photo.png"
    save_picture(torch.rand(3, 45, 61), path)
    return path
