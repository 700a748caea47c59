"""The losses of Gatys et al. (2016) and Johnson et al. (2016).

Notation: an activation of one layer has N_l = C channels and M_l = H * W positions. The papers write the
losses with different constants; every function here states its own. `paper_style_scale` and `paper_content_scale` give
the exact factors between them, so that settings can be converted.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

StyleNormalization = Literal["mean", "sum", "relative"]
ContentNormalization = Literal["mean", "relative"]


def gram_matrix(activation: Tensor) -> Tensor:
    """Gram matrix of every picture's activation, divided by C * H * W.

    Johnson et al. (2016), equation 3: G_j(x)_{c,c'} = 1 / (C H W) * sum_{h,w} a_{h,w,c} a_{h,w,c'}.
    Gatys et al. (2016), equation 3, leave out the division: their matrix is this one times C * H * W.

    The product is taken in float32 whatever the activation's type: sums over a picture overflow float16.

    Args:
        activation: (N, C, H, W).

    Returns:
        (N, C, C) float32, symmetric and positive semidefinite.
    """
    return _GramMatrix.apply(activation)


class _GramMatrix(torch.autograd.Function):
    """The Gram matrix in the memory layout of the activation, with an explicit derivative.

    torch would copy a channels_last activation to contiguous layout and its gradient back, and compute two products
    for the derivative. One is enough, because the matrix is symmetric: with F of shape (H * W, C),
    G = F^T F / n and dL/dF = F (dL/dG + dL/dG^T) / n.
    """

    @staticmethod
    def forward(ctx: Any, activation: Tensor) -> Tensor:
        ctx.save_for_backward(activation)
        features = _features(activation).float()
        with torch.autocast(activation.device.type, enabled=False):
            return features.transpose(1, 2) @ features / activation[0].numel()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (activation,) = ctx.saved_tensors
        count, channels, height, width = activation.shape
        symmetric = (gradients[0] + gradients[0].transpose(1, 2)) / activation[0].numel()
        features = _features(activation)
        # bfloat16 has the range of float32, and the gradient becomes bfloat16 in any case; float16 overflows.
        dtype = torch.float32 if activation.dtype == torch.float16 else activation.dtype
        gradient = (features.to(dtype) @ symmetric.to(dtype)).to(activation.dtype)
        gradient = gradient.reshape(count, height, width, channels).permute(0, 3, 1, 2)
        channels_last = activation.is_contiguous(memory_format=torch.channels_last)
        return gradient if channels_last else gradient.contiguous()


def _features(activation: Tensor) -> Tensor:
    """(N, H * W, C) of (N, C, H, W); no copy where the memory is channels_last."""
    return activation.permute(0, 2, 3, 1).flatten(1, 2)


def content_loss(activation: Tensor, target: Tensor, normalization: ContentNormalization = "mean") -> Tensor:
    """The difference of two activations F (ours) and P (the target's), for every picture of a batch.

    - "mean": mean (F - P)^2. Johnson et al. (2016), equation 2. Gatys et al. (2016), equation 1, take half the sum
      instead: C * H * W / 2 times this.
    - "relative": mean (F - P)^2 / mean P^2, which is in no paper. It is 0 for equal activations and 1 for F = 0, for
      every layer and all weights of VGG, so one content weight fits them all. A photo with little structure, such as
      a clear sky, counts as much as one with many edges.

    Args:
        activation, target: (N, C, H, W), or any equal shapes (N, ...).

    Returns:
        Scalar, the mean over the batch.
    """
    squares = (activation.float() - target.float()).square().flatten(1).mean(1)
    return (content_factor(target, normalization) * squares).mean()


def content_factor(target: Tensor, normalization: ContentNormalization) -> Tensor:
    """(N,): the factor from the "mean" content loss of every picture to the one that `normalization` names."""
    if normalization == "mean":
        return target.new_ones(len(target), dtype=torch.float32)
    return 1 / _not_zero(target.float().square().flatten(1).mean(1))


def style_loss(gram: Tensor, target: Tensor, normalization: StyleNormalization = "mean") -> Tensor:
    """The difference of Gram matrices G (ours) and A (the style picture's), both by `gram_matrix`.

    - "mean": 1 / C^2 * sum (G - A)^2, as in every public implementation of Johnson et al. (including Johnson's own).
      Shallow layers with their large activations count most: with torchvision's VGG-16 relu4_3 has 2 % of the loss.
    - "sum": sum (G - A)^2. Johnson et al. (2016), equation 4: the squared Frobenius norm.
    - "relative": sum (G - A)^2 / sum A^2, which is in no paper. It is 0 for equal matrices and 1 for G = 0 in every
      layer, so all layers count alike: the shallow ones, with colors and grain, and the deep ones, with strokes and
      shapes.

    They differ by a factor for each layer, `style_factor`.

    Args:
        gram: (N, C, C).
        target: (1, C, C).

    Returns:
        Scalar, the mean over the batch.
    """
    return style_factor(target, normalization) * functional.mse_loss(gram, target.expand_as(gram))


def style_factor(target: Tensor, normalization: StyleNormalization) -> Tensor:
    """Scalar: the factor from the "mean" style loss to the one that `normalization` names."""
    if normalization == "mean":
        return target.new_ones(())
    if normalization == "sum":
        return target.new_tensor(float(target.shape[-1] ** 2))
    return 1 / _not_zero(target.square().mean())


def paper_content_scale(channels: int, positions: int) -> float:
    """The factor from `content_loss` to Gatys et al. (2016), equation 1: C * H * W / 2."""
    return channels * positions / 2


def paper_style_scale(channels: int) -> float:
    """The factor from `style_loss` to E_l of Gatys et al. (2016), equation 4: C^2 / 4.

    E_l = sum (G - A)^2 / (4 N^2 M^2) with unnormalized G and A. With ours divided by N * M the sum is
    N^2 M^2 times smaller, and the mean over N^2 entries takes the rest:
    E_l = N^2 / 4 * mean(difference^2). The public implementations therefore weigh a layer by 1 / N^2
    relative to the paper, which favors shallow layers.
    """
    return channels**2 / 4


def total_variation_loss(pixels: Tensor) -> Tensor:
    """Mean squared difference of vertical neighbors plus that of horizontal neighbors.

    The total variation regularizer of Johnson et al. (2016), section 3.2, after Mahendran and Vedaldi (2015)
    with beta = 2. They sum; we take means, so that a weight has the same meaning at every size.
    A side of one pixel has no neighbors and contributes zero.

    Args:
        pixels: (..., H, W).

    Returns:
        Scalar. A checkerboard of 0 and 1 gives exactly 2.
    """
    loss = pixels.new_zeros(())
    if pixels.shape[-2] > 1:
        loss = loss + (pixels[..., 1:, :] - pixels[..., :-1, :]).square().mean()
    if pixels.shape[-1] > 1:
        loss = loss + (pixels[..., :, 1:] - pixels[..., :, :-1]).square().mean()
    return loss


def _not_zero(value: Tensor) -> Tensor:
    """A positive divisor for relative losses: an activation that is zero everywhere must not make them infinite."""
    return value.clamp_min(torch.finfo(torch.float32).tiny)
