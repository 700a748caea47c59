"""Measures of a stylized picture that no network here was trained for.

Training minimizes losses of VGG-16 at a few layers, so a network's own losses measure its training, not the quality of
its pictures. The judge uses other measures:

- style error: the relative `losses.style_loss` of Oxford's VGG-19 at the layers of Gatys et al. (2016), relu1_1 to
  relu5_1, from three distances: the picture and the painting at full, half and quarter size. The painting has as many
  pixels as the picture, so strokes count by the share of the picture that they cover.
- content change: the relative `losses.content_loss` at relu4_2 against the photo.
- grid: the height of the spectrum's peaks at periods of 2, 4 and 8 pixels, as in the dotted or woven patterns of
  networks that halve and double their pictures.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.gatys.objective import StyleTerm, reduce_picture
from stylecore.losses import content_loss, gram_matrix, style_loss
from stylecore.pictures.read import fit, resize
from stylecore.vgg.network import VGG
from training.command import text_table

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_LAYER = "relu4_2"
SCALES = (1, 2, 4)
PERIODS = (2, 4, 8)
SIZES = (640, 1024)
"""Longest sides in pixels at which a style's pictures are judged."""
LEAST_SIDE = 64
"""Pixels: at a quarter of this size, relu5_1 still has a position."""
PEAK = 1
"""Half width of a peak in frequency bins."""
SURROUNDINGS = 12
"""Half width of the surroundings of a peak in frequency bins."""


@dataclass(frozen=True)
class Judgment:
    """The measures of one picture, or of several: their means, and the grid of the worst one.

    Attributes:
        size: longest side in pixels.
        style_error: mean over the scales: 0 for the painting itself, about 1 for an unrelated picture.
        style_errors: scale (1, 2, 4) to the style error at 1 / scale of the size, mean of the layers.
        content_change: 0 for the photo itself; about 1.4 for another photo. None when there was no photo.
        grid: decibels of the period with the highest peak; see `grid_peak`.
        photos: number of pictures.
    """

    size: int
    style_error: float
    style_errors: dict[int, float]
    content_change: float | None
    grid: float
    photos: int = 1


class Judge:
    """Measures pictures in the style of one painting.

    Args:
        painting: (3, h, w) in [0, 1], of any size.
        vgg: Oxford's VGG-19, as `load_vgg("vgg19")` gives it.
    """

    def __init__(self, painting: Tensor, vgg: VGG) -> None:
        self.painting = painting
        self.vgg = vgg
        self._grams: dict[tuple[int, int], dict[StyleTerm, Tensor]] = {}

    @torch.no_grad()
    def judge(self, stylized: Tensor, photo: Tensor | None = None) -> Judgment:
        """Judge one picture (3, H, W) in [0, 1], made from `photo` of the same size.

        Raises:
            StylecoreError: when the picture is too small for the largest scale.
        """
        height, width = stylized.shape[-2:]
        if min(height, width) < LEAST_SIDE:
            raise StylecoreError(
                f"a picture of {width} x {height} pixels is too small for the judge, which needs {LEAST_SIDE}."
            )
        size = size_with_area(self.painting, height * width)
        if size not in self._grams:
            self._grams[size] = style_grams(resize(self.painting, size), self.vgg)
        errors = style_errors(style_grams(stylized, self.vgg), self._grams[size])
        change = None
        if photo is not None:
            of_both = _activations(torch.stack([stylized, photo]), self.vgg, [CONTENT_LAYER])[CONTENT_LAYER]
            change = float(content_loss(of_both[:1], of_both[1:], "relative"))
        grid = max(grid_peak(stylized, period) for period in PERIODS)
        return Judgment(max(height, width), statistics.mean(errors.values()), errors, change, grid)

    def judge_sizes(
        self, stylize: Callable[[Tensor], Tensor], photo: Tensor, sizes: Sequence[int]
    ) -> Iterator[Judgment]:
        """Judge what `stylize` makes of a photo (3, H, W) whose longest side is resized to each of `sizes`.

        A photo smaller than a size is judged only at the smallest size, as it is. It is left out if its short side is
        less than `LEAST_SIDE` then.
        """
        for size in dict.fromkeys(sizes):
            content = fit(photo, size)
            if (size <= max(photo.shape[-2:]) or size == min(sizes)) and min(content.shape[-2:]) >= LEAST_SIDE:
                yield replace(self.judge(stylize(content), content), size=size)


def size_with_area(pixels: Tensor, area: float) -> tuple[int, int]:
    """Height and width of a picture (3, H, W) that is resized to about so many pixels."""
    height, width = pixels.shape[-2:]
    factor = math.sqrt(area / (height * width))
    return round(height * factor), round(width * factor)


@torch.no_grad()
def style_grams(pixels: Tensor, vgg: VGG, scales: Sequence[int] = SCALES) -> dict[StyleTerm, Tensor]:
    """Gram matrices (1, C, C) of the style layers of a picture (3, H, W), at every scale."""
    return {
        StyleTerm(layer, scale): gram_matrix(activation)
        for scale in scales
        for layer, activation in _activations(reduce_picture(pixels[None], scale), vgg, STYLE_LAYERS).items()
    }


def style_errors(grams: Mapping[StyleTerm, Tensor], wanted: Mapping[StyleTerm, Tensor]) -> dict[int, float]:
    """Scale to the relative style loss of Gram matrices (`style_grams`) against those of a painting."""
    losses: dict[int, list[float]] = {}
    for term, gram in wanted.items():
        losses.setdefault(term.scale, []).append(float(style_loss(grams[term], gram, "relative")))
    return {scale: statistics.mean(values) for scale, values in losses.items()}


def _activations(batch: Tensor, vgg: VGG, layers: Sequence[str]) -> dict[str, Tensor]:
    device = next(vgg.parameters()).device
    return vgg.activations(batch.to(device).to(memory_format=torch.channels_last), layers)


def judge_style(
    stylize: Callable[[Tensor], Tensor],
    photos: Iterable[tuple[str, Tensor]],
    judge: Judge,
    sizes: Sequence[int] = SIZES,
) -> list[Judgment]:
    """Judge what `stylize` makes of photos, given by name and pixels (3, H, W) in [0, 1]; see `Judge.judge_sizes`."""
    return together([each for _, photo in photos for each in judge.judge_sizes(stylize, photo, sizes)])


def together(judgments: Sequence[Judgment]) -> list[Judgment]:
    """The measures of the pictures of several photos as one for each size."""
    sizes = sorted({each.size for each in judgments})
    return [_mean(size, [each for each in judgments if each.size == size]) for size in sizes]


def _mean(size: int, judgments: Sequence[Judgment]) -> Judgment:
    changes = [each.content_change for each in judgments if each.content_change is not None]
    return Judgment(
        size=size,
        style_error=statistics.mean(each.style_error for each in judgments),
        style_errors={scale: statistics.mean(each.style_errors[scale] for each in judgments) for scale in SCALES},
        content_change=statistics.mean(changes) if changes else None,
        grid=max(each.grid for each in judgments),
        photos=len(judgments),
    )


def metrics(judged: Sequence[Judgment]) -> dict[str, float]:
    """The metrics for MLflow: "eval/style_error_640", "eval/content_change_640", "eval/grid_640",
    "eval/judged_photos_640" for every size."""
    found = {}
    for each in judged:
        found[f"eval/style_error_{each.size}"] = each.style_error
        found[f"eval/grid_{each.size}"] = each.grid
        found[f"eval/judged_photos_{each.size}"] = each.photos
        if each.content_change is not None:
            found[f"eval/content_change_{each.size}"] = each.content_change
    return found


def table(rows: Sequence[tuple[str, Judgment]]) -> str:
    """The text of a table with a line for every name and size."""
    cells: list[tuple[str, ...]] = [
        ("picture", "size", "style error", "full", "half", "quarter", "content", "grid dB")
    ]
    for name, each in rows:
        change = "" if each.content_change is None else f"{each.content_change:.3f}"
        errors = (f"{each.style_errors[scale]:.3f}" for scale in SCALES)
        cells.append((name, str(each.size), f"{each.style_error:.3f}", *errors, change, f"{each.grid:.1f}"))
    return text_table(cells)


def grid_peak(pixels: Tensor, period: int) -> float:
    """The height of a picture's spectrum at the peaks of patterns that repeat every `period` pixels.

    The peaks of such a pattern are at multiples of 1 / period along both axes; peaks of a shorter period are left out.
    Each is compared with the median power of its surroundings in the spectrum of the windowed luminance, and the
    highest counts: about 0 dB for white noise, 10 dB for a visible pattern.

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
            shift = (SURROUNDINGS - row * height // period, SURROUNDINGS - column * width // period)
            around = power.roll(shift, (0, 1))[: 2 * SURROUNDINGS + 1, : 2 * SURROUNDINGS + 1]
            middle = slice(SURROUNDINGS - PEAK, SURROUNDINGS + PEAK + 1)
            peaks.append(float(around[middle, middle].mean() / around.median().clamp_min(1e-12)))
    # White noise has an exponential spectrum, whose median is ln 2 of its mean.
    return 10 * math.log10(max(max(peaks) * math.log(2), 1e-12))
