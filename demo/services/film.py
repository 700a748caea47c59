"""Films for visitors: the work behind the tab Film, without any page."""

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from demo.services import zero_gpu
from demo.services.limits import check_range
from demo.services.photos import named
from demo.services.stylize import Stylizer
from demo.words import device_name
from stylecore.errors import StylecoreError
from stylecore.inference.engine import Engine
from stylecore.inference.painting import BRUSH
from stylecore.library import CHAMPION
from stylecore.video.config import FilmSettings
from stylecore.video.frames import FilmFacts
from stylecore.video.paint import PaintedFilm, Progress, film_engine, paint_film
from stylecore.video.read import open_file

SECONDS_BETWEEN_LOOKS = 0.5
PATIENCE = 60.0
"""Seconds after which a film ends that nobody has looked at: the visitor has left."""
PREVIEW_SECONDS = 1.0
SHORTEST_WITH_PREVIEW = 3.0
"""Seconds; a shorter film is there almost as soon as its preview would be."""


@dataclass(frozen=True)
class FilmJob:
    """What a visitor asks for.

    Attributes:
        film: the file.
        style, version: as in the catalogue.
        settings: how it is painted.
        facts: of the film as it will be painted.
    """

    film: Path
    style: str
    version: str
    settings: FilmSettings
    facts: FilmFacts


@dataclass(frozen=True)
class FilmProgress:
    """How far a film is.

    Attributes:
        frames, total: painted so far, and in all.
        seconds: since its beginning, without the preview.
        preview: whether the first second is painted, before the whole.
        device: where it is painted, in words.
        file, painted: the first second when it is new, and at last the film; and what became of it.
    """

    frames: int
    total: int
    seconds: float
    preview: bool
    device: str
    file: Path | None = None
    painted: PaintedFilm | None = None

    @property
    def is_last(self) -> bool:
        """Whether this is the end, reached or stopped."""
        return self.painted is not None and not self.preview

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """None before one can tell."""
        return max(0, self.total - self.frames) / self.rate if self.frames > 1 else None


class FilmPainter:
    """Paints visitors' films, within the limits.

    Photos are not kept waiting: a film has an engine of its own.
    """

    def __init__(self, stylizer: Stylizer) -> None:
        self.stylizer, self.limits = stylizer, stylizer.limits

    def job(
        self,
        film: str | Path | None,
        style: str,
        longest_side: float | None = None,
        strength: float = 1.0,
        keep_colors: bool = False,
        brush: float = BRUSH,
        calm: float = FilmSettings.calm,
        version: str = CHAMPION,
    ) -> FilmJob:
        """Check what a visitor asks for against the limits. Films are reduced to `longest_side`, never enlarged.

        Raises:
            StylecoreError: for a file that is no film, too long or too large, an unknown style or version, or a
                number beyond the limits.
        """
        limits = self.limits
        if film is None:
            raise StylecoreError("there is no film yet; upload one, or record one.")
        side = limits.film_side if longest_side is None else longest_side
        check_range("strength", strength, 0, 1)
        check_range("calm", calm, 0, 1)
        check_range("brush", brush, limits.least_brush, limits.largest_brush)
        check_range("longest side", side, limits.smallest_side, limits.film_max_side)
        number = self.stylizer.catalogue.find(style).resolve(version or CHAMPION)
        settings = FilmSettings(
            calm=float(calm),
            max_side=int(side),
            max_pixels=limits.film_pixels,
            end=limits.film_seconds + 1,  # the header may have lied
            brush=float(brush),
            strength=float(strength),
            keep_colors=bool(keep_colors),
        )
        return FilmJob(Path(film), style, number, settings, self._facts(Path(film), settings))

    def _facts(self, film: Path, settings: FilmSettings) -> FilmFacts:
        limit = self.limits.film_seconds
        if film.is_file() and film.stat().st_size > self.limits.megabytes * 2**20:
            raise StylecoreError(f"this film has more than {self.limits.megabytes} MB; cut or compress it first.")
        with named(film, "this film"), open_file(film, dataclasses.replace(settings, end=None)) as reader:
            facts = reader.facts
        if facts.seconds is None:
            raise StylecoreError("this film does not say how long it is; convert it to mp4 first.")
        if facts.seconds > limit + 0.5:  # what lasts 30 s has a frame more
            raise StylecoreError(
                f"this film lasts {facts.seconds:.0f} seconds, and may last {limit:g} here; cut it first, or use "
                "`python -m stylecore video`."
            )
        return facts

    def paint(
        self, job: FilmJob, folder: Path, name: str, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[FilmProgress]:
        """Paint; tell twice a second how far it is, and at last give the film.

        Args:
            folder: for the files, which are named `name`.mp4 and `name`-preview.mp4.
            stop: once it says so, the film ends with the frames that are painted; with none, there is no file.

        Raises:
            StylecoreError: the film cannot be painted.
        """
        engine = film_engine(self.stylizer.catalogue.open(job.style, job.version), zero_gpu.DEVICE)
        ending = threading.Event()
        parts = [(job.settings, name, job.facts.frames or 1, False)]
        if (job.facts.seconds or 0) >= SHORTEST_WITH_PREVIEW:
            first = dataclasses.replace(job.settings, end=PREVIEW_SECONDS)
            parts.insert(0, (first, f"{name}-preview", math.ceil(PREVIEW_SECONDS * job.facts.rate), True))
        try:
            for settings, stem, total, preview in parts:
                target = folder / f"{stem}.mp4"
                for progress in self._painting(engine, job.film, target, settings, total, ending):
                    if stop():
                        ending.set()
                    yield dataclasses.replace(progress, preview=preview and not ending.is_set())
                if ending.is_set():
                    return
        finally:
            ending.set()
            engine.release_memory()

    def _painting(
        self, engine: Engine, film: Path, target: Path, settings: FilmSettings, total: int, stop: threading.Event
    ) -> Iterator[FilmProgress]:
        device, began = device_name(engine.device), time.monotonic()
        seen_at = began
        latest = Progress(0, total, 0.0)

        def note(progress: Progress) -> None:
            nonlocal latest
            latest = progress
            now = time.monotonic()
            if now - seen_at > PATIENCE or now - began > self.limits.film_work_seconds:
                stop.set()

        pool = ThreadPoolExecutor(1, "film")
        work = pool.submit(paint_film, engine, film, target, settings, progress=note, stop=stop)
        pool.shutdown(wait=False)
        while not wait([work], SECONDS_BETWEEN_LOOKS).done:
            seen_at = time.monotonic()
            yield FilmProgress(latest.frames, max(total, latest.frames), latest.seconds, False, device)
        try:
            with named(film, "this film"):
                painted = work.result()
        except KeyboardInterrupt:  # stopped before the first frame
            return
        yield FilmProgress(painted.frames, painted.frames, painted.seconds, False, device, target, painted)
