"""A file of PyTorch with the state dict of a known implementation."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.importers.foreign import (
    FORMATS,
    RGB_255,
    ForeignNetwork,
    checked_blocks,
    layer_names,
    refuse,
    renamed,
    width_of,
)
from stylecore.johnson.transform_net import TransformNetConfig
from stylecore.preprocessing import IMAGENET, Preprocessing

BGR_255 = Preprocessing("BGR", 255.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
PYTORCH_EXAMPLES = {
    "credit": "network trained with fast_neural_style of pytorch/examples",
    "license": "BSD-3-Clause (the published networks)",
}
GORDIC = {
    "credit": "network trained with Aleksa Gordić's pytorch-neural-style-transfer-johnson",
    "license": "MIT (the published networks)",
}
MINA = {
    "credit": "network trained with Rusty Mina's fast-neural-style-pytorch",
    "license": "Copyright (c) 2018 Rusty Mina; free for academic or research use, as long as proper attribution is "
    "given and this notice is retained",
}


def read_state_dict(source: Path) -> ForeignNetwork:  # noqa: RET503 (refuse never returns)
    """Read the state dict with the importer that knows the names of its tensors."""
    try:
        # A damaged file can raise any error.
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:
        raise StylecoreError(
            f"cannot import {source}: it is damaged, or has other things than weights, which is refused because such "
            f"a file can run any program; save the network's state_dict() alone. stylecore imports {FORMATS}."
        ) from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    values = loaded.values() if isinstance(loaded, Mapping) else [None]
    if not all(isinstance(each, Tensor) and each.layout == torch.strided and not each.is_quantized for each in values):
        refuse(source, "it holds no state dict of plain tensors (dense, not quantized)")
    # torch.nn.DataParallel adds the prefix "module.".
    weights = {str(name).removeprefix("module."): tensor for name, tensor in loaded.items()}
    if "conv1.conv2d.weight" in weights:
        return _pytorch_examples(source, weights)
    if "ConvBlock.0.conv_layer.weight" in weights:
        return _mina(source, weights)
    refuse(source, "its state dict is of another network")


def _pytorch_examples(source: Path, weights: dict[str, Tensor]) -> ForeignNetwork:
    """Read networks of pytorch/examples, and Gordić's, with other names of the last convolutions and other values."""
    # Before PyTorch 0.4 instance normalization saved statistics that it never used.
    weights = {name: tensor for name, tensor in weights.items() if not re.search(r"in\d+\.running_(mean|var)$", name)}
    gordic = "up3.conv2d.weight" in weights
    blocks = [name for name in weights if re.fullmatch(r"res\d+\.in1\.weight", name)]
    residual_blocks = checked_blocks(source, len(blocks))
    last = ("up1.conv2d", "up2.conv2d", "up3") if gordic else ("deconv1", "deconv2", "deconv3")
    places = [
        *((f"conv{index}", f"in{index}") for index in (1, 2, 3)),
        *((f"res{block}.conv{n}", f"res{block}.in{n}") for block in range(1, residual_blocks + 1) for n in (1, 2)),
        *zip(last, ("in4", "in5", ""), strict=True),
    ]
    theirs = [(f"{convolution}.conv2d", normalization) for convolution, normalization in places]
    values = IMAGENET if gordic else RGB_255
    config = TransformNetConfig(
        residual_blocks=residual_blocks,
        width=width_of(source, weights["conv1.conv2d.weight"]),
        input_values=values,
        output_values=values,
    )
    state = renamed(weights, layer_names(residual_blocks, "nearest"), theirs)
    return ForeignNetwork(config, state, GORDIC if gordic else PYTORCH_EXAMPLES)


def _mina(source: Path, weights: dict[str, Tensor]) -> ForeignNetwork:
    """Read Rusty Mina's network. The variant with a tanh has the same tensors; it is read as the usual, linear one."""
    blocks = [name for name in weights if re.fullmatch(r"ResidualBlock\.\d+\.conv1\.conv_layer\.weight", name)]
    residual_blocks = checked_blocks(source, len(blocks))
    places = [
        *(f"ConvBlock.{index}" for index in (0, 2, 4)),
        *(f"ResidualBlock.{block}.conv{part}" for block in range(residual_blocks) for part in (1, 2)),
        *(f"DeconvBlock.{index}" for index in (0, 2, 4)),
    ]
    batch = any(name.endswith("num_batches_tracked") for name in weights)
    weights = {
        name.replace(".conv_transpose.", ".conv_layer."): tensor
        for name, tensor in weights.items()
        if not name.endswith("num_batches_tracked")
    }
    config = TransformNetConfig(
        residual_blocks=residual_blocks,
        width=width_of(source, weights["ConvBlock.0.conv_layer.weight"]),
        normalization="batch" if batch else "instance",
        upsampling="transposed",
        input_values=BGR_255,
        output_values=BGR_255,
    )
    theirs = [(f"{place}.conv_layer", f"{place}.norm_layer") for place in places]
    return ForeignNetwork(config, renamed(weights, layer_names(residual_blocks, "transposed"), theirs), MINA)
