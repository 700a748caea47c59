"""What the tab Gatys shows while a picture is painted."""

import html
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd  # type: ignore[import-untyped]

from demo.page import save_for_browser
from demo.services.gatys import GatysJob, Painter
from demo.status import progress_status, result_line, status_line
from demo.words import file_name, seconds_text, size_text
from stylecore.gatys.paint import GatysStep

SECONDS_BETWEEN_PREVIEWS = 0.4
STOP_LABEL = "Stop and keep it"


class Stop:
    """Set by the Stop button, read between two steps. One a session."""

    def __init__(self) -> None:
        self.wanted = False


def ask_to_stop(stop: Stop) -> gr.Button:
    """What the button does."""
    stop.wanted = True
    return gr.Button("Stopping…", interactive=False)


@dataclass(frozen=True)
class PaintingState:
    """What is shown after a step.

    Attributes:
        picture: a file in Gradio's cache.
        status: HTML.
        curve: step, part, loss.
        facts: for programs.
        png, jpeg: files, with the last step only.
        larger: the job that goes on at twice the size, with the last step, where there is one.
    """

    picture: str
    status: str
    curve: list[tuple[int, str, float]]
    facts: dict[str, Any]
    png: str | None = None
    jpeg: str | None = None
    larger: GatysJob | None = None

    @property
    def recipe_label(self) -> str:
        """What stands above the command line, which divides the steps among the sizes as if none were missing."""
        same = "The same picture" if self.facts["step"] == self.facts["total_steps"] else "A picture like it"
        return f"{same} from the command line"


def painting(painter: Painter, job: GatysJob, stop: Stop | None = None) -> Iterator[PaintingState]:
    """Paint a job; yield a preview now and then, and at the end, or when stopped, the picture reached.

    Between two steps nothing is held that belongs to a thread: Gradio resumes generators on any of its own.
    """
    photo = painter.photo(job)
    name = file_name(Path(job.photo).stem, Path(job.style).stem)
    curve: list[tuple[int, str, float]] = []
    pause = SECONDS_BETWEEN_PREVIEWS
    shown_at = -math.inf
    step, stopped = None, False
    for step in painter.paint(job, photo):
        curve += [(step.step, part, step.losses[part]) for part in ("content", "style")]
        stopped = stop is not None and stop.wanted
        if stopped:
            break
        if step.remaining and step.elapsed - shown_at >= pause:
            shown_at = step.elapsed
            # A long run shows fewer: its pictures change more slowly, and each has to be sent.
            pause = max(SECONDS_BETWEEN_PREVIEWS, (step.elapsed + step.remaining) / painter.limits.previews)
            picture = save_for_browser(step.picture(), "JPEG", f"{name}-{step.step}")
            yield PaintingState(picture, _progress(step, painter.device_name), curve, _facts(job, step))
    if step is None:
        return
    pixels, settings = step.picture(), {**job.settings(), "steps": step.step}
    png = save_for_browser(pixels, "PNG", name, alpha=photo.alpha, exif=photo.exif, settings=settings)
    jpeg = save_for_browser(pixels, "JPEG", name, exif=photo.exif, settings=settings)
    steps = "1 step" if step.step == 1 else f"{step.step} steps"
    status = result_line(
        f"{'Stopped' if stopped else 'Painted'} after {steps}",
        f"{size_text((pixels.shape[1], pixels.shape[2]))} pixels",
        f"{seconds_text(step.elapsed)} on {painter.device_name}",
    )
    shown = png if photo.alpha is None else jpeg
    larger = painter.larger(job.ended_at(step.step), png, photo)
    yield PaintingState(shown, status, curve, _facts(job, step), png, jpeg, larger)


def _progress(step: GatysStep, device: str) -> str:
    left = f"{seconds_text(max(1, step.remaining))} left" if step.step > 1 else f"on {html.escape(device)}"
    coarse = "" if step.scale == 1 else f" · large strokes first, at 1/{round(1 / step.scale)} of the size"
    text = f"<strong>Step {step.step}</strong> of {step.total_steps} · {left}{coarse}"
    return progress_status(text, step.step / step.total_steps)


def _facts(job: GatysJob, step: GatysStep) -> dict[str, Any]:
    facts = ("step", "total_steps", "losses", "elapsed", "remaining")
    return {name: getattr(step, name) for name in facts} | {"command_line": job.ended_at(step.step).command_line()}


def curve_table(curve: list[tuple[int, str, float]]) -> pd.DataFrame:
    """Columns step, loss (its decimal logarithm: it falls through orders of magnitude) and part."""
    rows = [(step, part, math.log10(loss)) for step, part, loss in curve if loss > 0]
    return pd.DataFrame(rows, columns=["step", "part", "loss"])


def larger_label(job: GatysJob) -> str:
    """What the button says that goes on with a painting."""
    painted = job.begun.longest_side if job.begun else 0
    return "Go on at twice the size" if job.longest_side == 2 * painted else f"Go on at {job.longest_side} pixels"


def estimate_text(painter: Painter, photo: str | None, longest_side: float, steps: float) -> str:
    """About how long it will take, as HTML; empty without a readable photo."""
    seconds = painter.seconds_for(photo, longest_side, steps)
    if seconds is None:
        return status_line("&nbsp;")
    budget = painter.limits.gatys_seconds
    text = f"About <strong>{seconds_text(min(seconds, budget))}</strong> on {html.escape(painter.device_name)}"
    if seconds > budget:
        text += ", then it ends with what is reached. Fewer steps or a smaller size finish in time"
    return status_line(f"{text}.")
