"""What the tab shows of a lesson, as HTML."""

import html
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from demo.page import address_of, progress_line, progress_status, save_bytes, status_line
from demo.services.teach.lessons import Lesson
from demo.services.teach.teacher import Teacher, View
from demo.words import seconds_text
from stylecore.pictures.read import encode_picture, load_picture

WIDTH, HEIGHT = 600, 120
"""Of the curve, in units of its own."""
SIDE = 512
"""Longest side of the painting in pixels."""
PAINTINGS_KEPT = 32


def pictures(teacher: Teacher, lesson: Lesson) -> str:
    """The painting, and beside it the visitor's photo as the network paints it now."""
    shown = [_figure(_painting(teacher.files.of(lesson) / "painting.png"), "The painting", "taught-painting")]
    if painted := teacher.picture(lesson):
        shown.append(_figure(painted, "Your photo, as the network paints it now", "taught-photo"))
    taught = html.escape(lesson.style) if lesson.state == "done" else ""
    return f'<div class="lesson" data-taught="{taught}">{"".join(shown)}</div>'


@lru_cache(PAINTINGS_KEPT)
def _painting(file: Path) -> bytes:
    """A lesson's painting as a small JPEG; it is looked at every other second, and stays the same."""
    return encode_picture(load_picture(file, max_side=SIDE).pixels, "JPEG")


def _figure(jpeg: bytes, caption: str, name: str) -> str:
    """A picture that the browser fetches once, as a file; in the page itself every look would send it anew."""
    address = address_of(save_bytes(jpeg, f"{name}.jpg"))
    return f'<figure class="{name}"><img alt="{caption}" src="{address}"><figcaption>{caption}</figcaption></figure>'


def status(view: View, run_page: str) -> str:
    """One line on where the lesson is, and a line that fills with it."""
    lesson, figures = view.lesson, view.figures
    title = f"<strong>{html.escape(lesson.title)}</strong>"
    if view.phase == "waiting":
        before = {0: "it begins in a moment", 1: "1 painting is before yours"}
        place = before.get(view.place, f"{view.place} paintings are before yours")
        return status_line(f"{title}: {place}. You may close this page and come back.")
    if view.phase == "failed":
        return status_line(f"{title} was not learned: {html.escape(lesson.reason.rstrip('.'))}.", kind="failed")
    if view.phase == "done":
        link = f' <a href="{html.escape(run_page)}" target="_blank" rel="noopener">Its run in MLflow</a>'
        return status_line(f"{title} is learned, and is a card in Stylize.{link if run_page else ''}")
    if view.phase == "finishing":
        return status_line(f"{title} is learned; its network is being evaluated and reduced to 8 bits.")
    again = " It goes on after an interruption." if lesson.starts > 1 else ""
    if view.phase != "learning" or "seconds" not in figures:
        return status_line(f"{title}: looking for the nearest style to begin with.{again}")
    spent, left = float(figures["seconds"]), float(figures["seconds_left"])
    iterations = "1 iteration" if figures["iteration"] == 1 else f"{figures['iteration']} iterations"
    return progress_line(spent / max(spent + left, 1e-9)) + progress_status(
        f"{title}: {iterations}, loss {figures['loss']:.3g} "
        f"(content {figures['content']:.3g}, style {figures['style']:.3g}), {seconds_text(left)} left.{again}"
    )


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
