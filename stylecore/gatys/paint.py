"""Image style transfer by optimizing the pixels of a picture: Gatys, Ecker and Bethge (2015), arXiv:1508.06576, and
(2016), "Image Style Transfer Using Convolutional Neural Networks"."""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import torch
from torch import Tensor
from torch.nn import functional

from stylecore.color import match_color, with_colors_of
from stylecore.errors import StylecoreError
from stylecore.gatys.config import GatysConfig, layer_weights, scale_sizes, scale_steps, style_size
from stylecore.gatys.memory import check_memory
from stylecore.gatys.objective import build_objective
from stylecore.gatys.optimizer import Descent
from stylecore.pictures.read import resize
from stylecore.vgg.network import VGG

NOISE_DEVIATION = 0.02
"""Standard deviation of the noise around middle gray. Stronger noise leaves grain that hundreds of steps do not
remove; this noise is enough for every seed to give another picture."""

PROBE_SIDE = 32
MEASURED_PIXELS = 160 * 160


@dataclass(frozen=True, eq=False)
class GatysStep:
    """One step of a run. It keeps its picture, which needs 12 bytes a pixel.

    Attributes:
        step: from 1.
        total_steps: the budget; a run with a time budget may end earlier.
        losses: weighted losses of this picture: "total" is the sum of "content", "style" and "tv", and these are the
            sums of "content/relu4_2", "style/relu1_1" and so on. Losses of different scales are not comparable.
        elapsed: seconds since the start.
        remaining: seconds expected until the end; 0 in the last step.
        scale: size of the step's picture as a part of the full size: 1, 1/2, 1/4...
    """

    step: int
    total_steps: int
    losses: dict[str, float]
    elapsed: float
    remaining: float
    scale: float
    _pixels: Tensor = field(repr=False)
    _finish: Callable[[Tensor], Tensor] = field(repr=False)

    def picture(self) -> Tensor:
        """This step's picture, a new tensor: (3, H, W) float32 in [0, 1] of the content's size, on the CPU."""
        return self._finish(self._pixels)


def paint(
    content: Tensor,
    styles: Sequence[Tensor] | Tensor,
    vgg: VGG,
    config: GatysConfig = GatysConfig(),  # noqa: B008 - frozen
    *,
    start: Tensor | None = None,
) -> Generator[GatysStep, None, None]:
    """Paint the content picture in the style of others, step by step.

    The call checks all arguments. The steps are computed during the iteration over the result, and end when it is
    closed. The gradient mode of the caller's thread does not change. The same arguments give the same picture.

    Pixels are clipped to [0, 1] after every step of L-BFGS or Adam, as in Johnson et al. (2016), section 4.1
    ("projected L-BFGS"). L-BFGS uses the actual change, and the losses are those of the clipped picture.

    Args:
        content: (3, H, W) in [0, 1].
        styles: one picture (3, h, w) or several, of any sizes.
        vgg: VGG-19 in the paper, with average pooling as an option. It does not change, and need not be frozen.
        config: all other settings.
        start: the first picture instead of `config.start`; resized to the content's size.

    Yields:
        A GatysStep after every step, at least one.

    Raises:
        StylecoreError: for tensors that are not pictures, pictures that are too small for the layers or too large for
            the memory, and layers that VGG does not have; during the iteration, when the loss is no longer finite.
    """
    device = next(vgg.parameters()).device
    content = _checked(content, "content picture").to(device)
    pictures = [styles] if isinstance(styles, Tensor) and styles.ndim == 3 else list(styles)
    if not pictures:
        raise StylecoreError("there is no style picture; give at least one.")
    pictures = [_checked(picture, "style picture").to(device) for picture in pictures]
    blend = _blend(len(pictures), config)
    if start is not None:
        start = _checked(start, "start picture").to(device)
    _probe(content, pictures, vgg, config)
    if config.border >= min(content.shape[-2:]):
        raise StylecoreError(f"border is {config.border}; give less than the content picture's shorter side.")
    check_memory(content.shape[-2], content.shape[-1], config, device)
    if config.keep_colors == "match":
        pictures = [match_color(picture[0], content[0])[None] for picture in pictures]
    return _run(content, pictures, blend, vgg, config, start)


def measure_step_seconds(
    vgg: VGG,
    height: int,
    width: int,
    config: GatysConfig = GatysConfig(),  # noqa: B008 - frozen
) -> float:
    """Expected seconds of one step at this size, from two steps with a small picture (a second, two the first time).

    The time of a step is proportional to the number of pixels, except for small pictures. Afterwards the first step of
    a run takes no longer than the others: PyTorch imports its compiler when the first optimizer is made, in a second.
    """
    shrink = min(1.0, math.sqrt(MEASURED_PIXELS / (height * width)))
    size = (max(PROBE_SIDE, round(height * shrink)), max(PROBE_SIDE, round(width * shrink)))
    gray = torch.full((1, 3, *size), 0.5, device=next(vgg.parameters()).device)
    objective = build_objective(gray, [gray / 2], [1.0], vgg, config)
    descent = Descent(gray, objective, config)  # evaluates once, which also allocates memory
    seconds = []
    for _ in range(2):
        began = perf_counter()
        descent.step()
        seconds.append(perf_counter() - began)
    # The faster one: other programs only make it slower.
    return min(seconds) * max(1.0, height * width / (size[0] * size[1]))


def _run(
    content: Tensor, styles: list[Tensor], blend: list[float], vgg: VGG, config: GatysConfig, start: Tensor | None
) -> Generator[GatysStep, None, None]:
    began = perf_counter()
    border = config.border
    canvas = functional.pad(content, [border] * 4, mode="reflect")
    sizes = scale_sizes(canvas.shape[-2], canvas.shape[-1], config)
    steps_at = scale_steps(len(sizes), config.steps)
    work_at = [steps * math.prod(size) for steps, size in zip(steps_at, sizes, strict=True)]

    def finish(pixels: Tensor) -> Tensor:
        height, width = content.shape[-2:]
        extended = resize(pixels, (height + 2 * border, width + 2 * border))
        picture = extended[..., border : border + height, border : border + width]
        if config.keep_colors == "luminance":
            picture = with_colors_of(content, picture)
        return picture[0].cpu().clone()

    if start is not None:
        start = resize(start, (content.shape[-2], content.shape[-1]))
        start = functional.pad(start, [border] * 4, mode="reflect")
    pixels = _start_picture(canvas, styles, sizes[0], config, start)
    step, work_done, first_step_began = 0, 0, math.nan
    for scale, size in enumerate(sizes):
        brushes = [resize(style, style_size((style.shape[-2], style.shape[-1]), size, config)) for style in styles]
        objective = build_objective(resize(canvas, size), brushes, blend, vgg, config)
        descent = Descent(resize(pixels, size), objective, config)
        if not descent.is_finite():
            raise StylecoreError("the loss of the start picture is not a finite number; use smaller weights.")
        # A time budget is divided among the scales like the work, so that the finest gets its part.
        deadline = (config.seconds or math.inf) * sum(work_at[: scale + 1]) / sum(work_at)
        work_left = sum(work_at[scale:])
        for index in range(steps_at[scale]):
            step_began = perf_counter()
            if step == 0:
                first_step_began = step_began
            descent.step()
            if not descent.is_finite():
                raise StylecoreError(
                    f"step {step + 1} gave a loss that is not a finite number; use the optimizer lbfgs or a smaller "
                    "learning rate."
                )
            pixels = descent.pixels
            step += 1
            work_done += math.prod(size)
            work_left -= math.prod(size)
            now = perf_counter()
            elapsed = now - began
            out_of_time = elapsed + (now - step_began) > deadline
            is_last = scale == len(sizes) - 1 and (out_of_time or index == steps_at[scale] - 1)
            expected = (now - first_step_began) * work_left / work_done
            yield GatysStep(
                step=step,
                total_steps=config.steps,
                losses=descent.losses,
                elapsed=elapsed,
                remaining=0.0 if is_last else max(0.0, min(expected, (config.seconds or math.inf) - elapsed)),
                scale=0.5 ** (len(sizes) - 1 - scale),
                _pixels=pixels,
                _finish=finish,
            )
            if out_of_time:
                break


def _start_picture(
    content: Tensor, styles: list[Tensor], size: tuple[int, int], config: GatysConfig, start: Tensor | None
) -> Tensor:
    if start is not None:
        return resize(start, size)
    if config.start == "content":
        return resize(content, size)
    if config.start == "style":
        return _cover(styles[0], size)
    # On the CPU, so that a seed gives the same picture on every device.
    noise = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(config.seed))
    return (0.5 + NOISE_DEVIATION * noise).clamp_(0, 1).to(content.device)


def _cover(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize to cover `size`, keeping the aspect, and crop the middle."""
    height, width = size
    factor = max(height / picture.shape[-2], width / picture.shape[-1])
    larger = (max(height, round(picture.shape[-2] * factor)), max(width, round(picture.shape[-1] * factor)))
    enlarged = resize(picture, larger)
    top, left = (enlarged.shape[-2] - height) // 2, (enlarged.shape[-1] - width) // 2
    return enlarged[..., top : top + height, left : left + width]


def _checked(picture: Tensor, what: str) -> Tensor:
    """The picture as (1, 3, H, W) float32; StylecoreError if it is not a picture."""
    if picture.ndim != 3 or picture.shape[0] != 3 or picture.numel() == 0:
        raise StylecoreError(f"the {what} is a tensor of shape (3, H, W), not {tuple(picture.shape)}.")
    if not picture.is_floating_point() or not (picture.min() >= 0 and picture.max() <= 1):
        raise StylecoreError(f"the {what} has values outside [0, 1]; use floating point numbers, 1 for white.")
    # A copy: a tensor made under inference_mode cannot take part in a gradient.
    with torch.inference_mode(False):
        return picture.detach().float().clone()[None]


def _blend(count: int, config: GatysConfig) -> list[float]:
    weights = list(config.style_blend) or [1.0] * count
    if len(weights) != count:
        raise StylecoreError(
            f"style_blend has {len(weights)} weights for {count} style pictures; give one weight for each picture."
        )
    return [weight / sum(weights) for weight in weights]


@torch.no_grad()
def _probe(content: Tensor, styles: list[Tensor], vgg: VGG, config: GatysConfig) -> None:
    """Let VGG refuse unknown layers and pictures that are too small, by evaluating a tiny picture."""
    layers = [*layer_weights(config.content_layers), *layer_weights(config.style_layers)]
    sizes = [(content.shape[-2], content.shape[-1])]
    sizes += [style_size((style.shape[-2], style.shape[-1]), sizes[0], config) for style in styles]
    for height, width in sizes:
        vgg.activations(content.new_zeros(1, 3, min(height, PROBE_SIDE), min(width, PROBE_SIDE)), layers)
