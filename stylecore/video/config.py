"""The settings of a painted film and their defaults; the flags of `python -m stylecore video` are made from them."""

import math
from dataclasses import dataclass

from stylecore.errors import StylecoreError
from stylecore.flags import setting
from stylecore.inference.painting import Painting


@dataclass(frozen=True)
class FilmSettings(Painting):
    """How a film is painted.

    Attributes:
        begin, end: seconds from the film's start, of the part to paint; None for the first and the last frame.

    Raises:
        StylecoreError: a value is out of its range.
    """

    calm: float = setting(
        0.8, "0 paints each frame by itself; up to 1, strokes stay longer on things", least=0, most=1
    )
    every: int = setting(1, "paint only every so many-th frame, shown as many times as long", least=1, most=10_000)
    max_side: int | None = setting(None, "reduce the longest side to this many pixels", least=1)
    max_pixels: int = setting(9_000_000, "refuse films whose frames have more pixels than this", least=1)
    rate: float = setting(25.0, "frames a second of a folder of frames", least=0.001, most=1000)
    begin: float | None = None
    end: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.end is not None and not math.isfinite(self.end):
            raise StylecoreError(f"--to is {self.end:g}, and must be a time in seconds.")
        begin, end = self.begin or 0.0, math.inf if self.end is None else self.end
        if not 0 <= begin < min(end, 1e9):  # FFmpeg has 64 bits for nanoseconds
            raise StylecoreError(f"the part from {begin:g} s to {end:g} s is empty; --from must be before --to.")


def seconds(text: str) -> float:
    """12.5, 1:02.5 or 1:00:02 as seconds.

    Raises:
        StylecoreError: for anything else.
    """
    try:
        parts = [float(part) for part in text.split(":")]
        if len(parts) <= 3 and all(0 <= part < math.inf for part in parts):
            return sum(part * 60**power for power, part in enumerate(reversed(parts)))
    except ValueError:
        pass
    raise StylecoreError(f"{text!r} is no time; write seconds, 12.5, or minutes and seconds, 1:02.5.")
