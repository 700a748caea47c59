"""A folder of frames as a film, and a film as a folder of frames."""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.files import PHOTO_SUFFIXES, is_photo
from stylecore.pictures.read import load_picture, resize
from stylecore.pictures.write import save_picture
from stylecore.video.config import FilmSettings
from stylecore.video.frames import FilmFacts, Frame, Pixels, Sound, to_pixels, to_tensor

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

    def _load(self, file: Path) -> Tensor:
        settings = self._settings
        return load_picture(file, max_side=settings.max_side, max_pixels=settings.max_pixels).pixels


class FolderWriter:
    """Writes frames as frame_000001.png, ... in an empty folder; see `FilmWriter`."""

    notices: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def write(self, pixels: Pixels, time: int, duration: int = 0) -> None:
        self._count += 1
        save_picture(to_tensor(pixels), self._folder / NAME.format(self._count))

    def write_sound(self, sound: Sound) -> None:
        """Pictures have no sound."""


def _natural(path: Path) -> list[int | str]:
    """Numbers in a name are compared as numbers; they have every second place, so that like is compared with like."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]
