"""Scales, brush, colors, time and memory of the optimization."""

import pytest
import torch
from torch import Tensor

from stylecore.gatys.paint import (
    GatysConfig,
    GatysStep,
)
from stylecore.vgg.network import VGG
from tests.small_vgg import small_vgg

SHALLOW = GatysConfig(content_layers=("relu2_1",), style_layers=("relu1_1", "relu2_1"), steps=4)


@pytest.fixture(scope="module")
def vgg() -> VGG:
    return small_vgg("A").requires_grad_()


def soft_picture(height: int, width: int, seed: int = 0) -> Tensor:
    """Soft shapes of strong colors, so that neither the pictures nor their Gram matrices are alike."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 5, generator=generator)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]


CONTENT = soft_picture(32, 40, seed=1)
STYLE = soft_picture(36, 30, seed=2)


def last(steps: list[GatysStep]) -> Tensor:
    return steps[-1].picture()
