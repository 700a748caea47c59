"""The second tab: a photo painted after any picture by Gatys' method, step by step before the visitor's eyes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from demo.errors import plainly
from demo.page import copy_of_sample, copy_to_cache, photo_input, pick_sample, status_line
from demo.services.catalogue import StyleEntry
from demo.services.gatys import BALANCE_RANGE, NETWORK, Painter
from demo.services.limits import LONG
from demo.services.previews import preview_photo
from demo.tabs.cards import sample_strip
from demo.tabs.painting import STOP_LABEL, Stop, curve_table, estimate_text, painting
from demo.theme import script
from stylecore.errors import StylecoreError
from stylecore.gatys.paint import GatysConfig
from stylecore.samples import sample_photos

ASSETS = Path(__file__).parents[1] / "assets"
STARRY_NIGHT = ASSETS / "starry_night.jpg"

START_CHOICES = [("The photo", "content"), ("The style picture", "style"), ("Noise", "noise")]
COLOR_CHOICES = [("Of the style", "none"), ("Of the photo", "luminance"), ("Of the photo, blended in", "match")]


def style_pictures() -> dict[str, Path]:
    """The page's own style pictures, by name: a painting, and the drawn patterns."""
    return {path.stem: path for path in (STARRY_NIGHT, *sorted((ASSETS / "patterns").glob("*.jpg"))) if path.is_file()}


def style_picture_of(style: StyleEntry) -> Path | None:
    """The picture that a style's network was trained on, where the page has it."""
    own = style_pictures()
    return own.get(Path(str(style.card.training.get("style_image") or "")).stem) or own.get(style.name)


def start_choices(painter: Painter) -> list[tuple[str, str]]:
    """What a painting may begin with: (label, value of `Painter.order`)."""
    styles = painter.stylizer.catalogue.styles() if painter.stylizer else []
    return START_CHOICES + [(f"The photo stylized by {style.title}", f"{NETWORK}{style.name}") for style in styles]


def build_gatys_tab(painter: Painter, tab: gr.Tab, first_photo: gr.Image) -> None:
    """Lay the tab out inside the open `gr.Tab` and connect it; `first_photo` is the other tab's photo input."""
    limits, default = painter.limits, GatysConfig()
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=5, min_width=320, elem_classes="inputs"):
            gr.HTML(
                "<div class='lede'><p>Any picture as the style, by the method of Gatys, Ecker and Bethge: the photo's "
                "own pixels are changed step by step, until it has the painting's colors and strokes. It takes "
                "minutes; you can watch.</p></div>"
            )
            with gr.Row(elem_classes="pair"):
                photo = photo_input(
                    label="Photo",
                    sources=["upload", "clipboard", "webcam"],
                    height=190,
                    min_width=150,
                    elem_id="gatys-photo",
                    buttons=[],
                    placeholder="Drop a photo",
                    alt_text="The photo to paint",
                )
                style = photo_input(
                    value=copy_to_cache(STARRY_NIGHT),
                    label="Style picture",
                    sources=["upload", "clipboard"],
                    height=190,
                    min_width=150,
                    elem_id="gatys-style",
                    buttons=[],
                    placeholder="Drop a painting",
                    alt_text="The picture whose style is taken",
                )
            samples = gr.HTML(sample_strip(sample_photos()), js_on_load=script("pick_sample"), elem_id="gatys-samples")
            styles = gr.HTML(
                sample_strip(_in_words(style_pictures()), "Styles", "Style picture"),
                js_on_load=script("pick_sample"),
                elem_id="gatys-styles",
            )
            start = gr.Dropdown(
                START_CHOICES, value=default.start, label="Start from", elem_id="gatys-start", filterable=False
            )
            balance = gr.Slider(
                -BALANCE_RANGE,
                BALANCE_RANGE,
                0,
                step=0.1,
                label="More photo ↔ more painting",
                elem_id="gatys-balance",
                buttons=[],
            )
            with gr.Row(elem_classes="controls"):
                steps = gr.Slider(
                    10,
                    limits.gatys_max_steps,
                    min(default.steps, limits.gatys_max_steps),
                    step=10,
                    label=f"Steps, at most {limits.gatys_max_steps}",
                    elem_id="gatys-steps",
                    buttons=[],
                )
                longest_side = gr.Slider(
                    limits.smallest_side,
                    limits.gatys_max_side,
                    limits.gatys_side,
                    step=32,
                    label="Longest side (pixels)",
                    elem_id="gatys-size",
                    buttons=[],
                )
            with gr.Accordion("More settings", open=False, elem_id="gatys-more"):
                keep_colors = gr.Radio(
                    COLOR_CHOICES, value=default.keep_colors, label="Colors", elem_id="gatys-colors"
                )
                style_scale = gr.Slider(
                    0.5, 2, default.style_scale, step=0.1, label="Size of the brush", elem_id="gatys-brush", buttons=[]
                )
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

    def begin(stop: Stop) -> tuple[Any, ...]:
        stop.wanted = False
        waiting = gr.DownloadButton(interactive=False)
        return (
            gr.Button("Painting…", interactive=False),
            gr.Button(interactive=True),
            waiting,
            waiting,
            status_line("Waiting for its turn…"),
        )

    def end() -> tuple[Any, ...]:
        return gr.Button("Paint", interactive=True), gr.Button(STOP_LABEL, interactive=False)

    def fail() -> tuple[Any, ...]:
        return *end(), status_line("&nbsp;")

    def ask_to_stop(stop: Stop) -> gr.Button:
        stop.wanted = True
        return gr.Button("Stopping…", interactive=False)

    def run(
        photo: str | None,
        style: str | None,
        balance: float,
        steps: float,
        longest_side: float,
        start: str,
        keep_colors: str,
        style_scale: float,
        stop: Stop,
    ) -> Iterator[tuple[Any, ...]]:
        order = painter.order(
            photo,
            style,
            steps=steps,
            longest_side=longest_side,
            balance=balance,
            start=start,
            keep_colors=keep_colors,
            style_scale=style_scale,
        )
        if stop.wanted:  # while waiting in the queue
            yield gr.skip(), status_line("Stopped before it began."), *(gr.skip() for _ in range(4))
            return
        for frame in painting(painter, order, stop):
            done = frame.png is not None
            yield (
                frame.picture,
                frame.status,
                gr.LinePlot(curve_table(frame.curve), visible=True),
                gr.DownloadButton(value=frame.png, interactive=True) if done else gr.skip(),
                gr.DownloadButton(value=frame.jpeg, interactive=True) if done else gr.skip(),
                gr.Code(frame.facts["command_line"], visible=True) if done else gr.skip(),
            )

    def arrive(photo: str | None, first_photo: str | None, longest_side: float, steps: float) -> tuple[Any, ...]:
        sample = preview_photo()
        chosen = photo or first_photo or (copy_of_sample(sample.stem) if sample else None)
        return (
            gr.skip() if photo else chosen,
            estimate_text(painter, chosen, longest_side, steps),
            gr.Dropdown(choices=start_choices(painter)),
        )

    def pick_style(event: gr.EventData) -> str:
        own = _in_words(style_pictures())
        if event.name not in own:
            raise StylecoreError(f"there is no style picture {event.name!r}; upload your own.")
        return copy_to_cache(own[event.name])

    def fetch_style(start: str) -> Any:
        """The picture that the chosen network was trained on."""
        if painter.stylizer is None or not start.startswith(NETWORK):
            return gr.skip()
        name, catalogue = start.removeprefix(NETWORK), painter.stylizer.catalogue
        picture = catalogue.painting(name) or style_picture_of(catalogue.find(name))
        return copy_to_cache(picture) if picture else gr.skip()

    def look_ahead(photo: str | None, longest_side: float, steps: float) -> str:
        return estimate_text(painter, photo, longest_side, steps)

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    inputs = [photo, style, balance, steps, longest_side, start, keep_colors, style_scale, stop]
    run_event = start_button.click(
        plainly(begin), [stop], [start_button, stop_button, png, jpeg, status], queue=False, **quiet
    ).then(
        plainly(run),
        inputs,
        [picture, status, curve, png, jpeg, recipe],
        show_progress="minimal",
        show_progress_on=[status],
        concurrency_id=LONG,
        api_visibility="private",
    )
    # Gradio's page (6.31) does not do after a failure what `then` asks for.
    run_event.success(plainly(end), None, [start_button, stop_button], queue=False, **quiet)
    run_event.failure(plainly(fail), None, [start_button, stop_button, status], queue=False, **quiet)
    stop_button.click(plainly(ask_to_stop), [stop], [stop_button], queue=False, **quiet)
    tab.select(plainly(arrive), [photo, first_photo, longest_side, steps], [photo, status, start], **quiet)
    start.input(plainly(fetch_style), [start], [style], **quiet)
    styles.select(plainly(pick_style), None, [style], **quiet)
    gr.on(
        [photo.change, longest_side.release, steps.release],
        plainly(look_ahead),
        [photo, longest_side, steps],
        [status],
        trigger_mode="always_last",
        **quiet,
    )
    samples.select(plainly(pick_sample), None, [photo], **quiet)


def _in_words(pictures: dict[str, Path]) -> dict[str, Path]:
    return {name.replace("_", " "): path for name, path in pictures.items()}


def build_gatys_api(painter: Painter) -> None:
    """Add the endpoint /gatys to the open `gr.Blocks`."""
    limits, default = painter.limits, GatysConfig()

    def gatys(
        photo: str, style: str, steps: float, longest_side: float, balance: float, start: str, keep_colors: str
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
        order = painter.order(
            photo,
            style,
            steps=steps,
            longest_side=longest_side,
            balance=balance,
            start=start,
            keep_colors=keep_colors,
        )
        for frame in painting(painter, order):
            yield frame.png or frame.picture, frame.facts

    with gr.Row(visible=False):
        inputs = [
            photo_input(label="photo"),
            photo_input(label="style"),
            gr.Number(min(default.steps, limits.gatys_max_steps), label="steps"),
            gr.Number(limits.gatys_side, label="longest_side"),
            gr.Number(0.0, label="balance"),
            gr.Textbox(default.start, label="start"),
            gr.Textbox(default.keep_colors, label="keep_colors"),
        ]
        outputs = [gr.Image(label="picture", format="png", type="filepath"), gr.JSON(label="facts")]
        gr.Button().click(plainly(gatys), inputs, outputs, api_name="gatys", concurrency_id=LONG)
