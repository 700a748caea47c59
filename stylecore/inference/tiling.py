"""Large pictures in tiles, with one set of statistics for the whole picture.

Instance normalization uses mean and variance of the whole picture, so separately stylized tiles differ in color and
contrast, and their seams are visible. Here the statistics of every layer are computed once, from samples spread evenly
over the picture, and are fixed for all tiles. With fixed statistics a normalization layer is an affine map, and the
result at a pixel depends only on its receptive field. Tiles that overlap by its radius join without a seam.
"""

import dataclasses
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from stylecore.johnson.transform_net import TransformNet

SAMPLE_SIDE = 256
SAMPLES = 36
"""2.4 megapixels: their activations need about 1.5 GB, which is the most that a picture needs."""


def hold_statistics(network: TransformNet, pixels: Tensor) -> TransformNet:
    """The network with fixed statistics of this picture instead of instance normalization.

    The statistics are those of all samples together. As in instance normalization of one picture, each layer gets the
    output of the layers before it, with their statistics of the same samples. (The fixed variance is the unbiased
    one.)

    Args:
        network: in evaluation mode. A network with batch normalization has fixed statistics already and is returned.
        pixels: (3, H, W), RGB in [0, 1].
    """
    if network.config.normalization == "batch":
        return network
    held = TransformNet(dataclasses.replace(network.config, normalization="batch"))
    held.load_state_dict(network.state_dict(), strict=False)  # everything except the statistics
    held.to(next(network.parameters()).device)
    for module in held.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics of the one batch, instead of a moving average
    held.train()
    with torch.no_grad():
        held(samples(pixels).to(next(network.parameters()).device))
    return held.eval()


def samples(pixels: Tensor, side: int = SAMPLE_SIDE, count: int = SAMPLES) -> Tensor:
    """(N, 3, h, w): squares spread evenly over the picture (3, H, W), N at most `count`, h and w at most `side`."""
    height, width = pixels.shape[-2:]
    h, w = min(side, height // 4 * 4), min(side, width // 4 * 4)
    rows = min(max(1, round((count * height / width) ** 0.5)), -(-height // h), count)
    columns = min(count // rows, -(-width // w))
    tops = torch.linspace(0, height - h, rows).round().int().tolist() if rows > 1 else [(height - h) // 2]
    lefts = torch.linspace(0, width - w, columns).round().int().tolist() if columns > 1 else [(width - w) // 2]
    return torch.stack([pixels[:, top : top + h, left : left + w] for top in tops for left in lefts])


def tiles(height: int, width: int, side: int) -> Iterator[tuple[int, int, int, int]]:
    """(top, bottom, left, right) of tiles of about equal size, at most `side`, that cover height x width."""
    for top, bottom in _cuts(height, side):
        for left, right in _cuts(width, side):
            yield top, bottom, left, right


def stylize_by_tiles(
    stylize: Callable[[Tensor], Tensor],
    pixels: Tensor,
    *,
    receptive_radius: int,
    side: int,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Stylize a picture tile by tile.

    Args:
        stylize: (3, h, w) to (3, h, w); the radius of its receptive field is at most `receptive_radius` pixels.
        pixels: (3, H, W).
        receptive_radius: a multiple of 4, so that the context of every tile begins on the grid on which the network
            halves the whole picture.
        side: of the largest tile without its context, a multiple of 4.
        progress: called with the share that is done, 0 to 1, after every tile.
    """
    height, width = pixels.shape[-2:]
    result = torch.empty((3, height, width), dtype=torch.float32)
    done = 0
    for top, bottom, left, right in tiles(height, width, side):
        above, before = max(0, top - receptive_radius), max(0, left - receptive_radius)
        part = stylize(pixels[:, above : bottom + receptive_radius, before : right + receptive_radius])
        result[:, top:bottom, left:right] = part[:, top - above : bottom - above, left - before : right - before]
        done += (bottom - top) * (right - left)
        if progress:
            progress(done / (height * width))
    return result


def _cuts(length: int, side: int) -> list[tuple[int, int]]:
    """(begin, end) of equal parts, every begin a multiple of 4."""
    parts = -(-length // side)
    step = -(-length // parts)
    step += -step % 4
    return [(begin, min(begin + step, length)) for begin in range(0, length, step)]
