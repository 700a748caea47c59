"""The endpoints for programs: /styles, /stylize and /gatys. Their components are never shown.

The tabs' own events are private: they answer with pieces of a page, and change with it.
"""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from demo.page import photo_input, save_for_browser
from demo.services.gatys import Painter
from demo.services.limits import LONG, MODEL
from demo.services.stylize import Stylizer, settings_of
from demo.tabs.painting import painting
from demo.words import file_name
from stylecore.errors import StylecoreError
from stylecore.gatys.config import GatysConfig
from stylecore.inference.brush import BRUSH
from stylecore.library import CHAMPION


def build_api(stylizer: Stylizer) -> None:
    """Add the endpoints to the open `gr.Blocks`."""
    limits = stylizer.limits

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
        version: str,
        longest_side: float,
        strength: float,
        keep_colors: bool,
        brush: float,
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

    with gr.Row(visible=False):
        gr.Button().click(styles, None, gr.JSON(label="styles"), api_name="styles", queue=False)
        name = gr.Textbox(label="style")
        name.example_payload = stylizer.catalogue.first_style
        inputs = [
            photo_input(label="photo"),
            name,
            gr.Textbox(CHAMPION, label="version"),
            gr.Number(limits.stylize_side, label="longest_side"),
            gr.Number(1.0, label="strength"),
            gr.Checkbox(False, label="keep_colors"),
            gr.Number(BRUSH, label="brush"),
        ]
        outputs = [gr.Image(label="picture", format="png", type="filepath"), gr.JSON(label="facts")]
        gr.Button().click(stylize, inputs, outputs, api_name="stylize", concurrency_id=MODEL)


def build_gatys_api(painter: Painter) -> None:
    """Add the endpoint /gatys to the open `gr.Blocks`."""
    limits, default = painter.limits, GatysConfig()

    def gatys(
        photo: str, style: str, steps: float, longest_side: float, balance: float, start: str | None, keep_colors: str
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
        gr.Button().click(gatys, inputs, outputs, api_name="gatys", concurrency_id=LONG)
