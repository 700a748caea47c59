"""The line of status, and the events whose progress and errors it tells."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import gradio as gr
from markupsafe import escape

from demo.errors import ERROR_TITLE, sentence_of
from demo.services.limits import BATCH

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Options of the events that nobody waits for."""
AT_ONCE: dict[str, Any] = {"queue": False, **QUIET}
"""Options of those that only change what is on the page."""


def progress_line(share: float) -> str:
    """HTML for a thin line that is full at 1."""
    return f'<div class="progress-line" aria-hidden="true"><div style="width: {100 * share:.1f}%"></div></div>'


def progress_status(text: str, share: float | None = None) -> str:
    """HTML for a line of status that changes often, with a line below it that is full at a `share` of 1.

    Screen readers are silent about it, and would talk all the time otherwise; they announce what follows at the end.
    `text` is HTML.
    """
    line = f'<p class="status" role="status" aria-live="off">{text}</p>'
    return line if share is None else line + progress_line(share)


def status_line(text: str, *, kind: str = "") -> str:
    """HTML for one line below a picture; screen readers announce it when it changes. `text` is HTML."""
    return f'<p class="status {kind}" role="status" aria-live="polite">{text}</p>'


def result_line(what: str, *facts: str, notes: Iterable[str] = ()) -> str:
    """A `status_line` on what came of a request: facts about it, and notes, each in a line of its own. All is text, or
    `Markup`."""
    line = " · ".join([f"<strong>{escape(what)}</strong>", *map(escape, facts)])
    return status_line(line + "".join(f"<br>{escape(note)}" for note in notes))


def refused(error: Exception) -> str:
    """What was asked for and did not work, in the same line, as HTML."""
    return status_line(f"<strong>{ERROR_TITLE}.</strong> {sentence_of(error)}", kind="failed")


def told_in(status: gr.HTML) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a generator of changes so that its error is told in the line of status.

    An error that is raised lies over the page, and is gone in a moment.
    """

    def decorate(handler: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(handler)
        def generate(*args: Any, **kwargs: Any) -> Iterator[dict[Any, Any]]:
            try:
                yield from handler(*args, **kwargs)
            except Exception as error:
                yield {status: refused(error)}

        return generate

    return decorate


def waited_for(status: gr.HTML) -> dict[str, Any]:
    """Options of the events that a visitor waits for: Gradio shows on the line of status that they go on."""
    return {"api_visibility": "private", "show_progress": "minimal", "show_progress_on": [status]}


def begin_and_end(
    triggers: Sequence[Any],
    begin: tuple[Any, ...],
    run: tuple[Any, ...],
    end: tuple[Any, ...],
    **options: Any,
) -> Any:
    """Connect what takes a while: `begin` at once, `run` in its queue, `end` whatever came of it.

    Returns `run`'s event.

    Args:
        triggers: events that start it.
        begin, run, end: each a function, its inputs and its outputs.
        options: of `run`'s event.
    """
    running = gr.on(triggers, *begin, **AT_ONCE).then(*run, **options)
    # Gradio's page (6.31) does not do after a failure what `then` asks for. Being stopped is a failure for it too.
    running.success(*end, **AT_ONCE)
    running.failure(*end, **AT_ONCE)
    return running


def start_and_stop(label: str, name: str) -> tuple[gr.Button, gr.Button]:
    """The buttons that start and that stop something; `name` begins their ids."""
    with gr.Row(elem_classes="actions"):
        start = gr.Button(label, variant="primary", elem_id=f"{name}-run")
        return start, gr.Button("Stop", elem_id=f"{name}-stop", interactive=False)


def run_in_batch(
    buttons: tuple[gr.Button, gr.Button],
    triggers: Sequence[Any],
    run: Callable[..., Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
) -> None:
    """Connect what paints one picture after another, until it is done or stopped.

    Args:
        buttons: of `start_and_stop`.
        triggers: events that start it.
        run: a generator of changes.
        outputs: of `run`; the first is the line of status.
    """
    status, stop = outputs[0], buttons[1]

    def begun() -> tuple[gr.Button, gr.Button]:
        return gr.Button(interactive=False), gr.Button(interactive=True)

    def ended() -> tuple[gr.Button, gr.Button]:
        return gr.Button(interactive=True), gr.Button(interactive=False)

    def stopped() -> tuple[Any, ...]:
        return *ended(), status_line("Stopped.")

    work = (told_in(status)(run), inputs, outputs)
    running = begin_and_end(
        triggers, (begun, None, buttons), work, (ended, None, buttons), concurrency_id=BATCH, **waited_for(status)
    )
    stop.click(stopped, None, [*buttons, status], cancels=[running], **AT_ONCE)
