"""A style between styles: a network whose weights are means of the weights of several.

Wang et al. (2019), "Deep Network Interpolation for Continuous Imagery Effect Transition", interpolate the weights of
two networks of which one was fine-tuned from the other. Dumoulin et al. (2017) do the same with the scales and shifts
of their normalizations, which are all that their styles do not share. The networks published here began with one
another, so their weights correspond, and the means of them paint.

Such a network paints one layer of strokes, with shapes and full colors between the styles, as fast as each of them.
The mean of two painted pictures looks like a double exposure, and a style applied to the result of another loses the
first.
"""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet

LEAST_LIKENESS = 0.2
"""Cosine between the convolutions of two networks of one origin: 0.39 to 0.95 for the published champions among each
other, 0.00 for networks that were trained from different random weights."""


def mix(styles: Sequence[tuple[StyleModel, float]], references: Sequence[str] = ()) -> StyleModel:
    """The style whose weights are the mean of several; with a single one, that one.

    Args:
        styles: each with its share, above 0; only the ratio of the shares counts.
        references: what opens each of them, for the card; their names when left out.

    Raises:
        StylecoreError: for networks of different forms, or that have no common origin.
    """
    whole = sum(share for _, share in styles)
    shares = [share / whole for _, share in styles]
    models = [model for model, _ in styles]
    first = models[0]
    if len(models) == 1:
        return first
    for other in models[1:]:
        if not first.card.network.same_form(other.card.network):
            raise StylecoreError(
                f"{first.card.name} and {other.card.name} cannot be mixed: their networks have different forms."
            )
        if likeness(first.network, other.network) < LEAST_LIKENESS:
            raise StylecoreError(
                f"{first.card.name} and {other.card.name} cannot be mixed: only networks that began with one another, "
                "or with the same third one (--init-from), have weights that correspond."
            )
    noise = sum(model.card.network.input_noise * share for model, share in zip(models, shares, strict=True))
    config = dataclasses.replace(first.card.network, input_noise=noise)
    network = TransformNet(config)
    network.load_state_dict(_mean([model.network.state_dict() for model in models], shares))
    return StyleModel(network, _card([model.card for model in models], shares, network, references))


def likeness(one: TransformNet, other: TransformNet) -> float:
    """The cosine between the convolutions' weights of two networks of one form: 1 for the same, 0 for unrelated."""
    weights = [
        torch.cat([each.detach().cpu().flatten() for each in network.parameters() if each.ndim == 4])
        for network in (one, other)
    ]
    return float(torch.cosine_similarity(weights[0], weights[1], dim=0))


def _mean(states: list[dict[str, Tensor]], shares: list[float]) -> dict[str, Tensor]:
    mean = {name: value.clone() for name, value in states[0].items()}
    for name, value in mean.items():
        if value.is_floating_point():  # not the counts of batch normalization
            value.mul_(shares[0])
            for state, share in zip(states[1:], shares[1:], strict=True):
                value.add_(state[name], alpha=share)
    return mean


def _card(cards: list[StyleCard], shares: list[float], network: TransformNet, references: Sequence[str]) -> StyleCard:
    references = references or [card.name for card in cards]
    percent = [f"{share:.0%}".removesuffix("%") for share in shares]
    side = sum(card.painted_side * share for card, share in zip(cards, shares, strict=True))
    return StyleCard(
        name="_".join(f"{card.name}_{each}" for card, each in zip(cards, percent, strict=True)),
        title=" with ".join(card.title or card.name for card in cards),
        network=network.config,
        training={"mix": {each: round(share, 4) for each, share in zip(references, shares, strict=True)}},
        painted_side=round(side),
    )
