"""The weights of a transformation network for graphs that compute the same with less work.

Affine maps and batch normalization become a part of a convolution. Upsampling with its convolution, and the last
convolution, become convolutions at a lower size with more channels, one group for each phase of the larger grid.
Weights are (O, I, K, K), in float64.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from stylecore.preprocessing import Preprocessing

Array = NDArray[Any]


def folded(convolution: nn.Module, normalization: nn.Module) -> tuple[Array, Array]:
    """Weight (O, I, K, K), also of a transposed convolution, and bias (O,), including batch normalization."""
    weight = array(convolution.weight)
    weight = weight.swapaxes(0, 1) if isinstance(convolution, nn.ConvTranspose2d) else weight
    bias = np.zeros(len(weight)) if convolution.bias is None else array(convolution.bias)
    if isinstance(normalization, nn.BatchNorm2d):
        scale, shift = batch_map(normalization)
        return weight * scale[:, None, None, None], bias * scale + shift
    return weight, bias


def batch_map(normalization: nn.BatchNorm2d) -> tuple[Array, Array]:
    """Scale and shift of batch normalization in evaluation mode."""
    assert normalization.running_mean is not None
    assert normalization.running_var is not None
    scale = array(normalization.weight) / np.sqrt(array(normalization.running_var) + normalization.eps)
    return scale, array(normalization.bias) - array(normalization.running_mean) * scale


def input_map(values: Preprocessing) -> tuple[Array, Array]:
    """`Preprocessing.apply` as pixels * scale + shift, for channels in the order RGB."""
    order = slice(None, None, -1 if values.channel_order == "BGR" else 1)
    mean, std = np.array(values.mean)[order], np.array(values.std)[order]
    return values.scale / std, -mean / std


def output_map(values: Preprocessing) -> tuple[Array, Array]:
    """`Preprocessing.undo` as values * scale + shift, for channels in the order RGB."""
    order = slice(None, None, -1 if values.channel_order == "BGR" else 1)
    mean, std = np.array(values.mean)[order], np.array(values.std)[order]
    return std / values.scale, mean / values.scale


def phases_of_nearest(weight: Array) -> Array:
    """Upsampling by 2 and a 3 x 3 convolution as one of 2 x 2, (O, I, 3, 3) to (4 O, I, 2, 2).

    Row p of the result depends on rows p - 1 and p of the smaller grid, which has one more row on each side. Its two
    phases are rows 2 p - 1 and 2 p of the larger grid, so the result has one extra row on each side.
    """
    upper = np.array([[1, 1, 0], [0, 0, 1]])  # row 2 p - 1 is the last of its pair: it depends on p - 1 twice
    lower = np.array([[1, 0, 0], [0, 1, 1]])
    return _phases(weight, (upper, lower))


def phases_of_transposed(weight: Array, first: int) -> Array:
    """A transposed 3 x 3 convolution of stride 2 as one of 2 x 2, (O, I, 3, 3) to (4 O, I, 2, 2).

    Input row i adds to rows 2 i - first + k, k = 0 to 2, of the larger grid. With `first` = 0 the 2 x 2 convolution
    uses rows i - 1 and i, else i and i + 1.
    """
    if first == 0:
        return _phases(weight, (np.array([[0, 0, 1], [1, 0, 0]]), np.array([[0, 0, 0], [0, 1, 0]])))
    return _phases(weight, (np.array([[0, 1, 0], [0, 0, 0]]), np.array([[0, 0, 1], [1, 0, 0]])))


def _phases(weight: Array, maps: tuple[Array, Array]) -> Array:
    """Each of the two maps (2, 3) tells which of the 3 kernel rows are summed in the 2 rows of a phase's kernel."""
    phases = [np.einsum("ak,bl,oikl->oiab", vertical, horizontal, weight) for vertical in maps for horizontal in maps]
    return np.concatenate(phases)


def blocks(weight: Array) -> Array:
    """A convolution as one of stride 2 with 2 x 2 results at each position: (O, I, K, K) to (4 O, I, K + 1, K + 1)."""
    shifts = [(y, x) for y in (0, 1) for x in (0, 1)]
    return np.concatenate([np.pad(weight, ((0, 0), (0, 0), (y, 1 - y), (x, 1 - x))) for y, x in shifts])


def array(tensor: Any) -> Array:
    return tensor.detach().cpu().double().numpy()
