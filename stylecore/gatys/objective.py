"""The objective of Gatys et al. (2016), equation 7: losses and gradient as a function of pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from stylecore.gatys.config import GatysConfig, Layers, LossNormalization, layer_weights
from stylecore.losses import (
    content_factor,
    content_loss,
    gram_matrix,
    paper_content_scale,
    paper_style_scale,
    style_factor,
    style_loss,
    total_variation_loss,
)
from stylecore.preprocessing import Preprocessing
from stylecore.vgg.network import VGG


@dataclass(frozen=True)
class StyleTerm:
    """One style loss: a layer of VGG, of the picture reduced to 1 / scale of its size."""

    layer: str
    scale: int = 1

    def __str__(self) -> str:
        """The name of its loss: "style/relu3_3", or "style/relu3_3_scale_2"."""
        return f"style/{self.layer}" + (f"_scale_{self.scale}" if self.scale != 1 else "")


def reduce_picture(pixels: Tensor, scale: int) -> Tensor:
    """(N, 3, H, W) at 1 / scale of its size: the means of squares of `scale` x `scale` pixels."""
    return pixels if scale == 1 else functional.avg_pool2d(pixels, scale)


@dataclass(frozen=True, eq=False)
class Objective:
    """The weighted losses of one content picture and one Gram matrix per style layer and scale.

    Attributes:
        content_targets: layer name to the content picture's activation, (1, C, H, W).
        gram_targets: Gram matrices, (1, C, C).
        weights: term name ("content/relu4_2", "style/relu1_1", "tv") to the factor of its loss. A normalization of the
            losses is a factor of these weights (`losses.style_factor`, `content_factor`).
    """

    vgg: VGG
    content_targets: dict[str, Tensor]
    gram_targets: dict[StyleTerm, Tensor]
    weights: dict[str, float]

    def evaluate(self, pixels: Tensor) -> tuple[dict[str, float], Tensor]:
        """Losses and the gradient of their total.

        The losses are weighted: the layers sum to "content" and "style", and these with "tv" to "total".

        Args:
            pixels: (1, 3, H, W) in [0, 1], of the content picture's size.

        Returns:
            Losses by name, and the gradient, of the shape of `pixels`.
        """
        # The gradient mode is set only here, so the caller's mode does not change.
        with torch.inference_mode(False), torch.enable_grad():
            pixels = pixels.detach().clone(memory_format=torch.channels_last).requires_grad_()
            terms = self._terms(pixels)
            values = torch.stack([loss.float() for loss in terms.values()])
            # Not backward(), which would leave gradients in a VGG that is not frozen.
            (gradient,) = torch.autograd.grad(values.sum(), pixels)
        return _by_name(list(terms), values.tolist()), gradient.contiguous()

    def _terms(self, pixels: Tensor) -> dict[str, Tensor]:
        layers = {1: list(self.content_targets)}
        for term in self.gram_targets:
            layers.setdefault(term.scale, []).append(term.layer)
        activations = {
            scale: self.vgg.activations(reduce_picture(pixels, scale), dict.fromkeys(names))
            for scale, names in layers.items()
        }
        losses = {
            f"content/{layer}": content_loss(activations[1][layer], target)
            for layer, target in self.content_targets.items()
        }
        for term, target in self.gram_targets.items():
            losses[str(term)] = style_loss(gram_matrix(activations[term.scale][term.layer]), target)
        if "tv" in self.weights:
            losses["tv"] = total_variation_loss(pixels)
        return {name: loss * self.weights[name] for name, loss in losses.items()}


@torch.inference_mode(False)
@torch.no_grad()
def build_objective(
    content: Tensor, styles: Sequence[Tensor], blend: Sequence[float], vgg: VGG, config: GatysConfig
) -> Objective:
    """Compute the constants of a run: the content's activations and the styles' Gram matrices.

    Several styles are blended as the weighted mean of their Gram matrices, which for squared differences is
    the same as the weighted sum of their losses, up to a constant: sum w_i (G - A_i)^2 =
    (G - sum w_i A_i)^2 + constant when the w_i add up to 1. It needs one comparison instead of one for each style.

    Args:
        content: (1, 3, H, W) in [0, 1].
        styles: pictures (1, 3, h, w) in [0, 1], of any sizes.
        blend: one weight for each style, with sum 1.
    """
    content_layers = _counting(config.content_layers, config.content_weight)
    style_layers = _counting(config.style_layers, config.style_weight)
    content_targets = vgg.activations(content.to(memory_format=torch.channels_last), content_layers)
    gram_targets: dict[StyleTerm, Tensor] = {}
    for style, share in zip(styles, blend, strict=True):
        activations = vgg.activations(style.to(memory_format=torch.channels_last), style_layers)
        for layer, activation in activations.items():
            term = StyleTerm(layer)
            gram_targets[term] = gram_targets.get(term, 0) + share * gram_matrix(activation)

    unit = activation_unit(vgg.preprocessing)
    weights: dict[str, float] = {}
    for layer, target in content_targets.items():
        factor = _content_scale(target, unit, config.loss_normalization)
        weights[f"content/{layer}"] = config.content_weight * content_layers[layer] * factor
    for term, gram in gram_targets.items():
        factor = _style_scale(gram, unit, config.loss_normalization)
        weights[str(term)] = config.style_weight * style_layers[term.layer] * factor
    if config.total_variation_weight > 0:
        weights["tv"] = config.total_variation_weight
    return Objective(vgg, content_targets, gram_targets, weights)


def _content_scale(target: Tensor, unit: float, normalization: LossNormalization) -> float:
    """The factor of the content loss of one layer. A relative loss has no unit."""
    if normalization == "relative":
        return float(content_factor(target, "relative"))
    paper = paper_content_scale(target.shape[1], target.shape[2] * target.shape[3])
    return unit**2 * (paper if normalization == "paper" else 1.0)


def _style_scale(gram: Tensor, unit: float, normalization: LossNormalization) -> float:
    """The factor of the style loss of one layer."""
    if normalization == "relative":
        return float(style_factor(gram, "relative"))
    return unit**4 * (paper_style_scale(gram.shape[-1]) if normalization == "paper" else 1.0)


def activation_unit(preprocessing: Preprocessing) -> float:
    """The ratio of Oxford's activations to activations of weights with this preprocessing.

    Activations are proportional to the factor of the pixels: 255 for Oxford's weights, scale / std for others
    (torchvision's are 58 times smaller). The style loss is of the fourth degree, the content loss of the second: with
    torchvision's weights and without this factor, the style weight would be 3000 times too small. This explains the
    1e10 of public implementations with torchvision's weights.
    """
    return 255 * sum(preprocessing.std) / 3 / preprocessing.scale


def _counting(layers: Layers, weight: float) -> dict[str, float]:
    """The layers with a positive weight: no VGG layer is computed for a weight of 0."""
    if weight == 0:
        return {}
    return {name: share for name, share in layer_weights(layers).items() if share > 0}


def _by_name(names: list[str], values: list[float]) -> dict[str, float]:
    by_term = dict(zip(names, values, strict=True))
    sums = {
        kind: sum(value for name, value in by_term.items() if name.split("/")[0] == kind)
        for kind in ("content", "style", "tv")
    }
    return {"total": sum(sums.values()), **sums, **by_term}
