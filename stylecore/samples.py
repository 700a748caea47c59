"""Sample photos and films in installed packages, found without importing these packages."""

import os
from importlib.util import find_spec
from pathlib import Path

PHOTOS_VARIABLE = "STYLECORE_PHOTOS"

_CARRIED = {
    "gradio": ("media_assets/images/tower.jpg", "media_assets/images/cheetah.jpg", "media_assets/images/lion.jpg"),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}
_FILMS = {"earth": "media_assets/videos/b.mp4", "world": "media_assets/videos/world.mp4"}
"""Of gradio: the Earth at night, 5 and 30 seconds."""


def sample_photos() -> dict[str, Path]:
    """Name to file: the .jpg files of the folder $STYLECORE_PHOTOS, else those in installed packages; may be empty."""
    if folder := os.environ.get(PHOTOS_VARIABLE):
        return {path.stem: path for path in sorted(Path(folder).expanduser().glob("*.jpg"))}
    return {path.stem: path for package, files in _CARRIED.items() for path in _carried(package, files)}


def sample_films() -> dict[str, Path]:
    """Name to file: the films in installed packages; may be empty."""
    return {name: path for name, file in _FILMS.items() for path in _carried("gradio", (file,))}


def _carried(package: str, files: tuple[str, ...]) -> list[Path]:
    spec = find_spec(package)
    folders = (spec.submodule_search_locations or []) if spec else []
    return [path for folder in folders for file in files if (path := Path(folder, file)).is_file()]
