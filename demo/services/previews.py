"""The pictures on the cards: every style applied to one photo, kept from one start of the page to the next."""

import contextlib
import hashlib
from pathlib import Path

from demo.services import zero_gpu
from stylecore.errors import StylecoreError
from stylecore.files import default_cache, write_whole
from stylecore.inference.engine import Engine
from stylecore.johnson.quantization import network_digest
from stylecore.johnson.style_model import StyleModel
from stylecore.pictures.read import fit, load_picture
from stylecore.pictures.write import encode_picture
from stylecore.samples import sample_photos

SIDE = 360
"""Longest side in pixels."""
PHOTOS = ("china", "tower")
"""The photo that every style is shown on: the first of these that is installed."""


def preview_photo() -> Path | None:
    """The sample photo that styles are shown on."""
    photos = sample_photos()
    chosen = [photos[name] for name in PHOTOS if name in photos]
    return next(iter(chosen or photos.values()), None)


def paint_preview(model: StyleModel, photo: Path) -> bytes:
    """A JPEG of the style applied to the photo; painted once, then read from the cache folder.

    Raises:
        StylecoreError: when the photo cannot be read or the network cannot be run.
    """
    photo_digest = hashlib.sha256(photo.read_bytes()).hexdigest()
    key = f"{SIDE} of {model.card.painted_side} {network_digest(model.network)} {photo_digest}"
    file = default_cache() / "previews" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.jpg"
    with contextlib.suppress(OSError):
        return file.read_bytes()
    # At the size at which its strokes are right, and then reduced: a card shows the style as a result shows it.
    painted = Engine(model, zero_gpu.DEVICE).stylize(load_picture(photo, max_side=model.card.painted_side).pixels)
    jpeg = encode_picture(fit(painted, SIDE), "JPEG")
    with contextlib.suppress(OSError, StylecoreError):  # a cache that cannot be written is none
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, jpeg)
    return jpeg
