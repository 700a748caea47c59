"""A film in a style, from file to file: reading, painting and writing overlap."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from stylecore.color import blend
from stylecore.inference.brush import lay_detail, painted_size
from stylecore.inference.engine import Engine
from stylecore.video.calm import CalmPainter, CalmParts
from stylecore.video.config import FilmSettings
from stylecore.video.flow import Motion, MotionMeter
from stylecore.video.folder import FolderReader, to_pixels, to_tensor
from stylecore.video.frames import Frame, Item, Pixels, Sound
from stylecore.video.read import FilmReader, open_file
from stylecore.video.threads import Behind, ahead
from stylecore.video.write import Writer, check_target, open_target

WAITING = 4
"""Frames that are read ahead, and painted frames that wait to be written."""


@dataclass(frozen=True)
class Progress:
    """How far a film is.

    Attributes:
        frames: painted so far.
        total: an estimate, or None when the file does not say.
        seconds: since the beginning.
    """

    frames: int
    total: int | None
    seconds: float


@dataclass(frozen=True)
class PaintedFilm:
    """What became of a film.

    Attributes:
        frames: painted.
        cuts: found, where strokes began anew.
        seconds: the painting took.
        width, height: of the frames in pixels.
        stopped: whether `stop` ended it early; what was painted until then was written.
        notices: things worth telling the user, each a clause about "the film".
    """

    frames: int
    cuts: int
    seconds: float
    width: int
    height: int
    stopped: bool
    notices: tuple[str, ...]


def paint_film(
    engine: Engine,
    source: str | Path,
    target: str | Path,
    settings: FilmSettings,
    *,
    progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> PaintedFilm:
    """Paint a film.

    Args:
        engine: the style.
        source: a film file, or a folder of frames.
        target: a film file of a suffix in `stylecore.video.write.FORMATS`, or a folder for frames. It is written
            completely or not at all.
        progress: called after every frame.
        stop: when it is set, the film ends with the frames that are painted. With none painted, nothing is written.

    Raises:
        StylecoreError: the film cannot be read or written, or a setting is out of its range.
        KeyboardInterrupt: `stop` was set before the first frame was painted.
    """
    source, target = Path(source), Path(target)
    check_target(target, source)
    began = time.perf_counter()
    with _open(source, settings) as film:
        facts = film.facts
        small = painted_size(facts.height, facts.width, engine.card.painted_side, settings.brush)
        painter = CalmPainter(engine, parts := CalmParts.of(settings.calm))
        count = 0
        stopped = False
        with (
            open_target(target, facts) as writer,
            ahead(_measured(film.items(small), parts), WAITING) as items,
            Behind[_Painted | Sound](lambda item: _write(writer, item), WAITING) as written,
        ):
            for item, motion in items:
                if isinstance(item, Sound):
                    written.put(item)
                    continue
                if stop is not None and stop.is_set():
                    stopped = True
                    break
                painted = painter.paint(item.small, motion)
                written.put(_Painted(item, painted, settings))
                count += 1
                if progress:
                    progress(Progress(count, facts.frames, time.perf_counter() - began))
            if stopped and not count:
                raise KeyboardInterrupt
    notices = (*facts.notices, *writer.notices)
    seconds = time.perf_counter() - began
    return PaintedFilm(count, painter.cuts, seconds, facts.width, facts.height, stopped, notices)


@dataclass(frozen=True, eq=False)
class _Painted:
    """A frame, and what was painted of it: (3, h, w), enlarged and blended by the thread that writes."""

    frame: Frame
    picture: Tensor
    settings: FilmSettings

    def finished(self) -> Pixels:
        frame, settings, picture = self.frame, self.settings, self.picture
        if frame.pixels is not frame.small:
            photo = to_tensor(frame.pixels)
            picture = lay_detail(picture[None], to_tensor(frame.small)[None], photo[None], settings.detail)[0]
        if settings.strength < 1 or settings.keep_colors:
            content = to_tensor(frame.pixels)
            picture = blend(content, picture, settings.strength, luminance_only=settings.keep_colors)
        return to_pixels(picture)


def _measured(items: Iterator[Item], parts: CalmParts) -> Iterator[tuple[Item, Motion | None]]:
    """Each frame with its motion since the one before, if a part needs it."""
    meter = MotionMeter()
    for item in items:
        yield item, meter.measure(item.small) if isinstance(item, Frame) and parts.need_motion else None


def _write(writer: Writer, item: _Painted | Sound) -> None:
    if isinstance(item, Sound):
        writer.write_sound(item)
    else:
        writer.write(item.finished(), item.frame.time)


def _open(source: Path, settings: FilmSettings) -> AbstractContextManager[FilmReader | FolderReader]:
    if source.is_dir():
        return nullcontext(FolderReader(source, settings))
    return open_file(source, settings)
