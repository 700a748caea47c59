"""The first tab: a photo, a style, the result."""

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from demo.errors import plainly
from demo.page import photo_input, pick_sample, save_for_browser, status_line
from demo.services.catalogue import Catalogue, StyleEntry, title_of
from demo.services.limits import MODEL, Limits
from demo.services.previews import preview_photo
from demo.services.stylize import Stylized, Stylizer, settings_of
from demo.tabs.cards import sample_strip, style_cards
from demo.tabs.sheet import QUIET, build_sheet
from demo.tabs.webcam import build_live
from demo.theme import script
from demo.words import file_name, seconds_text
from stylecore.errors import StylecoreError
from stylecore.inference.brush import BRUSH
from stylecore.johnson.style_model import StyleCard
from stylecore.library import CHAMPION
from stylecore.samples import sample_photos


@dataclass(frozen=True)
class Answer:
    """What the tab shows for one request: files in Gradio's cache, and a line about them."""

    before: str
    after: str
    png: str
    jpeg: str
    status: str


def stylize(
    stylizer: Stylizer,
    photo: str | None,
    style: str,
    version: str,
    longest_side: float,
    strength: float,
    keep_colors: bool,
    brush: float = BRUSH,
) -> Answer:
    """Stylize the photo, or the sample photo while there is none, and write the files that the page shows.

    Raises:
        StylecoreError: as `Stylizer.stylize`.
    """
    sample = preview_photo() if photo is None else None
    source = photo or sample
    if source is None:
        raise StylecoreError("there is no photo yet; upload one.")
    result = stylizer.stylize(source, style, version, int(longest_side), brush)
    pixels = result.finish(strength, keep_colors)
    name = file_name(Path(source).stem, style)
    settings = settings_of(result, strength, keep_colors)
    png = save_for_browser(pixels, "PNG", name, alpha=result.alpha, exif=result.exif, settings=settings)
    jpeg = save_for_browser(pixels, "JPEG", name, exif=result.exif, settings=settings)
    before = save_for_browser(result.content / 255, "JPEG", f"{name}-before")
    # The two are laid over each other: through a transparent PNG the other would show.
    return Answer(before, jpeg, png, jpeg, describe(result, sample is not None))


def describe(result: Stylized, is_sample: bool) -> str:
    """The line below the picture, as HTML."""
    height, width = result.size
    parts = [
        f"<strong>{html.escape(title_of(result.card))}</strong>",
        f"{width} &times; {height} pixels",
        f"{seconds_text(result.seconds)} on {html.escape(result.device)}, by {html.escape(result.runtime)}",
    ]
    source_height, source_width = result.source_size
    if result.source_size != result.size:
        parts.insert(2, f"reduced from {source_width} &times; {source_height}")
    notes = [f"About your photo: {html.escape(notice)}." for notice in result.notices]
    if is_sample:
        notes.append("This is a sample photo. Drop your own to paint it.")
    return status_line(" · ".join(parts) + "".join(f"<br>{note}" for note in notes))


def version_label(entry: StyleEntry, version: str) -> str:
    """What a version is called: its iterations, where an alias names them, and "best" for the default."""
    words = [_alias_in_words(alias) for alias in entry.aliases_of(version) if alias != CHAMPION]
    label = ", ".join(words) or f"version {version}"
    return f"{label} (best)" if version == entry.default_version else label


def _alias_in_words(alias: str) -> str:
    count = alias.removeprefix("iterations-")
    return f"{int(count):,} iterations" if count != alias and count.isdigit() else alias


def version_choices(entry: StyleEntry) -> list[tuple[str, str]]:
    """Labels and versions for the dropdown, the default one first."""
    others = [version for version in entry.versions if version != entry.default_version]
    default = (version_label(entry, entry.default_version), CHAMPION)
    return [default, *((version_label(entry, version), version) for version in others)]


def about(card: StyleCard) -> str:
    """What the style is and how its network came about, as HTML."""
    painting = ", ".join(part for part in (card.title, card.artist, card.year) if part)
    facts = [painting or title_of(card)]
    if card.iterations:
        facts.append(f"trained for {card.iterations:,} iterations" + (f" on {card.dataset}" if card.dataset else ""))
    facts += [fact for fact in (card.credit, card.license) if fact]
    return status_line(html.escape(". ".join(fact.rstrip(".") for fact in facts) + "."))


def limits_text(limits: Limits) -> str:
    """What may be uploaded, as HTML."""
    megabytes = limits.file_size.removesuffix("mb")
    return (
        f"<p class='hint'>JPEG, PNG, WebP, AVIF, TIFF, GIF or BMP, up to {megabytes} MB and "
        f"{limits.photo_pixels / 1e6:g} megapixels. Gone from this server within an hour.</p>"
    )


def build_stylize_tab(stylizer: Stylizer, page: gr.Blocks) -> gr.Image:
    """Lay the tab out inside the open `gr.Tab` and connect it. Returns the photo input."""
    catalogue, limits = stylizer.catalogue, stylizer.limits
    style = gr.State("")
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=4, min_width=320, elem_classes="inputs"):
            photo = photo_input(
                label="Your photo",
                sources=["upload", "clipboard", "webcam"],
                height=236,
                elem_id="photo",
                buttons=["fullscreen"],
                placeholder="Drop your photo here\nor click to choose one",
                alt_text="Your photo",
            )
            gr.HTML(limits_text(limits), elem_id="photo-limits")
            samples = gr.HTML(sample_strip(sample_photos()), js_on_load=script("pick_sample"), elem_id="samples")
            styles = gr.HTML("", js_on_load=script("pick_style"), elem_id="styles")
            notice = gr.Markdown(visible=False, elem_id="notice")
        with gr.Column(scale=7, min_width=320, elem_classes="result"):
            result = gr.ImageSlider(
                label="Before and after",
                show_label=False,
                type="filepath",
                format="png",
                slider_position=35,
                max_height=560,
                interactive=False,
                buttons=["fullscreen"],
                elem_id="result",
            )
            status = gr.HTML(status_line("&nbsp;"), elem_id="status")
            with gr.Row(elem_classes="controls"):
                strength = gr.Slider(
                    0, 1, 1, step=0.05, label="Strength of the style", elem_id="strength", buttons=[], scale=3
                )
                keep_colors = gr.Checkbox(
                    label="Keep my photo's colors", elem_id="keep-colors", scale=2, min_width=220
                )
            brush = gr.Slider(
                limits.least_brush,
                limits.largest_brush,
                BRUSH,
                step=0.25,
                label="Size of the brush",
                info="1 paints strokes as large as the painting's, whatever the size of your photo.",
                elem_id="brush",
                buttons=[],
            )
            with gr.Row(elem_classes="downloads"):
                png = gr.DownloadButton("Download PNG", variant="primary", elem_id="download-png", interactive=False)
                jpeg = gr.DownloadButton("Download JPEG", elem_id="download-jpeg", interactive=False)
            with gr.Accordion("Size and version", open=False, elem_id="more"):
                longest_side = gr.Slider(
                    limits.smallest_side,
                    limits.stylize_max_side,
                    limits.stylize_side,
                    step=64,
                    label="Longest side, in pixels",
                    info="A photo that is smaller keeps its exact size.",
                    elem_id="size",
                    buttons=[],
                )
                version = gr.Dropdown(
                    [("Best", CHAMPION)],
                    value=CHAMPION,
                    label="Version of the style",
                    visible=False,
                    elem_id="version",
                )
                card = gr.HTML("", elem_id="about")
            build_sheet(stylizer, photo, strength, keep_colors)
            build_live(stylizer, style)

    def show_styles(current: str) -> tuple[Any, ...]:
        entries = catalogue.styles()
        names = [entry.name for entry in entries]
        chosen = current if current in names else next(iter(names), "")
        return (
            style_cards(entries, chosen),
            gr.Markdown(catalogue.notice, visible=bool(catalogue.notice)),
            chosen,
            *_of_style(catalogue, chosen),
        )

    def pick_style(event: gr.EventData) -> tuple[Any, ...]:
        return event.name, *_of_style(catalogue, event.name)

    def answer(
        photo: str | None,
        style: str,
        version: str,
        longest_side: float,
        strength: float,
        keep_colors: bool,
        brush: float,
    ) -> tuple[Any, ...]:
        if not style and photo is not None:
            raise StylecoreError(catalogue.notice or "there is no style yet.")
        if not style:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        shown = stylize(stylizer, photo, style, version, longest_side, strength, keep_colors, brush)
        return (
            (shown.before, shown.after),
            shown.status,
            gr.DownloadButton(value=shown.png, interactive=True),
            gr.DownloadButton(value=shown.jpeg, interactive=True),
        )

    # Nobody waits for these either, but Gradio informs the page only of a state that a queued event changed.
    setting_style = QUIET | {"queue": True, "concurrency_limit": None}
    page.load(plainly(show_styles), [style], [styles, notice, style, version, card], **setting_style)
    styles.select(plainly(pick_style), None, [style, version, card], **setting_style)
    samples.select(plainly(pick_sample), None, [photo], **QUIET)
    gr.on([photo.upload, samples.select, styles.select], None, js=script("show_result"), **QUIET)
    run: dict[str, Any] = {
        "fn": plainly(answer),
        "inputs": [photo, style, version, longest_side, strength, keep_colors, brush],
        "outputs": [result, status, png, jpeg],
        "show_progress": "minimal",
        "show_progress_on": [status],
        "api_visibility": "private",
        # Whoever asks again before the answer is there gets the answer to what was asked last.
        "trigger_mode": "always_last",
    }
    gr.on(
        [style.change, photo.change, version.input, longest_side.release, brush.release], **run, concurrency_id=MODEL
    )
    # Answered from memory, so not in the queue of the networks.
    gr.on([strength.release, strength.input, keep_colors.input], **run, concurrency_id="finish", concurrency_limit=2)
    return photo


def _of_style(catalogue: Catalogue, style: str) -> tuple[gr.Dropdown, str]:
    """The list of versions, and what the style is."""
    if not style:
        return gr.Dropdown([("Best", CHAMPION)], value=CHAMPION, visible=False), ""
    entry = catalogue.find(style)
    choices = version_choices(entry)
    return gr.Dropdown(choices, value=CHAMPION, visible=len(choices) > 1), about(entry.card)
