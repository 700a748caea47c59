"""Shared by the importers: the network of another project, and the refusal of a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.johnson.transform_net import TransformNetConfig
from stylecore.preprocessing import Preprocessing

FORMATS = (
    "Engstrom's fast-style-transfer (.npz, a folder with manifest.json, a TensorFlow .ckpt), "
    "PyTorch state dicts of pytorch/examples, gordicaleksa and rrmina (.pth, .model), "
    "and Johnson's binary .t7"
)

RGB_255 = Preprocessing("RGB", 255.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class ForeignNetwork:
    """The content of a file: the network's form, its tensors with our names, and its `credit` and `license`."""

    config: TransformNetConfig
    state: dict[str, Tensor]
    origin: dict[str, str]


def layer_names(residual_blocks: int, upsampling: str) -> list[str]:
    """Our names of the layers, each a convolution with its normalization, in the order of the forward pass."""
    decoder = "layer.1" if upsampling == "nearest" else "layer"
    return [
        *(f"encoder.{index}" for index in range(3)),
        *(f"residual_blocks.{block}.{part}" for block in range(residual_blocks) for part in ("first", "second")),
        *(f"decoder.{index}.{decoder}" for index in range(2)),
        "decoder.2",
    ]


def width_of(source: Path, first_weight: np.ndarray | Tensor) -> float:
    """The config's width, from the number of output channels of the first convolution, the weight's dimension 0."""
    channels = first_weight.shape[0] if first_weight.ndim else 0
    if not 2 <= channels <= 128:
        refuse(source, f"its network is not Johnson's: its first layer has {channels} channels")
    return channels / 32


def checked_blocks(source: Path, count: int) -> int:
    """The number of residual blocks, refused unless it is 1 to 9."""
    if not 1 <= count <= 9:
        refuse(source, f"its network is not Johnson's: it has {count} residual blocks instead of 1 to 9")
    return count


def refuse(source: Path, why: str) -> NoReturn:
    """Raise a StylecoreError: why the file cannot be imported, and which formats can."""
    raise StylecoreError(f"cannot import {source}: {why}; stylecore imports {FORMATS}.")


def float_tensor(source: Path, values: np.ndarray) -> Tensor:
    """The values as float32; refused unless they are floating-point numbers."""
    if values.dtype.kind != "f":
        refuse(source, f"its weights are of type {values.dtype}, not float")
    return torch.from_numpy(np.array(values, np.float32))


def renamed(weights: Mapping[str, Tensor], layers: list[str], theirs: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Replace their names by ours; a tensor of an unknown layer keeps its name and is refused later.

    Args:
        layers: our names.
        theirs: for each layer its convolution and its normalization, "" where there is none.
    """
    names: dict[str, str] = {}
    for layer, (convolution, normalization) in zip(layers, theirs, strict=True):
        names |= {convolution: f"{layer}.convolution", normalization: f"{layer}.normalization"}
    state = {}
    for name, tensor in weights.items():
        module, _, parameter = name.rpartition(".")
        state[f"{names[module]}.{parameter}" if module in names else name] = tensor
    return state
