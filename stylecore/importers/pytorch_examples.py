"""fast_neural_style of pytorch/examples, and Aleksa Gordić's network, which is nearly the same."""

import re
from pathlib import Path

from torch import Tensor

from stylecore.importers.foreign import RGB_255, ForeignNetwork, Origin, checked_blocks, layer_names, renamed, width_of
from stylecore.johnson.transform_net import TransformNetConfig
from stylecore.preprocessing import IMAGENET

_PYTORCH_EXAMPLES = Origin(
    "network trained with fast_neural_style of pytorch/examples", "BSD-3-Clause (the published networks)"
)
_GORDIC = Origin(
    "network trained with Aleksa Gordić's pytorch-neural-style-transfer-johnson", "MIT (the published networks)"
)


def read_pytorch_examples(source: Path, weights: dict[str, Tensor]) -> ForeignNetwork:
    """Read networks of pytorch/examples, and Gordić's, with other names of the last convolutions and other values."""
    # Before PyTorch 0.4 instance normalization saved statistics that it never used.
    weights = {name: tensor for name, tensor in weights.items() if not re.search(r"in\d+\.running_(mean|var)$", name)}
    gordic = "up3.conv2d.weight" in weights
    residual_blocks = checked_blocks(
        source, len([name for name in weights if re.fullmatch(r"res\d+\.in1\.weight", name)])
    )
    upsampling = ("up1.conv2d.conv2d", "up2.conv2d.conv2d") if gordic else ("deconv1.conv2d", "deconv2.conv2d")
    convolutions = [
        *(f"conv{index}.conv2d" for index in (1, 2, 3)),
        *(f"res{block}.conv{part}.conv2d" for block in range(1, residual_blocks + 1) for part in (1, 2)),
        *upsampling,
        "up3.conv2d" if gordic else "deconv3.conv2d",
    ]
    normalizations = [
        *(f"in{index}" for index in (1, 2, 3)),
        *(f"res{block}.in{part}" for block in range(1, residual_blocks + 1) for part in (1, 2)),
        *("in4", "in5"),
    ]
    values = IMAGENET if gordic else RGB_255
    config = TransformNetConfig(
        residual_blocks=residual_blocks,
        width=width_of(source, weights["conv1.conv2d.weight"]),
        input_values=values,
        output_values=values,
    )
    state = renamed(weights, layer_names(residual_blocks, "nearest"), convolutions, normalizations)
    return ForeignNetwork(config, state, _GORDIC if gordic else _PYTORCH_EXAMPLES)
