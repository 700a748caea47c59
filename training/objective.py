"""The training objective of a transformation network: Johnson et al. (2016), equation 5, and its variants.

    total = content_weight * content(y, x) + total_variation_weight * tv(y)
            + style_weight * sum over scales s, sum over layers l of w_l * style(G_l(y / s), G_l(painting / s))

Here y is the network's picture of the photo x, and y / s is that picture reduced to 1 / s of its size. The paper has
only scale 1. A loss at scale 2 sees the picture and the painting from twice the distance, with strokes twice as wide.
The normalization of the losses is a setting, too (losses.py).

The steadiness loss compares a stylized photo with the stylized picture of the same photo moved by 1 to 3 pixels: the
strokes should move alike. Without it a network that halves its pictures twice can add a pattern that repeats every 4
pixels: the known fine weave of such networks, and a part of the flicker of films.

The grid loss is for what is left of that pattern, the part that is the same on every photo: a few gray levels, too few
for the steadiness loss to count beside moving strokes, but visible in flat colors and in a spectrum.

A network that is distilled from another one, its teacher (Hinton et al. 2015), has one more loss: the mean squared
difference of its pixels to the teacher's pixels.

`training_losses` computes the losses of a batch of stylized pictures. `pixel_objective` is the same objective for the
pixels of one picture, so that the optimization of Gatys et al. can be compared.
"""

import torch
from accelerate import Accelerator
from torch import Tensor

from stylecore.gatys.objective import Objective, StyleTerm, reduce_picture
from stylecore.losses import content_factor, content_loss, gram_matrix, style_factor, style_loss, total_variation_loss
from stylecore.pictures.read import resize
from stylecore.vgg.network import VGG
from training.config import TrainConfig

GRID_PERIOD = 4
"""Pixels: the networks halve and double their pictures twice."""
MOVED_BORDER = 12
"""Pixels along the edges that the steadiness loss leaves out; a crop has 32 at least."""


@torch.no_grad()
def style_targets(vgg: VGG, style: Tensor, config: TrainConfig) -> dict[StyleTerm, Tensor]:
    """Gram matrices (1, C, C) of the style picture (3, H, W), its short side resized to `style_size` / scale."""
    targets = {}
    for scale in config.loss_scales:
        factor = config.style_size / scale / min(style.shape[-2:])
        size = (max(1, round(style.shape[-2] * factor)), max(1, round(style.shape[-1] * factor)))
        for layer, activation in vgg.activations(resize(style, size).unsqueeze(0), config.style_layers).items():
            targets[StyleTerm(layer, scale)] = gram_matrix(activation)
    return targets


def training_losses(
    vgg: VGG,
    content: Tensor,
    stylized: Tensor,
    targets: dict[StyleTerm, Tensor],
    config: TrainConfig,
    accelerator: Accelerator,
    teacher_pixels: Tensor | None = None,
    moved: Tensor | None = None,
    shift: tuple[int, int] = (0, 0),
) -> dict[str, Tensor]:
    """The weighted losses of a batch, all but the first of which sum to "loss/total".

    Args:
        content, stylized: (N, 3, H, W); stylized is the network's output in training, not clipped.
        teacher_pixels: (N, 3, H, W) in [0, 1], the teacher's output for the content.
        moved, shift: the network's output for the content moved by `shift` (`move`), for the steadiness loss.

    Returns:
        "loss/total", "loss/content", "loss/style", "loss/tv"; with a teacher "loss/teacher"; with a moved picture
        "loss/steadiness"; with a grid weight "loss/grid"; and "loss/style/<layer>" (at scale 2
        "loss/style/<layer>_scale_2"), which sum to "loss/style".
    """
    needed = {1: [config.content_layer]}
    for term in targets:
        needed.setdefault(term.scale, []).append(term.layer)
    with accelerator.autocast():
        with torch.no_grad():  # no deeper than the content layer
            wanted = vgg.activations(content, [config.content_layer])[config.content_layer]
        activations = {
            scale: vgg.activations(reduce_picture(stylized, scale), dict.fromkeys(names))
            for scale, names in needed.items()
        }
    of_content = content_loss(activations[1][config.content_layer], wanted, config.content_normalization)
    losses = {"loss/content": config.content_weight * of_content}
    layers = {}
    for term, gram in targets.items():
        of_layer = style_loss(gram_matrix(activations[term.scale][term.layer]), gram, config.style_normalization)
        layers[f"loss/{term}"] = config.style_weight * config.style_layer_shares[term.layer] * of_layer
    losses["loss/style"] = torch.stack(list(layers.values())).sum()
    losses["loss/tv"] = config.total_variation_weight * total_variation_loss(stylized.float())
    if teacher_pixels is not None:
        difference = stylized.float() - teacher_pixels.float()
        losses["loss/teacher"] = config.teacher_weight * difference.square().mean()
    if moved is not None:
        weight = config.steadiness_weight * config.steadiness_every
        losses["loss/steadiness"] = weight * steadiness_loss(stylized, moved, shift)
    if config.grid_weight:
        losses["loss/grid"] = config.grid_weight * grid_loss(stylized)
    losses["loss/total"] = torch.stack(list(losses.values())).sum()
    return losses | layers


def losses_to_log(losses: dict[str, Tensor], last: Tensor, every: int) -> dict[str, Tensor]:
    """The losses with a steadiness loss that weighs as in every iteration, also where this iteration has none.

    Args:
        losses: of an iteration, by `training_losses`.
        last: the steadiness loss that was logged last.
        every: `steadiness_every`.
    """
    computed = losses.get("loss/steadiness")
    shown = last if computed is None else computed / every
    total = losses["loss/total"] + shown - (0 if computed is None else computed)
    return losses | {"loss/steadiness": shown, "loss/total": total}


def shift_at(iteration: int) -> tuple[int, int]:
    """Pixels by which the content of an iteration is moved down and to the right: each of 0 to 3, but not (0, 0)."""
    return divmod(iteration % 15 + 1, 4)


def move(pixels: Tensor, shift: tuple[int, int]) -> Tensor:
    """(N, 3, H, W) moved down and to the right; pixels that leave at one edge enter at the other."""
    return pixels.roll(shift, (-2, -1))


def steadiness_loss(stylized: Tensor, moved: Tensor, shift: tuple[int, int]) -> Tensor:
    """Mean squared difference of a stylized picture (N, 3, H, W), moved, and the stylized picture of the moved photo.

    Pixels near an edge do not count: their receptive fields reach different pixels beyond it.
    """
    inner = (..., slice(MOVED_BORDER, -MOVED_BORDER), slice(MOVED_BORDER, -MOVED_BORDER))
    return (move(stylized.float(), shift)[inner] - moved.float()[inner]).square().mean()


def grid_loss(stylized: Tensor, period: int = GRID_PERIOD) -> Tensor:
    """Mean square of the pattern that repeats every `period` pixels in all pictures of a batch (N, 3, H, W).

    The pattern is the mean of the pixels at each of the period's positions, less the mean of all. H and W are
    multiples of the period.
    """
    height, width = (side // period for side in stylized.shape[-2:])
    pattern = stylized.float().unflatten(-1, (width, period)).unflatten(-3, (height, period)).mean((0, 2, 4))
    return (pattern - pattern.mean((1, 2), keepdim=True)).square().mean()


@torch.no_grad()
def pixel_objective(vgg: VGG, content: Tensor, targets: dict[StyleTerm, Tensor], config: TrainConfig) -> Objective:
    """The same losses, with their gradient, as a function of the pixels of one picture.

    They are in the units of this VGG's own activations, as in training; `stylecore.gatys.objective.build_objective`
    rescales them to Oxford's.

    Args:
        content: (1, 3, H, W) in [0, 1].
    """
    content_targets = vgg.activations(content.to(memory_format=torch.channels_last), [config.content_layer])
    weights = {
        f"content/{layer}": config.content_weight * float(content_factor(target, config.content_normalization))
        for layer, target in content_targets.items()
    }
    for term, gram in targets.items():
        factor = float(style_factor(gram, config.style_normalization))
        weights[str(term)] = config.style_weight * config.style_layer_shares[term.layer] * factor
    if config.total_variation_weight > 0:
        weights["tv"] = config.total_variation_weight
    return Objective(vgg, content_targets, targets, weights)
