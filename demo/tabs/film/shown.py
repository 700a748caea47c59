"""What the tab Film shows while a film is painted."""

import html
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from demo.page import progress_status, status_line
from demo.services.film import FilmJob, FilmPainter, FilmProgress
from demo.services.limits import Limits
from demo.tabs.painting import Stop
from demo.words import file_name, seconds_text


@dataclass(frozen=True)
class Shown:
    """What is shown twice a second.

    Attributes:
        status: HTML.
        facts: for programs.
        file: a film in Gradio's cache, when it is new: the first second, and at last the whole.
        whole: whether it is the last one.
    """

    status: str
    facts: dict[str, Any]
    file: str | None = None
    whole: bool = False


def painting_film(painter: FilmPainter, job: FilmJob, stop: Stop | None = None) -> Iterator[Shown]:
    """Paint a job; yield how far it is, the first second, and at the end, or when stopped, the film.

    Raises:
        StylecoreError: as `FilmPainter.paint`.
    """
    name = file_name(job.film.stem, job.style)
    folder = Path(tempfile.mkdtemp(dir=get_upload_folder()))
    title = html.escape(painter.stylizer.catalogue.find(job.style).title)
    stopped, last = threading.Event(), None
    for progress in painter.paint(job, folder, name, stopped):
        if stop is not None and stop.wanted:
            stopped.set()
        last = progress if progress.file else last
        if progress.file is None or (progress.preview and not stopped.is_set()):
            yield Shown(_progress(progress), _facts(progress), str(progress.file) if progress.file else None)
    if last is None:
        yield Shown(status_line("Stopped before its first frame."), {}, whole=True)
    else:
        yield Shown(_result(last, title), _facts(last), str(last.file), whole=True)


def limits_text(limits: Limits) -> str:
    """What may be uploaded, as HTML."""
    return (
        f"<p class='hint'>mp4, mov, webm or mkv, up to {limits.film_seconds:g} seconds and {limits.megabytes} MB, "
        "in 4K at most. Gone from this server within an hour.</p>"
    )


def _progress(progress: FilmProgress) -> str:
    what = "The first second" if progress.preview else "Your film"
    parts = [f"<strong>{what}</strong>: frame {progress.frames} of {progress.total}"]
    if progress.seconds_left is not None:
        parts += [f"{progress.rate:.1f} frames a second", f"{seconds_text(max(1, progress.seconds_left))} left"]
    return progress_status(" · ".join(parts), progress.frames / max(1, progress.total))


def _result(progress: FilmProgress, title: str) -> str:
    painted = progress.painted
    assert painted is not None
    parts = [
        f"<strong>{title}</strong>",
        f"{painted.width} &times; {painted.height} pixels",
        f"{painted.frames} frame{'' if painted.frames == 1 else 's'}" + (", then stopped" if painted.stopped else ""),
        f"{seconds_text(painted.seconds)} on {html.escape(progress.device)}",
    ]
    notes = "".join(f"<br>The film: {html.escape(notice)}." for notice in painted.notices)
    return status_line(" · ".join(parts) + notes)


def _facts(progress: FilmProgress) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "frames": progress.frames,
        "total_frames": progress.total,
        "frames_per_second": round(progress.rate, 2),
    }
    facts |= {"seconds_left": progress.seconds_left, "preview": progress.preview}
    if (painted := progress.painted) is not None:
        facts |= {"width": painted.width, "height": painted.height, "seconds": painted.seconds}
        facts |= {"stopped": painted.stopped, "notices": list(painted.notices)}
    return facts
