"""A folder of frames as a film, and a film as a folder of frames."""

import re
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch

from stylecore.errors import StylecoreError
from stylecore.files import PHOTO_SUFFIXES, is_photo
from stylecore.pictures.read import fit, load_picture, resize
from stylecore.pictures.write import save_picture
from stylecore.video.config import FilmSettings
from stylecore.video.frames import FilmFacts, Frame, Pixels, Sound

NAME = "frame_{:06d}.png"


class FolderReader:
    """The pictures of a folder, in the order of their names, as the frames of a film; 2.png comes before 10.png.

    Args:
        folder: of pictures; the first one decides the size.

    Attributes:
        facts: of the film as it will be painted.
        notices: none; see `FilmReader`.

    Raises:
        StylecoreError: there are no pictures, or the first one cannot be read.
    """

    notices: tuple[str, ...] = ()

    def __init__(self, folder: Path, settings: FilmSettings) -> None:
        files = sorted(filter(is_photo, folder.iterdir()), key=_natural)
        if not files:
            raise StylecoreError(f"the folder {folder} has no frames ({', '.join(PHOTO_SUFFIXES)}).")
        rate = Fraction(settings.rate).limit_denominator(1001)
        first = round((settings.begin or 0) * rate)
        last = None if settings.end is None else round(settings.end * rate)
        self._files = files[first : last : settings.every]
        if not self._files:
            raise StylecoreError(f"the folder {folder} has {len(files)} frames, none of them in this part.")
        self._settings = settings
        height, width = self._load(self._files[0]).shape[-2:]
        time_base, count = settings.every / rate, len(self._files)
        self.facts = FilmFacts(str(folder), width, height, 1 / time_base, time_base, count, float(count * time_base))

    def items(self, small: tuple[int, int]) -> Iterator[Frame]:
        """The frames.

        Raises:
            StylecoreError: a picture cannot be read, or has another size than the first one.
        """
        whole = (self.facts.height, self.facts.width)
        for time, file in enumerate(self._files):
            picture = self._load(file)
            if tuple(picture.shape[-2:]) != whole:
                raise StylecoreError(
                    f"{file} has {picture.shape[-1]} x {picture.shape[-2]} pixels, but the first frame of the film "
                    f"{whole[1]} x {whole[0]}; all must have the same size."
                )
            pixels = to_pixels(picture)
            yield Frame(pixels, pixels if small == whole else to_pixels(resize(picture, small)), time)

    def _load(self, file: Path) -> torch.Tensor:
        picture = load_picture(file, max_pixels=self._settings.max_pixels).pixels
        return picture if self._settings.max_side is None else fit(picture, self._settings.max_side)


class FolderWriter:
    """Writes frames as frame_000001.png, ... in a folder, which is complete or not there.

    Args:
        folder: must not exist, or be empty.

    Raises:
        StylecoreError: there is something in it.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise StylecoreError(f"{folder} is a file; name a folder for the frames, or a film with its suffix.")
        if folder.is_dir() and any(folder.iterdir()):
            raise StylecoreError(f"the folder {folder} is not empty; name a new one for the frames.")
        folder = folder.resolve()  # a link stays, and "." has a name
        self.notices: tuple[str, ...] = ()
        self._folder = folder
        self._part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.mkdir(parents=True)
        self._count = 0

    def write(self, pixels: Pixels, time: int, duration: int = 0) -> None:
        self._count += 1
        save_picture(to_tensor(pixels), self._part / NAME.format(self._count))

    def write_sound(self, sound: Sound) -> None:
        """Pictures have no sound."""

    def finish(self) -> None:
        if self._folder.is_dir():
            self._folder.rmdir()
        self._part.rename(self._folder)

    def discard(self) -> None:
        shutil.rmtree(self._part, ignore_errors=True)


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


def _natural(path: Path) -> list[tuple[int, str]]:
    """Numbers in a name are compared as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]
