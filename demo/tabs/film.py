"""The second tab: a short film is dropped or recorded, painted frame by frame, and played."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from demo.page import endpoint, film_input, slider, style_input
from demo.services.film import FilmJob, FilmPainter, FilmProgress
from demo.services.limits import FILM, Limits
from demo.services.teach.lessons import owner_of
from demo.status import AT_ONCE, QUIET, begin_and_end, progress_status, result_line, status_line, told_in, waited_for
from demo.tabs.cards import samples_for
from demo.tabs.painting import STOP_LABEL, Stop, ask_to_stop
from demo.tabs.stylize import FirstTab
from demo.words import file_name, seconds_text, size_text
from stylecore.inference.painting import BRUSH
from stylecore.library import CHAMPION
from stylecore.samples import sample_films
from stylecore.video.config import FilmSettings

SAMPLES = {name: file for name, file in sample_films().items() if name == "earth"}
"""Short ones."""


def painting_film(painter: FilmPainter, job: FilmJob, stop: Stop | None = None) -> Iterator[FilmProgress]:
    """Paint a job into Gradio's cache, from where the browser fetches it.

    Raises:
        StylecoreError: as `FilmPainter.paint`.
    """
    folder = Path(tempfile.mkdtemp(dir=get_upload_folder()))
    yield from painter.paint(
        job, folder, file_name(job.film.stem, job.style), lambda: stop is not None and stop.wanted
    )


def limits_text(limits: Limits) -> str:
    """What may be uploaded, as HTML."""
    return (
        f"<p class='hint'>mp4, mov, webm or mkv, up to {limits.film_seconds:g} seconds and {limits.megabytes} MB, "
        "in 4K at most. Gone from this server within an hour.</p>"
    )


def status_of(progress: FilmProgress, title: str) -> str:
    """How far a film in the style of this title is, or what it became, as HTML."""
    painted = progress.painted
    if painted is None or not progress.is_last:
        what = "The first second" if progress.preview else "Your film"
        parts = [f"<strong>{what}</strong>: frame {progress.frames} of {progress.total}"]
        if progress.seconds_left is not None:
            parts += [f"{progress.rate:.1f} frames a second", f"{seconds_text(max(1, progress.seconds_left))} left"]
        return progress_status(" · ".join(parts), progress.frames / max(1, progress.total))
    return result_line(
        title,
        f"{size_text((painted.height, painted.width))} pixels",
        f"{painted.frames} frame{'' if painted.frames == 1 else 's'}" + (", then stopped" if painted.stopped else ""),
        f"{seconds_text(painted.seconds)} on {progress.device}",
        notes=[f"The film: {notice}." for notice in painted.notices],
    )


def facts_of(progress: FilmProgress) -> dict[str, Any]:
    """The same for programs."""
    rate, painted = round(progress.rate, 2), progress.painted
    facts: dict[str, Any] = {"frames": progress.frames, "total_frames": progress.total, "frames_per_second": rate}
    facts |= {"seconds_left": progress.seconds_left, "preview": progress.preview}
    if painted is not None:
        facts |= {"width": painted.width, "height": painted.height, "seconds": painted.seconds}
        facts |= {"stopped": painted.stopped, "notices": list(painted.notices)}
    return facts


def build_film_tab(painter: FilmPainter, tab: gr.Tab, first: FirstTab) -> None:
    """Lay the tab out inside the open `gr.Tab` and connect it; `first` is the tab Stylize, whose style is chosen here
    at first."""
    catalogue, limits = painter.stylizer.catalogue, painter.limits
    stop = gr.State(Stop())
    with gr.Row(elem_classes="columns result-first"):
        with gr.Column(scale=5, min_width=320, elem_classes="inputs"):
            gr.HTML(
                "<div class='lede'><p>A short film, painted with strokes that stay on things. It keeps its sound.</p>"
                "</div>"
            )
            film = film_input(label="Your film", sources=["upload", "webcam"], height=236, elem_id="film", buttons=[])
            gr.HTML(limits_text(limits), elem_id="film-limits")
            samples_for(film, "film-samples", SAMPLES, "No film at hand?", "Sample film")
            style = gr.Dropdown([], label="Style", elem_id="film-style", filterable=False)
            with gr.Row(elem_classes="controls"):
                strength = slider("Strength of the style", "film-strength", 0, 1, 1, 0.05)
                brush = slider(
                    "Size of the brush", "film-brush", limits.least_brush, limits.largest_brush, BRUSH, 0.25
                )
            with gr.Row(elem_classes="controls"):
                calm = slider("How long strokes stay", "film-calm", 0, 1, FilmSettings.calm, 0.1)
                sides = (limits.smallest_side, limits.film_max_side, limits.film_side)
                longest_side = slider("Longest side, in pixels", "film-size", *sides, 32)
            keep_colors = gr.Checkbox(label="Keep the film's colors", elem_id="film-colors")
        with gr.Column(scale=6, min_width=320, elem_classes="result"):
            painted = gr.Video(
                label="Painted film",
                interactive=False,
                height=440,
                elem_id="film-result",
                buttons=[],
                show_label=False,
            )
            status = gr.HTML(status_line("&nbsp;"), elem_id="film-status")
            with gr.Row(elem_classes="actions"):
                start_button = gr.Button("Paint the film", variant="primary", elem_id="film-paint")
                stop_button = gr.Button(STOP_LABEL, elem_id="film-stop", interactive=False)
            with gr.Row(elem_classes="downloads"):
                download = gr.DownloadButton("Download the film", elem_id="film-download", interactive=False)

    def arrive(chosen: str | None, first_style: str, token: str) -> gr.Dropdown:
        names = [(entry.title, entry.name) for entry in catalogue.styles(owner_of(token), first_style)]
        known = [name for _, name in names]
        wanted = [name for name in (chosen, first_style, *known) if name in known]
        return gr.Dropdown(names, value=wanted[0] if wanted else None)

    def begin(stop: Stop) -> tuple[Any, ...]:
        stop.wanted = False
        off = gr.DownloadButton(interactive=False)
        return gr.Button("Painting…", interactive=False), gr.Button(interactive=True), off

    def end() -> tuple[Any, ...]:
        return gr.Button("Paint the film", interactive=True), gr.Button(STOP_LABEL, interactive=False)

    @told_in(status)
    def run(stop: Stop, film: str | None, style: str | None, *settings: Any) -> Iterator[dict[Any, Any]]:
        if stop.wanted:  # while waiting in the queue
            yield {status: status_line("Stopped before it began.")}
            return
        job = painter.job(film, style or "", *settings)
        yield {status: status_line("Opening your film.")}
        title, progress = catalogue.find(job.style).title, None
        for progress in painting_film(painter, job, stop):
            changes: dict[Any, Any] = {status: status_of(progress, title)}
            if progress.file:
                changes[painted] = str(progress.file)
            if progress.is_last:
                changes[download] = gr.DownloadButton(value=str(progress.file), interactive=True)
            yield changes
        if progress is None or not progress.is_last:
            yield {status: status_line("Stopped before its first frame.")}

    tab.select(arrive, [style, first.style, first.token], [style], **QUIET)
    asked = [film, style, longest_side, strength, keep_colors, brush, calm]  # in the order of `FilmPainter.job`
    buttons = [start_button, stop_button]
    begin_and_end(
        [start_button.click],
        (begin, [stop], [*buttons, download]),
        (run, [stop, *asked], [painted, status, download]),
        (end, None, buttons),
        concurrency_id=FILM,
        **waited_for(status),
    )
    stop_button.click(ask_to_stop, [stop], [stop_button], **AT_ONCE)


def build_film_api(painter: FilmPainter) -> None:
    """Add the endpoint /film."""

    def film(
        film: str,
        style: str,
        version: str = CHAMPION,
        longest_side: float = painter.limits.film_side,
        strength: float = 1.0,
        keep_colors: bool = False,
        brush: float = BRUSH,
        calm: float = FilmSettings.calm,
    ) -> Iterator[tuple[str | None, dict[str, Any]]]:
        """Paint a short film, with strokes that stay on things; its sound is kept.

        Args:
            film: A film file: mp4, mov, webm, mkv or gif.
            style: Name of a style, see /styles.
            version: A version's number or alias.
            longest_side: Longest side of the result in pixels; a smaller film keeps its size.
            strength: 0 gives the film, 1 the full style.
            keep_colors: Keep the film's colors and take only the strokes.
            brush: Size of the strokes: 1 as in the painting, 2 twice as large.
            calm: 0 paints each frame by itself; up to 1, strokes stay longer on things.

        Returns:
            Frames painted, frames in all and seconds left, again and again; with the first second of the film once it
            is painted, and at last with the whole as mp4.
        """
        job = painter.job(film, style, longest_side, strength, keep_colors, brush, calm, version)
        for progress in painting_film(painter, job):
            yield str(progress.file) if progress.file else None, facts_of(progress)

    outputs = [gr.Video(label="painted"), gr.JSON(label="facts")]
    endpoint("film", film, outputs, {"film": film_input(label="film"), "style": style_input()}, concurrency_id=FILM)
