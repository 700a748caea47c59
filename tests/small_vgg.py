"""VGG with an eighth of its channels: the paper's layers at a fraction of their cost."""

import pytest
import torch
from torch import nn

from stylecore.vgg import network
from stylecore.vgg.network import VGG, Configuration


def small_vgg(configuration: Configuration = "E") -> VGG:
    """VGG's layers by name, with random weights, always the same."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(network, "BLOCK_CHANNELS", (8, 16, 32, 64, 64))
        vgg = VGG(configuration)
    for layer in vgg.modules():
        if isinstance(layer, nn.Conv2d):  # torch's own start fades from layer to layer
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return vgg.eval().requires_grad_(False)
