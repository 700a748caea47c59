"""The size of the strokes: the network paints at a size of its own, and its picture is laid over the photo's.

A network paints strokes of so many pixels, whatever the size of its photo: a photo of 24 megapixels gets strokes that
nobody sees. So a large photo is painted small and the result enlarged. What is lost, the photo's own fine detail, is
laid over the strokes.
"""

import torch
from torch import Tensor
from torch.nn import functional

from stylecore.color import LUMA_WEIGHTS
from stylecore.errors import StylecoreError

BRUSH = 1.0
"""Strokes that cover the share of the picture that they cover of the painting."""
LEAST_BRUSH, LARGEST_BRUSH = 0.1, 4.0
DETAIL = 0.5
"""The share of the photo's fine detail that is laid over an enlarged picture."""


def painted_size(height: int, width: int, side: int, brush: float) -> tuple[int, int]:
    """(height, width) at which a photo is painted: its longest side is at most `side`, divided by `brush`.

    Args:
        side: the longest side at which a picture looks as its painting does (`StyleCard.painted_side`).
        brush: 2 for strokes twice as large, 0.5 for strokes half as large.

    Raises:
        StylecoreError: for a brush that is too small or too large.
    """
    if not LEAST_BRUSH <= brush <= LARGEST_BRUSH:  # false for NaN too
        raise StylecoreError(f"the brush is {brush:g}, and must be between {LEAST_BRUSH:g} and {LARGEST_BRUSH:g}.")
    scale = min(1.0, side / max(height, width)) / brush
    return max(1, round(height * scale)), max(1, round(width * scale))


def lay_detail(painted: Tensor, reduced: Tensor, photo: Tensor, detail: float) -> Tensor:
    """A painted picture at the photo's size, with the photo's fine detail over it.

    The detail is what the photo has beyond itself reduced and enlarged again, in luminance alone, so that the colors
    stay the painting's: enlarge(painted) + detail * (photo - enlarge(reduced)). Enlarging is linear, so one does.

    Args:
        painted: (N, 3, h, w) in [0, 1], what the network made of `reduced`.
        reduced: (N, 3, h, w), the photo as it was painted.
        photo: (N, 3, H, W).
        detail: 0 for the painted picture alone, 1 for all of the detail.

    Returns:
        (N, 3, H, W) in [0, 1].

    Raises:
        StylecoreError: when `detail` is below 0 or above 1.
    """
    if not 0 <= detail <= 1:
        raise StylecoreError(f"the detail is {detail:g}, and must be between 0 and 1.")
    if min(photo.shape[-2:]) < min(painted.shape[-2:]):
        detail = 0.0  # a finer brush than the photo is fine has lost nothing
    size = (photo.shape[-2], photo.shape[-1])
    coarse = painted - detail * _luminance(reduced) if detail else painted
    mode = "lanczos" if coarse.device.type == "cpu" else "bicubic"
    enlarged = functional.interpolate(coarse, size=size, mode=mode, antialias=True)
    if detail:
        enlarged += detail * _luminance(photo)
    return enlarged.clamp_(0, 1)


def _luminance(pixels: Tensor) -> Tensor:
    """(N, 1, H, W)."""
    red, green, blue = LUMA_WEIGHTS
    return torch.add(pixels[:, :1] * red, pixels[:, 1:2], alpha=green).add_(pixels[:, 2:], alpha=blue)
