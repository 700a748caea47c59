"""Judge a stylized picture by what no network here was trained for.

Training minimizes losses of VGG-16 at a handful of layers, so a network's own losses say how well it was trained, not
how good its pictures are. The judge looks with other eyes:

- style error: `losses.style_loss`, relative, by Oxford's VGG-19 at the layers of Gatys et al. (2016), relu1_1 to
  relu5_1, and from three distances: the picture and the painting at full, half and quarter size. The painting has as
  many pixels as the picture, so that strokes count by the share of the picture that they cover.
- content change: `losses.content_loss`, relative, at relu4_2, against the photo.
- grid: how far the spectrum stands out at periods of 2, 4 and 8 pixels, as in the dotted or woven grounds that
  networks which halve and double their pictures leave.
"""

import math
import statistics
from dataclasses import dataclass

import torch
from torch import Tensor

from stylecore.gatys_objective import reduce_picture
from stylecore.losses import content_loss, gram_matrix, style_loss
from stylecore.pictures import resize
from stylecore.vgg import VGG

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_LAYER = "relu4_2"
SCALES = (1, 2, 4)
PERIODS = (2, 4, 8)
LEAST_SIDE = 64
"""Pixels: at a quarter of that size VGG still has something left at relu5_1."""
PEAK = 1
"""Frequency bins to each side that a peak may be wide."""
SURROUNDINGS = 12
"""Frequency bins to each side of a peak that it is compared with."""


@dataclass(frozen=True)
class Judgment:
    """One picture, judged.

    Attributes:
        style_errors: scale (1, 2, 4) to the style error at 1 / scale of the size, mean of the layers.
        content_change: 0 for the photo itself; about 1.4 for another photo. None when there was no photo.
        grid: period in pixels to decibels above the surroundings; see `grid_peak`.
    """

    style_errors: dict[int, float]
    content_change: float | None
    grid: dict[int, float]

    @property
    def style_error(self) -> float:
        """Mean over the scales: 0 for the painting itself, about 1 for a picture that has nothing of it."""
        return statistics.mean(self.style_errors.values())

    @property
    def worst_grid(self) -> float:
        """Decibels of the period that stands out most."""
        return max(self.grid.values())


@torch.no_grad()
def judge(stylized: Tensor, photo: Tensor | None, painting: Tensor, vgg: VGG) -> Judgment:
    """Judge one picture.

    Args:
        stylized: (3, H, W) in [0, 1].
        photo: what it was made from, of the same size.
        painting: (3, h, w) in [0, 1], of any size.
        vgg: Oxford's VGG-19, as `load_vgg("vgg19")` gives it.
    """
    device = next(vgg.parameters()).device
    height, width = stylized.shape[-2:]
    factor = math.sqrt(height * width / (painting.shape[-2] * painting.shape[-1]))
    painting = resize(painting, (round(painting.shape[-2] * factor), round(painting.shape[-1] * factor)))
    errors = {}
    for scale in SCALES:
        ours, theirs = (
            vgg.activations(_batch(reduce_picture(each[None], scale)[0], device), STYLE_LAYERS)
            for each in (stylized, painting)
        )
        errors[scale] = statistics.mean(
            float(style_loss(gram_matrix(ours[layer]), gram_matrix(theirs[layer]), "relative"))
            for layer in STYLE_LAYERS
        )
    change = None
    if photo is not None:
        of_both = vgg.activations(torch.cat([_batch(stylized, device), _batch(photo, device)]), [CONTENT_LAYER])
        one, other = of_both[CONTENT_LAYER].split(1)
        change = float(content_loss(one, other, "relative"))
    return Judgment(errors, change, {period: grid_peak(stylized, period) for period in PERIODS})


def grid_peak(pixels: Tensor, period: int) -> float:
    """How far a picture's spectrum stands out where patterns that repeat every `period` pixels have their peaks.

    The peaks of such a pattern are at multiples of 1 / period along both axes; those that a shorter period has too
    are left to it. Each is compared with the median power of its surroundings in the spectrum of the windowed
    luminance, and the highest counts: 0 dB for white noise give or take its scatter, 10 dB for a pattern that is seen.

    Args:
        pixels: (3, H, W) in [0, 1].

    Returns:
        Decibels.
    """
    height, width = (side // (2 * period) * 2 * period for side in pixels.shape[-2:])
    luminance = (pixels[:, :height, :width] * pixels.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
    window = torch.hann_window(height)[:, None] * torch.hann_window(width)
    power = torch.fft.fft2((luminance - luminance.mean()) * window).abs().square()
    peaks = []
    for row in range(period // 2 + 1):
        for column in range(-(period // 2) + 1, period // 2 + 1):
            if math.gcd(row, column, period) != 1:
                continue
            around = _around(power, row * height // period, column * width // period, SURROUNDINGS)
            middle = slice(SURROUNDINGS - PEAK, SURROUNDINGS + PEAK + 1)
            peaks.append(float(around[middle, middle].mean() / around.median().clamp_min(1e-12)))
    # White noise has an exponential spectrum, whose median is ln 2 of its mean.
    return 10 * math.log10(max(max(peaks) * math.log(2), 1e-12))


def _around(power: Tensor, row: int, column: int, reach: int) -> Tensor:
    """(2 reach + 1, 2 reach + 1) of the spectrum, which is periodic."""
    rows = torch.arange(row - reach, row + reach + 1) % power.shape[0]
    columns = torch.arange(column - reach, column + reach + 1) % power.shape[1]
    return power[rows[:, None], columns]


def _batch(pixels: Tensor, device: torch.device) -> Tensor:
    return pixels[None].to(device).to(memory_format=torch.channels_last)
