"""What the tabs share: the photo input, pictures to files, the line of status."""

import base64
import functools
import html
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.processing_utils import hash_bytes
from gradio.utils import get_upload_folder
from torch import Tensor

from demo.errors import ERROR_TITLE, sentence_of
from demo.server.examples import example_film, example_photo, sample_at
from demo.services.catalogue import NoSuchStyleError
from demo.services.limits import BATCH
from stylecore.errors import StylecoreError
from stylecore.files import write_whole
from stylecore.pictures.read import Format, encode_picture
from stylecore.samples import sample_films, sample_photos

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Options of the events that nobody waits for."""
AT_ONCE: dict[str, Any] = {"queue": False, **QUIET}
"""Options of those that only change what is on the page."""
GONE = "This style is no longer here; choose another one."
LARGEST_FRAME = 4_000_000
"""Characters of a webcam's frame."""


def photo_input(**options: Any) -> gr.Image:
    """An image input that hands over the file as it was uploaded.

    Gradio's own opens it first, and answers a file that is no picture with a traceback; it also turns the picture
    upright and drops what `load_picture` reads: color profile, date, copyright. Only the instance is changed: beside
    the source of a subclass Gradio would write a stub file.
    """
    image = gr.Image(type="filepath", image_mode=None, **options)
    _take_uploads(image, example_photo())
    return image


def picture_box(label: str, elem_id: str, **options: Any) -> gr.Image:
    """A photo input of the size of one beside another."""
    usual = {"sources": ["upload", "clipboard"], "height": 190, "min_width": 150, "buttons": [], "alt_text": label}
    return photo_input(label=label, elem_id=elem_id, **usual | options)


def film_input(**options: Any) -> gr.Video:
    """A video input that hands over the file as it was uploaded or recorded; Gradio's own would need ffmpeg."""
    film = gr.Video(include_audio=True, **options)
    _take_uploads(film, example_film())
    return film


def photos_input(**options: Any) -> gr.File:
    """An input for several picture files, which it hands over as they were uploaded."""
    files = gr.File(type="filepath", **options)
    _take_uploads(files)
    files.preprocess = lambda payload: [_uploaded_file(file) for file in getattr(payload, "root", None) or []]
    return files


def _take_uploads(component: Any, example: str | None = None) -> None:
    """Let a component hand over the path of what was uploaded, or of a sample, and nothing from elsewhere."""
    component.preprocess = _uploaded_file
    if example:
        component.example_payload = lambda: {"path": example, "meta": {"_type": "gradio.FileData"}}
        component.example_value = lambda: example
    to_cache = component.async_move_resource_to_block_cache

    async def uploaded(path: str | Path | None) -> str | None:
        if sample := sample_at(str(path)):
            return copy_of_sample(sample)
        if str(path).startswith(("http://", "https://")):  # Gradio would fetch it, however large
            raise gr.Error("Upload a file: no address is fetched here.", title=ERROR_TITLE)
        return await to_cache(path)

    component.async_move_resource_to_block_cache = uploaded


def slider(
    label: str, elem_id: str, least: float, most: float, value: float, step: float, **options: Any
) -> gr.Slider:
    """A slider without Gradio's button that resets it."""
    return gr.Slider(least, most, value, step=step, label=label, elem_id=elem_id, buttons=[], **options)


def live_input(**options: Any) -> gr.Image:
    """A webcam that hands over frame after frame, as the bytes of a JPEG that never become a file."""
    image = gr.Image(sources=["webcam"], streaming=True, type="filepath", **options)
    image.preprocess = _frame
    return image


def _frame(payload: Any) -> bytes | None:
    head, _, content = (getattr(payload, "url", None) or "").partition(",")
    if not head.startswith("data:image/") or len(content) > LARGEST_FRAME:
        return None
    try:
        return base64.b64decode(content, validate=True)
    except ValueError:
        return None


def _uploaded_file(payload: Any) -> str | None:
    if payload is None:
        return None
    # Gradio checks the path only of payloads that declare themselves to be files (6.31); one without "meta" could
    # name any picture on the server.
    path = Path(payload.path or "").resolve()
    if not payload.path or not path.is_relative_to(Path(get_upload_folder()).resolve()):
        raise gr.Error("Upload it as a file.", title=ERROR_TITLE, print_exception=False)
    return str(path)


def save_for_browser(
    pixels: Tensor,
    format: Format,
    name: str,
    *,
    alpha: Tensor | None = None,
    exif: bytes | None = None,
    settings: dict[str, Any] | None = None,
) -> str:
    """Write a picture into Gradio's cache, from where the browser fetches it and where it is cleaned up."""
    suffix = {"PNG": "png", "JPEG": "jpg"}.get(format, format.lower())
    content = encode_picture(pixels, format, alpha=alpha, exif=exif, settings=settings)
    return save_bytes(content, f"{name}.{suffix}")


def copy_of_sample(name: str) -> str:
    """A sample photo or film in Gradio's cache: it serves no file from where packages are installed.

    Raises:
        StylecoreError: for a name that is none.
    """
    samples = sample_photos() | sample_films()
    if name not in samples:
        raise StylecoreError(f"there is no sample {name!r}; upload your own.")
    return copy_to_cache(samples[name])


def pick_sample(event: gr.EventData) -> str:
    """For a strip of samples: a copy of the one that was pressed."""
    return copy_of_sample(event.name)


def copy_to_cache(file: Path) -> str:
    """A copy of one of our own files, where Gradio may serve it from."""
    return save_bytes(file.read_bytes(), file.name)


def save_bytes(content: bytes, name: str) -> str:
    """A file in Gradio's cache, in a folder named by what is in it.

    Gradio's own function writes over the file of the same content, and a browser that fetches it at that moment gets
    it cut short: the photo of a comparison is saved anew with every picture beside it.
    """
    folder = Path(get_upload_folder()) / hash_bytes(content)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    write_whole(file, content)
    return str(file.resolve())


def address_of(file: str) -> str:
    """Where the browser finds a file of Gradio's cache, for an attribute of HTML."""
    return html.escape(f"gradio_api/file={quote(file)}")


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


def refused(error: Exception) -> str:
    """What was asked for and did not work, in the same line, as HTML."""
    sentence = GONE if isinstance(error, NoSuchStyleError) else sentence_of(error)  # the list of names is for programs
    return status_line(f"<strong>{ERROR_TITLE}.</strong> {sentence}", kind="failed")


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
    failed: tuple[Any, ...] | None = None,
    **options: Any,
) -> Any:
    """Connect what takes a while: `begin` at once, `run` in its queue, `end` whatever came of it.

    Returns `run`'s event.

    Args:
        triggers: events that start it.
        begin, run, end: each a function, its inputs and its outputs.
        failed: after an error, if it is another than `end`.
        options: of `run`'s event.
    """
    running = gr.on(triggers, *begin, **AT_ONCE).then(*run, **options)
    # Gradio's page (6.31) does not do after a failure what `then` asks for. Being stopped is a failure for it too.
    running.success(*end, **AT_ONCE)
    running.failure(*(failed or end), **AT_ONCE)
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
