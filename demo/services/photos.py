"""The picture files that visitors upload."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stylecore.errors import StylecoreError
from stylecore.pictures.read import Picture, load_picture


@contextmanager
def named(file: str | Path, called: str) -> Iterator[None]:
    """Errors of the block call the file so: without the path of the server's folder and the command line's flags."""
    try:
        yield
    except StylecoreError as error:
        sentence = str(error).replace(str(file), called)
        raise StylecoreError(sentence.partition(", or raise the limit")[0]) from error


def read_photo(file: str | Path, *, max_side: int | None, max_pixels: int, called: str = "this file") -> Picture:
    """A visitor's picture file.

    Args:
        max_side, max_pixels: as in `load_picture`.
        called: what messages call it.

    Raises:
        StylecoreError: as `load_picture`, in the words of `named`.
    """
    if not Path(file).is_file():
        raise StylecoreError(f"{called} is no longer there; upload it again")
    with named(file, called):
        return load_picture(file, max_side=max_side, max_pixels=max_pixels)
