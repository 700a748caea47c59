"""Take pictures of a page that is being served, to look at or for the README.

    python -m demo.app &
    python -m tests.browser.screenshots http://127.0.0.1:7860 OUT [--photo FILE] [--only stylize-desktop-light ...]

Every tab, on a desktop and on a phone, light and dark; WebP files of less than 150 KB each.

    make mlflow-ui &
    python -m tests.browser.screenshots --mlflow ADDRESS_OF_THE_RUNS OUT    # as `make mlflow-ui` prints it

Writes OUT/mlflow.png, the saved view's charts.

    python -m http.server --directory build/static &
    python -m tests.browser.screenshots --static http://127.0.0.1:8000 OUT

Writes OUT/static.webp, the page without a server.
"""

import argparse
import io
from pathlib import Path
from typing import Any

from PIL import Image

from tests.conftest import ARGUMENTS, BROWSER

SCREENS = {"desktop": (1440, 900, 1), "phone": (390, 844, 2)}
TABS = ("Stylize", "Film", "Gatys", "Compare", "Your style")
LARGEST = 150_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description="Pictures of the page.")
    parser.add_argument("address")
    parser.add_argument("--mlflow", action="store_true", help="the address is that of runs on MLflow's page")
    parser.add_argument("--static", action="store_true", help="the address is that of the page without a server")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photo", type=Path, help="upload this first; else the page's sample photo is shown")
    parser.add_argument("--style", help="title of the style to choose; else the first")
    parser.add_argument(
        "--comparison", default="One photo in several styles", help="the ready-made comparison to show"
    )
    parser.add_argument("--only", nargs="*", default=[], metavar="TAB-SCREEN-THEME", help="such as stylize-phone-dark")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=list(ARGUMENTS))
        if options.mlflow:
            picture_of_mlflow(browser, options.address, options.folder / "mlflow.png")
            return
        if options.static:
            picture_without_a_server(browser, options.address, options.folder / "static.webp")
            return
        for screen, (width, height, scale) in SCREENS.items():
            for theme in ("light", "dark"):
                names = {f"{tab}-{screen}-{theme}".lower().replace(" ", "-"): tab for tab in TABS}
                wanted = {name: tab for name, tab in names.items() if not options.only or name in options.only}
                if not wanted:
                    continue
                context = browser.new_context(
                    viewport={"width": width, "height": height}, device_scale_factor=scale, color_scheme=theme
                )
                page = context.new_page()
                page.set_default_timeout(120_000)
                page.goto(f"{options.address}?__theme={theme}")
                settle(page, options.photo, options.style)
                for name, tab in wanted.items():
                    page.get_by_role("tab", name=tab).click()
                    if tab == "Compare":
                        compare(page, options.photo, options.comparison)
                    if tab == "Gatys":
                        paint(page, options.photo)
                    page.evaluate("window.scrollTo(0, 0)")
                    page.wait_for_timeout(700)  # fonts, transitions
                    target = options.folder / f"{name}.webp"
                    target.write_bytes(small(page.screenshot(full_page=True)))
                    print(target, target.stat().st_size)
                context.close()
        browser.close()


def picture_of_mlflow(browser: Any, address: str, target: Path) -> None:
    """The charts of the saved view."""
    page = browser.new_page(viewport={"width": 1440, "height": 1230})
    page.set_default_timeout(120_000)
    page.goto(f"{address}&compareRunsMode=CHART")
    page.get_by_role("button", name="Close").last.click()  # the assistant
    page.mouse.move(0, 0)
    page.wait_for_timeout(10_000)  # the charts draw themselves
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB").resize((1200, 1025), Image.Resampling.LANCZOS)
    image.quantize(256).save(target, optimize=True)
    print(target, target.stat().st_size)


def picture_without_a_server(browser: Any, address: str, target: Path) -> None:
    """The page with its first picture, and what it was computed by."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(120_000)
    page.goto(address)
    page.get_by_text("Ready to work without a network.").wait_for()
    page.wait_for_timeout(700)  # fonts
    target.write_bytes(small(page.screenshot(full_page=True)))
    print(target, target.stat().st_size)


def settle(page: Any, photo: Path | None, style: str | None) -> None:
    """Wait until the first picture is there, painted as asked for."""
    page.wait_for_function("document.querySelector('#result img')?.src")
    page.wait_for_function("document.querySelector('#status').innerText.includes('pixels')")
    if photo is not None:
        page.set_input_files("#photo input[type=file]", photo)
        page.wait_for_function("!document.querySelector('#status').innerText.includes('sample photo')")
    if style is not None:
        page.get_by_role("radio", name=style).check(force=True)
        page.wait_for_function("(style) => document.querySelector('#status').innerText.includes(style)", arg=style)
    page.wait_for_function("[...document.images].every((image) => image.complete)")


def compare(page: Any, photo: Path | None, comparison: str) -> None:
    """Run one of the ready-made comparisons."""
    button = page.locator("#compare-ready").get_by_role("button", name=comparison)
    button.wait_for()
    if photo is not None:
        page.set_input_files("#compare-photo input[type=file]", photo)
        page.locator("#compare-photo img").wait_for()
    button.click()
    page.locator("#compare-sheet").wait_for()
    page.wait_for_function("[...document.images].every((image) => image.complete)")


def paint(page: Any, photo: Path | None) -> None:
    """Paint as Gatys et al. do, to the end."""
    if photo is not None:
        page.set_input_files("#gatys-photo input[type=file]", photo)
    else:
        page.locator("#gatys-samples button").nth(3).click()
    page.locator("#gatys-photo img").wait_for()
    page.wait_for_function("document.querySelector('#gatys-estimate').innerText.includes('About')")
    page.click("#gatys-paint")
    page.wait_for_function(
        "document.querySelector('#gatys-status').innerText.includes('Painted after')", timeout=600_000
    )


def small(png: bytes) -> bytes:
    """The picture as WebP, as good as fits."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    for quality in range(90, 20, -10):
        stream = io.BytesIO()
        image.save(stream, "WEBP", quality=quality, method=6)
        if stream.tell() <= LARGEST:
            break
    return stream.getvalue()


if __name__ == "__main__":
    main()
