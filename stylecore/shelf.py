"""The styles at hand: StyleModel files in a few folders, found by name without any server."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stylecore.errors import StylecoreError
from stylecore.style_model import StyleCard, StyleModel, read_card

SHELVES_VARIABLE = "STYLECORE_STYLES"


@dataclass(frozen=True)
class StyleFile:
    """One StyleModel file and its card."""

    path: Path
    card: StyleCard


def default_shelves() -> tuple[Path, ...]:
    """The folders of $STYLECORE_STYLES, or else the published networks and those trained here."""
    named = os.environ.get(SHELVES_VARIABLE)
    if named:
        return tuple(Path(folder) for folder in named.split(os.pathsep) if folder)
    return (Path(__file__).resolve().parent.parent / "mlruns" / "published", Path("runs"))


def find_styles(shelves: Sequence[Path] | None = None) -> list[StyleFile]:
    """Every StyleModel file below the shelves, by name and iterations; other files are passed over."""
    found = []
    for shelf in default_shelves() if shelves is None else shelves:
        for path in sorted(shelf.rglob("*.safetensors")):
            try:
                found.append(StyleFile(path, read_card(path)))
            except StylecoreError:
                continue  # a run's saved state, or a file that is being written
    return sorted(found, key=lambda style: (style.card.name, style.card.iterations))


def open_style(reference: str, shelves: Sequence[Path] | None = None) -> StyleModel:
    """Open a style by file, by NAME (the most trained network of that name), or by NAME@iterations-N.

    Raises:
        StylecoreError: when there is no such style (with the names there are), or its file is damaged.
    """
    if reference.endswith(".safetensors") or Path(reference).is_file():
        return StyleModel.load(reference)
    name, _, alias = reference.partition("@")
    styles = find_styles(shelves)
    matching = [
        style
        for style in styles
        if style.card.name == name and alias in ("", "champion", f"iterations-{style.card.iterations}")
    ]
    if not matching:
        names = sorted({style.card.name for style in styles})
        there_are = f"there are {', '.join(names)}" if names else "there are none yet: train one, or import one"
        raise StylecoreError(f"there is no style {reference!r}: {there_are}, or give a .safetensors file.")
    return StyleModel.load(matching[-1].path)
