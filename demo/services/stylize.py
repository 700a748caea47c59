"""A photo through a trained network: the work behind the Stylize and Compare tabs, without any page."""

import hashlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from demo.services import zero_gpu
from demo.services.catalogue import MODELS_KEPT, Catalogue
from demo.services.limits import Limits, check_range
from demo.services.photos import read_photo
from demo.words import device_name
from stylecore.color import blend
from stylecore.errors import StylecoreError
from stylecore.inference.brush import painted_size
from stylecore.inference.engine import Engine
from stylecore.inference.painting import BRUSH
from stylecore.johnson.mixing import mix
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.library import CHAMPION, called, parse_mix, parse_reference, write_mix
from stylecore.video.calm import CalmPainter
from stylecore.video.config import FilmSettings
from stylecore.video.flow import MotionMeter
from stylecore.video.frames import Pixels

Key = tuple[str, str, str, int, float]
"""Digest of the photo, style, version, longest side, brush."""

RUNTIMES = {"torch": "PyTorch", "openvino": "OpenVINO", "openvino-int8": "OpenVINO, quantized to 8 bits"}
"""What the engine's runtimes are called."""
MIXES_KEPT = 4
"""Mixed networks, the newest."""
LIVE_PATIENCE = 1.0
"""Seconds that a webcam's frame waits for a photo that is being stylized, before it is dropped."""
SHARE = 0.5
"""Of the second style of a mix, where nobody chose one."""


@dataclass(frozen=True)
class Wanted:
    """What a visitor wants a photo to be painted with.

    Attributes:
        style: its name; empty for the page's own choice.
        version: a number or an alias.
        mix: the name of a second style; empty or None for none.
        share: of the second style, 0 to 1.
        strength: 0 to 1.
        brush: size of the strokes.
        longest_side: of the picture in pixels; None for what the page proposes.
        keep_colors: whether the photo's colors are kept.
    """

    style: str
    version: str = CHAMPION
    mix: str | None = ""
    share: float = SHARE
    strength: float = 1.0
    brush: float = BRUSH
    longest_side: float | None = None
    keep_colors: bool = False

    @property
    def asked(self) -> tuple[str, str]:
        """The style, or mix of two, and its version."""
        return mixed(self.style, self.version, self.mix, self.share)


@dataclass(frozen=True, eq=False)
class Stylized:
    """A photo and what the network made of it, in 8 bits.

    Attributes:
        content, stylized: (3, H, W) uint8.
        alpha: (1, H, W) float, or None.
        exif: of the photo.
        source_size: (height, width) of the photo before it was reduced.
        notices: about the photo.
        card, version, brush: what it was stylized with.
        seconds: that the network took.
        device, runtime: where and by what it ran, in words.
        painted_size: (height, width) that the network was given.
    """

    content: Tensor
    stylized: Tensor
    alpha: Tensor | None
    exif: bytes | None
    source_size: tuple[int, int]
    notices: tuple[str, ...]
    card: StyleCard
    version: str
    brush: float
    seconds: float
    device: str
    runtime: str
    painted_size: tuple[int, int]

    def finish(self, strength: float, keep_colors: bool) -> Tensor:
        """The picture to show, (3, H, W) in [0, 1]; the network is not asked again."""
        check_range("strength", strength, 0, 1)
        return blend(self.content / 255, self.stylized / 255, strength, keep_colors=keep_colors)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the result."""
        return (self.content.shape[1], self.content.shape[2])

    @property
    def megabytes(self) -> float:
        """What it takes in memory, in millions of bytes."""
        return sum(each.nbytes for each in (self.content, self.stylized, self.alpha) if each is not None) / 1e6


class Webcam:
    """What is kept from one frame of a webcam to the next, so that strokes stay as in a film; it begins anew with
    another style or size."""

    def __init__(self) -> None:
        self._of: tuple[Engine, tuple[int, ...]] | None = None
        self._painter: CalmPainter
        self._meter: MotionMeter

    def paint(self, engine: Engine, frame: Pixels) -> Tensor:
        """The next frame (H, W, 3), painted: (3, H, W) in [0, 1]."""
        if self._of != (engine, frame.shape):
            self._of = (engine, frame.shape)
            self._painter, self._meter = CalmPainter(engine, FilmSettings.calm), MotionMeter()
        return self._painter.paint(frame, self._meter.measure(frame))


class Stylizer:
    """Runs styles on photos, one at a time, and remembers the last results.

    A photo that comes again with the same style and size, to change the strength or to go back to a style, is
    answered from memory. Photos are distinguished by their content, so nobody gets another's picture.
    """

    def __init__(self, catalogue: Catalogue, limits: Limits) -> None:
        self.catalogue = catalogue
        self.limits = limits
        self._running = threading.Lock()
        self._remembering = threading.Lock()
        self._mixed = lru_cache(MIXES_KEPT)(self._mix)
        self._engine_of = lru_cache(MODELS_KEPT)(_new_engine)
        self._engine_of_mix = lru_cache(MIXES_KEPT)(_new_engine)
        self._last_engine: Engine | None = None
        self._results: OrderedDict[Key, Stylized] = OrderedDict()

    def stylize(
        self,
        photo: str | Path,
        style: str,
        version: str = CHAMPION,
        longest_side: float | None = None,
        brush: float = BRUSH,
    ) -> Stylized:
        """Stylize a photo file.

        Args:
            photo: the file.
            style: its name, or a mix of styles, see `parse_mix`.
            version: a number or an alias, of a style that is not mixed.
            longest_side: of the result in pixels; photos are reduced to it, never enlarged.
            brush: size of the strokes, see `Engine.stylize`.

        Raises:
            StylecoreError: for a file that is no picture, an unknown style or version, or a size or brush beyond the
                limits.
        """
        limits = self.limits
        side = limits.stylize_side if longest_side is None else longest_side
        check_range("longest side", side, limits.smallest_side, limits.stylize_max_side)
        check_range("brush", brush, limits.least_brush, limits.largest_brush)
        number = self._resolve(style, version)
        try:
            content = Path(photo).read_bytes()
        except OSError:
            raise StylecoreError("the photo is no longer there; upload it again") from None
        key = (hashlib.sha256(content).hexdigest(), style, number, int(side), brush)
        result = self._recall(key)
        if result is None:
            with self._running:
                # Another may have asked for the same meanwhile.
                result = self._recall(key) or self._remember(key, self._run(photo, style, number, int(side), brush))
        return result

    def live(self, frame: Pixels, style: str, webcam: Webcam) -> Tensor | None:
        """Paint the next frame of a webcam, (H, W, 3), by the style's fast network where it has one; None when others
        are at work for too long. The style may be a mix.

        Raises:
            StylecoreError: for an unknown style.
        """
        model = self._open(style, self._resolve(style, fast=True))
        if not self._running.acquire(timeout=LIVE_PATIENCE):
            return None
        try:
            return webcam.paint(self._engine(model), frame)
        finally:
            self._running.release()

    def title(self, style: str) -> str:
        """The title of a style or of a mix.

        Raises:
            StylecoreError: for an unknown style.
        """
        return " with ".join(self.catalogue.find(parse_reference(each).name).title for each in parse_mix(style))

    def _resolve(self, style: str, version: str = CHAMPION, *, fast: bool = False) -> str:
        """The number of a style's version; of a mix, those of all, with "+" between."""
        shares = parse_mix(style)
        if len(shares) == 1:
            entry = self.catalogue.find(style)
            return entry.fast_version if fast else entry.resolve(version or CHAMPION)
        numbers = []
        for each in shares:
            reference = parse_reference(each)
            entry, named = self.catalogue.find(reference.name), reference.alias or reference.version
            numbers.append(entry.fast_version if fast and not named else entry.resolve(named or CHAMPION))
        return "+".join(numbers)

    def _open(self, style: str, version: str) -> StyleModel:
        """The network of a version that `_resolve` found; a mix is kept, because its engine is."""
        if "+" not in version:
            return self.catalogue.open(style, version)
        with self._remembering:
            return self._mixed(style, version)

    def _mix(self, style: str, version: str) -> StyleModel:
        shares = parse_mix(style)
        names = [parse_reference(each).name for each in shares]
        models = [self.catalogue.open(*each) for each in zip(names, version.split("+"), strict=True)]
        return mix(list(zip(models, shares.values(), strict=True)))

    def _run(self, photo: str | Path, style: str, version: str, side: int, brush: float) -> Stylized:
        model = self._open(style, version)
        picture = read_photo(photo, max_side=side, max_pixels=self.limits.photo_pixels)
        started = time.perf_counter()
        stylized, device, runtime = self._apply(model, picture.pixels, brush)
        seconds = time.perf_counter() - started
        height, width = picture.pixels.shape[1:]
        return Stylized(
            content=_eight_bits(picture.pixels),
            stylized=_eight_bits(stylized),
            alpha=picture.alpha,
            exif=picture.exif,
            source_size=picture.source_size,
            notices=picture.notices,
            card=model.card,
            version=version,
            brush=brush,
            seconds=seconds,
            device=device,
            runtime=runtime,
            painted_size=painted_size(height, width, model.card.painted_side, brush),
        )

    def _apply(self, model: StyleModel, pixels: Tensor, brush: float) -> tuple[Tensor, str, str]:
        """The stylized picture, where it was made, and by what."""
        if zero_gpu.PRESENT:
            return *zero_gpu.stylize(model, pixels, brush), RUNTIMES["torch"]
        engine = self._engine(model)
        stylized = engine.stylize(pixels, brush=brush)
        return stylized, device_name(engine.device), RUNTIMES.get(engine.runtime, engine.runtime)

    def _engine(self, model: StyleModel) -> Engine:
        engine = (self._engine_of_mix if model.card.training.get("mix") else self._engine_of)(model)
        if self._last_engine is not None and self._last_engine is not engine:
            self._last_engine.release_memory()  # each would keep hundreds of megabytes
        self._last_engine = engine
        return engine

    def _recall(self, key: Key) -> Stylized | None:
        with self._remembering:
            if key in self._results:
                self._results.move_to_end(key)
            return self._results.get(key)

    def _remember(self, key: Key, result: Stylized) -> Stylized:
        with self._remembering:
            self._results[key] = result
            kept, most = self._results, self.limits.remembered_megabytes
            while len(kept) > 1 and sum(each.megabytes for each in kept.values()) > most:
                kept.popitem(last=False)
        return result


def _new_engine(model: StyleModel) -> Engine:
    return Engine(model, zero_gpu.DEVICE)


def mixed(style: str, version: str, other: str | None, share: float) -> tuple[str, str]:
    """The style and version to ask for, if the style is mixed with the share (0 to 1) of another one."""
    if not other or other == style or share <= 0:
        return style, version
    if share >= 1:
        return other, CHAMPION
    first = style if version in ("", CHAMPION) else f"{style}/{version}"
    return write_mix({first: 1 - share, other: share}), CHAMPION


def settings_of(result: Stylized, strength: float, keep_colors: bool) -> dict[str, Any]:
    """What is written into a download, to make the picture again."""
    height, width = result.size
    return {
        "command": "stylize",
        "style": called(result.card),
        "version": result.version,
        "max_side": max(height, width),
        "strength": strength,
        "keep_colors": keep_colors,
        "brush": result.brush,
        "runtime": result.runtime,
    }


def _eight_bits(pixels: Tensor) -> Tensor:
    return pixels.clamp(0, 1).mul(255).add(0.5).floor().to(torch.uint8)
