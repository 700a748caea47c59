"""How good a stylized picture is: in iterations of the optimization of Gatys et al., and by its burnt-in spots."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from stylecore.gatys_config import GatysConfig
from stylecore.gatys_descent import Descent
from stylecore.gatys_objective import Objective

BURNT = 2 / 255
"""A channel this near to black or white has burnt in."""
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

    A pixel is burnt where all its channels are at 0 or all at 1, within `BURNT`: black or white as no paint is. (A
    single channel at its end is a pure color, of which a painting may be full.) A spot is what remains of them after
    a morphological opening with a square of `SPOT` pixels, so that grain does not count and a white square
    of that size counts with just its area. Burnt pixels within `SPOT` of ones that the photo itself has, such
    as an overexposed sky, are the photo's and do not count.

    Args:
        stylized, photo: (3, H, W) in [0, 1].
    """
    share = 0.0
    for burnt, of_photo in zip(_burnt(stylized), _burnt(photo), strict=True):
        spots = _grow(_shrink(burnt)) * (1 - _grow(_grow(of_photo)))
        share += spots.mean().item()
    return share


def _burnt(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Where (3, H, W) is white and where it is black, each (1, H, W) of 0 and 1."""
    white = (pixels >= 1 - BURNT).all(dim=0, keepdim=True)
    black = (pixels <= BURNT).all(dim=0, keepdim=True)
    return white.float(), black.float()


def _grow(mask: Tensor) -> Tensor:
    return functional.max_pool2d(mask, SPOT, stride=1, padding=SPOT // 2)


def _shrink(mask: Tensor) -> Tensor:
    return 1 - _grow(1 - mask)
