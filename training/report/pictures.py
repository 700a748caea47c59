"""The pictures of the report: opened from the tracker, blended."""

import tempfile
from pathlib import Path

from PIL import Image

from stylecore.errors import StylecoreError
from training.tracking.store import (
    MlflowClient,
    fetch,
    without_password,
)

QUALITY = 78


def open_picture(client: MlflowClient, address: str) -> Image.Image:
    """A picture of the store.

    Raises:
        StylecoreError: when it is not there, or no picture.
    """
    with tempfile.TemporaryDirectory() as temporary:
        path = fetch(client, address, Path(temporary))
        try:
            with Image.open(path) as image:
                return image.convert("RGB")
        except OSError as error:
            where = without_password(client.tracking_uri)
            raise StylecoreError(f"A picture of the MLflow store at {where} cannot be read: {error}.") from error


def blended(photo: Image.Image, stylized: Image.Image, strength: float) -> Image.Image:
    """The photo painted over with this much of the stylized picture, as `stylecore.color.blend` does."""
    return Image.blend(photo, stylized if stylized.size == photo.size else stylized.resize(photo.size), strength)
