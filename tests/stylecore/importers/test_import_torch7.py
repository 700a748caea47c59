"""Johnson's networks in Torch's own format, and files that are refused."""

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imported_networks as networks
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch7_writer import TensorOfStorage, Torch7Writer

from stylecore.errors import StylecoreError
from stylecore.importers.import_style import import_style
from stylecore.importers.torch7 import Torch7Object
from stylecore.johnson.style_model import StyleModel

CAFFE_MEAN = torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(Bomb(tmp_path / "exploded"), path)
    assert "state_dict" in networks.refusal(path)
    torch.save({"conv1.conv2d.weight": Bomb(tmp_path / "exploded")}, path, _use_new_zipfile_serialization=False)
    assert "state_dict" in networks.refusal(path)
    assert not (tmp_path / "exploded").exists()


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.touch, (self.path,)


def lua(name: str, package: str = "nn", **fields: Any) -> Torch7Object:
    empty = TensorOfStorage(None, (), (), 0)  # what clearState leaves
    return Torch7Object(f"{package}.{name}", {"output": empty, "_type": "torch.FloatTensor", "train": False} | fields)


def lua_list(name: str, *modules: Torch7Object) -> Torch7Object:
    return lua(name, modules=list(modules))


def endless() -> Torch7Object:
    module = lua_list("Sequential")
    module.fields["modules"].append(module)
    return module


def sizes(into: int, out: int, kernel: int, stride: int, padding: int) -> dict[str, int]:
    planes = {"nInputPlane": into, "nOutputPlane": out}
    geometry = {"k": kernel, "d": stride, "pad": padding}
    return planes | {f"{name}{side}": value for name, value in geometry.items() for side in "WH"}


def lua_convolution(into: int, out: int, kernel: int = 3, stride: int = 1, padding: int | None = None) -> Torch7Object:
    padding = kernel // 2 if padding is None else padding
    return lua(
        "SpatialConvolution",
        **sizes(into, out, kernel, stride, padding),
        weight=networks.convolution(out, into, kernel),
        bias=networks.random(out),
    )


def lua_transposed(into: int, out: int) -> Torch7Object:
    return lua(
        "SpatialFullConvolution",
        **sizes(into, out, kernel=3, stride=2, padding=1),
        adjW=1,
        adjH=1,
        weight=networks.convolution(into, out, 3) * 2,
        bias=networks.random(out),
    )


def lua_normalization(kind: str, channels: int) -> Torch7Object:
    fields: dict[str, Any] = {
        "weight": networks.random(channels, mean=1, std=0.1),
        "bias": networks.random(channels),
        "eps": 1e-5,
    }
    if kind == "instance":
        return lua("InstanceNormalization", nOutput=channels, prev_N=-1, **fields)
    statistics = {"running_mean": networks.random(channels), "running_var": networks.random(channels).exp()}
    return lua("SpatialBatchNormalization", affine=True, momentum=0.1, **statistics, **fields)


def johnson_model(kind: str, upsampling: str, blocks: int = networks.BLOCKS) -> Torch7Object:
    def norm(channels: int) -> Torch7Object:
        return lua_normalization(kind, channels)

    relu = lua("ReLU", inplace=True)  # shared on purpose: the file refers back to it
    modules = [lua("SpatialReflectionPadding", **{f"pad_{side}": 8 * blocks for side in "lrtb"})]
    modules += [lua_convolution(3, networks.FULL, 9), norm(networks.FULL), relu]
    modules += [lua_convolution(networks.FULL, networks.HALF, stride=2), norm(networks.HALF), relu]
    modules += [lua_convolution(networks.HALF, networks.QUARTER, stride=2), norm(networks.QUARTER), relu]
    for _ in range(blocks):
        first, second = (lua_convolution(networks.QUARTER, networks.QUARTER, padding=0) for _ in range(2))
        branch = lua_list("Sequential", first, norm(networks.QUARTER), relu, second, norm(networks.QUARTER))
        modules.append(
            lua_list("Sequential", lua_list("ConcatTable", branch, lua("ShaveImage", size=2)), lua("CAddTable"))
        )
    for into, out in ((networks.QUARTER, networks.HALF), (networks.HALF, networks.FULL)):
        if upsampling == "transposed":
            modules += [lua_transposed(into, out), norm(out), relu]
        else:  # the architecture "U2,c3s1-..." of train.lua
            modules += [lua("SpatialUpSamplingNearest", scale_factor=2), norm(into), relu]
            modules += [lua_convolution(into, out), norm(out), relu]
    modules += [
        lua_convolution(networks.FULL, 3, 9),
        lua("Tanh"),
        lua("MulConstant", constant_scalar=150, inplace=False),
    ]
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
    pixels = networks.picture(40, 48)
    networks.same(networks.stylize(imported, pixels), johnson_picture(model, pixels))
    network = imported.card.network
    assert (network.residual_blocks, network.width, network.normalization) == (networks.BLOCKS, networks.WIDTH, kind)
    assert (network.padding, network.upsampling, network.tanh_scale) == ("reflect-start", upsampling, 150)
    assert "Johnson" in imported.card.credit
    assert "personal or research use" in imported.card.license
    assert imported.card.year == "1935"

    imported.save(tmp_path / "la_muse.safetensors")
    again = StyleModel.load(tmp_path / "la_muse.safetensors")
    assert again.card == imported.card
    assert torch.equal(networks.stylize(again, pixels), networks.stylize(imported, pixels))


def test_johnson_from_an_old_torch(tmp_path: Path) -> None:
    """Objects without versions, a matrix for a convolution, doubles, cudnn classes and 1 / standard deviation."""
    model = johnson_model("batch", "transposed", blocks=1)
    pixels = networks.picture()
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
    networks.same(networks.stylize(import_style(path, "starry_night"), pixels), expected)


def test_johnson_with_the_values_of_resnet(tmp_path: Path) -> None:
    path = tmp_path / "style.t7"
    path.write_bytes(Torch7Writer().write(checkpoint_of(johnson_model("instance", "nearest"), preprocessing="resnet")))
    network = import_style(path, "style").card.network
    assert network.input_values == network.output_values
    assert network.input_values.mean == (0.485, 0.456, 0.406)
    path.write_bytes(Torch7Writer().write(checkpoint_of(johnson_model("instance", "nearest"), preprocessing="other")))
    assert "'vgg' or 'resnet'" in networks.refusal(path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda modules: modules.pop(0), "SpatialConvolution where SpatialReflectionPadding belongs"),
        (lambda modules: modules[0].fields.update(pad_l=40), "pad_l of a SpatialReflectionPadding is 40"),
        (lambda modules: modules[4].fields.update(dW=1), "dW of a SpatialConvolution is 1 instead of 2"),
        (lambda modules: modules[4].fields.pop("weight"), "no tensor weight"),
        (lambda modules: modules[4].fields.update(weight=torch.zeros(8, 4, 3)), "has shape"),
        (lambda modules: modules[4].fields["bias"].fill_(math.nan), "not finite"),
        (lambda modules: modules[5].fields.update(eps=1e-3), "normalized in different ways"),
        (lambda modules: modules.append(endless()), "not a list of layers"),
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
    assert why in networks.refusal(path)


def test_truncated_files_of_every_format(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **networks.engstrom_variables(blocks=1))
    torch.save(networks.pytorch_examples_weights(blocks=1), tmp_path / "b.pth")
    torch.save(networks.pytorch_examples_weights(blocks=1), tmp_path / "c.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "d.t7").write_bytes(Torch7Writer().write(checkpoint_of(johnson_model("batch", "transposed", 1))))
    for path in tmp_path.iterdir():
        whole = path.read_bytes()
        import_style(path, "whole")
        for length in (0, 1, 4, 10, 200, len(whole) // 2, len(whole) - 10):
            path.write_bytes(whole[:length])
            networks.refusal(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_flipped_bytes_in_an_npz(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "wave.npz", **networks.engstrom_variables(blocks=1))
    whole = (tmp_path / "wave.npz").read_bytes()
    listed = whole.index(b"PK\1\2")  # flags and method of the first file
    for place, length in ((listed + 8, 1), (listed + 10, 1), (70, 40), (len(whole) // 2, 1)):
        damaged = bytearray(whole)
        damaged[place : place + length] = (byte ^ 0xFF for byte in damaged[place : place + length])
        (tmp_path / "wave.npz").write_bytes(damaged)
        assert "damaged" in networks.refusal(tmp_path / "wave.npz")


def test_a_damaged_list_of_files_in_a_pth(tmp_path: Path) -> None:
    torch.save({"a": torch.rand(3)}, tmp_path / "style.pth")
    whole = (tmp_path / "style.pth").read_bytes()
    (tmp_path / "style.pth").write_bytes(whole.replace(b"PK\1\2", b"PK\0\0"))
    assert "damaged" in networks.refusal(tmp_path / "style.pth")


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
    message = networks.refusal(tmp_path / name)
    for accepted in (".npz", "manifest.json", ".ckpt", ".pth", ".t7"):
        assert accepted in message


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert "no file" in networks.refusal(tmp_path / "absent.npz")
    assert "manifest.json" in networks.refusal(tmp_path)


def edit_variables(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    merged = networks.engstrom_variables() | changes
    return {name: values for name, values in merged.items() if values is not None}


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"weights": np.zeros(3, np.float32)}, "not numbered"),
        (edit_variables(Variable_29=None), "not those of Engstrom"),
        (edit_variables(Variable_4=None), "not numbered"),
        (edit_variables(Variable_4=np.zeros(5, np.float32)), "has shape"),
        (edit_variables(Variable_4=np.full(networks.HALF, np.nan, np.float32)), "not finite"),
        (edit_variables(Variable_4=np.zeros(networks.HALF, np.int64)), "int64"),
        (edit_variables(Variable=np.zeros((9, 9, 3, 1000), np.float32)), "1000 channels"),
        (networks.engstrom_variables(blocks=10), "10 residual blocks"),
    ],
)
def test_other_variables(tmp_path: Path, variables: dict[str, np.ndarray], why: str) -> None:
    np.savez(tmp_path / "style.npz", **variables)
    assert why in networks.refusal(tmp_path / "style.npz")


def test_an_npz_with_objects_is_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "style.npz", Variable=np.array([Bomb(tmp_path / "exploded")], dtype=object))
    networks.refusal(tmp_path / "style.npz")
    assert not (tmp_path / "exploded").exists()


def test_a_broken_folder(tmp_path: Path) -> None:
    folder = networks.write_folder(tmp_path / "folder", networks.engstrom_variables())
    manifest = folder / "manifest.json"
    (folder / "Variable_1").write_bytes(bytes(7))
    assert "7 bytes instead of 16" in networks.refusal(manifest)
    (folder / "Variable_1").unlink()
    assert "Variable_1 cannot be read" in networks.refusal(manifest)
    manifest.write_text(manifest.read_text().replace('"filename": "Variable_1"', '"filename": "../secret"'))
    assert "not in the same folder" in networks.refusal(manifest)
    manifest.write_text(manifest.read_text().replace("../secret", "a\\u0000b"))
    assert "Variable_1 cannot be read (embedded null byte)" in networks.refusal(manifest)


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        ({"features.0.weight": torch.zeros(64, 3, 3, 3)}, "another network"),
        ([1, 2, 3], "no state dict"),
        ({"state_dict": 4}, "no state dict"),
        ({"conv1.conv2d.weight": torch.zeros(32, 3, 9, 9).to_sparse()}, "no state dict of plain tensors"),
        (networks.pytorch_examples_weights() | {"in6.weight": torch.zeros(3)}, "in6.weight is not expected"),
        (networks.pytorch_examples_weights() | {"in4.bias": torch.zeros(3)}, "has shape"),
        (networks.pytorch_examples_weights() | {"deconv3.conv2d.bias": torch.full((3,), math.inf)}, "not finite"),
        (networks.pytorch_examples_weights(blocks=10), "10 residual blocks"),
        ({name: t for name, t in networks.pytorch_examples_weights().items() if name != "in5.bias"}, "is missing"),
    ],
)
@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
def test_other_state_dicts(tmp_path: Path, weights: Any, why: str) -> None:
    torch.save(weights, tmp_path / "style.pth")
    assert why in networks.refusal(tmp_path / "style.pth")


def test_the_name_is_checked(tmp_path: Path) -> None:
    np.savez(tmp_path / "wave.npz", **networks.engstrom_variables())
    with pytest.raises(StylecoreError, match="name"):
        import_style(tmp_path / "wave.npz", "the wave")
