"""The library: the styles at hand, StyleModel files in a few folders, found by name without any server.

A style is named NAME, NAME@ALIAS or NAME/VERSION (`parse_reference`), or by its file.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleCard, StyleModel, read_card

STYLES_VARIABLE = "STYLECORE_STYLES"
CHAMPION = "champion"
"""Alias of the network of a style that is taken where none is named."""
FAST = "fast"
"""Alias of a narrower network of a style, for moving pictures and slow machines."""


@dataclass(frozen=True)
class StyleReference:
    """A style by name. Without alias and version it means the champion.

    Attributes:
        name: of the style.
        alias: one that a checkpoint bears, or "iterations-N"; may be empty.
        version: number of a registered version; may be empty. Files have none.
    """

    name: str
    alias: str = ""
    version: str = ""


def parse_reference(text: str) -> StyleReference:
    """NAME, NAME@ALIAS or NAME/VERSION, as MLflow writes them, with or without `models:/`.

    Raises:
        StylecoreError: for anything else.
    """
    parsed = re.fullmatch(r"(?:models:/)?([A-Za-z0-9_-]+)(?:@([A-Za-z0-9_-]+)|/([0-9]+))?", text.strip())
    if parsed is None:
        raise StylecoreError(
            f"{text!r} does not name a style; write NAME, NAME@ALIAS or NAME/VERSION, for example "
            "starry_night@champion."
        )
    return StyleReference(parsed[1], parsed[2] or "", str(int(parsed[3])) if parsed[3] else "")


@dataclass(frozen=True)
class StyleFile:
    """One StyleModel file, its card, and the names that the registry gave this checkpoint of its run."""

    path: Path
    card: StyleCard
    aliases: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """The shortest name for this file; another file may bear it too (`what_opens`)."""
        if CHAMPION in self.aliases or not (self.aliases or self.card.iterations):
            return self.card.name
        iterations = f"iterations-{self.card.iterations}"
        alias = iterations if not self.aliases or iterations in self.aliases else self.aliases[0]
        return f"{self.card.name}@{alias}"


def library_folders() -> tuple[Path, ...]:
    """The folders of $STYLECORE_STYLES, or else the published networks and those trained here."""
    named = os.environ.get(STYLES_VARIABLE)
    if named:
        return tuple(Path(folder) for folder in named.split(os.pathsep) if folder)
    return (Path(__file__).resolve().parent.parent / "mlruns" / "published", Path("runs"))


def find_styles(folders: Sequence[Path] | None = None) -> list[StyleFile]:
    """Every StyleModel file below the folders; other files are passed over.

    By name; of one name the champion comes last, and before it those with more iterations come later.
    """
    found = []
    for folder in library_folders() if folders is None else folders:
        for path in sorted(folder.rglob("*.safetensors")):
            try:
                card = read_card(path)
            except StylecoreError:
                continue  # a run's saved state, or a file that is being written
            found.append(StyleFile(path, card, _published_aliases(path, card.iterations)))
    return sorted(found, key=lambda style: (style.card.name, CHAMPION in style.aliases, style.card.iterations))


def open_style(reference: str, folders: Sequence[Path] | None = None) -> StyleModel:
    """Open the style that a reference means.

    Raises:
        StylecoreError: as `find_style`, and when its file is damaged.
    """
    return StyleModel.load(find_style(reference, folders))


def find_style(reference: str, folders: Sequence[Path] | None = None) -> Path:
    """The file of a style, by file or by name.

    NAME is the champion, or else the most trained network of that name. An alias is one that a published checkpoint
    bears, or iterations-N for any network of N iterations.

    Raises:
        StylecoreError: when there is no such style (with those there are).
    """
    if reference.endswith(".safetensors") or Path(reference).is_file():
        return Path(reference)
    styles = find_styles(folders)
    found = _named(reference, styles)
    if found is None:
        name = re.split("[@/]", reference)[0]
        named = [style for style in styles if style.card.name == name]
        there = dict.fromkeys(style.reference for style in named) or sorted({style.card.name for style in styles})
        there_are = f"there are {', '.join(there)}" if there else "there are none yet: train one, or import one"
        raise StylecoreError(f"there is no style {reference!r}: {there_are}, or give a .safetensors file.")
    return found.path


def what_opens(style: StyleFile, styles: Sequence[StyleFile]) -> str:
    """What to give as --style for one of these: its shortest name, or its file where that name means another one."""
    if _named(style.reference, styles) == style:
        return style.reference
    here = Path.cwd()
    return str(style.path.relative_to(here) if style.path.is_relative_to(here) else style.path)


def _named(reference: str, styles: Sequence[StyleFile]) -> StyleFile | None:
    """The one that a name means among styles in the order of `find_styles`; None where it means none."""
    try:
        wanted = parse_reference(reference)
    except StylecoreError:
        return None
    alias = wanted.alias
    named = [style for style in styles if style.card.name == wanted.name and not wanted.version]
    matching = [style for style in named if alias in style.aliases]
    if not matching and alias in ("", CHAMPION):
        matching = named
    if not matching:
        matching = [style for style in named if alias == f"iterations-{style.card.iterations}"]
    return matching[-1] if matching else None


def _published_aliases(path: Path, iterations: int) -> tuple[str, ...]:
    """The aliases that a published run gives its checkpoint of so many iterations; none for other files.

    A published run is a folder with `checkpoints/*.safetensors` and run.json, which is here read as
    {"checkpoints": [{"step": 1000, "aliases": ["champion"]}, ...]}. Style files themselves hold no aliases.
    """
    try:
        record = json.loads((path.parent.parent / "run.json").read_text(encoding="utf-8"))
        return tuple(
            alias
            for checkpoint in record["checkpoints"]
            if checkpoint["step"] == iterations
            for alias in checkpoint["aliases"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return ()
