"""What a transformation network is trained to minimize: Johnson et al. (2016), equation 5, and its variants.

    total = content_weight * content(y, x) + total_variation_weight * tv(y)
            + style_weight * sum over scales s, sum over layers l of w_l * style(G_l(y / s), G_l(painting / s))

with y the network's picture of the photo x, and y / s that picture reduced to 1 / s of its size. The paper has the one
scale 1. A loss at scale 2 sees the picture and the painting from twice the distance: strokes twice as wide. How the
losses are normalized is a setting, too (losses.py).

The steadiness loss asks that a photo which is moved by a pixel or three gets the same strokes, moved alike. A network
that halves its pictures twice can otherwise lay a pattern over them that repeats every 4 pixels: the fine weave that
such networks are known for, and a part of the flicker of films.

A network that learns from another one, its teacher, as in Hinton et al. (2015), has a loss more: how far its pixels
are from the teacher's.

`training_losses` gives it for a batch of stylized pictures, `pixel_objective` the same of one picture's pixels, for
the optimization of Gatys et al. to compare with.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from stylecore.gatys.objective import Objective, StyleTerm, reduce_picture
from stylecore.losses import content_factor, content_loss, gram_matrix, style_factor, style_loss, total_variation_loss
from stylecore.pictures.read import resize
from stylecore.vgg.network import VGG
from training.config import TrainConfig

MOVED_BORDER = 12
"""Pixels along the edges that the steadiness loss leaves out; a crop has 32 at least."""


@dataclass(frozen=True)
class StyleTargets:
    """What the style picture demands: for every scale the Gram matrix (1, C, C) of every style layer."""

    grams: dict[int, dict[str, Tensor]]

    def terms(self) -> Iterator[tuple[int, str, Tensor]]:
        """Scale, layer and Gram matrix of every style loss."""
        for scale, layers in self.grams.items():
            for layer, gram in layers.items():
                yield scale, layer, gram


@torch.no_grad()
def style_targets(vgg: VGG, style: Tensor, config: TrainConfig) -> StyleTargets:
    """Gram matrices of the style picture (3, H, W), its short side resized to `style_size` / scale."""
    grams = {}
    for scale in config.loss_scales:
        factor = config.style_size / scale / min(style.shape[-2:])
        size = (max(1, round(style.shape[-2] * factor)), max(1, round(style.shape[-1] * factor)))
        activations = vgg.activations(resize(style, size).unsqueeze(0), config.style_layers)
        grams[scale] = {layer: gram_matrix(activation) for layer, activation in activations.items()}
    return StyleTargets(grams)


def training_losses(
    vgg: VGG,
    content: Tensor,
    stylized: Tensor,
    targets: StyleTargets,
    config: TrainConfig,
    accelerator: Accelerator,
    taught: Tensor | None = None,
    moved: Tensor | None = None,
    shift: tuple[int, int] = (0, 0),
) -> dict[str, Tensor]:
    """The weighted losses of a batch, all but the first of which sum to "loss/total".

    Args:
        content, stylized: (N, 3, H, W), stylized as the network gives it in training, not clipped.
        taught: (N, 3, H, W) in [0, 1], what a teacher makes of the content.
        moved, shift: what the network makes of the content moved by `shift` (`move`), for the steadiness loss.

    Returns:
        "loss/total", "loss/content", "loss/style", "loss/tv", with a teacher "loss/teacher", with a moved picture
        "loss/steadiness", and
        "loss/style/<layer>", at scale 2 "loss/style/<layer>_scale_2", which sum to "loss/style".
    """
    with accelerator.autocast():
        with torch.no_grad():  # no deeper than the content layer
            wanted = vgg.activations(content, [config.content_layer])[config.content_layer]
        reduced = {
            scale: vgg.activations(reduce_picture(stylized, scale), config.style_layers)
            for scale in targets.grams
            if scale != 1
        }
        activations = vgg.activations(
            stylized, dict.fromkeys([config.content_layer, *(config.style_layers if 1 in targets.grams else ())])
        )
    reduced[1] = activations
    of_content = content_loss(activations[config.content_layer], wanted, config.content_normalization)
    losses = {"loss/content": config.content_weight * of_content}
    weights = config.style_layer_shares
    layers = {
        f"loss/{StyleTerm(layer, scale)}": config.style_weight
        * weights[layer]
        * style_loss(gram_matrix(reduced[scale][layer]), gram, config.style_normalization)
        for scale, layer, gram in targets.terms()
    }
    losses["loss/style"] = torch.stack(list(layers.values())).sum()
    losses["loss/tv"] = config.total_variation_weight * total_variation_loss(stylized.float())
    if taught is not None:
        losses["loss/teacher"] = config.teacher_weight * (stylized.float() - taught.float()).square().mean()
    if moved is not None:
        losses["loss/steadiness"] = config.steadiness_weight * steadiness_loss(stylized, moved, shift)
    losses["loss/total"] = torch.stack(list(losses.values())).sum()
    return losses | layers


def shift_at(iteration: int) -> tuple[int, int]:
    """By how many pixels, down and to the right, the content of an iteration is moved: all but (0, 0) in turn."""
    return divmod(iteration % 15 + 1, 4)


def move(pixels: Tensor, shift: tuple[int, int]) -> Tensor:
    """(N, 3, H, W) moved down and to the right; what leaves at one edge comes in at the other."""
    return pixels.roll(shift, (-2, -1))


def steadiness_loss(stylized: Tensor, moved: Tensor, shift: tuple[int, int]) -> Tensor:
    """Mean squared difference of a stylized picture (N, 3, H, W), moved, and of what became of the moved photo.

    Pixels near an edge do not count: the two see other things beyond it.
    """
    inner = (..., slice(MOVED_BORDER, -MOVED_BORDER), slice(MOVED_BORDER, -MOVED_BORDER))
    return (move(stylized.float(), shift)[inner] - moved.float()[inner]).square().mean()


@torch.no_grad()
def pixel_objective(vgg: VGG, content: Tensor, targets: StyleTargets, config: TrainConfig) -> Objective:
    """The same losses, with their gradient, as a function of the pixels of one picture.

    They are in the units of this VGG's own activations, as in training; `gatys_objective.build_objective` rescales
    them to those of Oxford's.

    Args:
        content: (1, 3, H, W) in [0, 1].
    """
    content_targets = vgg.activations(content.to(memory_format=torch.channels_last), [config.content_layer])
    weights = {
        f"content/{layer}": config.content_weight * float(content_factor(target, config.content_normalization))
        for layer, target in content_targets.items()
    }
    gram_targets = {}
    shares = config.style_layer_shares
    for scale, layer, gram in targets.terms():
        term = StyleTerm(layer, scale)
        gram_targets[term] = gram
        factor = float(style_factor(gram, config.style_normalization))
        weights[str(term)] = config.style_weight * shares[layer] * factor
    if config.total_variation_weight > 0:
        weights["tv"] = config.total_variation_weight
    return Objective(vgg, content_targets, gram_targets, weights)
