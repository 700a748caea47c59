"""Johnson's networks in Torch's own format, and files that are refused."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.importers.import_style import import_style
from stylecore.johnson.style_model import StyleModel

WIDTH = 0.125
FULL, HALF, QUARTER = 4, 8, 16
BLOCKS = 2


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


def write_folder(folder: Path, variables: dict[str, np.ndarray]) -> Path:
    folder.mkdir()
    manifest = {}
    for name, values in variables.items():
        manifest[name] = {"filename": name.replace("/", "_"), "shape": list(values.shape)}
        (folder / name.replace("/", "_")).write_bytes(values.tobytes())
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def read(path: Path) -> Tensor:
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1) / 255


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
