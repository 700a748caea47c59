"""The third tab: a photo painted after any picture by Gatys' method, step by step before the visitor's eyes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from demo.page import copy_to_cache, endpoint, photo_input, picture_box, slider
from demo.services.gatys import BALANCE_RANGE, NETWORK, GatysJob, Painter
from demo.services.limits import LONG
from demo.services.teach.lessons import owner_of
from demo.status import AT_ONCE, QUIET, begin_and_end, status_line, told_in, waited_for
from demo.tabs.cards import begin_with_photo, sample_strip, samples_for
from demo.tabs.painting import STOP_LABEL, Stop, ask_to_stop, curve_table, estimate_text, larger_label, painting
from demo.tabs.stylize import FirstTab
from demo.theme import script
from stylecore.errors import StylecoreError
from stylecore.gatys.paint import GatysConfig

ASSETS = Path(__file__).parents[1] / "assets"
STARRY_NIGHT = ASSETS / "starry_night.jpg"

START_CHOICES = [("The photo", "content"), ("The style picture", "style"), ("Noise", "noise")]
COLOR_CHOICES = [("Of the style", "none"), ("Of the photo", "luminance"), ("Of the photo, blended in", "match")]


def style_pictures() -> dict[str, Path]:
    """The page's own style pictures, by name: a painting, and the drawn patterns."""
    files = (STARRY_NIGHT, *sorted((ASSETS / "patterns").glob("*.jpg")))
    return {path.stem.replace("_", " "): path for path in files if path.is_file()}


def start_choices(painter: Painter, owner: str = "") -> list[tuple[str, str]]:
    """What a painting may begin with: (label, value of `Painter.job`); also with the owner's own styles."""
    styles = painter.stylizer.catalogue.styles(owner)
    return START_CHOICES + [(f"The photo stylized by {style.title}", f"{NETWORK}{style.name}") for style in styles]


def build_gatys_tab(painter: Painter, tab: gr.Tab, first: FirstTab) -> None:
    """Lay the tab out inside the open `gr.Tab` and connect it; `first` is the tab Stylize."""
    limits, default = painter.limits, GatysConfig()
    with gr.Row(elem_classes="columns result-first"):
        with gr.Column(scale=5, min_width=320, elem_classes="inputs"):
            gr.HTML(
                "<div class='lede'><p>Any picture as the style, by the method of Gatys, Ecker and Bethge: the photo's "
                "own pixels are changed step by step, until it has the painting's colors and strokes. It takes "
                "minutes; you can watch.</p></div>"
            )
            with gr.Row(elem_classes="pair"):
                photo = picture_box(
                    "Photo",
                    "gatys-photo",
                    sources=["upload", "clipboard", "webcam"],
                    placeholder="Drop a photo",
                    alt_text="The photo to paint",
                )
                style = picture_box(
                    "Style picture",
                    "gatys-style",
                    value=copy_to_cache(STARRY_NIGHT),
                    placeholder="Drop a painting",
                    alt_text="The picture whose style is taken",
                )
            samples_for(photo, "gatys-samples")
            strip = sample_strip(style_pictures(), "Styles", "Style picture")
            styles = gr.HTML(strip, js_on_load=script("pick"), elem_id="gatys-styles")
            start = gr.Dropdown(
                START_CHOICES, value=default.start, label="Start from", elem_id="gatys-start", filterable=False
            )
            balance = slider("More photo ↔ more painting", "gatys-balance", -BALANCE_RANGE, BALANCE_RANGE, 0, 0.1)
            with gr.Row(elem_classes="controls"):
                most = limits.gatys_max_steps
                steps = slider(f"Steps, at most {most}", "gatys-steps", 10, most, limits.gatys_steps, 10)
                sides = (limits.smallest_side, limits.gatys_max_side, limits.gatys_side)
                longest_side = slider("Longest side, in pixels", "gatys-size", *sides, 32)
            estimate = gr.HTML(status_line("&nbsp;"), elem_id="gatys-estimate")
            with gr.Accordion("More settings", open=False, elem_id="gatys-more"):
                keep_colors = gr.Radio(
                    COLOR_CHOICES, value=default.keep_colors, label="Colors", elem_id="gatys-colors"
                )
                style_scale = slider("Size of the brush", "gatys-brush", 0.5, 2, default.style_scale, 0.1)
        with gr.Column(scale=6, min_width=320, elem_classes="result"):
            picture = gr.Image(
                label="Painting",
                show_label=False,
                format="png",
                interactive=False,
                height=440,
                elem_id="gatys-result",
                buttons=["fullscreen"],
                placeholder="Your painting appears here, and changes before your eyes.",
                alt_text="The painting",
            )
            status = gr.HTML(status_line("&nbsp;"), elem_id="gatys-status")
            with gr.Row(elem_classes="actions"):
                start_button = gr.Button("Paint", variant="primary", elem_id="gatys-paint")
                stop_button = gr.Button(STOP_LABEL, elem_id="gatys-stop", interactive=False)
            larger_button = gr.Button("Go on at twice the size", elem_id="gatys-larger", visible=False)
            with gr.Row(elem_classes="downloads"):
                png = gr.DownloadButton("Download PNG", elem_id="gatys-png", interactive=False)
                jpeg = gr.DownloadButton("Download JPEG", elem_id="gatys-jpeg", interactive=False)
            curve = gr.LinePlot(
                x="step",
                y="loss",
                color="part",
                x_title="step",
                y_title="loss, power of ten",
                color_map={"content": "#6188d8", "style": "#d79c1c"},
                height=230,
                label="How far from the photo (blue) and from the style (yellow)",
                elem_id="gatys-curve",
                buttons=[],
                visible=False,
            )
            recipe = gr.Code(
                language="shell",
                label="The same picture from the command line",
                interactive=False,
                wrap_lines=True,
                show_line_numbers=False,
                lines=1,
                elem_id="gatys-recipe",
                visible=False,
            )
    stop = gr.State(Stop())
    larger = gr.State(None)

    def begin(stop: Stop) -> tuple[Any, ...]:
        stop.wanted = False
        waits, off = gr.Button(interactive=False), gr.DownloadButton(interactive=False)
        return gr.Button("Painting…", interactive=False), gr.Button(interactive=True), waits, off, off

    def end() -> tuple[Any, ...]:
        go = gr.Button("Paint", interactive=True)
        return go, gr.Button(STOP_LABEL, interactive=False), gr.Button(interactive=True)

    def run(stop: Stop, *asked: Any) -> Iterator[dict[Any, Any]]:
        yield from show(stop, painter.job(*asked))

    def show(stop: Stop, job: GatysJob) -> Iterator[dict[Any, Any]]:
        if stop.wanted:  # while waiting in the queue
            yield {status: status_line("Stopped before it began.")}
            return
        looking = "Looking at both pictures; the first strokes come in a moment."
        yield {status: status_line(looking, kind="preparing")}
        for frame in painting(painter, job, stop):
            changes = {picture: frame.picture, status: frame.status}
            # One point is no curve, and the browser draws the first picture before it loads what draws curves.
            if len(frame.curve) > 2:
                changes[curve] = gr.LinePlot(curve_table(frame.curve), visible=True)
            if frame.png is not None:
                label = larger_label(frame.larger) if frame.larger else ""
                changes |= {
                    png: gr.DownloadButton(value=frame.png, interactive=True),
                    jpeg: gr.DownloadButton(value=frame.jpeg, interactive=True),
                    recipe: gr.Code(frame.facts["command_line"], label=frame.recipe_label, visible=True),
                    larger_button: gr.Button(label, visible=frame.larger is not None),
                    larger: frame.larger,
                }
            yield changes

    def arrive(token: str) -> gr.Dropdown:
        return gr.Dropdown(choices=start_choices(painter, owner_of(token)))

    def pick_style(event: gr.EventData) -> str:
        own = style_pictures()
        if event.name not in own:
            raise StylecoreError(f"there is no style picture {event.name!r}; upload your own.")
        return copy_to_cache(own[event.name])

    def fetch_style(start: str) -> Any:
        """The picture that the chosen network was trained on."""
        if not start.startswith(NETWORK):
            return gr.skip()
        picture = painter.stylizer.catalogue.painting(start.removeprefix(NETWORK))
        return copy_to_cache(picture) if picture else gr.skip()

    asked = [photo, style, longest_side, steps, balance, start, keep_colors, style_scale]  # as in `Painter.job`
    buttons = [start_button, stop_button, larger_button]
    shown = [picture, status, curve, png, jpeg, recipe, larger_button, larger]
    for button, work, inputs in ((start_button, run, asked), (larger_button, show, [larger])):
        begin_and_end(
            [button.click],
            (begin, [stop], [*buttons, png, jpeg]),
            (told_in(status)(work), [stop, *inputs], shown),
            (end, None, buttons),
            concurrency_id=LONG,
            **waited_for(status),
        )
    stop_button.click(ask_to_stop, [stop], [stop_button], **AT_ONCE)
    begin_with_photo(tab, photo, first.photo, "gatys-sample")
    tab.select(arrive, [first.token], [start], **QUIET)
    start.input(fetch_style, [start], [style], **QUIET)
    styles.select(pick_style, None, [style], **QUIET)
    gr.on(
        [tab.select, photo.change, longest_side.change, steps.change],
        lambda *expected: estimate_text(painter, *expected),
        [photo, longest_side, steps],
        [estimate],
        js=script("typed_numbers"),
        trigger_mode="always_last",
        **QUIET,
    )


def build_gatys_api(painter: Painter) -> None:
    """Add the endpoint /gatys."""
    default = GatysConfig()

    def gatys(
        photo: str,
        style: str,
        steps: float = default.steps,
        longest_side: float = painter.limits.gatys_side,
        balance: float = 0.0,
        start: str = default.start,
        keep_colors: str = default.keep_colors,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Paint a photo in the style of any picture by Gatys' method; previews are sent while it paints.

        Args:
            photo: A picture file.
            style: The picture whose style is taken.
            steps: How many steps to make.
            longest_side: Longest side of the result in pixels.
            balance: Power of ten by which the style counts more than usual; negative for less.
            start: content, style, noise, or network:NAME for the photo as that style's network stylizes it.
            keep_colors: none, luminance or match.

        Returns:
            The picture, and its step, losses, seconds and command line. The last one is a PNG at full quality.
        """
        job = painter.job(photo, style, longest_side, steps, balance, start or default.start, keep_colors)
        for frame in painting(painter, job):
            yield frame.png or frame.picture, frame.facts

    outputs = [gr.Image(label="picture", format="png", type="filepath"), gr.JSON(label="facts")]
    inputs = {name: photo_input(label=name) for name in ("photo", "style")}
    endpoint("gatys", gatys, outputs, inputs, concurrency_id=LONG)
