"""Choosing by picture: style cards and sample photos, as HTML that a keyboard and a screen reader can use."""

import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import gradio as gr
from PIL import Image, ImageOps

from demo.page import copy_to_cache, pick_sample
from demo.services.catalogue import StyleEntry
from demo.services.previews import preview_photo
from demo.status import AT_ONCE, QUIET
from demo.theme import filled_in, script
from stylecore.samples import sample_photos

THUMBNAIL_SIDE = 64


def style_cards(entries: Sequence[StyleEntry], chosen: str) -> str:
    """A group of radio buttons that look like cards: the preview, the painting in its corner, title and
    artist below it."""
    return filled_in("cards", entries=entries, chosen=chosen)


def sample_strip(photos: Mapping[str, Path], question: str = "No photo at hand?", what: str = "Sample photo") -> str:
    """A row of buttons, one a picture."""
    pictures = {name: _thumbnail(photo) for name, photo in photos.items()}
    return filled_in("samples", pictures=pictures, question=question, what=what)


def samples_for(box: gr.Image | gr.Video, name: str, *strip: Any) -> gr.HTML:
    """The strip of sample photos, or what else `sample_strip` is given, connected to an input."""
    samples = gr.HTML(sample_strip(*strip or [sample_photos()]), js_on_load=script("pick"), elem_id=name)
    samples.select(pick_sample, None, [box], **AT_ONCE)
    return samples


def begin_with_photo(tab: gr.Tab, photo: gr.Image, first_photo: gr.Image, name: str) -> None:
    """When the tab is opened without a photo, it takes that of the first tab, or else a sample.

    In the browser, so that no late answer replaces a photo that was uploaded meanwhile.
    """
    sample = preview_photo()
    hidden = gr.Image(copy_to_cache(sample) if sample else None, type="filepath", visible="hidden", elem_id=name)
    tab.select(None, [photo, first_photo, hidden], [photo], js=script("first_photo"), **QUIET)


@functools.cache
def _thumbnail(file: Path) -> bytes:
    """A small JPEG of one of our own files, decoded at a fraction of its size: the page starts with dozens of them."""
    if file.suffix == ".mp4":
        with av.open(str(file)) as film:
            small = next(film.decode(video=0)).to_image()
    else:
        with Image.open(file) as image:
            image.draft("RGB", (2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE))
            small = ImageOps.exif_transpose(image).convert("RGB")
    small.thumbnail((2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=90)
    return stream.getvalue()
