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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.gatys.objective import reduce_picture
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
    """The measures of one picture.

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
        """Mean over the scales: 0 for the painting itself, about 1 for an unrelated picture."""
        return statistics.mean(self.style_errors.values())

    @property
    def worst_grid(self) -> float:
        """Decibels of the period with the highest peak."""
        return max(self.grid.values())


class Judge:
    """Measures pictures in the style of one painting.

    Args:
        painting: (3, h, w) in [0, 1], of any size.
        vgg: Oxford's VGG-19, as `load_vgg("vgg19")` gives it.
    """

    def __init__(self, painting: Tensor, vgg: VGG) -> None:
        self.painting = painting
        self.vgg = vgg
        self._grams: dict[tuple[int, int], dict[int, dict[str, Tensor]]] = {}

    @torch.no_grad()
    def judge(self, stylized: Tensor, photo: Tensor | None = None) -> Judgment:
        """Judge one picture (3, H, W) in [0, 1], made from `photo` of the same size.

        Raises:
            StylecoreError: when the picture is too small for the largest scale, or the photo has another size.
        """
        height, width = stylized.shape[-2:]
        if min(height, width) < LEAST_SIDE:
            raise StylecoreError(
                f"a picture of {width} x {height} pixels is too small for the judge, which needs {LEAST_SIDE}."
            )
        if photo is not None and photo.shape != stylized.shape:
            raise StylecoreError("the judge needs a picture and its photo in the same size.")
        area = math.sqrt(height * width / (self.painting.shape[-2] * self.painting.shape[-1]))
        size = (round(self.painting.shape[-2] * area), round(self.painting.shape[-1] * area))
        if size not in self._grams:
            self._grams[size] = self._of(resize(self.painting, size))
        ours = self._of(stylized)
        errors = {
            scale: statistics.mean(
                float(style_loss(ours[scale][layer], gram, "relative")) for layer, gram in of.items()
            )
            for scale, of in self._grams[size].items()
        }
        change = None
        if photo is not None:
            of_both = self._activations(torch.stack([stylized, photo]), [CONTENT_LAYER])[CONTENT_LAYER]
            change = float(content_loss(of_both[:1], of_both[1:], "relative"))
        return Judgment(errors, change, {period: grid_peak(stylized, period) for period in PERIODS})

    def _of(self, pixels: Tensor) -> dict[int, dict[str, Tensor]]:
        """Gram matrices of the style layers at every scale."""
        return {
            scale: {
                layer: gram_matrix(activation)
                for layer, activation in self._activations(reduce_picture(pixels[None], scale), STYLE_LAYERS).items()
            }
            for scale in SCALES
        }

    def _activations(self, batch: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        device = next(self.vgg.parameters()).device
        return self.vgg.activations(batch.to(device).to(memory_format=torch.channels_last), layers)


@dataclass(frozen=True)
class JudgedSize:
    """The measures of a style at one size: means over the photos; `grid` is that of the worst photo."""

    size: int
    style_error: float
    style_errors: dict[int, float]
    content_change: float | None
    grid: float
    photos: int


def judge_style(
    stylize: Callable[[Tensor], Tensor],
    photos: Iterable[tuple[str, Tensor]],
    judge: Judge,
    sizes: Sequence[int] = SIZES,
) -> list[JudgedSize]:
    """Judge the stylized pictures of photos whose longest sides are resized to each of `sizes`.

    Args:
        stylize: as `Engine.stylize`.
        photos: name and pixels (3, H, W) in [0, 1]. A photo smaller than a size is judged only at the smallest
            size, as it is. One whose short side is less than `LEAST_SIDE` then is left out.
    """
    judged: dict[int, list[Judgment]] = {size: [] for size in sizes}
    for _, photo in photos:
        for size in sizes:
            if size > max(photo.shape[-2:]) and size != min(sizes):
                continue
            content = fit(photo, size)
            if min(content.shape[-2:]) < LEAST_SIDE:
                continue
            judged[size].append(judge.judge(stylize(content), content))
    return [together(size, judgments) for size, judgments in judged.items() if judgments]


def together(size: int, judgments: Sequence[Judgment]) -> JudgedSize:
    """The measures of several pictures as one."""
    changes = [each.content_change for each in judgments if each.content_change is not None]
    return JudgedSize(
        size=size,
        style_error=statistics.mean(each.style_error for each in judgments),
        style_errors={scale: statistics.mean(each.style_errors[scale] for each in judgments) for scale in SCALES},
        content_change=statistics.mean(changes) if changes else None,
        grid=max(each.worst_grid for each in judgments),
        photos=len(judgments),
    )


def metrics(judged: Sequence[JudgedSize]) -> dict[str, float]:
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


def table(rows: Sequence[tuple[str, JudgedSize]]) -> str:
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
            around = _around(power, row * height // period, column * width // period, SURROUNDINGS)
            middle = slice(SURROUNDINGS - PEAK, SURROUNDINGS + PEAK + 1)
            peaks.append(float(around[middle, middle].mean() / around.median().clamp_min(1e-12)))
    # White noise has an exponential spectrum, whose median is ln 2 of its mean.
    return 10 * math.log10(max(max(peaks) * math.log(2), 1e-12))


def _around(power: Tensor, row: int, column: int, radius: int) -> Tensor:
    """(2 radius + 1, 2 radius + 1) of the spectrum, which is periodic."""
    rows = torch.arange(row - radius, row + radius + 1) % power.shape[0]
    columns = torch.arange(column - radius, column + radius + 1) % power.shape[1]
    return power[rows[:, None], columns]
