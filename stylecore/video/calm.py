"""Strokes that stay on things, from frame to frame: temporal consistency by optical flow.

A network paints each frame by itself, and small changes of a photo make large changes of strokes. Two things keep
them:

- The noise that is added to photos (`TransformNetConfig.input_noise`), which strokes follow, moves with the things
  in the film instead of being fixed to the screen.
- The painted frame is blended with the frame before it, warped by the flow, where the flow can be trusted:
  out(t) = painted(t) + w trust (warped out(t - 1) - painted(t)).

Both begin anew at a cut.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

from stylecore.inference.engine import Engine
from stylecore.johnson.transform_net import unit_noise
from stylecore.video.flow import Array, Motion, carry, resized_flow
from stylecore.video.frames import Pixels, to_tensor

CUT = 0.35
"""With less than this share of the frame known from the one before, it is a cut."""
LARGEST_BLEND = 0.9
"""The weight of the frame before at calm 1; at 1 nothing would ever be painted anew."""
MOST_STRETCH = 2.0
"""The noise is made anew when half of it is stretched or compressed by more than this."""


class MovingNoise:
    """Unit noise (`unit_noise`) that moves with the things in a film.

    A pixel at x shows the noise at x + d(x). When the flow leads from x back to x + b(x), the thing there showed the
    noise at x + b + d(x + b), so the new d(x) is b + d(x + b). Beyond the frame d is that of its edge, so that what
    comes into the frame continues the noise. The noise repeats where it ends.

    Attributes:
        shift: d, (h, w, 2), in pixels of the size at which the motion is measured; None where nothing has moved.
    """

    def __init__(self, height: int, width: int) -> None:
        self.shift: Array | None = None
        self._plane = unit_noise(height, width)[0, 0].numpy()
        self._place = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)

    def move(self, motion: Motion) -> None:
        """Follow the film by one frame."""
        if self.shift is None or self.shift.shape != motion.back.shape:
            self.shift = np.zeros_like(motion.back)
        self.shift = carry(self.shift, motion.back) + motion.back
        stretched = _stretched(self.shift)
        if stretched.mean() > 0.5:
            self.begin_anew()
        elif stretched.any():  # where things have parted, the noise between them is made even
            self.shift = np.where(stretched[..., None], cv2.blur(self.shift, (15, 15)), self.shift)

    def begin_anew(self) -> None:
        self.shift = None

    def noise(self) -> Tensor:
        """(1, 1, H, W)."""
        if self.shift is None:
            return torch.from_numpy(self._plane)[None, None]
        height, width = self._plane.shape
        place = resized_flow(self._without_repeats(self.shift), height, width)
        place += self._place
        moved = cv2.remap(self._plane, place, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)  # type: ignore[call-overload]
        return torch.from_numpy(moved)[None, None]

    def _without_repeats(self, shift: Array) -> Array:
        """The shift without as many whole planes as it has on average: OpenCV knows no places beyond 32767."""
        height, width = shift.shape[:2]
        x, y = cv2.mean(shift)[:2]
        return shift - np.array([round(x / width) * width, round(y / height) * height], np.float32)


def _stretched(shift: Array) -> Array:
    """(H, W), where x + d(x) enlarges or reduces an area too much, or folds it."""
    if min(shift.shape[:2]) < 2:
        return np.zeros(shift.shape[:2], bool)
    (xy, xx), (yy, yx) = (np.gradient(shift[..., axis]) for axis in (0, 1))
    area = (1 + xx) * (1 + yy) - xy * yx
    return (area > MOST_STRETCH) | (area < 1 / MOST_STRETCH)


class FilmNoise:
    """The noise of each frame of a film, for networks with input noise.

    Args:
        engine: the style.
        calm: from 0 to 1; at 0 the noise is fixed to the screen.
    """

    def __init__(self, engine: Engine, calm: float) -> None:
        self._wanted = engine.config.input_noise > 0
        self._moves = calm > 0
        self._noise: MovingNoise | None = None

    def next(self, frame: Pixels, motion: Motion | None) -> Tensor | None:
        """(1, 1, H, W) for the next frame (H, W, 3), or None for networks without noise."""
        if not self._wanted:
            return None
        if self._noise is None:
            self._noise = MovingNoise(*frame.shape[:2])
        elif motion is None or is_cut(motion):
            self._noise.begin_anew()
        elif self._moves:
            self._noise.move(motion)
        return self._noise.noise()


class FilmBlend:
    """Blends each painted frame with the result before it.

    Args:
        calm: from 0 to 1, which is a weight of `LARGEST_BLEND` for the frame before.
    """

    def __init__(self, calm: float) -> None:
        self._weight = LARGEST_BLEND * calm
        self._before: Array | None = None

    def next(self, painted: Tensor, motion: Motion | None) -> Tensor:
        """The next frame, (3, H, W) in [0, 1], blended."""
        if not self._weight:
            return painted
        result = cv2.merge(list(painted.numpy()))
        if motion is not None and not is_cut(motion) and self._before is not None:
            result = blended(result, self._before, motion.resized(*result.shape[:2]), self._weight)
        self._before = result
        return torch.from_numpy(result).permute(2, 0, 1)


class CalmPainter:
    """Paints the frames of a film one after the other.

    Args:
        engine: the style.
        calm: from 0, each frame by itself, to 1.
    """

    def __init__(self, engine: Engine, calm: float) -> None:
        self._engine = engine
        self._noise, self._blend = FilmNoise(engine, calm), FilmBlend(calm)

    def paint(self, frame: Pixels, motion: Motion | None) -> Tensor:
        """Paint the next frame at its size.

        Args:
            frame: (H, W, 3).
            motion: since the frame before; None for the first one, and without calm.

        Returns:
            (3, H, W) in [0, 1].
        """
        return self._blend.next(self._engine.paint(to_tensor(frame), noise=self._noise.next(frame, motion)), motion)


def is_cut(motion: Motion) -> bool:
    """Whether too little of the frame is known from the one before."""
    return motion.trusted < CUT


def blended(painted: Array, before: Array, motion: Motion, weight: float) -> Array:
    """painted + weight trust (warped before - painted), all (H, W, 3) in [0, 1]."""
    # OpenCV and work in place: on such arrays numpy's broadcasting over the last axis takes ten times as long.
    carried = carry(before, motion.back, cubic=True)
    np.clip(carried, 0, 1, out=carried)
    carried -= painted
    carried *= cv2.merge([weight * motion.trust] * 3)
    carried += painted
    return carried
