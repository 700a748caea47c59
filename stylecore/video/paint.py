"""A film in a style, from file to file: reading, painting and writing overlap."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from stylecore.color import blend
from stylecore.inference.brush import lay_detail, painted_size
from stylecore.inference.engine import Engine
from stylecore.johnson.style_model import StyleModel
from stylecore.video.calm import FilmBlend, FilmNoise, is_cut
from stylecore.video.config import FilmSettings
from stylecore.video.flow import Motion, MotionMeter
from stylecore.video.folder import FolderReader
from stylecore.video.frames import Frame, Item, Sound, to_pixels, to_tensor
from stylecore.video.read import FilmReader, open_file
from stylecore.video.threads import ahead, at_once, behind
from stylecore.video.write import Writer, check_target, open_target

WAITING = 4
"""Frames that are read ahead, and painted frames that wait to be written."""

MOST_AT_ONCE = 4
"""Frames that are painted at once; each takes memory."""


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


def film_engine(model: StyleModel, device: str | None = None, runtime: str = "auto") -> Engine:
    """An engine that paints several frames at once; arguments and errors are those of `Engine`."""
    return Engine(model, device, runtime, streams=min(torch.get_num_threads(), MOST_AT_ONCE))


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
        engine: the style; `film_engine` is the fastest.
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
        calm = FilmBlend(settings.calm)
        count = cuts = 0
        stopped = False
        with (
            open_target(target, facts) as writer,
            closing(ahead(_prepared(film.items(small), engine, settings.calm), WAITING)) as items,
            behind(partial(_write, writer, settings), WAITING) as write,
            closing(at_once(partial(_paint, engine), items, engine.streams)) as painted,
        ):
            for each in painted:
                if isinstance(each, Sound):
                    write(each)
                    continue
                if stop is not None and stop.is_set():
                    stopped = True
                    break
                frame, motion, picture = each
                cuts += motion is not None and is_cut(motion)
                write((frame, calm.next(picture, motion)))
                count += 1
                if progress:
                    progress(Progress(count, facts.frames, time.perf_counter() - began))
            if stopped and not count:
                raise KeyboardInterrupt
    seconds = time.perf_counter() - began
    return PaintedFilm(count, cuts, seconds, facts.width, facts.height, stopped, writer.notices + film.notices)


_Prepared = tuple[Frame, Motion | None, Tensor | None]
"""A frame with its motion since the one before, if it is painted with calm, and with its noise."""


def _prepared(items: Iterator[Item], engine: Engine, calm: float) -> Iterator[_Prepared | Sound]:
    meter, noise = MotionMeter(), FilmNoise(engine, calm)
    for item in items:
        if isinstance(item, Sound):
            yield item
            continue
        motion = meter.measure(item.small) if calm else None
        yield item, motion, noise.next(item.small, motion)


def _paint(engine: Engine, item: _Prepared | Sound) -> tuple[Frame, Motion | None, Tensor] | Sound:
    if isinstance(item, Sound):
        return item
    frame, motion, noise = item
    return frame, motion, engine.paint(to_tensor(frame.small), noise=noise)


def _write(writer: Writer, settings: FilmSettings, item: tuple[Frame, Tensor] | Sound) -> None:
    """Write sound, or a frame with what was painted of it, (3, h, w), which is enlarged and blended first."""
    if isinstance(item, Sound):
        writer.write_sound(item)
        return
    frame, picture = item
    if frame.pixels is not frame.small:
        photo = to_tensor(frame.pixels)
        picture = lay_detail(picture[None], to_tensor(frame.small)[None], photo[None], settings.detail)[0]
    if settings.strength < 1 or settings.keep_colors:
        picture = blend(to_tensor(frame.pixels), picture, settings.strength, keep_colors=settings.keep_colors)
    writer.write(to_pixels(picture), frame.time, frame.duration)


def _open(source: Path, settings: FilmSettings) -> AbstractContextManager[FilmReader | FolderReader]:
    if source.is_dir():
        return nullcontext(FolderReader(source, settings))
    return open_file(source, settings)
