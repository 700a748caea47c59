"""The sheet of all styles on one photo."""

import html
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from demo.errors import plainly, sentence_of
from demo.page import refusal, save_for_browser, status_line
from demo.services.limits import BATCH
from demo.services.previews import preview_photo
from demo.services.stylize import Stylizer
from demo.words import file_name, seconds_text
from stylecore.errors import StylecoreError
from stylecore.library import CHAMPION
from stylecore.pictures.read import to_image
from stylecore.sheet import compose

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
"""Options of the events that nobody waits for."""


def begun() -> tuple[gr.Button, gr.Button]:
    """The buttons that start and that stop something, while it goes on."""
    return gr.Button(interactive=False), gr.Button(interactive=True)


def ended() -> tuple[gr.Button, gr.Button]:
    """The same when it is over."""
    return gr.Button(interactive=True), gr.Button(interactive=False)


@dataclass(frozen=True)
class Sheet:
    """All styles on one photo: how far it is, as HTML, and at the end the files."""

    status: str
    png: str | None = None
    jpeg: str | None = None


def sheet(stylizer: Stylizer, photo: str | None, strength: float, keep_colors: bool) -> Iterator[Sheet]:
    """Stylize the photo, or the sample photo while there is none, with every style; say how far it is, then show.

    Raises:
        StylecoreError: as `Stylizer.stylize`, and where there is no style.
    """
    entries = stylizer.catalogue.styles()
    source = photo or preview_photo()
    if not entries or source is None:
        raise StylecoreError(stylizer.catalogue.notice or "there is no style yet.")
    side = min(stylizer.limits.sheet_side, stylizer.limits.stylize_max_side)
    cells: list[tuple[str, Any]] = []
    started = time.perf_counter()
    for entry in entries:
        yield Sheet(
            status_line(f"{len(cells)} of {len(entries)} styles, now <strong>{html.escape(entry.title)}</strong>")
        )
        result = stylizer.stylize(source, entry.name, CHAMPION, side)
        cells.append((entry.title, to_image(result.finish(strength, keep_colors))))
    seconds = time.perf_counter() - started
    pixels = compose([("Your photo", to_image(result.content / 255)), *cells])
    settings = {"command": "sheet", "styles": [entry.name for entry in entries], "strength": strength}
    name = file_name(Path(source).stem, "all-styles")
    png = save_for_browser(pixels, "PNG", name, settings=settings)
    jpeg = save_for_browser(pixels, "JPEG", name, settings=settings)
    yield Sheet(
        status_line(f"<strong>{len(entries)} styles</strong> · {seconds_text(seconds)} on {result.device}"), png, jpeg
    )


def build_sheet(stylizer: Stylizer, photo: gr.Image, strength: gr.Slider, keep_colors: gr.Checkbox) -> None:
    """Lay out the accordion with all styles on one photo, and connect it."""
    with gr.Accordion("All styles on my photo", open=False, elem_id="sheet-more"):
        sheet_status = gr.HTML(
            status_line("Your photo in every style, side by side on one sheet."), elem_id="sheet-status"
        )
        with gr.Row(elem_classes="actions"):
            sheet_button = gr.Button("Make the sheet", variant="primary", elem_id="sheet-run")
            sheet_stop = gr.Button("Stop", elem_id="sheet-stop", interactive=False)
        sheet_picture = gr.Image(
            label="All styles",
            show_label=False,
            format="jpeg",
            interactive=False,
            visible=False,
            buttons=["fullscreen"],
            elem_id="sheet",
            alt_text="Your photo in every style",
        )
        with gr.Row(elem_classes="downloads", visible=False) as sheet_files:
            sheet_png = gr.DownloadButton("Download PNG", elem_id="sheet-png")
            sheet_jpeg = gr.DownloadButton("Download JPEG", elem_id="sheet-jpeg")

    def make_sheet(photo: str | None, strength: float, keep_colors: bool) -> Iterator[tuple[Any, ...]]:
        try:
            for shown in sheet(stylizer, photo, strength, keep_colors):
                if shown.png is None:
                    yield shown.status, *(gr.skip() for _ in range(4))
                else:
                    yield (
                        shown.status,
                        gr.Image(shown.jpeg, visible=True),
                        gr.Row(visible=True),
                        gr.DownloadButton(value=shown.png),
                        gr.DownloadButton(value=shown.jpeg),
                    )
        except Exception as error:  # one that is raised would lie over the page, and be gone in a moment
            yield refusal(sentence_of(error)), *(gr.skip() for _ in range(4))

    def stop_sheet() -> tuple[Any, ...]:
        return *ended(), status_line("Stopped.")

    sheet_run = sheet_button.click(begun, None, [sheet_button, sheet_stop], **QUIET).then(
        plainly(make_sheet),
        [photo, strength, keep_colors],
        [sheet_status, sheet_picture, sheet_files, sheet_png, sheet_jpeg],
        show_progress="minimal",
        show_progress_on=[sheet_status],
        concurrency_id=BATCH,
        api_visibility="private",
    )
    # Gradio's page (6.31) does not do after a failure what `then` asks for.
    sheet_run.success(ended, None, [sheet_button, sheet_stop], **QUIET)
    sheet_run.failure(ended, None, [sheet_button, sheet_stop], **QUIET)
    sheet_stop.click(stop_sheet, None, [sheet_button, sheet_stop, sheet_status], cancels=[sheet_run], **QUIET)
