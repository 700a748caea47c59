"""The tab itself: a painting is dropped, a network learns it before the visitor's eyes, and the style is kept."""

import secrets
import shutil
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from demo.errors import plainly, sentence_of
from demo.page import QUIET, picture_box, refusal, status_line
from demo.services.catalogue import Catalogue
from demo.services.teach.lessons import Lesson, owner_of
from demo.services.teach.teacher import Teacher
from demo.tabs.cards import begin_with_photo, style_cards
from demo.tabs.stylize import FirstTab
from demo.tabs.your_style.shown import curve, pictures, status
from demo.theme import script
from stylecore.johnson.quantization import sidecar_of

SECONDS_BETWEEN_LOOKS = 2.0
USUAL_MINUTES = 10
NOTHING = "<p class='nothing'>Your photo appears here, painted by the network while it learns.</p>"


def visitor() -> gr.BrowserState:
    """The visitor's token, which the browser keeps; make it before the tabs that need it."""
    # Without a fixed secret a restart of the server would lose every token.
    return gr.BrowserState("", storage_key="stylecore-visitor", secret="stylecore")


def build_your_style_tab(
    teacher: Teacher, catalogue: Catalogue, page: gr.Blocks, tab: gr.Tab, token: gr.BrowserState, first: FirstTab
) -> None:
    """Lay the tab out inside the open `gr.Tab` and connect it.

    Args:
        token: of `visitor`.
        first: the tab Stylize.
    """
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
                "the style; a small copy stays with the record of the training.</p>"
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
                enough = gr.Button("Enough", elem_id="teach-enough", interactive=False)
        with gr.Column(scale=7, min_width=320, elem_classes="result"):
            shown = gr.HTML(NOTHING, elem_id="teach-pictures")
            line = gr.HTML(status_line("&nbsp;"), elem_id="teach-status")
            losses = gr.HTML("", elem_id="teach-curve")
            with gr.Row(elem_classes="downloads"):
                use = gr.Button("Paint with it", variant="primary", elem_id="teach-use", visible=False)
                weights = gr.DownloadButton("Download the style", elem_id="teach-weights", visible=False)
                small = gr.DownloadButton("Its 8-bit sidecar", elem_id="teach-int8", visible=False)
    timer = gr.Timer(SECONDS_BETWEEN_LOOKS, active=False)

    def look(token: str) -> tuple[Any, ...]:
        view = teacher.view(owner_of(token))
        if view is None:
            return NOTHING, status_line("&nbsp;"), "", *_buttons(False), *_downloads(None), gr.Timer(active=False)
        lesson = view.lesson
        return (
            pictures(teacher, lesson),
            status(view, teacher.run_page(lesson)),
            curve(view.figures.get("curve", [])),
            *_buttons(lesson.is_open),
            *_downloads((teacher, lesson) if lesson.state == "done" else None),
            gr.Timer(active=lesson.is_open),
        )

    def begin(token: str, painting: str | None, photo: str | None, title: str, minutes: float) -> tuple[Any, ...]:
        words = title.strip() or Path(painting or "").stem.replace("_", " ").replace("-", " ")
        try:
            teacher.order(owner_of(token), painting, photo, words, minutes)
        except Exception as error:  # one that is raised would lie over the status
            shown, _, *others = look(token)
            return shown, refusal(sentence_of(error)), *others
        return look(token)

    def end(token: str) -> tuple[Any, ...]:
        teacher.enough(owner_of(token))
        return look(token)

    def look_on(token: str, chosen: str) -> tuple[Any, ...]:
        """The same while it learns; at the end with the new card in Stylize."""
        view = teacher.view(owner_of(token))
        done = view is not None and view.lesson.state == "done"
        cards = style_cards(catalogue.styles(owner_of(token), chosen), chosen) if done else gr.skip()
        return *look(token), cards

    outputs = [shown, line, losses, start, enough, weights, small, use, timer]
    page.load(lambda token: token or secrets.token_urlsafe(16), [token], [token], **QUIET).then(
        plainly(look), [token], outputs, **QUIET
    )
    begin_with_photo(tab, photo, first.photo, "teach-sample")
    start.click(plainly(begin), [token, painting, photo, title, chosen], outputs, **QUIET)
    enough.click(plainly(end), [token], outputs, **QUIET)
    timer.tick(
        plainly(look_on),
        [token, first.style],
        [*outputs, first.cards],
        concurrency_id="teach",
        concurrency_limit=2,
        **QUIET,
    )
    use.click(None, js=script("use_style"), **QUIET)


def _buttons(is_open: bool) -> tuple[gr.Button, gr.Button]:
    return gr.Button("Learning…" if is_open else "Teach it", interactive=not is_open), gr.Button(interactive=is_open)


def _downloads(done: tuple[Teacher, Lesson] | None) -> tuple[Any, ...]:
    """The buttons of the weights, of the 8-bit sidecar, and to paint with the style."""
    if done is None:
        return gr.DownloadButton(visible=False), gr.DownloadButton(visible=False), gr.Button(visible=False)
    teacher, lesson = done
    file = teacher.files.style(lesson)
    folder = Path(get_upload_folder()) / lesson.id
    folder.mkdir(parents=True, exist_ok=True)
    served = []
    for each in (file, sidecar_of(file)):
        copy = folder / each.name.replace("style.", f"{lesson.style}.")
        if each.is_file() and not copy.is_file():
            shutil.copyfile(each, copy)
        served.append(str(copy) if copy.is_file() else None)
    return (
        gr.DownloadButton(value=served[0], visible=True),
        gr.DownloadButton(value=served[1], visible=served[1] is not None),
        gr.Button(visible=True),
    )
