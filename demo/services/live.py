"""The frames of a visitor's webcam, painted one after the other with strokes that stay, as in a film."""

from torch import Tensor

from stylecore.inference.engine import Engine
from stylecore.video.calm import CalmPainter, CalmParts
from stylecore.video.config import FilmSettings
from stylecore.video.flow import MotionMeter
from stylecore.video.frames import Pixels


class Webcam:
    """What is kept from one frame to the next; it begins anew with another style or size."""

    def __init__(self) -> None:
        self._of: tuple[Engine, tuple[int, ...]] | None = None
        self._painter: CalmPainter | None = None
        self._meter: MotionMeter | None = None

    def paint(self, engine: Engine, frame: Pixels) -> Tensor:
        """The next frame (H, W, 3), painted: (3, H, W) in [0, 1]."""
        if self._painter is None or self._meter is None or self._of != (engine, frame.shape):
            self._of = (engine, frame.shape)
            self._painter, self._meter = CalmPainter(engine, CalmParts.of(FilmSettings.calm)), MotionMeter()
        return self._painter.paint(frame, self._meter.measure(frame))
