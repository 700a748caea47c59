"""A person's painting: whether there is enough in it to learn, and what it is called."""

import re
from pathlib import Path

from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.pictures.read import load_picture

LEAST_SIDE = 96
"""Pixels of the short side."""
LEAST_CONTRAST = 0.02
"""Standard deviation of the pixels, whose values are in [0, 1]."""
LONGEST_NAME = 60


def read_painting(path: Path) -> Tensor:
    """The pixels (3, H, W) in [0, 1] of a painting that can be learned.

    Raises:
        StylecoreError: as `load_picture`, and when there is too little in the picture.
    """
    pixels = load_picture(path).pixels
    height, width = pixels.shape[-2:]
    if min(height, width) < LEAST_SIDE:
        raise StylecoreError(
            f"{path.name} has {width} x {height} pixels, too few to learn strokes from; "
            f"take a picture of at least {LEAST_SIDE} on its short side."
        )
    if float(pixels.std()) < LEAST_CONTRAST:
        raise StylecoreError(f"{path.name} is nearly blank, so there is nothing to learn; take a painting.")
    return pixels


def name_of(path: Path) -> str:
    """The style's name of a painting's file: letters, digits and "_", such as "sunflowers_1888"."""
    return re.sub(r"[^A-Za-z0-9]+", "_", path.stem).strip("_").lower()[:LONGEST_NAME] or "my_painting"


def title_of(path: Path) -> str:
    """The title of a painting's file: "Sunflowers 1888"."""
    words = re.sub(r"[_\s-]+", " ", path.stem).strip()
    return (words[:1].upper() + words[1:])[:LONGEST_NAME] or "My painting"
