"""Other projects' networks: each format written small, and run by a forward pass of its own in plain functions."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from imported_networks import (
    BLOCKS,
    FULL,
    HALF,
    QUARTER,
    WIDTH,
    convolution,
    engstrom_variables,
    picture,
    pytorch_examples_weights,
    random,
    read,
    refusal,
    same,
    stylize,
    write_folder,
)
from torch import Tensor
from torch.nn import functional

from stylecore.importers.import_style import import_style
from stylecore.inference.engine import Engine


def engstrom_forward(variables: dict[str, np.ndarray], pixels: Tensor) -> Tensor:
    """The graph of Engstrom's transform.py with TensorFlow's SAME padding written out."""
    values = [torch.from_numpy(variables["Variable" if i == 0 else f"Variable_{i}"]) for i in range(len(variables))]
    position = 0

    def layer(x: Tensor, stride: int = 1, transposed: bool = False, relu: bool = True) -> Tensor:
        nonlocal position
        weight, shift, scale = values[position : position + 3]
        position += 3
        if transposed:
            height, width = x.shape[2] * 2, x.shape[3] * 2
            x = functional.conv_transpose2d(x, weight.permute(3, 2, 0, 1), stride=2)[:, :, :height, :width]
        else:
            kernel = weight.shape[0]
            totals = [max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:]]
            (top, left) = (total // 2 for total in totals)
            x = functional.pad(x, (left, totals[1] - left, top, totals[0] - top))
            x = functional.conv2d(x, weight.permute(3, 2, 0, 1), stride=stride)
        mean = x.mean((2, 3), keepdim=True)
        variance = (x - mean).square().mean((2, 3), keepdim=True)
        x = scale.view(-1, 1, 1) * (x - mean) / (variance + 1e-3).sqrt() + shift.view(-1, 1, 1)
        return x.relu() if relu else x

    y = layer(layer(layer(pixels * 255), 2), 2)
    for _ in range((len(values) - 18) // 6):
        y = y + layer(layer(y), relu=False)
    y = layer(layer(y, transposed=True), transposed=True)
    return (layer(y, relu=False).tanh() * 150 + 127.5) / 255


@pytest.mark.parametrize("size", [(40, 44), (41, 43), (42, 45)])
def test_engstrom_npz(tmp_path: Path, size: tuple[int, int]) -> None:
    variables = engstrom_variables()
    np.savez(tmp_path / "wave.npz", **variables)
    model = import_style(tmp_path / "wave.npz", "wave", title="The Great Wave", credit="")
    pixels = picture(*size)
    same(stylize(model, pixels), engstrom_forward(variables, pixels))
    assert (model.card.network.width, model.card.network.residual_blocks) == (WIDTH, BLOCKS)
    assert (model.card.name, model.card.title) == ("wave", "The Great Wave")
    assert "Engstrom" in model.card.credit
    assert "free for research use" in model.card.license


def test_engstrom_training_checkpoint_with_adams_variables(tmp_path: Path) -> None:
    variables = engstrom_variables(blocks=1)
    extra = {"Variable/Adam": variables["Variable"], "Variable_1/Adam_1": variables["Variable_1"]}
    extra |= {"beta1_power": np.float32(0.9), "beta2_power": np.float32(0.999)}
    write_folder(tmp_path / "folder", variables | {k: np.asarray(v) for k, v in extra.items()})
    pixels = picture()
    expected = engstrom_forward(variables, pixels)
    same(stylize(import_style(tmp_path / "folder", "wave"), pixels), expected)
    same(stylize(import_style(tmp_path / "folder" / "manifest.json", "wave"), pixels), expected)


def test_tensorflow_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without TensorFlow one sentence; with something that answers as TensorFlow does, the network."""
    index = tmp_path / "fns.ckpt.index"
    index.write_bytes(bytes(100) + bytes.fromhex("57fb808b247547db"))
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for path in (index, tmp_path / "fns.ckpt"):
        assert "pip install tensorflow" in refusal(path)

    variables = engstrom_variables()
    stored = variables | {"Variable/Adam": variables["Variable"], "beta1_power": np.float32(0.9)}
    asked = []

    def load_checkpoint(prefix: str) -> SimpleNamespace:
        asked.append(prefix)
        return SimpleNamespace(
            get_variable_to_shape_map=lambda: {name: list(np.shape(value)) for name, value in stored.items()},
            get_tensor=stored.__getitem__,
        )

    train = SimpleNamespace(load_checkpoint=load_checkpoint)
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(train=train))
    pixels = picture()
    for path in (index, tmp_path / "fns.ckpt"):
        same(stylize(import_style(path, "wave"), pixels), engstrom_forward(variables, pixels))
    assert asked == [str(tmp_path / "fns.ckpt")] * 2
    stored.clear()
    assert "variables" in refusal(index)


def test_engstroms_wave_as_he_published_it(shared_data: Path) -> None:
    """Unpadded, as his evaluate.py runs it: 474 rows come out as 476, displaced by 2."""
    model = import_style(shared_data / "models" / "lengstrom_wave.npz", "wave")
    content = read(shared_data / "content" / "chicago.jpg")
    published = read(shared_data / "reference" / "chicago_wave.jpg")
    result = stylize(model, content.unsqueeze(0))[0]
    assert result.shape == (3, 476, 712)
    assert psnr(result[:, 2:476], published) > 38
    assert psnr(result[:, :474], published) < 30


@pytest.mark.parametrize("style", ["wave", "rain_princess"])
def test_engstroms_networks_leave_no_frame(shared_data: Path, style: str) -> None:
    """The rim is what it would be if the picture went on, by reflection, much farther than the network looks."""
    model = import_style(shared_data / "models" / f"lengstrom_{style}.npz", style)
    content = read(shared_data / "content" / "chicago.jpg")[:, :80, 300:412]  # mostly sky
    expected = stylize(model, functional.pad(content.unsqueeze(0), [64] * 4, mode="reflect"))[0, :, 64:-64, 64:-64]
    result = Engine(model, device="cpu").stylize(content)
    framed = stylize(model, content.unsqueeze(0))[0]

    def rim_error(picture: Tensor) -> float:
        difference = (picture - expected).abs().mean(dim=0)
        difference[16:-16, 16:-16] = 0
        return difference.sum().item() / (80 * 112 - 48 * 80)

    assert rim_error(result) < 0.04
    assert rim_error(framed) > 3 * rim_error(result)


def psnr(a: Tensor, b: Tensor) -> float:
    return -10 * math.log10((a - b).square().mean().item())


def pytorch_examples_forward(weights: dict[str, Tensor], values: Tensor, gordic: bool = False) -> Tensor:
    up = ("up1.conv2d", "up2.conv2d", "up3") if gordic else ("deconv1", "deconv2", "deconv3")

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = weights[f"{name}.conv2d.weight"]
        x = functional.pad(x, [weight.shape[-1] // 2] * 4, mode="reflect")
        return functional.conv2d(x, weight, weights[f"{name}.conv2d.bias"], stride)

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.instance_norm(x, weight=weights[f"{name}.weight"], bias=weights[f"{name}.bias"], eps=1e-5)

    y = norm(conv(values, "conv1"), "in1").relu()
    y = norm(conv(y, "conv2", 2), "in2").relu()
    y = norm(conv(y, "conv3", 2), "in3").relu()
    for block in range(1, sum(name.endswith(".in1.weight") for name in weights) + 1):
        x = norm(conv(y, f"res{block}.conv1"), f"res{block}.in1").relu()
        y = y + norm(conv(x, f"res{block}.conv2"), f"res{block}.in2")
    y = norm(conv(functional.interpolate(y, scale_factor=2, mode="nearest"), up[0]), "in4").relu()
    y = norm(conv(functional.interpolate(y, scale_factor=2, mode="nearest"), up[1]), "in5").relu()
    return conv(y, up[2])


@pytest.mark.parametrize("old", [False, True])
def test_pytorch_examples(tmp_path: Path, old: bool) -> None:
    weights = pytorch_examples_weights()
    stored = dict(weights)
    if old:  # as before PyTorch 0.4: statistics that were never used, and another container
        for name in [name for name in weights if ".weight" in name and "conv" not in name]:
            stored[name.replace("weight", "running_mean")] = torch.full_like(weights[name], 7.0)
            stored[name.replace("weight", "running_var")] = torch.full_like(weights[name], 7.0)
    path = tmp_path / "candy.model"
    torch.save(stored, path, _use_new_zipfile_serialization=not old)
    model = import_style(path, "candy")
    pixels = picture(41, 42)
    same(stylize(model, pixels), pytorch_examples_forward(weights, pixels * 255) / 255)
    assert "pytorch/examples" in model.card.credit
    assert "BSD-3-Clause" in model.card.license


def test_pytorch_examples_trained_in_parallel(tmp_path: Path) -> None:
    weights = pytorch_examples_weights(blocks=1)
    torch.save({f"module.{name}": tensor.double() for name, tensor in weights.items()}, tmp_path / "candy.pth")
    pixels = picture()
    model = import_style(tmp_path / "candy.pth", "candy")
    same(stylize(model, pixels), pytorch_examples_forward(weights, pixels * 255) / 255)
    assert all(parameter.dtype == torch.float32 for parameter in model.network.parameters())


def test_gordic(tmp_path: Path) -> None:
    weights = pytorch_examples_weights(gordic=True)
    checkpoint = {"commit_hash": "abc", "style_weight": 4e5, "state_dict": weights, "optimizer_state": {"state": {}}}
    torch.save(checkpoint, tmp_path / "mosaic.pth")
    model = import_style(tmp_path / "mosaic.pth", "mosaic", license="mine")
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    pixels = picture()
    same(stylize(model, pixels), pytorch_examples_forward(weights, (pixels - mean) / std, gordic=True) * std + mean)
    assert "Gordić" in model.card.credit
    assert model.card.license == "mine"


@pytest.mark.parametrize("batch", [False, True])
def test_mina(tmp_path: Path, batch: bool) -> None:
    weights: dict[str, Tensor] = {}

    def add(name: str, into: int, out: int, kernel: int = 3, kind: str = "conv_layer", norm: bool = True) -> None:
        weight = convolution(out, into, kernel)
        weights[f"{name}.{kind}.weight"] = weight.transpose(0, 1) if kind == "conv_transpose" else weight
        weights[f"{name}.{kind}.bias"] = random(out)
        if norm:
            weights[f"{name}.norm_layer.weight"] = random(out, mean=1, std=0.1)
            weights[f"{name}.norm_layer.bias"] = random(out)
        if norm and batch:
            weights[f"{name}.norm_layer.running_mean"] = random(out)
            weights[f"{name}.norm_layer.running_var"] = random(out).exp()
            weights[f"{name}.norm_layer.num_batches_tracked"] = torch.tensor(10_000)

    add("ConvBlock.0", 3, FULL, 9)
    add("ConvBlock.2", FULL, HALF)
    add("ConvBlock.4", HALF, QUARTER)
    for block in range(BLOCKS):
        add(f"ResidualBlock.{block}.conv1", QUARTER, QUARTER)
        add(f"ResidualBlock.{block}.conv2", QUARTER, QUARTER)
    add("DeconvBlock.0", QUARTER, HALF, kind="conv_transpose")
    add("DeconvBlock.2", HALF, FULL, kind="conv_transpose")
    add("DeconvBlock.4", FULL, 3, 9, norm=False)
    if batch:  # without statistics of the picture its values would be as large as the input's
        weights["ConvBlock.0.norm_layer.weight"] /= 100
    weights["DeconvBlock.4.conv_layer.weight"] *= 40
    weights["DeconvBlock.4.conv_layer.bias"] += 127

    def layer(x: Tensor, name: str, stride: int = 1) -> Tensor:
        if f"{name}.conv_layer.weight" in weights:
            weight = weights[f"{name}.conv_layer.weight"]
            x = functional.pad(x, [weight.shape[-1] // 2] * 4, mode="reflect")
            x = functional.conv2d(x, weight, weights[f"{name}.conv_layer.bias"], stride)
        else:
            weight, bias = weights[f"{name}.conv_transpose.weight"], weights[f"{name}.conv_transpose.bias"]
            x = functional.conv_transpose2d(x, weight, bias, stride=2, padding=1, output_padding=1)
        if name == "DeconvBlock.4":
            return x
        scale, shift = weights[f"{name}.norm_layer.weight"], weights[f"{name}.norm_layer.bias"]
        if not batch:
            return functional.instance_norm(x, weight=scale, bias=shift, eps=1e-5)
        mean, variance = weights[f"{name}.norm_layer.running_mean"], weights[f"{name}.norm_layer.running_var"]
        return functional.batch_norm(x, mean, variance, scale, shift, eps=1e-5)

    pixels = picture()
    y = layer(pixels.flip(1) * 255, "ConvBlock.0").relu()
    y = layer(layer(y, "ConvBlock.2", 2).relu(), "ConvBlock.4", 2).relu()
    for block in range(BLOCKS):
        y = y + layer(layer(y, f"ResidualBlock.{block}.conv1").relu(), f"ResidualBlock.{block}.conv2")
    y = layer(layer(layer(y, "DeconvBlock.0").relu(), "DeconvBlock.2").relu(), "DeconvBlock.4")

    torch.save(weights, tmp_path / "mosaic.pth")
    model = import_style(tmp_path / "mosaic.pth", "mosaic")
    same(stylize(model, pixels), y.flip(1) / 255)
    assert "research use" in model.card.license
