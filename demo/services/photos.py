"""The picture files that visitors upload."""

import io
from pathlib import Path

from stylecore.errors import StylecoreError
from stylecore.pictures.read import Picture, load_picture


class _Upload(io.BytesIO):
    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def read_photo(file: str | Path, *, max_side: int | None, max_pixels: int, called: str = "this file") -> Picture:
    """A visitor's picture file.

    Args:
        max_side, max_pixels: as in `load_picture`.
        called: what messages call it, instead of the server's path.

    Raises:
        StylecoreError: as `load_picture`, the path (of the server's folders) and the command line's flags left out.
    """
    try:
        content = Path(file).read_bytes()
    except OSError:
        raise StylecoreError(f"{called} is no longer there; upload it again") from None
    try:
        return load_picture(_Upload(content, called), max_side=max_side, max_pixels=max_pixels)
    except StylecoreError as error:
        raise StylecoreError(str(error).partition(", or raise the limit")[0]) from error
