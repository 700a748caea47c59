"""Mixes: networks of mean weights."""

import pytest
import torch

from stylecore.errors import StylecoreError
from stylecore.johnson.mixing import likeness, mix
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig

SMALL = TransformNetConfig(residual_blocks=1, width=0.0625)


def style(name: str, config: TransformNetConfig = SMALL, side: int = 640, seed: int = 0) -> StyleModel:
    torch.manual_seed(seed)
    return StyleModel(
        TransformNet(config), StyleCard(name=name, title=name.title(), network=config, painted_side=side)
    )


def tuned(start: StyleModel, name: str, amount: float, **card: int) -> StyleModel:
    """A style whose network began with another one: its weights are moved at random."""
    other = style(name, start.card.network, **card)
    torch.manual_seed(1)
    with torch.no_grad():
        moved = {key: value + amount * torch.randn_like(value) for key, value in start.network.state_dict().items()}
    other.network.load_state_dict(moved)
    return other


def test_the_weights_of_a_mix_are_the_mean_with_the_shares() -> None:
    night = style("night")
    wave = tuned(night, "wave", 0.01, side=320)
    mixed = mix([(night, 3), (wave, 1)])
    for name, value in mixed.network.state_dict().items():
        mean = 0.75 * night.network.state_dict()[name] + 0.25 * wave.network.state_dict()[name]
        assert torch.allclose(value, mean, atol=1e-6)
    assert mixed.card.name == "night_75_wave_25"
    assert mixed.card.title == "Night with Wave"
    assert mixed.card.training["mix"] == {"night": 0.75, "wave": 0.25}
    assert mixed.card.painted_side == 560


def test_noise_is_mixed_too_and_the_originals_stay() -> None:
    night = style("night", TransformNetConfig(residual_blocks=1, width=0.0625, input_noise=0.06))
    before = {name: value.clone() for name, value in night.network.state_dict().items()}
    wave = style("wave")
    wave.network.load_state_dict(before)
    mixed = mix([(night, 0.5), (wave, 0.5)])
    assert mixed.card.network.input_noise == mixed.network.config.input_noise == pytest.approx(0.03)
    assert all(torch.equal(value, before[name]) for name, value in night.network.state_dict().items())
    pixels = torch.rand(1, 3, 16, 16)
    assert torch.allclose(mixed.network(pixels), night.network(pixels), atol=1e-5)


def test_one_style_is_that_style() -> None:
    night = style("night")
    assert mix([(night, 0.3)]) is night


def test_networks_without_a_common_origin_are_refused() -> None:
    night = style("night")
    assert likeness(night.network, tuned(night, "wave", 0.01).network) > 0.9
    with pytest.raises(StylecoreError, match="night and wave cannot be mixed: only networks that began"):
        mix([(night, 1), (style("wave", seed=7), 1)])
    with pytest.raises(StylecoreError, match="different forms"):
        mix([(night, 1), (style("wave", TransformNetConfig(residual_blocks=2, width=0.0625)), 1)])
