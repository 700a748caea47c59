"""What a transformation network is trained to minimize: Johnson et al. (2016), equation 5.

A network that learns from another one, its teacher, as in Hinton et al. (2015), has a loss more: how far its pixels
are from the teacher's.

`training_losses` gives it for a batch of stylized pictures, `pixel_objective` the same of one picture's pixels, for
the optimization of Gatys et al. to compare with.
"""

from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from stylecore.gatys_objective import Objective
from stylecore.losses import content_loss, gram_matrix, style_loss, total_variation_loss
from stylecore.pictures import resize
from stylecore.vgg import VGG
from training.config import TrainConfig


@dataclass(frozen=True)
class StyleTargets:
    """What the style picture demands: the Gram matrix (1, C, C) of every style layer."""

    grams: dict[str, Tensor]


def style_targets(vgg: VGG, style: Tensor, config: TrainConfig) -> StyleTargets:
    """Gram matrices of the style picture (3, H, W), its short side resized to `style_size`."""
    height, width = style.shape[-2:]
    scale = config.style_size / min(height, width)
    style = resize(style, (max(1, round(height * scale)), max(1, round(width * scale))))
    with torch.no_grad():
        activations = vgg.activations(style.unsqueeze(0), config.style_layers)
        return StyleTargets({layer: gram_matrix(activation) for layer, activation in activations.items()})


def training_losses(
    vgg: VGG,
    content: Tensor,
    stylized: Tensor,
    targets: StyleTargets,
    config: TrainConfig,
    accelerator: Accelerator,
    taught: Tensor | None = None,
) -> dict[str, Tensor]:
    """Johnson et al. (2016), equation 5: the weighted losses, all but the first of which sum to "loss/total".

    Args:
        content, stylized: (N, 3, H, W), stylized as the network gives it in training, not clipped.
        taught: (N, 3, H, W) in [0, 1], what a teacher makes of the content.

    Returns:
        "loss/total", "loss/content", "loss/style", "loss/tv", with a teacher "loss/teacher", and
        "loss/style/<layer>", which sum to "loss/style".
    """
    with accelerator.autocast():
        with torch.no_grad():  # no deeper than the content layer
            wanted = vgg.activations(content, [config.content_layer])[config.content_layer]
        activations = vgg.activations(stylized, [config.content_layer, *config.style_layers])
    losses = {"loss/content": config.content_weight * content_loss(activations[config.content_layer], wanted)}
    layers = {
        f"loss/style/{layer}": config.style_weight * style_loss(gram_matrix(activations[layer]), gram)
        for layer, gram in targets.grams.items()
    }
    losses["loss/style"] = torch.stack(list(layers.values())).sum()
    losses["loss/tv"] = config.total_variation_weight * total_variation_loss(stylized.float())
    if taught is not None:
        losses["loss/teacher"] = config.teacher_weight * (stylized.float() - taught.float()).square().mean()
    losses["loss/total"] = torch.stack(list(losses.values())).sum()
    return losses | layers


@torch.no_grad()
def pixel_objective(vgg: VGG, content: Tensor, targets: StyleTargets, config: TrainConfig) -> Objective:
    """The same losses, with their gradient, as a function of the pixels of one picture.

    They are in the units of this VGG's own activations, as in training; `gatys_objective.build_objective` rescales
    them to those of Oxford's.

    Args:
        content: (1, 3, H, W) in [0, 1].
    """
    weights = {f"content/{config.content_layer}": config.content_weight}
    weights |= {f"style/{layer}": config.style_weight for layer in targets.grams}
    if config.total_variation_weight > 0:
        weights["tv"] = config.total_variation_weight
    content = content.to(memory_format=torch.channels_last)
    return Objective(vgg, vgg.activations(content, [config.content_layer]), targets.grams, weights)
