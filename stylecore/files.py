"""Files: complete writing, SHA-256, and the user's cache folder."""

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from stylecore.errors import StylecoreError

DEFAULT_MAX_PIXELS = 100_000_000
"""Larger pictures are refused if nobody asked for them."""
PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".jp2", ".png", ".webp", ".tif", ".tiff", ".avif", ".gif", ".bmp", ".ppm", ".pgm"),
    *(".heic", ".heif"),
)
"""Suffixes of the files of a folder that count as photos."""

Format = Literal["PNG", "JPEG", "WEBP", "TIFF"]
FORMAT_OF_SUFFIX: dict[str, Format] = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
"""Suffix to format (Pillow's name) of pictures that are written."""


def is_photo(path: Path, suffixes: tuple[str, ...] = PHOTO_SUFFIXES) -> bool:
    """Whether a path in a folder counts as a photo: a file by its suffix, and not a hidden one.

    macOS adds a hidden "._1.jpg" to "1.jpg" on disks of other systems, which is no picture.
    """
    return path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()


def refuse_replacing(output: str | Path, *sources: str | Path | None) -> None:
    """Raise StylecoreError if the file to write is one of those that are read."""
    for source in sources:
        if source and os.path.exists(source) and os.path.exists(output) and os.path.samefile(output, source):
            raise StylecoreError(f"{output} is read and never replaced; give another -o.")


@contextmanager
def replaced_whole(path: str | Path) -> Iterator[Path]:
    """A temporary file beside `path`, which the block writes and which then replaces `path`.

    If the block fails, the temporary file is removed and `path` does not change. If `path` is a link, the file behind
    it is replaced.

    Raises:
        OSError: the folder is missing, full or not writable.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:50]}.{uuid.uuid4().hex}.part")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """An empty folder, which the block fills and which then replaces `target`; if the block fails, nothing changes."""
    target = target.resolve()  # a link stays, and "." has a name
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        yield new
        swap_folder(new, target)


def swap_folder(new: Path, target: Path) -> None:
    """Replace the folder `target` by the folder `new` (on the same disk), so that `target` is never incomplete."""
    if not target.exists():
        new.rename(target)
        return
    old = new.with_name("old")
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file, completely or not at all.

    Raises:
        StylecoreError: the folder is missing, full or not writable.
    """
    try:
        with replaced_whole(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise StylecoreError(f"{path} cannot be written: {error.strerror or error}") from error


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def default_cache() -> Path:
    """Folder of files that can be made again: $STYLECORE_CACHE, $XDG_CACHE_HOME/stylecore or `~/.cache/stylecore`."""
    if folder := os.environ.get("STYLECORE_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stylecore"
