"""What the tabs share: inputs for pictures and films, and the files that the browser fetches."""

import base64
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.processing_utils import hash_bytes
from gradio.utils import get_upload_folder
from torch import Tensor

from demo.errors import ERROR_TITLE
from demo.services.catalogue import FIRST_STYLE
from stylecore.errors import StylecoreError
from stylecore.files import Format, write_whole
from stylecore.pictures.write import encode_picture
from stylecore.samples import sample_films, sample_photos

LARGEST_FRAME = 4_000_000
"""Characters of a webcam's frame."""


def photo_input(**options: Any) -> gr.Image:
    """An image input that hands over the file as it was uploaded.

    Gradio's own opens it first, and answers a file that is no picture with a traceback; it also turns the picture
    upright and drops what `load_picture` reads: color profile, date, copyright. Only the instance is changed: beside
    the source of a subclass Gradio would write a stub file.
    """
    image = gr.Image(type="filepath", image_mode=None, **options)
    _take_uploads(image)
    return image


def picture_box(label: str, elem_id: str, **options: Any) -> gr.Image:
    """A photo input of the size of one beside another."""
    usual = {"sources": ["upload", "clipboard"], "height": 190, "min_width": 150, "buttons": [], "alt_text": label}
    return photo_input(label=label, elem_id=elem_id, **usual | options)


def film_input(**options: Any) -> gr.Video:
    """A video input that hands over the file as it was uploaded or recorded; Gradio's own would need ffmpeg."""
    film = gr.Video(include_audio=True, **options)
    _take_uploads(film)
    return film


def photos_input(**options: Any) -> gr.File:
    """An input for several picture files, which it hands over as they were uploaded."""
    files = gr.File(type="filepath", **options)
    _take_uploads(files)
    files.preprocess = lambda payload: [_uploaded_file(file) for file in getattr(payload, "root", None) or []]
    return files


def _take_uploads(component: Any) -> None:
    """Let a component hand over the path of what was uploaded, and nothing from elsewhere."""
    component.preprocess = _uploaded_file
    to_cache = component.async_move_resource_to_block_cache

    async def uploaded(path: str | Path | None) -> str | None:
        if str(path).startswith(("http://", "https://")):  # Gradio would fetch it, however large
            raise gr.Error(
                "Upload a file, such as handle_file('photo.jpg'): no address is fetched here.", title=ERROR_TITLE
            )
        return await to_cache(path)

    component.async_move_resource_to_block_cache = uploaded


def style_input() -> gr.Textbox:
    """A style's name, for programs."""
    style = gr.Textbox(label="style")
    style.example_payload = lambda: FIRST_STYLE
    return style


def endpoint(name: str, function: Callable[..., Any], outputs: Any, inputs: dict[str, Any], **options: Any) -> None:
    """Let programs call a function, which its docstring explains to them; call this where nothing is shown.

    Args:
        inputs: components of the parameters that are more than a default of type str, float or bool.
        options: of the event.
    """
    kinds: dict[Any, Any] = {str: gr.Textbox, float: gr.Number, bool: gr.Checkbox}
    components = [
        inputs.get(each.name) or kinds[each.annotation](each.default, label=each.name)
        for each in signature(function).parameters.values()
    ]
    gr.Button().click(function, components, outputs, api_name=name, **options)


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


def pick_sample(event: gr.EventData) -> str:
    """For a strip of samples: a copy of the one that was pressed.

    Raises:
        StylecoreError: for a name that is none.
    """
    samples = sample_photos() | sample_films()
    if event.name not in samples:
        raise StylecoreError(f"there is no sample {event.name!r}; upload your own.")
    return copy_to_cache(samples[event.name])


def copy_to_cache(file: Path) -> str:
    """A copy of one of our own files in Gradio's cache: it serves none from where packages are installed."""
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
    """Where the browser finds a file of Gradio's cache; no character of it means anything in HTML."""
    return f"gradio_api/file={quote(file)}"
