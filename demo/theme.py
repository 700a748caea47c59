"""Theme, style sheets, scripts, pieces of HTML. Fonts are files that Gradio carries; nothing comes from elsewhere."""

import base64
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes.utils import colors, sizes
from jinja2 import Environment, FileSystemLoader

WEB = Path(__file__).parent / "assets" / "web"
STYLE_SHEETS = sorted(WEB.glob("*.css"))

NIGHT = colors.Color(
    name="night",
    c50="#f2f5fb", c100="#e2e9f6", c200="#c4d1ec", c300="#97aedd", c400="#6584c8", c500="#3f63b1",
    c600="#2f4f97", c700="#27407a", c800="#223561", c900="#1a2746", c950="#101a31",
)  # fmt: skip
STARLIGHT = colors.Color(
    name="starlight",
    c50="#fdf9ec", c100="#faf0cc", c200="#f5e096", c300="#efcb58", c400="#e9b830", c500="#d79c1c",
    c600="#b27716", c700="#8b5616", c800="#724519", c900="#613a1a", c950="#381d0b",
)  # fmt: skip
INK = colors.Color(
    name="ink",
    c50="#f8f9fb", c100="#f0f2f6", c200="#e2e6ed", c300="#ccd3de", c400="#98a3b5", c500="#667289",
    c600="#4a566d", c700="#354057", c800="#202a3e", c900="#141c2d", c950="#0b111e",
)  # fmt: skip


def theme() -> gr.themes.Base:
    """Night blue on paper; in the dark, on night."""
    return gr.themes.Base(
        primary_hue=NIGHT,
        secondary_hue=STARLIGHT,
        neutral_hue=INK,
        radius_size=sizes.radius_lg,
        # In these weights the files are whole; most others that Gradio carries lack letters.
        font=(gr.themes.LocalFont("Source Sans Pro", (400, 700)), "ui-sans-serif", "system-ui", "sans-serif"),
        font_mono=(gr.themes.LocalFont("IBM Plex Mono", (400, 700)), "ui-monospace", "Consolas", "monospace"),
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        background_fill_primary_dark="*neutral_900",
        background_fill_secondary_dark="*neutral_950",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_color="*neutral_200",
        block_border_color_dark="*neutral_800",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_label_text_weight="600",
        block_label_text_color="*neutral_700",
        block_title_text_weight="600",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        slider_color="*primary_500",
        slider_color_dark="*secondary_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*secondary_400",
        button_primary_background_fill_hover_dark="*secondary_300",
        button_primary_text_color_dark="*neutral_950",
        button_secondary_background_fill="white",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_700",
        button_border_width="1px",
        button_primary_border_color="transparent",
        button_primary_border_color_dark="transparent",
        button_large_text_size="*text_md",
        checkbox_border_color="*neutral_400",
        checkbox_border_color_dark="*neutral_500",
        checkbox_background_color_selected="*primary_600",
        checkbox_background_color_selected_dark="*secondary_500",
        input_border_color="*neutral_300",
        input_border_color_dark="*neutral_700",
    )


def script(name: str) -> str:
    """The JavaScript of a component or an event, from its file."""
    return (WEB / f"{name}.js").read_text(encoding="utf-8")


def filled_in(name: str, **values: Any) -> str:
    """A piece of HTML from its file, with these values; what is not HTML itself is escaped."""
    return _PIECES.get_template(f"{name}.html").render(values)


_PIECES = Environment(loader=FileSystemLoader(WEB), autoescape=True)
_PIECES.filters["base64"] = lambda content: base64.b64encode(content).decode()
