"""Rusty Mina's fast-neural-style-pytorch."""

import re
from pathlib import Path

from torch import Tensor

from stylecore.importers.foreign import ForeignNetwork, Origin, checked_blocks, layer_names, renamed, width_of
from stylecore.johnson.transform_net import TransformNetConfig
from stylecore.preprocessing import Preprocessing

BGR_255 = Preprocessing("BGR", 255.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
ORIGIN = Origin(
    "network trained with Rusty Mina's fast-neural-style-pytorch",
    "Copyright (c) 2018 Rusty Mina; free for academic or research use, as long as proper attribution is given and "
    "this notice is retained",
)


def read_mina(source: Path, weights: dict[str, Tensor]) -> ForeignNetwork:
    """Read Rusty Mina's network. The variant with a tanh has the same tensors; it is read as the usual, linear one."""
    blocks = [name for name in weights if re.fullmatch(r"ResidualBlock\.\d+\.conv1\.conv_layer\.weight", name)]
    residual_blocks = checked_blocks(source, len(blocks))
    places = [
        *(f"ConvBlock.{index}" for index in (0, 2, 4)),
        *(f"ResidualBlock.{block}.conv{part}" for block in range(residual_blocks) for part in (1, 2)),
        *(f"DeconvBlock.{index}" for index in (0, 2, 4)),
    ]
    convolutions = [f"{place}.conv_layer" for place in places]
    convolutions[-3:-1] = [f"{place}.conv_transpose" for place in places[-3:-1]]
    batch = any(name.endswith("num_batches_tracked") for name in weights)
    weights = {name: tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")}
    config = TransformNetConfig(
        residual_blocks=residual_blocks,
        width=width_of(source, weights["ConvBlock.0.conv_layer.weight"]),
        normalization="batch" if batch else "instance",
        upsampling="transposed",
        input_values=BGR_255,
        output_values=BGR_255,
    )
    normalizations = [f"{place}.norm_layer" for place in places[:-1]]
    return ForeignNetwork(
        config, renamed(weights, layer_names(residual_blocks, "transposed"), convolutions, normalizations), ORIGIN
    )
