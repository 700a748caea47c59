"""The start of a lesson: the trained network whose painting is nearest to the new one.

The distance is the judge's style error between the paintings (judge.py): the relative style loss of VGG-19, mean of
its layers, at full and at half size. Both paintings have as many pixels, so the strokes' share of the picture counts.
"""

import json
import os
import statistics
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.gatys.objective import StyleTerm
from stylecore.johnson.style_model import StyleCard, read_card
from stylecore.johnson.transform_net import TransformNetConfig
from stylecore.library import CHAMPION, StyleFile, find_styles
from stylecore.pictures.read import load_picture, resize
from stylecore.vgg.network import VGG
from training.config import REPOSITORY, find_file
from training.judge import size_with_area, style_errors, style_grams

SIDE = 224
"""The paintings are compared with as many pixels as a square of this side has."""
SCALES = (1, 2)
BUNDLE_VARIABLE = "STYLECORE_BUNDLE"
MANIFEST = "manifest.json"
KEPT_PAINTING = Path("style/picture.jpg")
"""Of a published run, in its folder."""


@dataclass(frozen=True)
class Start:
    """A network to begin with. `distance`: of its painting to the new one, 0 for the same."""

    file: str
    card: StyleCard
    distance: float


def nearest_start(painting: Tensor, form: TransformNetConfig, vgg: VGG, without: str) -> Start | None:
    """The nearest champion of this form of network, but for the style `without`; None if there is none.

    Args:
        painting: (3, H, W) in [0, 1].
        form: of the network to train; its input noise may differ.
        vgg: VGG-19.
    """
    wanted = grams(painting, vgg)
    starts = []
    for style, picture in candidates(form, without):
        found = grams(load_picture(picture).pixels, vgg)
        starts.append(Start(reference_of(style.path), style.card, distance(found, wanted)))
    return min(starts, key=lambda start: start.distance, default=None)


def candidates(form: TransformNetConfig, without: str) -> list[tuple[StyleFile, Path]]:
    """The champions that have this form of network, and their paintings: of the library, or of $STYLECORE_BUNDLE."""
    bundle = os.environ.get(BUNDLE_VARIABLE)
    known = _of_bundle(Path(bundle)) if bundle else [(style, painting_of(style)) for style in find_styles()]
    return [
        (style, painting)
        for style, painting in known
        if painting and CHAMPION in style.aliases and style.card.name != without
        if style.card.network.same_form(form)
    ]


def _of_bundle(folder: Path) -> list[tuple[StyleFile, Path | None]]:
    """The styles of a bundle (training.registry.bundle), which a Space has instead of the library."""
    try:
        styles = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["styles"]
        files = [(folder / each["file"], each.get("aliases", ()), each.get("picture")) for each in styles]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StylecoreError(f"the bundle {folder} cannot be read: {error}.") from error
    return [
        (StyleFile(file, read_card(file), tuple(aliases)), folder / picture if picture else None)
        for file, aliases, picture in files
    ]


def painting_of(style: StyleFile) -> Path | None:
    """The picture that a style was trained on: kept with a published run, or the file that its card names."""
    kept = style.path.parent.parent / KEPT_PAINTING
    if style.path.parent.name == "checkpoints" and kept.is_file():
        return kept
    try:
        return find_file(str(style.card.training.get("style_image") or ""))
    except StylecoreError:
        return None


def reference_of(file: Path) -> str:
    """The file as --init-from takes it on any machine: relative to the repository, if it is below."""
    whole = Path(os.path.abspath(file))
    return str(whole.relative_to(REPOSITORY) if whole.is_relative_to(REPOSITORY) else whole)


def grams(painting: Tensor, vgg: VGG) -> dict[StyleTerm, Tensor]:
    """The Gram matrices (1, C, C) of the judge's layers at `SCALES`."""
    height, width = size_with_area(painting, SIDE**2)
    return style_grams(resize(painting, (max(64, height), max(64, width))), vgg, SCALES)


def distance(found: dict[StyleTerm, Tensor], wanted: dict[StyleTerm, Tensor]) -> float:
    """The mean relative style loss: 0 for the same painting, about 1 for an unrelated picture."""
    return statistics.mean(style_errors(found, wanted).values())
