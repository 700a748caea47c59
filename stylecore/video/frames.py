"""What readers hand to the painter, and it to writers."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""(H, W, 3), sRGB, upright, with square pixels."""


@dataclass(frozen=True)
class FilmFacts:
    """What is known of a film before its frames are read.

    Attributes:
        name: of the file or folder, for messages.
        width, height: of the frames as they are shown and painted, in pixels.
        rate: frames a second; an average where the rate varies.
        time_base: seconds of one unit of `Frame.time`.
        frames: how many there will be; an estimate. None when the file does not say.
        seconds: the length of what will be painted, as the file says; None when it does not.
        sounds: the sound tracks, as PyAV's streams.
    """

    name: str
    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    frames: int | None
    seconds: float | None = None
    sounds: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a film.

    Attributes:
        pixels: at the size of the film.
        small: the same at the size at which it is painted; the same array if the sizes are equal.
        time: of its beginning, in units of the film's time base.
        duration: in the same units; 0 where the file does not say. Only that of the last frame matters.
    """

    pixels: Pixels
    small: Pixels
    time: int
    duration: int = 0


@dataclass(frozen=True, eq=False)
class Sound:
    """A packet of a sound track, as the file has it.

    Attributes:
        track: its number among `FilmFacts.sounds`.
    """

    packet: "av.Packet[Any]"
    track: int


Item = Frame | Sound


def to_tensor(pixels: Pixels) -> torch.Tensor:
    """(H, W, 3) of bytes to (3, H, W) in [0, 1]."""
    # Plane by plane, on one thread: a third of the time of PyTorch's conversion of interleaved bytes.
    tensor = np.empty((3, *pixels.shape[:2]), np.float32)
    for plane, values in zip(cv2.split(pixels), tensor, strict=True):
        np.divide(plane, np.float32(255), out=values)
    return torch.from_numpy(tensor)


def to_pixels(picture: torch.Tensor) -> Pixels:
    """(3, H, W) in [0, 1] to (H, W, 3) of bytes, each rounded to the nearest."""
    pixels = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
    # One pass on one thread, where PyTorch takes four on all.
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=255), np.uint8)
