"""The sheet of all styles on one photo."""

import html
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from demo.page import save_for_browser
from demo.services.previews import preview_photo
from demo.services.stylize import Stylizer
from demo.services.teach.lessons import owner_of
from demo.status import progress_status, result_line, run_in_batch, start_and_stop, status_line
from demo.words import file_name, seconds_text
from stylecore.errors import StylecoreError
from stylecore.library import CHAMPION
from stylecore.pictures.write import to_image
from stylecore.sheet import compose, label_of


def sheet(
    stylizer: Stylizer, photo: str | None, strength: float, keep_colors: bool, owner: str = "", chosen: str = ""
) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """Stylize the photo, or the sample photo while there is none, with every style; say how far it is, as HTML, and at
    the end give the sheet as PNG and as JPEG.

    Args:
        owner, chosen: whose own styles are among them, and the name of a style that is too.

    Raises:
        StylecoreError: as `Stylizer.stylize`, and where there is no style.
    """
    entries = stylizer.catalogue.styles(owner, chosen)
    source = photo or preview_photo()
    if not entries or source is None:
        raise StylecoreError(stylizer.catalogue.notice or "there is no style yet.")
    side = min(stylizer.limits.sheet_side, stylizer.limits.stylize_max_side)
    cells: list[tuple[str, Any]] = []
    started = time.perf_counter()
    for entry in entries:
        now = f"{len(cells)} of {len(entries)} styles, now <strong>{html.escape(entry.title)}</strong>"
        yield progress_status(now), None
        result = stylizer.stylize(source, entry.name, CHAMPION, side)
        cells.append((label_of(entry.title, "Your style"), to_image(result.finish(strength, keep_colors))))
    seconds = time.perf_counter() - started
    pixels = compose([("Your photo", to_image(result.content / 255)), *cells])
    settings = {"command": "sheet", "styles": [entry.name for entry in entries], "strength": strength}
    name = file_name(Path(source).stem, "all-styles")
    png = save_for_browser(pixels, "PNG", name, settings=settings)
    jpeg = save_for_browser(pixels, "JPEG", name, settings=settings)
    yield result_line(f"{len(entries)} styles", f"{seconds_text(seconds)} on {result.device}"), (png, jpeg)


def build_sheet(
    stylizer: Stylizer,
    photo: gr.Image,
    strength: gr.Slider,
    keep_colors: gr.Checkbox,
    style: gr.State,
    token: gr.State | gr.BrowserState,
) -> None:
    """Lay out the accordion with all styles on one photo, and connect it.

    Args:
        style: holds the name of the chosen style.
        token: of the visitor, for styles of their own.
    """
    with gr.Accordion("All styles on my photo", open=False, elem_id="sheet-more"):
        status = gr.HTML(status_line("Your photo in every style, side by side on one sheet."), elem_id="sheet-status")
        buttons = start_and_stop("Make the sheet", "sheet")
        picture = gr.Image(
            label="All styles",
            show_label=False,
            format="jpeg",
            interactive=False,
            visible=False,
            buttons=["fullscreen"],
            elem_id="sheet",
            alt_text="Your photo in every style",
        )
        with gr.Row(elem_classes="downloads", visible=False) as downloads:
            png = gr.DownloadButton("Download PNG", elem_id="sheet-png")
            jpeg = gr.DownloadButton("Download JPEG", elem_id="sheet-jpeg")

    def make_sheet(
        photo: str | None, strength: float, keep_colors: bool, chosen: str, token: str
    ) -> Iterator[dict[Any, Any]]:
        for said, files in sheet(stylizer, photo, strength, keep_colors, owner_of(token), chosen):
            yield {status: said}
            if files is not None:
                yield {
                    picture: gr.Image(files[1], visible=True),
                    downloads: gr.Row(visible=True),
                    png: gr.DownloadButton(value=files[0]),
                    jpeg: gr.DownloadButton(value=files[1]),
                }

    outputs = [status, picture, downloads, png, jpeg]
    inputs = [photo, strength, keep_colors, style, token]
    run_in_batch(buttons, [buttons[0].click], make_sheet, inputs, outputs)
