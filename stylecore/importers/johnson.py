"""Johnson's fast-neural-style: the network in a .t7 file of Torch7."""

from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from stylecore.importers.foreign import ForeignNetwork, checked_blocks, float_tensor, refuse, width_of
from stylecore.importers.torch7 import Torch7Object, read_torch7
from stylecore.johnson.transform_net import TransformNetConfig
from stylecore.preprocessing import CAFFE, IMAGENET, Preprocessing

ORIGIN = {
    "credit": "network trained with Justin Johnson's fast-neural-style",
    "license": "free for personal or research use; commercial use needs the author's permission",
}
DEEPEST = 3
"""Depth of the containers of layers: the network is at 0, the branch of a residual block at 3."""


def read_johnson(source: Path) -> ForeignNetwork:
    """A checkpoint of Johnson's train.lua: a table with `model` and `opt`."""
    checkpoint = read_torch7(source)
    model = checkpoint.get("model") if isinstance(checkpoint, dict) else checkpoint
    if not isinstance(model, Torch7Object):
        refuse(source, "it holds no network")
    options = checkpoint.get("opt") if isinstance(checkpoint, dict) else None
    preprocessing = options.get("preprocessing") if isinstance(options, dict) else None
    if preprocessing not in (None, "vgg", "resnet"):
        refuse(source, f"its preprocessing is {preprocessing!r}, not 'vgg' or 'resnet'")
    values = IMAGENET if preprocessing == "resnet" else CAFFE
    return _JohnsonReader(source, model).network(values)


class _JohnsonReader:
    """Reads the layers of the Lua network in the order of the paper's table and collects their tensors."""

    def __init__(self, source: Path, model: Torch7Object) -> None:
        self.source = source
        self.layers = deque(self._leaves(model))
        self.state: dict[str, Tensor] = {}
        self.normalizations: set[tuple[str, float]] = set()

    def network(self, values: Preprocessing) -> ForeignNetwork:
        start = self._take("SpatialReflectionPadding")
        for index, kernel_size in enumerate((9, 3, 3)):
            self._convolution(f"encoder.{index}", kernel_size, stride=min(index, 1) + 1)
            self._take("ReLU")
        residual_blocks = 0
        while self._next() in ("SpatialConvolution", "SpatialConvolutionMM"):
            self._residual_block(f"residual_blocks.{residual_blocks}")
            residual_blocks += 1
        nearest = self._next() == "SpatialUpSamplingNearest"
        for index in range(2):
            if nearest:
                self._nearest(f"decoder.{index}")
            else:
                self._convolution(f"decoder.{index}.layer", 3, stride=2, transposed=True)
            self._take("ReLU")
        self._convolution("decoder.2", 9, normalize=False)
        self._take("Tanh")
        tanh_scale = self._number(self._take("MulConstant"), "constant_scalar")
        while self.layers:
            self._take("TotalVariation")  # it only adds a gradient while training
        if len(self.normalizations) != 1:
            refuse(self.source, "its layers are normalized in different ways")
        normalization, epsilon = self.normalizations.pop()
        config = TransformNetConfig(
            residual_blocks=checked_blocks(self.source, residual_blocks),
            width=width_of(self.source, self.state["encoder.0.convolution.weight"]),
            normalization="batch" if normalization == "SpatialBatchNormalization" else "instance",
            padding="reflect-start",
            upsampling="nearest" if nearest else "transposed",
            output="tanh",
            tanh_scale=tanh_scale,
            normalization_epsilon=epsilon,
            normalize_before_upsampling=nearest,
            input_values=values,
            output_values=values,
        )
        self._check(start, {f"pad_{side}": config.border for side in "lrtb"})
        return ForeignNetwork(config, self.state, ORIGIN)

    def _residual_block(self, name: str) -> None:
        self._convolution(f"{name}.first", 3, padding=0)
        self._take("ReLU")
        self._convolution(f"{name}.second", 3, padding=0)
        self._check(self._take("ShaveImage"), {"size": 2})  # the shortcut
        self._take("CAddTable")

    def _nearest(self, name: str) -> None:
        self._check(self._take("SpatialUpSamplingNearest"), {"scale_factor": 2})
        # Johnson normalizes after the upsampling; it only repeats values, so normalization before it is the same.
        self._normalization(f"{name}.before.0")
        self._take("ReLU")
        self._convolution(f"{name}.layer.1", 3)

    def _convolution(
        self,
        name: str,
        kernel_size: int,
        stride: int = 1,
        padding: int | None = None,
        *,
        normalize: bool = True,
        transposed: bool = False,
    ) -> None:
        kinds = ("SpatialFullConvolution",) if transposed else ("SpatialConvolution", "SpatialConvolutionMM")
        module = self._take(*kinds)
        form = {"k": kernel_size, "d": stride, "pad": kernel_size // 2 if padding is None else padding}
        if transposed:
            form["adj"] = 1  # exactly twice the size
        self._check(module, {f"{field}{side}": value for field, value in form.items() for side in "WH"})
        weight = self._array(module, "weight")
        if weight.ndim == 2:  # SpatialConvolutionMM's matrix: (out, in * height * width)
            weight = weight.reshape(weight.shape[0], -1, kernel_size, kernel_size)
        self.state[f"{name}.convolution.weight"] = weight
        self.state[f"{name}.convolution.bias"] = self._array(module, "bias")
        if normalize:
            self._normalization(f"{name}.normalization")

    def _normalization(self, name: str) -> None:
        module = self._take("InstanceNormalization", "SpatialBatchNormalization")
        kind, epsilon = _short(module), self._number(module, "eps")
        self.normalizations.add((kind, epsilon))
        self.state[f"{name}.weight"] = self._array(module, "weight")
        self.state[f"{name}.bias"] = self._array(module, "bias")
        if kind == "SpatialBatchNormalization":
            self.state[f"{name}.running_mean"] = self._array(module, "running_mean")
            if "running_var" in module.fields:
                variance = self._array(module, "running_var")
            else:  # older files have 1 / sqrt(variance + epsilon)
                variance = self._array(module, "running_std").pow(-2) - epsilon
            self.state[f"{name}.running_var"] = variance

    def _take(self, *kinds: str) -> Torch7Object:
        if self._next() not in kinds:
            found = self._next() or "nothing more"
            refuse(self.source, f"its network is not Johnson's: {found} where {kinds[0]} belongs")
        return self.layers.popleft()

    def _next(self) -> str | None:
        return _short(self.layers[0]) if self.layers else None

    def _leaves(self, module: Torch7Object, depth: int = 0) -> Iterator[Torch7Object]:
        """The layers in a module, in the order of the forward pass; the branches of a table one after the other."""
        if depth and _short(module) not in ("Sequential", "ConcatTable"):
            yield module
            return
        table = module.fields.get("modules")
        if not isinstance(table, dict):
            refuse(self.source, f"a {_short(module)} holds no modules")
        for index in range(1, len(table) + 1):
            inner = table.get(float(index))
            if not isinstance(inner, Torch7Object) or depth > DEEPEST:  # deeper when it holds itself
                refuse(self.source, f"the modules of a {_short(module)} are not a list of layers")
            yield from self._leaves(inner, depth + 1)

    def _check(self, module: Torch7Object, wanted: Mapping[str, float]) -> None:
        for field, value in wanted.items():
            if (number := self._number(module, field)) != value:
                refuse(
                    self.source,
                    f"its network is not Johnson's: {field} of a {_short(module)} is {number:g} instead of {value:g}",
                )

    def _number(self, module: Torch7Object, field: str) -> float:
        value = module.fields.get(field)
        if not isinstance(value, float):
            refuse(self.source, f"a {_short(module)} has no number {field}")
        return value

    def _array(self, module: Torch7Object, field: str) -> Tensor:
        value = module.fields.get(field)
        if not isinstance(value, np.ndarray):
            refuse(self.source, f"a {_short(module)} has no tensor {field}")
        return float_tensor(self.source, value)


def _short(module: Torch7Object) -> str:
    """A Lua class without its package: nn, or cudnn for the same on a GPU."""
    return module.class_name.rpartition(".")[2]
