"""The first tab: a photo, a style, the result."""

import html
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.page import endpoint, photo_input, save_for_browser, slider, style_input
from demo.services.catalogue import StyleEntry, title_of
from demo.services.limits import MODEL, Limits
from demo.services.link import settings_of_link
from demo.services.stylize import SHARE, Stylizer, Wanted, settings_of
from demo.services.teach.lessons import owner_of
from demo.status import AT_ONCE, QUIET, refused, status_line, waited_for
from demo.tabs.batch import build_batch
from demo.tabs.cards import samples_for, style_cards
from demo.tabs.result import stylize
from demo.tabs.sheet import build_sheet
from demo.tabs.webcam import build_live
from demo.theme import script
from demo.words import file_name
from stylecore.errors import StylecoreError
from stylecore.inference.painting import BRUSH
from stylecore.johnson.style_model import StyleCard
from stylecore.library import CHAMPION
from stylecore.pictures.read import READABLE

NO_MIX = ("No other style", "")
SECONDS_BETWEEN_LOOKS = 0.5
"""While styles are on their way."""


def version_label(entry: StyleEntry, version: str) -> str:
    """What a version is called: its iterations, where an alias names them, and "best" for the default."""
    aliases = sorted(alias for alias, number in entry.aliases.items() if number == version and alias != CHAMPION)
    words = [_alias_in_words(alias) for alias in aliases]
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


def mix_choices(entries: Sequence[StyleEntry]) -> list[tuple[str, str]]:
    """Titles and names for the list of styles to mix with."""
    return [NO_MIX, *((entry.title, entry.name) for entry in entries)]


def about(card: StyleCard) -> str:
    """What the style is and how its network came about, as HTML."""
    painting = ", ".join(part for part in (card.title, card.artist, card.year) if part)
    facts = [painting or title_of(card)]
    if card.iterations:
        began = ", beginning with an earlier network," if card.training.get("init_from") else ""
        photos = f" on {card.dataset}" if card.dataset else ""
        facts.append(f"trained for {card.iterations:,} iterations{began}{photos}".rstrip(","))
    facts += [fact for fact in (card.credit, card.license) if fact]
    return status_line(html.escape(". ".join(fact[:1].upper() + fact[1:].rstrip(".") for fact in facts) + "."))


def limits_text(limits: Limits) -> str:
    """What may be uploaded, as HTML."""
    *others, last = READABLE
    return (
        f"<p class='hint'>{', '.join(others)} or {last}, up to {limits.megabytes} MB and "
        f"{limits.photo_pixels / 1e6:g} megapixels. Gone from this server within an hour.</p>"
    )


@dataclass(frozen=True)
class FirstTab:
    """What other tabs use of this one: the photo input, the style cards, the name of the chosen style, the list of
    styles to mix it with, and the visitor's token, by which they see styles of their own."""

    photo: gr.Image
    cards: gr.HTML
    style: gr.State
    mix: gr.Dropdown
    token: gr.State | gr.BrowserState


@dataclass
class Newest:
    """When the page last asked for a result, in milliseconds of its own clock; whether a style was picked in it."""

    asked: float = 0.0
    picked: bool = False


def build_stylize_tab(stylizer: Stylizer, page: gr.Blocks, token: gr.State | gr.BrowserState) -> FirstTab:
    """Lay the tab out inside the open `gr.Tab` and connect it; `token` says whose own styles are shown."""
    catalogue, limits = stylizer.catalogue, stylizer.limits
    style, newest = gr.State(""), gr.State(Newest())
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
            samples = samples_for(photo, "samples")
            styles = gr.HTML("", js_on_load=script("pick_style"), elem_id="styles")
            notice = gr.Markdown(visible=False, elem_id="notice")
        with gr.Column(scale=7, min_width=320, elem_classes="result"):
            result = gr.HTML("", js_on_load=script("before_after"), elem_id="result")
            status = gr.HTML(status_line("&nbsp;"), elem_id="status")
            with gr.Row(elem_classes="controls"):
                strength = slider("Strength of the style", "strength", 0, 1, 1, 0.05, scale=3)
                brush = slider(
                    "Size of the brush", "brush", limits.least_brush, limits.largest_brush, BRUSH, 0.25, scale=3
                )
                keep_colors = gr.Checkbox(
                    label="Keep my photo's colors", elem_id="keep-colors", scale=2, min_width=224
                )
            with gr.Row(elem_classes="downloads"):
                png = gr.DownloadButton("Download PNG", variant="primary", elem_id="download-png", interactive=False)
                jpeg = gr.DownloadButton("Download JPEG", elem_id="download-jpeg", interactive=False)
                copy_link = gr.Button("Copy link", elem_id="copy-link", min_width=120)
            with gr.Accordion("Size and version", open=False, elem_id="more"):
                sides = (limits.smallest_side, limits.stylize_max_side, limits.stylize_side)
                hint = "A photo that is smaller keeps its exact size."
                longest_side = slider("Longest side, in pixels", "size", *sides, 64, info=hint)
                version = gr.Dropdown(
                    [("Best", CHAMPION)],
                    value=CHAMPION,
                    label="Version of the style",
                    visible=False,
                    elem_id="version",
                )
                card = gr.HTML("", elem_id="about")
            with gr.Accordion("Mix with another style", open=False, elem_id="mix-more"), gr.Row():
                mix = gr.Dropdown([NO_MIX], value="", label="Other style", elem_id="mix", min_width=200)
                share = slider("Share of the other style", "share", 0, 1, SHARE, 0.05)
            settings = {
                "share": share,
                "strength": strength,
                "brush": brush,
                "longest_side": longest_side,
                "keep_colors": keep_colors,
            }
            wanted = [style, version, mix, *settings.values()]  # in the order of the fields of `Wanted`
            build_batch(stylizer, wanted)
            build_sheet(stylizer, photo, strength, keep_colors, style, token)
            build_live(stylizer, style, mix, share)

    def show_styles(request: gr.Request, newest: Newest, token: str) -> Iterator[dict[Any, Any]]:
        """The cards, and once the settings of the link; while styles are on their way, again whenever one is there.

        What the visitor has chosen meanwhile stays.
        """
        query = dict(request.query_params)
        linked, chosen, shown = settings_of_link(query, catalogue, limits), "", None
        while True:
            loading = catalogue.loading
            entries = catalogue.styles(owner_of(token), linked.style, linked.mix or "")
            words = loading or catalogue.notice
            first = not chosen and not newest.picked
            if first:
                linked = settings_of_link(query, catalogue, limits)
                missing = any(query.get(key) and not getattr(linked, key) for key in ("style", "mix"))
                if not (missing and loading):  # else it may come
                    chosen = linked.style or next((entry.name for entry in entries), "")
            if (words, len(entries), chosen) != shown:
                began = shown is None
                shown = (words, len(entries), chosen)
                choices = mix_choices(entries)
                changes = {styles: style_cards(entries, chosen), notice: gr.Markdown(words, visible=bool(words))}
                if first:
                    changes |= of_style(chosen, linked.version)
                if began:
                    changes |= {component: getattr(linked, name) for name, component in settings.items()}
                yield changes | {mix: gr.Dropdown(choices, **({"value": linked.mix} if first else {}))}
                if first and chosen:  # only now: Gradio tells of a changed state before the values that come with it
                    yield {style: chosen}
            if not loading:
                return
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def of_style(name: str, wanted: str = CHAMPION) -> dict[Any, Any]:
        """The list of versions with one chosen, and what the style is."""
        if not name:
            return {version: gr.Dropdown([("Best", CHAMPION)], value=CHAMPION, visible=False), card: ""}
        entry = catalogue.find(name)
        choices, number = version_choices(entry), entry.resolve(wanted)
        value = CHAMPION if number == entry.default_version else number
        return {version: gr.Dropdown(choices, value=value, visible=len(choices) > 1), card: about(entry.card)}

    def pick_style(newest: Newest, name: str) -> dict[Any, Any]:
        newest.picked = True
        return {style: name} | of_style(name)

    def answer(newest: Newest, asked: float, photo: str | None, *wanted: Any) -> Any:
        newest.asked = max(newest.asked, asked)
        settings = Wanted(*wanted)
        try:
            if settings.style:
                made = stylize(stylizer, photo, settings)
                shown = {
                    result: made.pictures,
                    status: made.status,
                    png: gr.DownloadButton(value=made.png, interactive=True),
                    jpeg: gr.DownloadButton(value=made.jpeg, interactive=True),
                }
            elif photo is None:
                return gr.skip()
            else:
                raise StylecoreError(catalogue.notice or "there is no style yet.")
        except Exception as error:  # one that is raised would lie over the status, and leave old files to download
            off = gr.DownloadButton(interactive=False)
            shown = {status: refused(error), png: off, jpeg: off}
        # What was asked for meanwhile may have been answered from memory, and is not painted over.
        return shown if asked == newest.asked else gr.skip()

    # Nobody waits for these either, but Gradio informs the page only of a state that a queued event changed.
    setting_style = QUIET | {"concurrency_limit": None}
    page.load(
        show_styles,
        [newest, token],
        [style, styles, notice, version, card, mix, *settings.values()],
        **setting_style,
    )
    # Of styles picked quickly the last one counts. Gradio's page (6.31) repeats an event with the data of the first,
    # so the name is that of the card that is chosen then.
    styles.select(
        pick_style,
        [newest, gr.Textbox(visible=False)],
        [style, version, card],
        js="(newest) => [newest, document.querySelector('#styles input:checked').value]",
        trigger_mode="always_last",
        **setting_style,
    )
    copied: dict[str, Any] = {"outputs": [copy_link], **AT_ONCE}
    copy_link.click(
        None, [strength, brush, keep_colors, longest_side, version, mix, share], js=script("copy_link"), **copied
    ).then(None, js=script("copy_link_again"), **copied)
    gr.on([photo.upload, samples.select, styles.select], None, js=script("show_result"), **AT_ONCE)
    run: dict[str, Any] = {
        "fn": answer,
        "inputs": [newest, gr.Number(visible=False), photo, *wanted],
        "outputs": [result, status, png, jpeg],
        "js": script("when_asked"),
        **waited_for(status),
        # Whoever asks again before the answer is there gets the answer to what was asked last.
        "trigger_mode": "always_last",
    }
    gr.on(
        [style.change, photo.change, version.input, longest_side.release, brush.release, mix.input, share.release],
        **run,
        concurrency_id=MODEL,
    )
    # Answered from memory, so not in the queue of the networks.
    gr.on([strength.release, strength.input, keep_colors.input], **run, concurrency_id="finish", concurrency_limit=2)
    return FirstTab(photo, styles, style, mix, token)


def build_stylize_api(stylizer: Stylizer) -> None:
    """Add the endpoints /styles and /stylize."""

    def styles() -> list[dict[str, Any]]:
        """The styles that can be asked for: name, title, artist, year, versions (newest first) and aliases."""
        return [
            {
                "name": entry.name,
                "title": entry.title,
                "artist": entry.card.artist,
                "year": entry.card.year,
                "versions": list(entry.versions),
                "aliases": dict(entry.aliases),
            }
            for entry in stylizer.catalogue.styles()
        ]

    def stylize(
        photo: str | None,
        style: str | None,
        version: str = CHAMPION,
        longest_side: float = stylizer.limits.stylize_side,
        strength: float = 1.0,
        keep_colors: bool = False,
        brush: float = BRUSH,
    ) -> tuple[str, dict[str, Any]]:
        """Stylize a photo in one pass.

        Args:
            photo: A picture file: JPEG, PNG, WebP, HEIC, TIFF, GIF or AVIF.
            style: Name of a style, see /styles; or a mix, such as starry_night:0.6+great_wave:0.4.
            version: A version's number or alias; of a mix the styles are named with theirs, such as starry_night@fast.
            longest_side: Longest side of the result in pixels; a smaller photo keeps its exact size.
            strength: 0 gives the photo, 1 the full style.
            keep_colors: Keep the photo's colors and take only the strokes.
            brush: Size of the strokes: 1 as in the painting, 2 twice as large.

        Returns:
            The picture as PNG, transparency and date kept, and facts about it.
        """
        if photo is None:
            raise StylecoreError("there is no photo yet; upload one.")
        style = str(style or "")  # programs may send anything
        result = stylizer.stylize(photo, style, version, longest_side, brush)
        settings = settings_of(result, strength, keep_colors)
        pixels, name = result.finish(strength, keep_colors), file_name("stylized", style)
        path = save_for_browser(pixels, "PNG", name, alpha=result.alpha, exif=result.exif, settings=settings)
        height, width = result.size
        facts = {
            "width": width,
            "height": height,
            "seconds": result.seconds,
            "device": result.device,
            "runtime": result.runtime,
        }
        return path, {**settings, **facts, "notices": list(result.notices)}

    endpoint("styles", styles, gr.JSON(label="styles"), {}, queue=False)
    outputs = [gr.Image(label="picture", format="png", type="filepath"), gr.JSON(label="facts")]
    inputs = {"photo": photo_input(label="photo"), "style": style_input()}
    endpoint("stylize", stylize, outputs, inputs, concurrency_id=MODEL)
