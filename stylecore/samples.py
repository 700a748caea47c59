"""Sample photos in installed packages, found without importing these packages."""

import os
from importlib.util import find_spec
from pathlib import Path

PHOTOS_VARIABLE = "STYLECORE_PHOTOS"

_CARRIED = {
    "gradio": ("media_assets/images/tower.jpg", "media_assets/images/cheetah.jpg", "media_assets/images/lion.jpg"),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}


def sample_photos() -> dict[str, Path]:
    """Name to file: the .jpg files of the folder $STYLECORE_PHOTOS, else those in installed packages; may be empty."""
    if folder := os.environ.get(PHOTOS_VARIABLE):
        return {path.stem: path for path in sorted(Path(folder).expanduser().glob("*.jpg"))}
    photos = {}
    for package, files in _CARRIED.items():
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            for file in files:
                path = Path(folder, file)
                if path.is_file():
                    photos[path.stem] = path
    return photos
