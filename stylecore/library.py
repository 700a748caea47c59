"""The library: StyleModel files in a few folders, found by name without a server.

A reference to a style is NAME, NAME@ALIAS or NAME/VERSION (`parse_reference`), or its file. A style may also be a
mix of several, REFERENCE:SHARE+REFERENCE:SHARE (`parse_mix`).
"""

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stylecore.errors import StylecoreError
from stylecore.files import write_whole
from stylecore.johnson.mixing import mix
from stylecore.johnson.style_model import StyleCard, StyleModel, read_card

STYLES_VARIABLE = "STYLECORE_STYLES"
LOCAL_STORE = Path(__file__).resolve().parent.parent / "mlruns"
"""The published networks, and the aliases given on this machine."""
ALIASES_FILE = "aliases.json"
"""The aliases of a folder of styles: {"starry_night": {"champion": "starry_night_strokes/3200", ...}, ...}. Each alias
has the folder of the run and the iterations of its network. The file beside the local store has the aliases given on
this machine; they win over the published ones."""
CHAMPION = "champion"
"""Alias of a style's default network."""
FAST = "fast"
"""Alias of a narrower network of a style, for moving pictures and slow machines."""
VISITORS = "taught_"
"""Beginning of the names of styles that visitors of a page taught. They are not for all: a page shows them to their
owners, and bundles leave them out unless they are named."""
MOST_MIXED = 4
"""Styles of one mix."""


@dataclass(frozen=True)
class StyleReference:
    """A style by name. Without alias and version it means the champion.

    Attributes:
        name: of the style.
        alias: of a checkpoint, or "iterations-N"; may be empty.
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


def parse_mix(text: str) -> dict[str, float]:
    """References to their shares: "starry_night:0.6+great_wave:0.4"; without shares, equal ones.

    Only the ratio of the shares counts. A style alone has the share 1.

    Raises:
        StylecoreError: for shares that are not numbers above 0 or not given for all, and for too many styles.
    """
    if "+" not in text:
        return {text: 1.0}
    parts = text.split("+")
    split = [part.rpartition(":") if re.search(r":[^/\\]*$", part) else (part, "", "1") for part in parts]
    shares = {reference.strip(): _share(reference, share) for reference, _, share in split}
    if len({colon for _, colon, _ in split}) > 1 or len(shares) < len(parts) or len(parts) > MOST_MIXED:
        raise StylecoreError(
            f"{text!r} is no mix; write up to {MOST_MIXED} different styles, all with their shares or all without, "
            "for example starry_night:0.6+great_wave:0.4."
        )
    return shares


def write_mix(shares: Mapping[str, float]) -> str:
    """The text of a mix for `parse_mix`; styles with the share 0 are left out."""
    some = {reference: share for reference, share in shares.items() if share > 0}
    return "+".join(f"{name}:{share:g}" for name, share in some.items()) if len(some) > 1 else next(iter(some))


def called(card: StyleCard) -> str:
    """What opens the style of a card: its name, or the mix that it is."""
    return write_mix(card.training.get("mix") or {card.name: 1.0})


def _share(reference: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < math.inf:
        raise StylecoreError(
            f"the share of {reference} is {text!r}, and must be a number above 0, "
            "for example starry_night:0.6+great_wave:0.4."
        )
    return share


@dataclass(frozen=True)
class StyleFile:
    """One StyleModel file, its card, and its aliases."""

    path: Path
    card: StyleCard
    aliases: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """The shortest reference to this file; another file may have the same one (`what_opens`)."""
        if CHAMPION in self.aliases or not (self.aliases or self.card.iterations):
            return self.card.name
        iterations = f"iterations-{self.card.iterations}"
        alias = iterations if not self.aliases or iterations in self.aliases else self.aliases[0]
        return f"{self.card.name}@{alias}"


def library_folders() -> tuple[Path, ...]:
    """The folders in $STYLECORE_STYLES, or else the folders of published networks and of trainings on this machine."""
    named = os.environ.get(STYLES_VARIABLE)
    if named:
        return tuple(Path(folder).expanduser() for folder in named.split(os.pathsep) if folder)
    return (LOCAL_STORE / "published", Path("runs"))


def find_styles(folders: Sequence[Path] | None = None) -> list[StyleFile]:
    """Every StyleModel file below the folders; other files are skipped.

    Sorted by name, then by iterations; the champion of each name comes last.
    """
    searched = library_folders() if folders is None else folders
    named_in = [folder / ALIASES_FILE for folder in searched]
    if folders is None and not os.environ.get(STYLES_VARIABLE):
        named_in.append(LOCAL_STORE / ALIASES_FILE)
    cards: dict[Path, StyleCard] = {}
    for folder in searched:
        for path in sorted(folder.rglob("*.safetensors")):
            try:
                cards[path] = read_card(path)
            except StylecoreError:
                continue  # a run's saved state, or an incomplete file
    there = {(card.name, _checkpoint(path, card)) for path, card in cards.items()}
    bearers: dict[tuple[str, str], str] = {}
    for file in named_in:
        for name, table in read_aliases(file).items():
            bearers |= {(name, alias): which for alias, which in table.items() if (name, which) in there}
    found = []
    for path, card in cards.items():
        this = (card.name, _checkpoint(path, card))
        aliases = sorted(alias for (name, alias), which in bearers.items() if (name, which) == this)
        found.append(StyleFile(path, card, tuple(aliases)))
    return sorted(found, key=lambda style: (style.card.name, CHAMPION in style.aliases, style.card.iterations))


def read_aliases(file: Path) -> dict[str, dict[str, str]]:
    """The content of an `ALIASES_FILE`; empty if it is missing or damaged."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {
            str(name): {str(alias): str(which) for alias, which in table.items()} for name, table in content.items()
        }
    except (OSError, ValueError, AttributeError):
        return {}


def write_alias(file: Path, name: str, alias: str, which: str) -> None:
    """Give an alias in an `ALIASES_FILE` to "RUN/ITERATIONS", and take it from the network that has it.

    Raises:
        StylecoreError: the file cannot be written.
    """
    content = read_aliases(file)
    content.setdefault(name, {})[alias] = which
    write_whole(file, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def open_style(reference: str, folders: Sequence[Path] | None = None) -> StyleModel:
    """Load the style of a reference, or of a mix.

    Raises:
        StylecoreError: as `parse_mix`, `find_style` and `mix`, and when a file is damaged.
    """
    shares = {reference: 1.0} if os.path.isfile(reference) else parse_mix(reference)
    models = [(StyleModel.load(find_style(each, folders)), share) for each, share in shares.items()]
    return mix(models, list(shares))


def find_style(reference: str, folders: Sequence[Path] | None = None) -> Path:
    """The file of a style, given by its file or its name.

    NAME is the champion, or else the most trained network of that name. `iterations-N` is an alias of every network of
    N iterations.

    Raises:
        StylecoreError: when there is no such style; it lists those that exist.
    """
    if reference.endswith(".safetensors") or os.path.isfile(reference):
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
    """The value of --style for one of these styles: its shortest reference, or its file if that means another one."""
    if _named(style.reference, styles) == style:
        return style.reference
    here = Path.cwd()
    return str(style.path.relative_to(here) if style.path.is_relative_to(here) else style.path)


def _named(reference: str, styles: Sequence[StyleFile]) -> StyleFile | None:
    """The style of a reference, among styles in the order of `find_styles`; None if there is none."""
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


def _checkpoint(path: Path, card: StyleCard) -> str:
    """RUN/ITERATIONS of a file: published files are in RUN/checkpoints, files of a training are in RUN."""
    run = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    return f"{run.name}/{card.iterations}"
