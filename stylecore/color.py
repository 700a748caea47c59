"""Strength and colors of a stylized picture.

The ways to keep colors are those of Gatys, Bethge, Hertzmann and Shechtman, "Preserving Color in Neural Artistic
Style Transfer" (2016).
"""

import torch
from torch import Tensor

from stylecore.errors import StylecoreError

BURNT_IN = 2 / 255
"""A channel this near to 0 or 1 is burnt in to black or white."""

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""Y of the YIQ and YCbCr color spaces (ITU-R BT.601), applied to sRGB values."""

SMALLEST_VARIANCE = 1e-5
"""A direction in which the style's colors vary less (0.003, less than one step of 8 bits) is not stretched."""


def blend(content: Tensor, stylized: Tensor, strength: float = 1.0, *, keep_colors: bool = False) -> Tensor:
    """Mix the stylized picture with the content picture.

    Args:
        content, stylized: (3, H, W) or (N, 3, H, W) in [0, 1], of equal shape.
        strength: 0 gives the content exactly, 1 the stylized picture exactly.
        keep_colors: First give the stylized picture the content's colors (`with_colors_of`).

    Raises:
        StylecoreError: The strength is not a number from 0 to 1.
    """
    if not 0 <= strength <= 1:  # false for NaN too
        raise StylecoreError(f"the strength of a style must be a number from 0 to 1, not {strength}")
    if content.shape != stylized.shape:
        raise ValueError(f"cannot blend {tuple(content.shape)} with {tuple(stylized.shape)}")
    if keep_colors:
        stylized = with_colors_of(content, stylized)
    return torch.lerp(content, stylized, strength)


def luma(pixels: Tensor) -> Tensor:
    """Y of BT.601: (..., 3, H, W) to (..., 1, H, W)."""
    red, green, blue = pixels.split(1, dim=-3)
    return torch.add(red * LUMA_WEIGHTS[0], green, alpha=LUMA_WEIGHTS[1]).add_(blue, alpha=LUMA_WEIGHTS[2])


def with_colors_of(content: Tensor, stylized: Tensor) -> Tensor:
    """The luminance of the stylized picture with the colors of the content: section 3 of the paper.

    The paper works in YIQ: Y of the stylized picture, I and Q of the content. In the conversion to RGB, Y is added to
    all three channels with factor 1, so it is enough to add the difference of Y to each; YCbCr gives the same.
    Colors outside [0, 1] are clipped, and there the luminance differs a little. The paper also matches the style
    picture's luminance to the content's before painting. This is not done: the network is trained already.
    """
    return (content + (luma(stylized) - luma(content))).clamp(0, 1)


def match_color(style: Tensor, content: Tensor) -> Tensor:
    """Give the style picture the content's mean color and color covariance: section 4 of the paper.

    Every color p becomes A p + b with A = C^(1/2) S^(-1/2), where C and S are the 3 x 3 covariances of content
    and style, and b takes the mean along. This is the paper's Image Analogies variant, which unlike the Cholesky
    one does not depend on the order of the channels.

    Departures: eigenvalues of S are at least `SMALLEST_VARIANCE`, so that a gray or plain style picture gives no NaN;
    and the result is clipped to [0, 1], so mean and covariance match only approximately.

    Args:
        style: (3, H, W) in [0, 1].
        content: (3, H', W') in [0, 1].

    Returns:
        The style picture with new colors, of the same shape.
    """
    # In float64, which not every device has: the variances are small differences.
    colors, wanted = (pixels.cpu().double().reshape(3, -1) for pixels in (style, content))
    values, vectors = torch.linalg.eigh(torch.cov(colors, correction=0))
    whiten = vectors @ torch.diag(values.clamp(min=SMALLEST_VARIANCE).rsqrt()) @ vectors.T
    values, vectors = torch.linalg.eigh(torch.cov(wanted, correction=0))
    color = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    matched = color @ whiten @ (colors - colors.mean(1, keepdim=True)) + wanted.mean(1, keepdim=True)
    return matched.clamp(0, 1).to(style).reshape(style.shape)
