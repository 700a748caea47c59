"""The size of the strokes: large photos are painted at a smaller size, and the result is enlarged.

The strokes of a network have a fixed size in pixels: on a photo of 24 megapixels they are invisible. So a large photo
is reduced, painted and enlarged. The fine detail that this loses is added from the photo.
"""

from torch import Tensor
from torch.nn import functional

from stylecore.color import luma


def painted_size(height: int, width: int, side: int, brush: float) -> tuple[int, int]:
    """(height, width) at which a photo is painted: the longest side is at most `side`, divided by `brush`.

    Args:
        side: the longest side at which strokes are as large as in the painting (`StyleCard.painted_side`).
        brush: 2 for strokes twice as large, 0.5 for strokes half as large.
    """
    scale = min(1.0, side / max(height, width)) / brush
    return max(1, round(height * scale)), max(1, round(width * scale))


def lay_detail(painted: Tensor, reduced: Tensor, photo: Tensor, detail: float) -> Tensor:
    """Enlarge a painted picture to the photo's size and add the photo's fine detail.

    The detail is the difference between the photo and the reduced photo enlarged again. Only its luminance is used, so
    the colors stay those of the painted picture: enlarge(painted) + detail * (photo - enlarge(reduced)). Enlarging is
    linear, so one call is enough.

    Args:
        painted: (N, 3, h, w) in [0, 1], the network's output for `reduced`.
        reduced: (N, 3, h, w), the reduced photo.
        photo: (N, 3, H, W).
        detail: 0 for the painted picture alone, 1 for all of the detail.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    if min(photo.shape[-2:]) < min(painted.shape[-2:]):
        detail = 0.0  # the picture was painted larger than the photo: no detail is lost
    size = (photo.shape[-2], photo.shape[-1])
    coarse = painted - detail * luma(reduced) if detail else painted
    mode = "lanczos" if coarse.device.type == "cpu" else "bicubic"
    enlarged = functional.interpolate(coarse, size=size, mode=mode, antialias=True)
    if detail:
        enlarged += detail * luma(photo)
    return enlarged.clamp_(0, 1)
