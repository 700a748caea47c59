"""The motion between two frames of a film: optical flow, where it can be trusted, and warping by it.

The flow is that of OpenCV's DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016). Occlusions are
found as in Ruder, Dosovitskiy and Brox, "Artistic Style Transfer for Videos" (2016): where the flow back and the flow
forth do not cancel. A flow field is float32 (H, W, 2), in pixels to the right and down; it leads from a pixel of the
present frame to the same thing in the earlier one.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FLOW_SIDE = 320
"""The flow is measured on frames reduced to this longest side in pixels: at 640 it takes four times as long."""
CONSISTENCY, TOLERANCE = 0.01, 0.5
"""Ruder et al., equation 6: |back + forth|^2 may be this share of |back|^2 + |forth|^2, plus this many pixels^2."""
LIKENESS = 20 / 255
"""A pixel that differs from its earlier self by so much in lightness is trusted by half."""


@dataclass(frozen=True, eq=False)
class Motion:
    """How the earlier frame became the present one.

    Attributes:
        back: (H, W, 2), the flow from the present frame to the earlier one.
        trust: (H, W) in [0, 1]: 0 where nothing in the earlier frame corresponds to the pixel.
    """

    back: Array
    trust: Array

    @cached_property
    def trusted(self) -> float:
        """The share of the frame that was in the earlier one; near 0 at a cut."""
        return float(self.trust.mean())

    def resized(self, height: int, width: int) -> "Motion":
        """The same motion for frames of another size."""
        if self.back.shape[:2] == (height, width):
            return self
        trust = cv2.resize(self.trust, (width, height), interpolation=cv2.INTER_LINEAR)
        return Motion(resized_flow(self.back, height, width), trust)


def resized_flow(flow: Array, height: int, width: int) -> Array:
    """The flow (h, w, 2) of frames of another size."""
    if flow.shape[:2] == (height, width):
        return flow
    scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
    return np.asarray(cv2.resize(flow * scale, (width, height), interpolation=cv2.INTER_LINEAR))


class MotionMeter:
    """Measures the motion from each frame to the next.

    Args:
        side: longest side in pixels at which the flow is measured.
        preset: of DIS: 0 is the fastest, 2 the most precise.
    """

    def __init__(self, side: int = FLOW_SIDE, preset: int = cv2.DISOPTICAL_FLOW_PRESET_FAST) -> None:
        self.side = side
        self.flow: Any = cv2.DISOpticalFlow.create(preset)
        self.earlier: Array | None = None

    def measure(self, frame: Array) -> Motion | None:
        """The motion since the frame of the call before; None for the first frame, and after a change of size.

        Args:
            frame: (H, W, 3) uint8, RGB.

        Returns:
            The motion at the size at which it is measured: see `Motion.resized`.
        """
        height, width = frame.shape[:2]
        scale = min(1.0, self.side / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        gray = cv2.cvtColor(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        earlier, self.earlier = self.earlier, gray
        if earlier is None or earlier.shape != gray.shape:
            return None
        if min(gray.shape) < LEAST_SIDE:  # too small for the flow: things stay where they are
            back = forth = np.zeros((*gray.shape, 2), np.float32)
        else:
            back, forth = self.flow.calc(gray, earlier, None), self.flow.calc(earlier, gray, None)
        return Motion(back, trust_in(back, forth, gray, earlier))


LEAST_SIDE = 16
"""Pixels; DIS needs 12."""


def trust_in(back: Array, forth: Array, present: Array, earlier: Array) -> Array:
    """(H, W) in [0, 1]: how sure it is that the flow leads to the same thing.

    Args:
        back, forth: (H, W, 2), the flow from the present frame to the earlier one and the other way round.
        present, earlier: (H, W) uint8.
    """
    there = carry(forth, back)
    allowed = CONSISTENCY * (_squared(back) + _squared(there)) + TOLERANCE
    difference = (carry(earlier.astype(np.float32), back) - present) / np.float32(255 * LIKENESS)
    trust = np.where(_squared(back + there) <= allowed, 1 / (1 + np.square(difference)), 0).astype(np.float32)
    return trust * inside(back)


def _squared(flow: Array) -> Array:
    """(H, W), the squared lengths of its vectors."""
    x, y = cv2.split(flow)
    return x * x + y * y


def carry(values: Array, back: Array, *, cubic: bool = False) -> Array:
    """Warp: the values (H, W) or (H, W, C) of the earlier frame, where they are in the present one."""
    x, y = _places(back)
    interpolation = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    return cv2.remap(values, x, y, interpolation, borderMode=cv2.BORDER_REPLICATE)


def inside(back: Array) -> Array:
    """(H, W) of 0 and 1: where the flow leads to a point of the earlier frame."""
    height, width = back.shape[:2]
    x, y = _places(back)
    return ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)).astype(np.float32)


def _places(back: Array) -> tuple[Array, Array]:
    """(H, W) each: the column and the row in the earlier frame to which the flow leads."""
    height, width = back.shape[:2]
    columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    return back[..., 0] + columns, back[..., 1] + rows[:, None]
