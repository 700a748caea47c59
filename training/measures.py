"""How good a stylized picture is: in iterations of the optimization of Gatys et al., and by its burnt-in spots."""

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
"""Pixels. Smaller than this, either way, is grain or the edge of a stroke, not a spot."""


def loss_curve(objective: Objective, size: int, until: float, at_most: int) -> list[float]:
    """The losses of uniform noise and of the pictures after each iteration of projected L-BFGS from there.

    This is the baseline of Johnson et al. (2016), section 4.1: the pixels are clipped to their range after every
    iteration. One iteration is one pass through VGG and back. The noise is the same at every call.

    Args:
        until: the curve ends with the first loss that is not above this,
        at_most: or after so many iterations.
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
    """At which iteration a curve (`loss_curve`) first reaches a loss, or None when it does not.

    Between two iterations the loss is taken to fall in a straight line. A loss not below that of the noise is reached
    at iteration 0.
    """
    reached = next((index for index, value in enumerate(curve) if value <= loss), None)
    if not reached:
        return None if reached is None else 0.0
    before, after = curve[reached - 1], curve[reached]
    return reached - 1 + (before - loss) / (before - after)


def spot_share(stylized: Tensor, photo: Tensor) -> float:
    """Share of a picture, from 0 to 1, that is covered by burnt-in spots.

    A pixel is burnt where each of its channels is at 0 or 1, within `BURNT_IN`: black, white, or one of the six pure
    colors between, as no paint is. (Fewer channels at their ends are common: of a gold the blue, of a deep blue the
    red.) A spot is what remains of the burnt pixels of one color after a morphological opening with a square of
    `SPOT` pixels, so that grain does not count, and a white square of that size counts with just its area. What the
    photo itself has burnt in with this color, such as an overexposed sky, is the photo's and does not count, nor
    do the pixels around it. The networks of a style picture with burnt-in areas of its own, such as ink on white
    paper, have them by right.

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
    """The burnt-in colors of (3, H, W), as (1, 1, 1) for white, each with where it is: (1, H, W) of 0 and 1."""
    ends = (pixels <= BURNT_IN, pixels >= 1 - BURNT_IN)
    for color in product((0, 1), repeat=3):
        where = torch.stack([ends[end][channel] for channel, end in enumerate(color)]).all(dim=0, keepdim=True)
        if where.any():
            yield color, where.float()


def _grow(mask: Tensor) -> Tensor:
    return functional.max_pool2d(mask, SPOT, stride=1, padding=SPOT // 2)


def _shrink(mask: Tensor) -> Tensor:
    return 1 - _grow(1 - mask)
