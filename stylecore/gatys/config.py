"""The settings of the optimization of Gatys et al. (2016), with their defaults."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from stylecore.errors import StylecoreError
from stylecore.flags import check_limits, setting

Layers = Mapping[str, float] | Sequence[str]
LossNormalization = Literal["mean", "paper", "relative"]
Start = Literal["content", "style", "noise"]
Optimizer = Literal["lbfgs", "adam"]
KeepColors = Literal["none", "luminance", "match"]

SMALLEST_COARSE_SIDE = 160
"""Pixels. A smaller first scale loses too much content: at 128 a face does not come back."""


@dataclass(frozen=True)
class GatysConfig:
    """Settings of `stylecore.gatys.paint.paint`.

    Attributes:
        content_layers, style_layers: names of VGG's layers, weighing 1 / n each as in the paper, or a mapping from
            name to weight.
        content_weight, style_weight, total_variation_weight: alpha and beta of the paper's equation 7, and the weight
            of `losses.total_variation_loss`, which the paper does not have. Only their ratios count. Figure 3
            of the paper has alpha / beta from 5e-4 to 5e-3. Weights of layers and losses mean the same for every VGG:
            activations count in the units of Oxford's weights, whatever pixels the weights expect (see
            `objective.activation_unit`).
        loss_normalization: "mean" takes means over activations and over Gram matrices divided by C * H * W, as the
            public implementations do; "paper" takes equations 1 and 4 literally. It is "mean" with the
            layers' weights multiplied by `losses.paper_content_scale` and `losses.paper_style_scale`. With the
            paper's constants the weight of the content grows with the number of pixels: multiply style_weight by
            height * width / 16384 for the balance of relu4_2 and relu4_1 with "mean". "relative" divides
            each loss by that of an empty picture, so that all layers count alike (losses.py); then a style_weight of
            1 to 10 is balanced.
        start: the first picture. From the content, 50 steps give a painted picture and 200 a finished one. From
            noise, twice as many steps and a content_weight of 10 are needed, and every seed gives another picture.
        seed: of the noise.
        optimizer: "lbfgs" as in the paper, or "adam", which needs less memory and about twice as many steps.
        learning_rate: of Adam, for pixels in [0, 1]. L-BFGS needs none.
        history: number of steps that L-BFGS remembers; each needs 24 bytes a pixel. Twenty steps reach the loss of a
            hundred within half a percent.
        steps: total number of steps at all scales; each is one evaluation of VGG and its gradient.
        seconds: the run also ends before a step that would exceed this time.
        scales: 1 paints only at full size, as in the paper. With n scales the first steps are at 1 / 2^(n-1) of the
            size, the next at twice that size, and so on, which gives larger strokes. All scales have the same number
            of steps. Scales whose short side is below `SMALLEST_COARSE_SIDE` are left out. In the same time two
            scales give a lower loss than one, and strokes in flat skies; three lose small objects of the photo.
        style_scale: size of the strokes. At 1 a style picture is resized to as many pixels as the content picture
            has (the paper resizes it to the same size; here it keeps its aspect); at 2 to twice the sides, which
            doubles the size of the strokes.
        style_blend: weight of every style picture, equal when empty; only their ratios count.
        border: pixels by which the picture is extended on every side (by reflection) during painting, and which are
            cropped afterwards. Without it, VGG's padding with zeros shows as a pale line, one or two pixels wide,
            around the picture. The paper has 0.
        keep_colors: "luminance" gives the painted picture the content's colors (`color.with_colors_of`); "match"
            gives the style pictures the content's colors before painting (`color.match_color`).

    Raises:
        StylecoreError: for a value that is not allowed.
    """

    content_layers: Layers = ("relu4_2",)
    style_layers: Layers = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    content_weight: float = setting(1.0, "alpha, the weight of the content", least=0)
    style_weight: float = setting(1e3, "beta, the weight of the style; only alpha / beta counts", least=0)
    total_variation_weight: float = setting(0.0, "weight of the total variation, which smooths", least=0)
    loss_normalization: LossNormalization = setting(
        "mean",
        "mean over activations, as in public implementations; the paper's equations literally; or relative to the "
        "pictures' own activations, with a style weight of 1 to 10",
    )
    start: Start = setting("content", "the first picture")
    seed: int = setting(0, "seed of the noise", least=0, most=2**63 - 1)
    optimizer: Optimizer = setting("lbfgs", "L-BFGS as in the paper, or Adam")
    learning_rate: float = setting(0.02, "learning rate of Adam, for pixels from 0 to 1", least=1e-6, most=1)
    history: int = setting(20, "steps that L-BFGS remembers", least=1)
    steps: int = setting(200, "step budget", least=1)
    seconds: float | None = setting(None, "time budget in seconds; the budget that ends first counts", least=1e-3)
    scales: int = setting(2, "number of sizes, coarse to fine; more give larger strokes", least=1)
    style_scale: float = setting(1.0, "size of the strokes: 2 doubles them", least=0.01, most=100)
    style_blend: Sequence[float] = ()
    border: int = 4
    keep_colors: KeepColors = setting(
        "none", "keep the photo's colors: paint only the luminance, or match the style's colors before"
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if self.border < 0:
            raise StylecoreError(f"border is {self.border}; give at least 0.")
        if not any(weight > 0 for weight in (self.content_weight, self.style_weight, self.total_variation_weight)):
            raise StylecoreError("every weight is 0, so there is nothing to paint; increase style_weight.")
        for layers in (self.content_layers, self.style_layers):
            _check_weights("layer", tuple(layer_weights(layers).values()))
        if self.style_blend:
            _check_weights("style picture", tuple(self.style_blend))


def layer_weights(layers: Layers) -> dict[str, float]:
    """Names with their weights: those of a mapping, or 1 / n each."""
    if isinstance(layers, Mapping):
        return dict(layers)
    names = [layers] if isinstance(layers, str) else list(layers)
    return dict.fromkeys(names, 1 / max(1, len(names)))


def scale_sizes(height: int, width: int, config: GatysConfig) -> list[tuple[int, int]]:
    """(height, width) at every scale, coarse to fine; the last is the full size."""
    sizes = [(height, width)]
    for scale in range(1, min(config.scales, config.steps)):
        coarse = (round(height / 2**scale), round(width / 2**scale))
        if min(coarse) < SMALLEST_COARSE_SIDE:
            break
        sizes.insert(0, coarse)
    return sizes


def scale_steps(count: int, steps: int) -> list[int]:
    """Steps at each of `count` scales: equal shares, the remainder at the finest."""
    share = steps // count
    return [share] * (count - 1) + [steps - share * (count - 1)]


def style_size(style: tuple[int, int], content: tuple[int, int], config: GatysConfig) -> tuple[int, int]:
    """(height, width) to which a style picture is resized: its aspect, the content's area * style_scale^2."""
    factor = config.style_scale * math.sqrt(content[0] * content[1] / (style[0] * style[1]))
    return max(1, round(style[0] * factor)), max(1, round(style[1] * factor))


def _check_weights(what: str, weights: tuple[float, ...]) -> None:
    if any(not math.isfinite(weight) or weight < 0 for weight in weights):
        raise StylecoreError(f"the weight of a {what} must not be negative; got {', '.join(map(str, weights))}.")
    if not any(weights):
        raise StylecoreError(f"give at least one {what} with a weight above 0.")


DEFAULTS = GatysConfig()
