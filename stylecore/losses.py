"""The losses of Gatys et al. (2016) and Johnson et al. (2016).

Notation: an activation of one layer has N_l = C channels and M_l = H * W positions. The papers write the
losses with different constants; every function here states its own, and `paper_style_scale` and
`paper_content_scale` give the exact factors between them, so that a setting can be carried over.
"""

from torch import Tensor
from torch.nn import functional


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
    count, channels, height, width = activation.shape
    # reshape, not view: channels_last activations have no (C, H * W) view.
    features = activation.float().reshape(count, channels, height * width)
    return features @ features.transpose(1, 2) / (channels * height * width)


def content_loss(activation: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of two activations: Johnson et al. (2016), equation 2.

    Gatys et al. (2016), equation 1, take half the sum instead: C * H * W / 2 times this.

    Args:
        activation, target: (N, C, H, W), or any equal shapes.

    Returns:
        Scalar, mean over the batch too.
    """
    return functional.mse_loss(activation.float(), target.float())


def style_loss(gram: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of Gram matrices as `gram_matrix` normalizes them.

    Johnson et al. (2016), equation 4, take the squared Frobenius norm, the sum over C * C entries, of the
    same matrices. Every public implementation of it (Johnson's own included) takes the mean, which is the
    sum divided by C^2; their published style weights belong to the mean, and so do ours.

    Args:
        gram: (N, C, C).
        target: (C, C), (1, C, C) or (N, C, C).

    Returns:
        Scalar, mean over the batch too.
    """
    return functional.mse_loss(gram, target.expand_as(gram))


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
    with beta = 2. They sum; we take means, so that a weight keeps its meaning from size to size.
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
