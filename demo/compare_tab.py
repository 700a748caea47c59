"""The third tab: one photo through several styles and versions, side by side."""

import html
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from demo.cards import PICK_SAMPLE, sample_strip
from demo.catalogue import Catalogue, StyleEntry, preview_photo, title_of
from demo.page import (
    MODEL,
    copy_of_sample,
    file_name,
    photo_input,
    plainly,
    save_for_browser,
    seconds_text,
    status_line,
)
from demo.stylize_tab import version_label
from demo.stylizer import Stylized, Stylizer
from stylecore.errors import StylecoreError
from stylecore.samples import sample_photos

MOST_AT_ONCE = 6
SHOWN_LOSSES = ("content", "style")


def compare(stylizer: Stylizer, photo: str, chosen: Sequence[str]) -> Iterator[list[tuple[str, str]]]:
    """Stylize the photo with each of `chosen` ("style/version"); yield the pictures so far, each with its caption.

    Raises:
        StylecoreError: for too many or no choices, and as `Stylizer.stylize`.
    """
    if not chosen:
        raise StylecoreError("choose at least one version to compare.")
    if len(chosen) > MOST_AT_ONCE:
        raise StylecoreError(f"choose at most {MOST_AT_ONCE} versions to compare at once.")
    pictures: list[tuple[str, str]] = []
    for choice in chosen:
        style, _, version = choice.partition("/")
        result = stylizer.stylize(photo, style, version, stylizer.limits.compare_side)
        name = file_name(Path(photo).stem, style, version)
        file = save_for_browser(result.finish(1.0, False), "PNG", name)
        pictures.append((file, caption(stylizer.catalogue.find(style), result)))
        yield list(pictures)


def caption(entry: StyleEntry, result: Stylized) -> str:
    """Title, version, and what the card tells of iterations and losses."""
    card = result.card
    label = version_label(entry, result.version)
    facts = [f"{card.iterations:,} iterations"] if card.iterations and "iterations" not in label else []
    facts += [f"{name} loss {loss_text(card.losses[key])}" for name, key in _losses_of(card.losses)]
    return f"{title_of(card)}, {label}\n" + " · ".join([*facts, seconds_text(result.seconds)])


def loss_text(value: float) -> str:
    """0.0123, 12.3, 123,000."""
    if not math.isfinite(value):
        return "not finite"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _losses_of(losses: dict[str, float]) -> list[tuple[str, str]]:
    """(shown name, key): cards name them "content" or "loss/content"."""
    return [(name, key) for name in SHOWN_LOSSES for key in (name, f"loss/{name}", f"eval/{name}") if key in losses]


def choices_of(entries: Sequence[StyleEntry]) -> list[tuple[str, str]]:
    """(label, "style/version") of everything there is."""
    return [
        (f"{entry.title}, {version_label(entry, version)}", f"{entry.name}/{version}")
        for entry in entries
        for version in reversed(entry.versions)
    ]


def first_choice(entries: Sequence[StyleEntry]) -> list[str]:
    """The versions of the style that has most of them, as far as they go; or one of every style."""
    if not entries:
        return []
    most = max(entries, key=lambda entry: len(entry.versions))
    if len(most.versions) > 1:
        return [f"{most.name}/{version}" for version in list(reversed(most.versions))[-4:]]
    return [f"{entry.name}/{entry.default_version}" for entry in entries[:4]]


def build_compare_tab(stylizer: Stylizer, tab: gr.Tab, first_photo: gr.Image) -> None:
    """Lay the tab out inside the open `gr.Tab` and connect it; `first_photo` is the first tab's photo input."""
    catalogue: Catalogue = stylizer.catalogue
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=3, min_width=300, elem_classes="inputs"):
            gr.HTML(
                "<div class='lede'><p>The same photo through several styles, or through one style as it learned. "
                "Open a picture to see it large.</p></div>"
            )
            photo = photo_input(
                label="Photo",
                sources=["upload", "clipboard"],
                height=190,
                elem_id="compare-photo",
                buttons=[],
                placeholder="Drop a photo",
                alt_text="The photo to compare on",
            )
            samples = gr.HTML(sample_strip(sample_photos()), js_on_load=PICK_SAMPLE, elem_id="compare-samples")
            chosen = gr.CheckboxGroup([], label=f"Versions, up to {MOST_AT_ONCE}", elem_id="compare-versions")
            button = gr.Button("Compare", variant="primary", elem_id="compare-run")
        with gr.Column(scale=8, min_width=320, elem_classes="result"):
            gallery = gr.Gallery(
                label="Comparison",
                show_label=False,
                format="png",
                columns=2,
                height="auto",
                object_fit="contain",
                interactive=False,
                buttons=["download", "fullscreen"],
                elem_id="compare-result",
            )
            status = gr.HTML(status_line("&nbsp;"), elem_id="compare-status")

    def arrive(photo: str | None, first_photo: str | None, chosen: list[str]) -> tuple[Any, ...]:
        entries = catalogue.styles()
        choices = choices_of(entries)
        known = {choice for _, choice in choices}
        kept = [choice for choice in chosen if choice in known] or first_choice(entries)
        sample = preview_photo()
        there = photo or first_photo or (copy_of_sample(sample.stem) if sample else None)
        return (
            gr.skip() if photo else there,
            gr.CheckboxGroup(choices=choices, value=kept),
            status_line(html.escape(catalogue.notice) or "&nbsp;"),
        )

    def run(photo: str | None, chosen: list[str]) -> Iterator[tuple[Any, ...]]:
        if photo is None:
            raise StylecoreError("there is no photo yet; upload one, or take a sample.")
        for pictures in compare(stylizer, photo, chosen):
            yield pictures, status_line(f"{len(pictures)} of {len(chosen)} done")

    def pick_sample(event: gr.EventData) -> str:
        return copy_of_sample(event.name)

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    tab.select(plainly(arrive), [photo, first_photo, chosen], [photo, chosen, status], **quiet)
    samples.select(plainly(pick_sample), None, [photo], **quiet)
    button.click(
        plainly(run),
        [photo, chosen],
        [gallery, status],
        show_progress="minimal",
        show_progress_on=[status],
        concurrency_id=MODEL,
        api_visibility="private",
    )
