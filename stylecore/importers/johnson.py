"""Johnson's fast-neural-style: the network in a .t7 file of Torch7."""

from collections import deque
from pathlib import Path

import numpy as np
from torch import Tensor

from stylecore.importers.foreign import ForeignNetwork, Origin, checked_blocks, float_tensor, refuse, width_of
from stylecore.importers.torch7 import Torch7Object, read_torch7
from stylecore.johnson.transform_net import TransformNetConfig
from stylecore.preprocessing import CAFFE, IMAGENET, Preprocessing

ORIGIN = Origin(
    "network trained with Justin Johnson's fast-neural-style",
    "free for personal or research use; commercial use needs the author's permission",
)


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
    """Reads the modules of the Lua network in the order of the paper's table and collects their tensors."""

    def __init__(self, source: Path, model: Torch7Object) -> None:
        self.source = source
        self.modules = self._modules(model)
        self.state: dict[str, Tensor] = {}
        self.normalizations: set[tuple[str, float]] = set()

    def network(self, values: Preprocessing) -> ForeignNetwork:
        start = self._take(self.modules, "SpatialReflectionPadding")
        for index, kernel_size in enumerate((9, 3, 3)):
            self._convolution(self.modules, f"encoder.{index}", kernel_size, stride=min(index, 1) + 1)
            self._take(self.modules, "ReLU")
        residual_blocks = 0
        while self._next(self.modules) == "Sequential":
            self._residual_block(self.modules.popleft(), f"residual_blocks.{residual_blocks}")
            residual_blocks += 1
        nearest = self._next(self.modules) == "SpatialUpSamplingNearest"
        for index in range(2):
            if nearest:
                self._nearest(f"decoder.{index}")
            else:
                self._transposed(f"decoder.{index}.layer")
            self._take(self.modules, "ReLU")
        self._convolution(self.modules, "decoder.2", 9, normalize=False)
        self._take(self.modules, "Tanh")
        tanh_scale = self._number(self._take(self.modules, "MulConstant"), "constant_scalar")
        while self.modules:
            self._take(self.modules, "TotalVariation")  # it only adds a gradient while training
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
        if any(self._number(start, side) != config.border for side in ("pad_l", "pad_r", "pad_t", "pad_b")):
            refuse(self.source, f"its reflection padding is not {config.border} pixels, 8 for each residual block")
        return ForeignNetwork(config, self.state, ORIGIN)

    def _residual_block(self, block: Torch7Object, name: str) -> None:
        parts = self._modules(block)
        branches = self._modules(self._take(parts, "ConcatTable"))
        self._take(parts, "CAddTable")
        layers = self._modules(self._take(branches, "Sequential"))
        shortcut = self._take(branches, "ShaveImage")
        if self._number(shortcut, "size") != 2:
            refuse(self.source, "the shortcut of a residual block is not cropped by 2")
        self._convolution(layers, f"{name}.first", 3, padding=0)
        self._take(layers, "ReLU")
        self._convolution(layers, f"{name}.second", 3, padding=0)
        if parts or branches or layers:
            refuse(self.source, "a residual block has more layers than two convolutions")

    def _nearest(self, name: str) -> None:
        upsampling = self._take(self.modules, "SpatialUpSamplingNearest")
        if self._number(upsampling, "scale_factor") != 2:
            refuse(self.source, "an upsampling layer does not double the size")
        # Johnson normalizes after the upsampling; it only repeats values, so normalization before it is the same.
        self._normalization(self.modules, f"{name}.before.0")
        self._take(self.modules, "ReLU")
        self._convolution(self.modules, f"{name}.layer.1", 3)

    def _convolution(
        self,
        modules: deque[Torch7Object],
        name: str,
        kernel_size: int,
        stride: int = 1,
        padding: int | None = None,
        normalize: bool = True,
    ) -> None:
        module = self._take(modules, "SpatialConvolution", "SpatialConvolutionMM")
        padding = kernel_size // 2 if padding is None else padding
        self._expect_form(module, kernel_size, stride, padding)
        weight = self._array(module, "weight")
        if weight.ndim == 2:  # SpatialConvolutionMM's matrix: (out, in * height * width)
            weight = weight.reshape(weight.shape[0], -1, kernel_size, kernel_size)
        self.state[f"{name}.convolution.weight"] = weight
        self.state[f"{name}.convolution.bias"] = self._array(module, "bias")
        if normalize:
            self._normalization(modules, f"{name}.normalization")

    def _transposed(self, name: str) -> None:
        module = self._take(self.modules, "SpatialFullConvolution")
        self._expect_form(module, kernel_size=3, stride=2, padding=1)
        if any(self._number(module, field) != 1 for field in ("adjW", "adjH")):
            refuse(self.source, "a transposed convolution does not double the size")
        self.state[f"{name}.convolution.weight"] = self._array(module, "weight")
        self.state[f"{name}.convolution.bias"] = self._array(module, "bias")
        self._normalization(self.modules, f"{name}.normalization")

    def _normalization(self, modules: deque[Torch7Object], name: str) -> None:
        module = self._take(modules, "InstanceNormalization", "SpatialBatchNormalization")
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

    def _expect_form(self, module: Torch7Object, kernel_size: int, stride: int, padding: int) -> None:
        wanted = {"kW": kernel_size, "kH": kernel_size, "dW": stride, "dH": stride, "padW": padding, "padH": padding}
        for field, value in wanted.items():
            if self._number(module, field) != value:
                refuse(
                    self.source,
                    f"its network is not Johnson's: {field} of a {_short(module)} is "
                    f"{self._number(module, field):g} instead of {value}",
                )

    def _take(self, modules: deque[Torch7Object], *classes: str) -> Torch7Object:
        if self._next(modules) not in classes:
            found = self._next(modules) or "nothing more"
            refuse(self.source, f"its network is not Johnson's: {found} where {classes[0]} belongs")
        return modules.popleft()

    def _next(self, modules: deque[Torch7Object]) -> str | None:
        return _short(modules[0]) if modules else None

    def _modules(self, container: Torch7Object) -> deque[Torch7Object]:
        table = container.fields.get("modules")
        if not isinstance(table, dict):
            refuse(self.source, f"a {_short(container)} holds no modules")
        modules = [table.get(float(index)) for index in range(1, len(table) + 1)]
        if not all(isinstance(module, Torch7Object) for module in modules):
            refuse(self.source, f"the modules of a {_short(container)} are not a list of layers")
        return deque(module for module in modules if isinstance(module, Torch7Object))

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
