"""Other projects' networks: each format written small, and run by a forward pass of its own in plain functions."""

import json
import math
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch7_writer import TensorOfStorage, Torch7Writer

from stylecore.errors import StylecoreError
from stylecore.importers.import_style import import_style
from stylecore.importers.torch7 import Torch7Object
from stylecore.inference.engine import Engine
from stylecore.johnson.style_model import StyleModel

WIDTH = 0.125
FULL, HALF, QUARTER = 4, 8, 16
BLOCKS = 2
CAFFE_MEAN = torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)


def random(*shape: int, mean: float = 0.0, std: float = 0.3) -> Tensor:
    return mean + std * torch.randn(shape)


def convolution(out: int, into: int, kernel: int) -> Tensor:
    return random(out, into, kernel, kernel, std=math.sqrt(2 / (into * kernel * kernel)))


def picture(height: int = 40, width: int = 44, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, height, width)


def stylize(model: StyleModel, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        return model.network(pixels)


def same(result: Tensor, expected: Tensor) -> None:
    """The pictures agree, and not because both are black or white."""
    expected = expected.clamp(0, 1)
    assert expected.std() > 0.02
    assert ((expected > 0) & (expected < 1)).float().mean() > 0.3
    torch.testing.assert_close(result, expected, rtol=0, atol=2e-4)


def refusal(path: Path) -> str:
    """The error of importing `path`, which must be one sentence about it."""
    with pytest.raises(StylecoreError) as caught:
        import_style(path, "test")
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    assert message.endswith(".")
    return message


# Engstrom's variables -----------------------------------------------------------------------------


def engstrom_variables(blocks: int = BLOCKS) -> dict[str, np.ndarray]:
    shapes = [(9, 3, FULL), (3, FULL, HALF), (3, HALF, QUARTER)]
    shapes += [(3, QUARTER, QUARTER)] * (2 * blocks)
    shapes += [(3, HALF, QUARTER), (3, FULL, HALF), (9, FULL, 3)]  # the transposed ones as (kernel, out, in)
    variables: list[Tensor] = []
    for index, (kernel, a, b) in enumerate(shapes):
        transposed = index in (len(shapes) - 3, len(shapes) - 2)
        out, into = (a, b) if transposed else (b, a)
        weight = convolution(out, into, kernel)  # (out, in, h, w)
        variables += [
            weight.permute(2, 3, 0, 1) if transposed else weight.permute(2, 3, 1, 0),
            random(out),
            random(out, mean=1 if index < len(shapes) - 1 else 0.3, std=0.1),
        ]
    return {
        "Variable" if i == 0 else f"Variable_{i}": v.contiguous().numpy().astype(np.float32)
        for i, v in enumerate(variables)
    }


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


def write_folder(folder: Path, variables: dict[str, np.ndarray]) -> Path:
    folder.mkdir()
    manifest = {}
    for name, values in variables.items():
        manifest[name] = {"filename": name.replace("/", "_"), "shape": list(values.shape)}
        (folder / name.replace("/", "_")).write_bytes(values.tobytes())
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


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
    content = read(shared_data / "content" / "chicago.jpg")[:, :160, 300:520]  # mostly sky
    expected = stylize(model, functional.pad(content.unsqueeze(0), [100] * 4, mode="reflect"))[
        0, :, 100:-100, 100:-100
    ]
    result = Engine(model, device="cpu").stylize(content)
    framed = stylize(model, content.unsqueeze(0))[0]

    def rim_error(picture: Tensor) -> float:
        difference = (picture - expected).abs().mean(dim=0)
        difference[16:-16, 16:-16] = 0
        return difference.sum().item() / (160 * 220 - 128 * 188)

    assert rim_error(result) < 0.04
    assert rim_error(framed) > 3 * rim_error(result)


def read(path: Path) -> Tensor:
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1) / 255


def psnr(a: Tensor, b: Tensor) -> float:
    return -10 * math.log10((a - b).square().mean().item())


# PyTorch state dicts ------------------------------------------------------------------------------


def pytorch_examples_weights(blocks: int = BLOCKS, gordic: bool = False) -> dict[str, Tensor]:
    up = ("up1.conv2d", "up2.conv2d", "up3") if gordic else ("deconv1", "deconv2", "deconv3")
    convolutions = [("conv1", 3, FULL, 9), ("conv2", FULL, HALF, 3), ("conv3", HALF, QUARTER, 3)]
    convolutions += [(f"res{b}.conv{i}", QUARTER, QUARTER, 3) for b in range(1, blocks + 1) for i in (1, 2)]
    convolutions += [(up[0], QUARTER, HALF, 3), (up[1], HALF, FULL, 3), (up[2], FULL, 3, 9)]
    normalizations = [("in1", FULL), ("in2", HALF), ("in3", QUARTER), ("in4", HALF), ("in5", FULL)]
    normalizations += [(f"res{b}.in{i}", QUARTER) for b in range(1, blocks + 1) for i in (1, 2)]
    weights = {}
    for name, into, out, kernel in convolutions:
        weights[f"{name}.conv2d.weight"] = convolution(out, into, kernel)
        weights[f"{name}.conv2d.bias"] = random(out)
    last_scale, last_center = (0.5, 0.0) if gordic else (40.0, 127.0)
    weights[f"{up[2]}.conv2d.weight"] *= last_scale
    weights[f"{up[2]}.conv2d.bias"] += last_center
    for name, channels in normalizations:
        weights[f"{name}.weight"] = random(channels, mean=1, std=0.1)
        weights[f"{name}.bias"] = random(channels)
    return weights


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


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(Bomb(tmp_path / "exploded"), path)
    assert "state_dict" in refusal(path)
    torch.save({"conv1.conv2d.weight": Bomb(tmp_path / "exploded")}, path, _use_new_zipfile_serialization=False)
    assert "state_dict" in refusal(path)
    assert not (tmp_path / "exploded").exists()


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.touch, (self.path,)


# Johnson's .t7 ------------------------------------------------------------------------------------


def lua(name: str, package: str = "nn", **fields: Any) -> Torch7Object:
    empty = TensorOfStorage(None, (), (), 0)  # what clearState leaves
    return Torch7Object(f"{package}.{name}", {"output": empty, "_type": "torch.FloatTensor", "train": False} | fields)


def lua_list(name: str, *modules: Torch7Object) -> Torch7Object:
    return lua(name, modules=list(modules))


def sizes(into: int, out: int, kernel: int, stride: int, padding: int) -> dict[str, int]:
    planes = {"nInputPlane": into, "nOutputPlane": out}
    geometry = {"k": kernel, "d": stride, "pad": padding}
    return planes | {f"{name}{side}": value for name, value in geometry.items() for side in "WH"}


def lua_convolution(into: int, out: int, kernel: int = 3, stride: int = 1, padding: int | None = None) -> Torch7Object:
    padding = kernel // 2 if padding is None else padding
    return lua(
        "SpatialConvolution",
        **sizes(into, out, kernel, stride, padding),
        weight=convolution(out, into, kernel),
        bias=random(out),
    )


def lua_transposed(into: int, out: int) -> Torch7Object:
    return lua(
        "SpatialFullConvolution",
        **sizes(into, out, kernel=3, stride=2, padding=1),
        adjW=1,
        adjH=1,
        weight=convolution(into, out, 3) * 2,
        bias=random(out),
    )


def lua_normalization(kind: str, channels: int) -> Torch7Object:
    fields: dict[str, Any] = {"weight": random(channels, mean=1, std=0.1), "bias": random(channels), "eps": 1e-5}
    if kind == "instance":
        return lua("InstanceNormalization", nOutput=channels, prev_N=-1, **fields)
    statistics = {"running_mean": random(channels), "running_var": random(channels).exp()}
    return lua("SpatialBatchNormalization", affine=True, momentum=0.1, **statistics, **fields)


def johnson_model(kind: str, upsampling: str, blocks: int = BLOCKS) -> Torch7Object:
    def norm(channels: int) -> Torch7Object:
        return lua_normalization(kind, channels)

    relu = lua("ReLU", inplace=True)  # shared on purpose: the file refers back to it
    modules = [lua("SpatialReflectionPadding", **{f"pad_{side}": 8 * blocks for side in "lrtb"})]
    modules += [lua_convolution(3, FULL, 9), norm(FULL), relu]
    modules += [lua_convolution(FULL, HALF, stride=2), norm(HALF), relu]
    modules += [lua_convolution(HALF, QUARTER, stride=2), norm(QUARTER), relu]
    for _ in range(blocks):
        first, second = (lua_convolution(QUARTER, QUARTER, padding=0) for _ in range(2))
        branch = lua_list("Sequential", first, norm(QUARTER), relu, second, norm(QUARTER))
        modules.append(
            lua_list("Sequential", lua_list("ConcatTable", branch, lua("ShaveImage", size=2)), lua("CAddTable"))
        )
    for into, out in ((QUARTER, HALF), (HALF, FULL)):
        if upsampling == "transposed":
            modules += [lua_transposed(into, out), norm(out), relu]
        else:  # the architecture "U2,c3s1-..." of train.lua
            modules += [lua("SpatialUpSamplingNearest", scale_factor=2), norm(into), relu]
            modules += [lua_convolution(into, out), norm(out), relu]
    modules += [lua_convolution(FULL, 3, 9), lua("Tanh"), lua("MulConstant", constant_scalar=150, inplace=False)]
    modules += [lua("TotalVariation", strength=1e-6)]
    if kind == "batch":  # without statistics of the picture its values would be as large as the input's
        modules[2].fields["weight"] /= 100
        modules[-4].fields["weight"] /= 4
    return lua_list("Sequential", *modules)


def lua_forward(module: Torch7Object, x: Any) -> Any:
    """What the Lua module computes, one by one, from its fields."""
    fields, name = module.fields, module.class_name.split(".")[-1]
    if name == "Sequential":
        for inner in fields["modules"]:
            x = lua_forward(inner, x)
        return x
    if name == "ConcatTable":
        return [lua_forward(inner, x) for inner in fields["modules"]]
    if name == "CAddTable":
        return x[0] + x[1]
    if name == "ShaveImage":
        return x[:, :, 2 : x.shape[2] - 2, 2 : x.shape[3] - 2]
    if name == "SpatialReflectionPadding":
        return functional.pad(x, [fields[f"pad_{side}"] for side in "lrtb"], mode="reflect")
    if name == "SpatialConvolution":
        weight = fields["weight"].float()
        if weight.ndim == 2:
            weight = weight.view(fields["nOutputPlane"], fields["nInputPlane"], fields["kH"], fields["kW"])
        return functional.conv2d(x, weight, fields["bias"].float(), fields["dH"], fields["padH"])
    if name == "SpatialFullConvolution":
        return functional.conv_transpose2d(
            x, fields["weight"], fields["bias"], fields["dH"], fields["padH"], fields["adjH"]
        )
    if name == "InstanceNormalization":
        mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, unbiased=False)
    if name == "SpatialBatchNormalization":
        mean, variance = fields["running_mean"].view(-1, 1, 1), fields["running_var"].view(-1, 1, 1)
    if name in ("InstanceNormalization", "SpatialBatchNormalization"):
        normalized = (x - mean) / (variance + fields["eps"]).sqrt()
        return normalized * fields["weight"].view(-1, 1, 1) + fields["bias"].view(-1, 1, 1)
    if name == "SpatialUpSamplingNearest":
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return {"ReLU": torch.relu, "Tanh": torch.tanh, "MulConstant": lambda y: y * 150, "TotalVariation": lambda y: y}[
        name
    ](x)


def johnson_picture(model: Torch7Object, pixels: Tensor) -> Tensor:
    values = pixels[:, [2, 1, 0]] * 255 - CAFFE_MEAN
    return ((lua_forward(model, values) + CAFFE_MEAN) / 255)[:, [2, 1, 0]]


def checkpoint_of(model: Torch7Object, **options: Any) -> dict:
    return {
        "opt": {"arch": "c9s1-4,d8,...", "style_layers": [4, 9, 16, 23], "tv_strength": 1e-6, "gpu": 0} | options,
        "train_loss_history": [3.0, 2.0, 1.0],
        "val_loss_history": [],
        "style_loss_history": {"style-4": [1.0]},
        "model": model,
    }


@pytest.mark.parametrize("kind", ["instance", "batch"])
@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
def test_johnson(tmp_path: Path, kind: str, upsampling: str) -> None:
    model = johnson_model(kind, upsampling)
    path = tmp_path / "la_muse.t7"
    path.write_bytes(Torch7Writer().write(checkpoint_of(model, preprocessing="vgg")))
    imported = import_style(path, "la_muse", year="1935")
    pixels = picture(40, 48)
    same(stylize(imported, pixels), johnson_picture(model, pixels))
    network = imported.card.network
    assert (network.residual_blocks, network.width, network.normalization) == (BLOCKS, WIDTH, kind)
    assert (network.padding, network.upsampling, network.tanh_scale) == ("reflect-start", upsampling, 150)
    assert "Johnson" in imported.card.credit
    assert "personal or research use" in imported.card.license
    assert imported.card.year == "1935"

    imported.save(tmp_path / "la_muse.safetensors")
    again = StyleModel.load(tmp_path / "la_muse.safetensors")
    assert again.card == imported.card
    assert torch.equal(stylize(again, pixels), stylize(imported, pixels))


def test_johnson_from_an_old_torch(tmp_path: Path) -> None:
    """Objects without versions, a matrix for a convolution, doubles, cudnn classes and 1 / standard deviation."""
    model = johnson_model("batch", "transposed", blocks=1)
    pixels = picture()
    expected = johnson_picture(model, pixels)
    modules = model.fields["modules"]
    modules[1].class_name = "nn.SpatialConvolutionMM"
    modules[1].fields["weight"] = modules[1].fields["weight"].flatten(1)
    modules[4].class_name = "cudnn.SpatialConvolution"
    modules[4].fields["weight"] = modules[4].fields["weight"].double()
    running = modules[5].fields
    running["running_std"] = (running.pop("running_var") + running["eps"]).rsqrt()
    path = tmp_path / "starry_night.t7"
    path.write_bytes(Torch7Writer(versioned=False).write(checkpoint_of(model)))
    same(stylize(import_style(path, "starry_night"), pixels), expected)


def test_johnson_with_the_values_of_resnet(tmp_path: Path) -> None:
    path = tmp_path / "style.t7"
    path.write_bytes(Torch7Writer().write(checkpoint_of(johnson_model("instance", "nearest"), preprocessing="resnet")))
    network = import_style(path, "style").card.network
    assert network.input_values == network.output_values
    assert network.input_values.mean == (0.485, 0.456, 0.406)
    path.write_bytes(Torch7Writer().write(checkpoint_of(johnson_model("instance", "nearest"), preprocessing="other")))
    assert "'vgg' or 'resnet'" in refusal(path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda modules: modules.pop(0), "SpatialConvolution where SpatialReflectionPadding belongs"),
        (lambda modules: modules[0].fields.update(pad_l=40), "not 16 pixels"),
        (lambda modules: modules[4].fields.update(dW=1), "dW of a SpatialConvolution is 1 instead of 2"),
        (lambda modules: modules[4].fields.pop("weight"), "no tensor weight"),
        (lambda modules: modules[4].fields.update(weight=torch.zeros(8, 4, 3)), "has shape"),
        (lambda modules: modules[4].fields["bias"].fill_(math.nan), "not finite"),
        (lambda modules: modules[5].fields.update(eps=1e-3), "normalized in different ways"),
        (lambda modules: modules.append(lua("Dropout")), "Dropout where TotalVariation belongs"),
        (lambda modules: modules.__delitem__(slice(16, None)), "nothing more where"),
        (lambda modules: modules.__delitem__(slice(10, 12)), "0 residual blocks"),
    ],
)
def test_another_network_in_a_t7(tmp_path: Path, change: Callable[[list], Any], why: str) -> None:
    model = johnson_model("instance", "transposed")
    change(model.fields["modules"])
    path = tmp_path / "style.t7"
    path.write_bytes(Torch7Writer().write(checkpoint_of(model)))
    assert why in refusal(path)


# Files that are none of these ---------------------------------------------------------------------


def test_truncated_files_of_every_format(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **engstrom_variables(blocks=1))
    torch.save(pytorch_examples_weights(blocks=1), tmp_path / "b.pth")
    torch.save(pytorch_examples_weights(blocks=1), tmp_path / "c.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "d.t7").write_bytes(Torch7Writer().write(checkpoint_of(johnson_model("batch", "transposed", 1))))
    for path in tmp_path.iterdir():
        whole = path.read_bytes()
        import_style(path, "whole")
        for length in (0, 1, 4, 10, 200, len(whole) // 2, len(whole) - 10):
            path.write_bytes(whole[:length])
            refusal(path)


def test_a_flipped_byte_in_an_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "wave.npz", **engstrom_variables(blocks=1))
    whole = bytearray((tmp_path / "wave.npz").read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "wave.npz").write_bytes(whole)
    assert "damaged" in refusal(tmp_path / "wave.npz")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("photo.jpg", b"\xff\xd8\xff\xe0" + bytes(200)),
        ("notes.txt", b"hello"),
        ("style.t7", b"4\n1\n3\nV 1\n13\nnn.Sequential\n"),  # Torch's ASCII form
        ("style.pth", b"<!DOCTYPE html><html>not found</html>"),
        ("empty.npz", b""),
        ("own.safetensors", struct.pack("<Q", 2) + b"{}"),
        ("list.json", b"[1, 2]"),
        ("other.json", b'{"weights": 3}'),
        ("nested.json", b'{"a":' * 100_000),
    ],
)
def test_files_of_other_formats(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    message = refusal(tmp_path / name)
    for accepted in (".npz", "manifest.json", ".ckpt", ".pth", ".t7"):
        assert accepted in message


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert "no file" in refusal(tmp_path / "absent.npz")
    assert "manifest.json" in refusal(tmp_path)


def edit_variables(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    merged = engstrom_variables() | changes
    return {name: values for name, values in merged.items() if values is not None}


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"weights": np.zeros(3, np.float32)}, "not numbered"),
        (edit_variables(Variable_29=None), "not those of Engstrom"),
        (edit_variables(Variable_4=None), "not numbered"),
        (edit_variables(Variable_4=np.zeros(5, np.float32)), "has shape"),
        (edit_variables(Variable_4=np.full(HALF, np.nan, np.float32)), "not finite"),
        (edit_variables(Variable_4=np.zeros(HALF, np.int64)), "int64"),
        (edit_variables(Variable=np.zeros((9, 9, 3, 1000), np.float32)), "1000 channels"),
        (engstrom_variables(blocks=10), "10 residual blocks"),
    ],
)
def test_other_variables(tmp_path: Path, variables: dict[str, np.ndarray], why: str) -> None:
    np.savez(tmp_path / "style.npz", **variables)
    assert why in refusal(tmp_path / "style.npz")


def test_an_npz_with_objects_is_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "style.npz", Variable=np.array([Bomb(tmp_path / "exploded")], dtype=object))
    refusal(tmp_path / "style.npz")
    assert not (tmp_path / "exploded").exists()


def test_a_broken_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", engstrom_variables())
    manifest = folder / "manifest.json"
    (folder / "Variable_1").write_bytes(bytes(7))
    assert "7 bytes instead of 16" in refusal(manifest)
    (folder / "Variable_1").unlink()
    assert "Variable_1 cannot be read" in refusal(manifest)
    manifest.write_text(manifest.read_text().replace('"filename": "Variable_1"', '"filename": "../secret"'))
    assert "not in the same folder" in refusal(manifest)


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        ({"features.0.weight": torch.zeros(64, 3, 3, 3)}, "another network"),
        ([1, 2, 3], "no state dict"),
        ({"state_dict": 4}, "no state dict"),
        (pytorch_examples_weights() | {"in6.weight": torch.zeros(3)}, "in6.weight is too much"),
        (pytorch_examples_weights() | {"in4.bias": torch.zeros(3)}, "has shape"),
        (pytorch_examples_weights() | {"deconv3.conv2d.bias": torch.full((3,), math.inf)}, "not finite"),
        (pytorch_examples_weights(blocks=10), "10 residual blocks"),
        ({name: t for name, t in pytorch_examples_weights().items() if name != "in5.bias"}, "is missing"),
    ],
)
def test_other_state_dicts(tmp_path: Path, weights: Any, why: str) -> None:
    torch.save(weights, tmp_path / "style.pth")
    assert why in refusal(tmp_path / "style.pth")


def test_the_name_is_checked(tmp_path: Path) -> None:
    np.savez(tmp_path / "wave.npz", **engstrom_variables())
    with pytest.raises(StylecoreError, match="name"):
        import_style(tmp_path / "wave.npz", "the wave")
