"""The last tab: a painting is dropped, a network learns it before the visitor's eyes, and the style is kept."""

import math
import secrets
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr

from demo.page import address_of, picture_box, save_bytes
from demo.services.catalogue import Catalogue
from demo.services.teach.lessons import Lesson, owner_of
from demo.services.teach.teacher import Teacher, View
from demo.status import QUIET, progress_line, progress_status, refused, status_line
from demo.tabs.cards import begin_with_photo, style_cards
from demo.tabs.painting import STOP_LABEL
from demo.tabs.stylize import FirstTab, mix_choices
from demo.theme import filled_in, script
from demo.words import seconds_text
from stylecore.johnson.quantization import sidecar_of
from stylecore.pictures.read import load_picture
from stylecore.pictures.write import encode_picture

SECONDS_BETWEEN_LOOKS = 2.0
USUAL_MINUTES = 10
NOTHING = "<p class='nothing'>Your photo appears here, painted by the network while it learns.</p>"
WIDTH, HEIGHT = 600, 120
"""Of the curve, in units of its own."""
SIDE = 512
"""Longest side of the painting in pixels."""
PAINTINGS_KEPT = 32


def visitor() -> gr.BrowserState:
    """The visitor's token, which the browser keeps; make it before the tabs that need it."""
    # Without a fixed secret a restart of the server would lose every token.
    return gr.BrowserState("", storage_key="stylecore-visitor", secret="stylecore")


def pictures(teacher: Teacher, lesson: Lesson) -> str:
    """The painting, and beside it the visitor's photo as the network paints it now, as HTML."""
    painted = teacher.picture(lesson)
    return filled_in(
        "lesson",
        painting=_address(_painting(teacher.files.of(lesson) / "painting.png"), "taught-painting"),
        photo=_address(painted, "taught-photo") if painted else "",
        taught=lesson.style if lesson.state == "done" else "",
    )


@lru_cache(PAINTINGS_KEPT)
def _painting(file: Path) -> bytes:
    """A lesson's painting as a small JPEG; it is looked at every other second, and stays the same."""
    return encode_picture(load_picture(file, max_side=SIDE).pixels, "JPEG")


def _address(jpeg: bytes, name: str) -> str:
    """Of a file that the browser fetches once; in the page itself every look would send the picture anew."""
    return address_of(save_bytes(jpeg, f"{name}.jpg"))


def status(view: View, run_page: str) -> str:
    """One line on where the lesson is, and a line that fills with it."""
    figures = view.figures
    about = {"lesson": view.lesson, "phase": view.phase, "place": view.place, "figures": figures}
    text = filled_in("lesson_status", **about, run_page=run_page, seconds_text=seconds_text)
    if view.phase != "learning" or "seconds" not in figures:
        return status_line(text, kind="failed" if view.phase == "failed" else "")
    spent, left = float(figures["seconds"]), float(figures["seconds_left"])
    return progress_line(spent / max(spent + left, 1e-9)) + progress_status(text)


def curve(points: Sequence[Sequence[float]]) -> str:
    """The logarithm of the loss over the seconds as a small SVG; empty with less than two points.

    A loss that begins far away falls to a thirtieth at once, and on a linear scale nothing else would be seen.
    """
    if len(points) < 2:
        return ""
    last = max(x for x, _ in points) or 1.0
    logarithms = [math.log(max(y, 1e-6)) for _, y in points]
    least, span = min(logarithms), max(max(logarithms) - min(logarithms), math.log(2))
    heights = (0.025 + 0.95 * (y - least) / span for y in logarithms)
    path = " ".join(
        f"{WIDTH * x / last:.0f},{HEIGHT * (1 - y):.0f}" for (x, _), y in zip(points, heights, strict=True)
    )
    return (
        f'<svg class="lesson-curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="The loss fell from {points[0][1]:.3g} to {points[-1][1]:.3g}">'
        f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-width="2"/></svg>'
    )


def build_your_style_tab(
    teacher: Teacher, catalogue: Catalogue, page: gr.Blocks, tab: gr.Tab, first: FirstTab
) -> None:
    """Lay the tab out inside the open `gr.Tab` and connect it; `first` is the tab Stylize."""
    token = first.token
    minutes = teacher.limits.lesson_minutes
    kept = "for everybody here" if teacher.for_all else f"for you, for {teacher.limits.lesson_hours:g} hours"
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=4, min_width=320, elem_classes="inputs"):
            gr.HTML(
                "<div class='lede'><p>Drop a painting, and a network learns to paint like it while you watch. Then it "
                f"is a style in Stylize, {kept}.</p></div>"
            )
            with gr.Row(elem_classes="pair"):
                painting = picture_box("Your painting", "teach-painting", placeholder="Drop a picture")
                photo = picture_box("Your photo", "teach-photo", placeholder="Drop a picture")
            gr.HTML(
                "<p class='hint'>The photo is the one to watch it on. The painting stays on this server as long as "
                f"the style, and so does a copy of the photo, reduced to {teacher.limits.lesson_photo_side} pixels; a "
                "small copy of the painting stays with the record of the training.</p>"
            )
            title = gr.Textbox(
                label="Title", placeholder="As the file is called", max_length=60, elem_id="teach-title"
            )
            chosen = gr.Radio(
                [(f"{each:g}", each) for each in minutes],
                value=USUAL_MINUTES if USUAL_MINUTES in minutes else minutes[0],
                label="Minutes to learn",
                elem_id="teach-minutes",
            )
            with gr.Row(elem_classes="actions"):
                start = gr.Button("Teach it", variant="primary", elem_id="teach-start")
                enough = gr.Button(STOP_LABEL, elem_id="teach-enough", interactive=False)
        with gr.Column(scale=7, min_width=320, elem_classes="result"):
            shown = gr.HTML(NOTHING, elem_id="teach-pictures")
            line = gr.HTML(status_line("&nbsp;"), elem_id="teach-status")
            losses = gr.HTML("", elem_id="teach-curve")
            with gr.Row(elem_classes="downloads"):
                use = gr.Button("Paint with it", variant="primary", elem_id="teach-use", visible=False)
                weights = gr.DownloadButton("Download the style", elem_id="teach-weights", visible=False)
                small = gr.DownloadButton("Download the 8-bit file", elem_id="teach-int8", visible=False)
    timer = gr.Timer(SECONDS_BETWEEN_LOOKS, active=False)

    def look(token: str) -> dict[Any, Any]:
        view = teacher.view(owner_of(token))
        lesson = view.lesson if view else None
        is_open = lesson is not None and lesson.is_open
        files: list[str | None] = [None, None]
        if lesson and lesson.state == "done":
            style = teacher.files.style(lesson)
            files = [_served(lesson, style), _served(lesson, sidecar_of(style))]
        offers = [gr.DownloadButton(value=file, visible=file is not None) for file in files]
        return {
            shown: pictures(teacher, view.lesson) if view else NOTHING,
            line: status(view, teacher.run_page(view.lesson)) if view else status_line("&nbsp;"),
            losses: curve(view.figures.get("curve", [])) if view else "",
            start: gr.Button("Learning…" if is_open else "Teach it", interactive=not is_open),
            enough: gr.Button(interactive=is_open),
            weights: offers[0],
            small: offers[1],
            use: gr.Button(visible=files[0] is not None),
            timer: gr.Timer(active=is_open),
        }

    def begin(token: str, painting: str | None, photo: str | None, title: str, minutes: float) -> dict[Any, Any]:
        words = title.strip() or Path(painting or "").stem.replace("_", " ").replace("-", " ")
        try:
            teacher.enqueue(owner_of(token), painting, photo, words, minutes)
        except Exception as error:  # one that is raised would lie over the status
            return look(token) | {line: refused(error)}
        return look(token)

    def end(token: str) -> dict[Any, Any]:
        teacher.enough(owner_of(token))
        return look(token)

    def look_on(token: str, chosen: str, mixed: str | None) -> dict[Any, Any]:
        """The same while it learns; at the end with the new card in Stylize, and there in the list to mix with."""
        view = teacher.view(owner_of(token))
        if view is None or view.lesson.state != "done":
            return look(token)
        entries = catalogue.styles(owner_of(token), chosen, mixed or "")
        return look(token) | {first.cards: style_cards(entries, chosen), first.mix: gr.Dropdown(mix_choices(entries))}

    outputs = [shown, line, losses, start, enough, weights, small, use, timer]
    page.load(lambda token: token or secrets.token_urlsafe(16), [token], [token], **QUIET).then(
        look, [token], outputs, **QUIET
    )
    begin_with_photo(tab, photo, first.photo, "teach-sample")
    start.click(begin, [token, painting, photo, title, chosen], outputs, **QUIET)
    enough.click(end, [token], outputs, **QUIET)
    timer.tick(
        look_on,
        [token, first.style, first.mix],
        [*outputs, first.cards, first.mix],
        concurrency_id="teach",
        concurrency_limit=2,
        **QUIET,
    )
    use.click(None, js=script("use_style"), **QUIET)


def _served(lesson: Lesson, file: Path) -> str | None:
    """A lesson's file by the style's name, where Gradio may serve it from; None where there is none."""
    name = file.name.replace("style.", f"{lesson.style}.")
    return save_bytes(file.read_bytes(), name) if file.is_file() else None
