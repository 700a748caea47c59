"""The styles a page serves: those of the MLflow registry, or those of an exported bundle. One interface.

MLflow and the `training` package are imported by `RegistryCatalogue` alone, when it is first asked: where a bundle
is served, neither needs to be installed.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from demo.services.previews import paint_preview, preview_photo
from stylecore.errors import StylecoreError
from stylecore.files import file_sha256
from stylecore.johnson.style_model import StyleCard, StyleModel, read_card
from stylecore.library import CHAMPION, FAST
from stylecore.pictures.read import load_picture
from stylecore.pictures.write import encode_picture

MANIFEST = "manifest.json"
BUNDLE_FORMAT = "stylecore.bundle/1"

SECONDS_BETWEEN_PREVIEWS = 120.0
"""After so long a picture on a card that could not be made is tried again: the registry may have been away."""
MODELS_KEPT = 32
FIRST_STYLE = "starry_night"
"""Shown and chosen first, where it is there."""
DRAWN_BY = "stylecore"
"""The artist of style pictures that a program drew; they come after the paintings."""
THUMBNAIL_SIDE = 240
"""Longest side of a painting on its style's card, in pixels."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StyleEntry:
    """One style.

    Attributes:
        name: letters, digits, "_" and "-".
        title: of the painting.
        versions: newest first, never empty.
        aliases: alias to version.
        card: of the default version.
        preview: a JPEG of the default version applied to the photo that all styles are shown on; None when that
            failed.
        painting: a small JPEG of the picture that the default version was trained on; None where it is not known.
    """

    name: str
    title: str
    versions: tuple[str, ...]
    aliases: Mapping[str, str]
    card: StyleCard
    preview: bytes | None = None
    painting: bytes | None = None

    @property
    def default_version(self) -> str:
        """The champion, or the newest version while there is none."""
        return self.aliases.get(CHAMPION, self.versions[0])

    @property
    def fast_version(self) -> str:
        """The version for moving pictures: the one with the alias `fast`, or else the default."""
        return self.aliases.get(FAST, self.default_version)

    def resolve(self, version_or_alias: str) -> str:
        """The version that a number or an alias means.

        Raises:
            StylecoreError: for one that there is not.
        """
        if version_or_alias == CHAMPION:
            return self.default_version
        version = self.aliases.get(version_or_alias, version_or_alias)
        if version not in self.versions:
            there = ", ".join([*self.versions, *self.aliases])
            raise StylecoreError(
                f"the style {self.name} has no version {version_or_alias!r}; choose one of {there or CHAMPION}."
            )
        return version


@dataclass(frozen=True)
class VersionEntry:
    """One version of a style. `run_name` is empty when nobody recorded it."""

    name: str
    version: str
    card: StyleCard
    run_name: str = ""

    @property
    def reference(self) -> str:
        """As MLflow writes it: style/version."""
        return f"{self.name}/{self.version}"


@dataclass(frozen=True)
class VersionRecord:
    """What is kept of a version beside its file.

    Attributes:
        gatys_iterations: as many iterations of Gatys et al. reach the same loss; None where that was not evaluated.
        page: address of its run in MLflow; empty where nothing is known to show it.
        losses: "total", "content" and "style" of its pictures of sample photos; empty where that was not evaluated.
        losses_size: longest side of those pictures.
        judged: the judge's "style_error", "content_change" and "judged_photos"; empty where it was not asked.
        judged_size: longest side of the pictures that were judged.
    """

    gatys_iterations: float | None = None
    page: str = ""
    losses: Mapping[str, float] = field(default_factory=dict)
    losses_size: int = 0
    judged: Mapping[str, float] = field(default_factory=dict)
    judged_size: int = 0


class Catalogue:
    """What the page asks. Safe to share between threads.

    `BundleCatalogue` and `RegistryCatalogue` say where the styles come from; this keeps what was opened, so that a
    version is read once, and serves what it knows when the source fails.

    Attributes:
        notice: one sentence for the visitor when something is amiss (no styles, registry unreachable), else "".
        loading: one sentence about how far it is while more styles are on their way, else "".
    """

    loading = ""

    def __init__(self) -> None:
        self.notice = ""
        self._lock = threading.RLock()
        self._painting = threading.Lock()  # of previews, for which no visitor's own picture waits
        self._opened = lru_cache(MODELS_KEPT)(self._load)
        # The pictures on the cards, each with the time after which one that could not be made is tried again.
        self._made: dict[tuple[str, str, str], tuple[bytes | None, float]] = {}

    def styles(self, owner: str = "", *named: str) -> list[StyleEntry]:
        """The styles that can be opened, with their previews: `FIRST_STYLE`, the other paintings by title, and what
        was drawn by a program. Of styles that are not for all, those of the owner, and those whose name is known."""
        with self._lock:
            shown = (each for each in self._entries() if each.name in named or self._is_shown(each.name, owner))
            entries = sorted(shown, key=_rank)
        return [
            replace(
                entry,
                preview=self._on_card("preview", entry, self._paint_preview),
                painting=self._on_card("painting", entry, self._make_thumbnail),
            )
            for entry in entries
        ]

    def painting(self, name: str) -> Path | None:
        """The file of the picture that the style's default version was trained on; None where it is not known.

        Raises:
            StylecoreError: when there is no such style.
        """
        entry = self.find(name)
        try:
            return self._painting_of(name, entry.default_version)
        except StylecoreError as error:
            _log.warning("The style picture of %s cannot be read: %s", name, error)
            return None

    def open(self, name: str, version_or_alias: str = CHAMPION) -> StyleModel:
        """The model of a style's version, read at its first use.

        Raises:
            StylecoreError: for a style or version that there is not, or a file that cannot be read.
        """
        with self._lock:
            return self._opened(name, self.find(name).resolve(version_or_alias))

    def find(self, name: str) -> StyleEntry:
        """The style of that name, without preview.

        Raises:
            StylecoreError: there is none.
        """
        with self._lock:
            entries = {entry.name: entry for entry in self._entries()}
        if name not in entries:
            known = ", ".join(sorted(each for each in entries if self._is_shown(each)))
            if known:
                raise StylecoreError(f"there is no style {name!r}; the styles are {known}.")
            raise StylecoreError(self.loading or self.notice or "there is no style.")
        return entries[name]

    def versions(self, name: str) -> list[VersionEntry]:
        """The versions of a style whose card can be read, oldest first.

        Raises:
            StylecoreError: when there is no such style.
        """
        with self._lock:
            entry = self.find(name)
            found = []
            for version in reversed(entry.versions):
                try:
                    found.append(self._version(entry.name, version))
                except StylecoreError as error:  # one broken version does not take the others away
                    _log.warning("Version %s of %s is left out: %s", version, name, error)
            return found

    def record(self, name: str, version: str) -> VersionRecord:
        """What is kept of a version; nothing where it cannot be read."""
        try:
            return self._record(name, version)
        except StylecoreError as error:
            _log.warning("The run of %s/%s cannot be read: %s", name, version, error)
            return VersionRecord()

    def _make_thumbnail(self, entry: StyleEntry) -> bytes | None:
        file = self.painting(entry.name)
        return None if file is None else encode_picture(load_picture(file, max_side=THUMBNAIL_SIDE).pixels, "JPEG")

    def _on_card(self, kind: str, entry: StyleEntry, make: Callable[[StyleEntry], bytes | None]) -> bytes | None:
        key = (kind, entry.name, entry.default_version)
        with self._painting:
            made, try_at = self._made.get(key, (None, 0.0))
            if made is None and time.monotonic() >= try_at:
                try:
                    made = make(entry)
                except (StylecoreError, OSError) as error:
                    _log.warning("No %s of %s on its card: %s", kind, entry.name, error)
                self._made[key] = (made, time.monotonic() + SECONDS_BETWEEN_PREVIEWS)
            return made

    def _paint_preview(self, entry: StyleEntry) -> bytes | None:
        photo = preview_photo()
        if photo is None:
            return None
        with self._lock:
            model = self._opened(entry.name, entry.default_version)
        return paint_preview(model, photo)

    def _entries(self) -> list[StyleEntry]:
        raise NotImplementedError

    def _is_shown(self, name: str, owner: str = "") -> bool:
        """Whether a style is listed for this owner; whoever knows its name can open it."""
        return True

    def _version(self, name: str, version: str) -> VersionEntry:
        raise NotImplementedError

    def _record(self, name: str, version: str) -> VersionRecord:
        return VersionRecord()

    def _painting_of(self, name: str, version: str) -> Path | None:
        return None

    def _load(self, name: str, version: str) -> StyleModel:
        raise NotImplementedError


class BundleCatalogue(Catalogue):
    """The styles of a folder that `python -m training.registry export` wrote: a manifest and .safetensors files.

    Raises:
        StylecoreError: when the folder is no bundle.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self._bundle = Path(folder)
        self._styles: dict[tuple[str, str], dict[str, Any]] = {}
        versions: dict[str, list[str]] = {}
        aliases: dict[str, dict[str, str]] = {}
        for style in _read_manifest(self._bundle / MANIFEST):
            name, version = str(style["name"]), str(style["version"])
            self._styles[name, version] = style
            versions.setdefault(name, []).append(version)
            aliases.setdefault(name, {}).update(dict.fromkeys(style.get("aliases", ()), version))
        self._known = []
        for name, numbers in versions.items():
            newest_first = tuple(sorted(numbers, key=number, reverse=True))
            default = aliases[name].get(CHAMPION, newest_first[0])
            card = read_card(self._file(name, default))
            self._known.append(StyleEntry(name, title_of(card), newest_first, aliases[name], card))
        if not self._known:
            self.notice = f"The bundle {self._bundle} holds no style; export it again from a registry that has some."

    def _entries(self) -> list[StyleEntry]:
        return self._known

    def _file(self, name: str, version: str) -> Path:
        return self._bundle / Path(self._styles[name, version]["file"]).name

    def _version(self, name: str, version: str) -> VersionEntry:
        card = read_card(self._file(name, version))
        run_name = self._styles[name, version].get("run_name") or card.training.get("run_name")
        return VersionEntry(name, version, card, str(run_name or ""))

    def _record(self, name: str, version: str) -> VersionRecord:
        style = self._styles[name, version]
        return VersionRecord(
            style.get("gatys_iterations"),
            losses=style.get("evaluated_losses") or {},
            losses_size=style.get("evaluated_size") or 0,
            judged=style.get("judged") or {},
            judged_size=style.get("judged_size") or 0,
        )

    def _painting_of(self, name: str, version: str) -> Path | None:
        picture = Path(self._styles[name, version].get("picture") or "").name
        return self._bundle / picture if picture else None

    def _load(self, name: str, version: str) -> StyleModel:
        file = self._file(name, version)
        try:
            if file_sha256(file) != self._styles[name, version]["sha256"]:
                raise StylecoreError(f"{file.name} is not the file that the bundle's manifest names; export it again.")
        except OSError as error:
            raise StylecoreError(f"the style {name} cannot be read: {error.strerror}.") from error
        return StyleModel.load(file)


def _rank(entry: StyleEntry) -> tuple[bool, bool, str]:
    return entry.card.artist == DRAWN_BY, entry.name != FIRST_STYLE, entry.title.casefold()


def title_of(card: StyleCard) -> str:
    """The painting's title, or the style's name made readable."""
    return card.title or card.name.replace("_", " ").replace("-", " ").capitalize()


def _read_manifest(path: Path) -> list[dict[str, Any]]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        styles = manifest["styles"] if manifest["format"] == BUNDLE_FORMAT else None
        if isinstance(styles, list) and all({"name", "version", "file", "sha256"} <= style.keys() for style in styles):
            return styles
    except OSError as error:
        raise StylecoreError(
            f"{path.parent} is no bundle, its {MANIFEST} cannot be read; "
            f"`python -m training.registry export {path.parent}` writes one."
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError):  # no JSON, or other things in it
        pass
    raise StylecoreError(f"{path} is not of the format {BUNDLE_FORMAT}; export the bundle again.")


def number(version: str) -> tuple[int, str]:
    return (int(version) if version.isdigit() else -1, version)
