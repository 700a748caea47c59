"""Pictures written, resized and fitted; the awkward files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from stylecore.errors import StylecoreError
from stylecore.pictures.read import load_picture

# Red, green, blue on top, white, black, gray below: no turn or mirror leaves it as it is.
UPRIGHT = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 255, 255], [0, 0, 0], [128, 128, 128]]], dtype=np.uint8
)


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def exif_with(**tags: object) -> Image.Exif:
    exif = Image.Exif()
    for name, value in tags.items():
        exif[ExifTags.Base[name]] = value
    return exif


def refused(path: Path, reason: str, **options: Any) -> None:
    with pytest.raises(StylecoreError) as caught:
        load_picture(path, **options)
    message = str(caught.value)
    assert str(path) in message
    assert reason in message
    assert "\n" not in message
