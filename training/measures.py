"""Measures of a stylized picture: equivalent iterations of Gatys et al., and burnt-in spots."""

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from stylecore.color import BURNT_IN
from stylecore.gatys.config import GatysConfig
from stylecore.gatys.objective import Objective
from stylecore.gatys.optimizer import Descent

SPOT = 5
"""Pixels. Anything smaller, in width or height, is grain or the edge of a stroke and not a spot."""


def loss_curve(objective: Objective, size: int, until: float, at_most: int) -> list[float]:
    """The losses of uniform noise, and of the pictures after each iteration of projected L-BFGS that starts there.

    This is the baseline of Johnson et al. (2016), section 4.1: the pixels are clipped to their range after every
    iteration. One iteration is one pass through VGG and back. The noise is the same in every call.

    Args:
        until: the curve ends with the first loss at or below this,
        at_most: or after this many iterations.
    """
    device = next(objective.vgg.parameters()).device
    noise = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    descent = Descent(noise.to(device), objective, GatysConfig())
    curve = [descent.losses["total"]]
    while curve[-1] > until and len(curve) <= at_most:
        descent.step()
        if not descent.is_finite():
            break
        curve.append(descent.losses["total"])
    return curve


def equivalent_iterations(loss: float, curve: Sequence[float]) -> float | None:
    """The first iteration at which a curve (`loss_curve`) reaches a loss, or None when it does not.

    It is interpolated linearly between two iterations. A loss at or above that of the noise is reached at iteration 0.
    """
    reached = next((index for index, value in enumerate(curve) if value <= loss), None)
    if not reached:
        return None if reached is None else 0.0
    before, after = curve[reached - 1], curve[reached]
    return reached - 1 + (before - loss) / (before - after)


def spot_share(stylized: Tensor, photo: Tensor) -> float:
    """Share of a picture, from 0 to 1, that is covered by burnt-in spots.

    A pixel is burnt in when each of its channels is 0 or 1, within `BURNT_IN`: black, white, or one of six pure
    colors, which no paint has. (One or two such channels are common: the blue of gold, the red of deep blue.) Spots
    are the result of a morphological opening of the burnt-in pixels of one color with a square of `SPOT` pixels: grain
    does not count, and a white square of that size counts with exactly its area. Areas of this color in the photo
    itself, such as an overexposed sky, and the pixels around them do not count. If the style picture has burnt-in
    areas, such as ink on white paper, its networks have them rightly.

    Args:
        stylized, photo: (3, H, W) in [0, 1].
    """
    share = 0.0
    of_photo = dict(_burnt(photo))
    for color, burnt in _burnt(stylized):
        spots = _grow(_shrink(burnt))
        if color in of_photo:
            spots = spots * (1 - _grow(_grow(of_photo[color])))
        share += spots.mean().item()
    return share


def _burnt(pixels: Tensor) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Each burnt-in color of (3, H, W), such as (1, 1, 1) for white, with its mask: (1, H, W) of 0 and 1."""
    ends = (pixels <= BURNT_IN, pixels >= 1 - BURNT_IN)
    for color in product((0, 1), repeat=3):
        where = torch.stack([ends[end][channel] for channel, end in enumerate(color)]).all(dim=0, keepdim=True)
        if where.any():
            yield color, where.float()


def _grow(mask: Tensor) -> Tensor:
    return functional.max_pool2d(mask, SPOT, stride=1, padding=SPOT // 2)


def _shrink(mask: Tensor) -> Tensor:
    return 1 - _grow(1 - mask)


@torch.no_grad()
def output_statistics(stylized: Tensor) -> dict[str, float]:
    """Minimum, maximum and mean of a batch, and the share of values that are burnt in to black or white."""
    saturated = (stylized <= BURNT_IN) | (stylized >= 1 - BURNT_IN)
    return {
        "output/min": float(stylized.min()),
        "output/max": float(stylized.max()),
        "output/mean": float(stylized.float().mean()),
        "output/saturated_share": float(saturated.float().mean()),
    }
