"""A transformation network as a graph of OpenVINO, built by hand from the weights and not traced.

This takes milliseconds, and the graph computes the same with less work:

- The affine maps of input and output and batch normalization are folded into the convolutions; a bias in front
  of instance normalization has no effect and is left out.
- Nearest-neighbor upsampling and its 3 x 3 convolution, or a transposed 3 x 3 convolution, become one 2 x 2
  convolution at the lower size with four times the channels, one for each phase of the larger grid (Shi et al. 2016):
  4 multiplications instead of 9.
- The last 9 x 9 convolution has 3 output channels, and processors compute 16 at once; a 10 x 10 convolution of stride
  2 gives blocks of 2 x 2 pixels, 12 channels.
- In quantized networks, values between the convolutions are bfloat16 if the processor supports it.

Sides are dynamic: one compiled network serves pictures of all sizes.
"""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from stylecore.johnson.transform_net import ConvolutionLayer, TransformNet, TransposedConvolutionLayer, UpsamplingLayer
from stylecore.preprocessing import Preprocessing

# Through this package OpenVINO reports every import to Google Analytics; it also works without the package.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

Array = NDArray[Any]
Ranges = Mapping[str, tuple[float, float]]
"""Name of a convolution, such as "encoder.0", to the least and largest value of its input in 8 bits."""

LEVELS = 256
LARGEST_WEIGHT = 63
"""Weights have 7 bits: a processor without VNNI adds two products of 8 x 8 bits in 16 bits, without overflow."""

_HEIGHT_AND_WIDTH = [2, 3]


def convolution_names(network: TransformNet) -> list[str]:
    """The convolutions in the order of the forward pass."""
    return [name.removesuffix(".convolution") for name, _ in network.named_modules() if name.endswith(".convolution")]


def build_graph(network: TransformNet, ranges: Ranges | None = None, *, watch: bool = False) -> Any:
    """The network as an openvino.Model, (N, 3, H, W) to (N, 3, H, W), with dynamic N, H and W.

    Args:
        network: of any form.
        ranges: the convolutions to compute in 8 bits.
        watch: add two results (C,), the least and largest values of the C convolutions' inputs.
    """
    import openvino
    from openvino import opset13

    graph = openvino.Model(*_Writer(opset13, network, ranges or {}).write(watch), "transformation_network")
    for number, node in enumerate(graph.get_ordered_ops()):
        # OpenVINO's default names depend on all nodes made by the process, and the cache's key depends on the names.
        node.set_friendly_name(f"{node.get_type_name()}_{number}")
    for number, output in enumerate(graph.outputs):
        output.set_names({f"result_{number}"})
    return graph


class _Writer:
    """Writes the graph of one network, layer by layer; a value is a node of the graph, (N, C, H, W) each."""

    def __init__(self, ops: Any, network: TransformNet, ranges: Ranges) -> None:
        self.ops = ops
        self.network = network
        self.config = network.config
        self.names = {module: name for name, module in network.named_modules()}
        self.ranges = ranges
        self.inputs: list[Any] = []

    def write(self, watch: bool) -> tuple[list[Any], list[Any]]:
        """The graph's results and its parameter."""
        ops, config = self.ops, self.config
        network: Any = self.network  # for mypy, the layers of nn.Sequential are only modules
        pixels = ops.parameter([-1, 3, -1, -1], np.float32, name="pixels")
        values = pixels
        scale, shift = _input_map(config.input_values)
        if config.padding != "reflect":  # zeros beside the picture mean zeros after this map
            values = self.affine(values, scale, shift)
            scale, shift = np.ones(3), np.zeros(3)
        if config.padding == "reflect-start":
            values = self.pad(values, config.border, "reflect")
        first, *others = network.encoder
        values = self.convolution_layer(values, first, scale, shift)
        for layer in others:
            values = self.convolution_layer(values, layer)
        for block in network.residual_blocks:
            change = self.convolution_layer(self.convolution_layer(values, block.first), block.second)
            values = ops.add(self.crop(values, block.crop), change)
        *upsampling, last = network.decoder
        for layer in upsampling:
            values = self.upsampling_layer(values, layer)
        results = [ops.result(self.output_layer(values, last))]
        if watch:
            for reduce in (ops.reduce_min, ops.reduce_max):
                extremes = [ops.reshape(reduce(x, np.arange(4)), np.array([1]), False) for x in self.inputs]
                results.append(ops.result(ops.concat(extremes, 0)))
        return results, [pixels]

    def convolution_layer(
        self, values: Any, layer: ConvolutionLayer, scale: Array | None = None, shift: Array | None = None
    ) -> Any:
        """The layer, applied to values * scale + shift if they are given."""
        weight, bias = _folded(layer.convolution, layer.normalization)
        if scale is not None and shift is not None:  # the picture is RGB; the map converts it for the weights
            weight = weight[:, ::-1] if self.config.input_values.channel_order == "BGR" else weight
            bias = bias + (weight * shift[None, :, None, None]).sum((1, 2, 3))
            weight = weight * scale[None, :, None, None]
        values = self.convolution(values, layer, self.names[layer], weight)
        return self.normalization(values, bias, layer.normalization, relu=isinstance(layer.relu, nn.ReLU))

    def upsampling_layer(self, values: Any, upsampling: UpsamplingLayer) -> Any:
        if isinstance(upsampling.before, nn.Sequential):
            before = upsampling.before[0]
            if isinstance(before, nn.BatchNorm2d):
                values = self.ops.relu(self.affine(values, *_batch_map(before)))
            else:
                values = self.normalization(values, np.zeros(1), before, relu=True)
        if isinstance(upsampling.layer, TransposedConvolutionLayer):
            transposed = upsampling.layer
            weight, bias = _folded(transposed.convolution, transposed.normalization)
            phases = _phases_of_transposed(weight, first=0 if transposed.same else 1)
            zeros = ((1, 0), (1, 0)) if transposed.same else ((0, 1), (0, 1))
            values = self.plain_convolution(values, self.names[transposed], phases, 1, zeros)
            values = self.ops.depth_to_space(values, "blocks_first", 2)
            return self.normalization(values, bias, transposed.normalization, relu=True)
        layer = upsampling.layer[1]  # type: ignore[index]
        weight, bias = _folded(layer.convolution, layer.normalization)
        # Reflection at the larger grid repeats the edge value of the smaller grid.
        border = "edge" if self.config.padding == "reflect" else ((1, 1), (1, 1))
        values = self.plain_convolution(values, self.names[layer], _phases_of_nearest(weight), 1, border)
        values = self.crop(self.ops.depth_to_space(values, "blocks_first", 2), 1)
        return self.normalization(values, bias, layer.normalization, relu=True)

    def output_layer(self, values: Any, layer: ConvolutionLayer) -> Any:
        """The last convolution and the following steps."""
        config, order = self.config, slice(None, None, -1 if self.config.output_values.channel_order == "BGR" else 1)
        scale, shift = _output_map(config.output_values)
        weight, bias = _folded(layer.convolution, layer.normalization)
        weight, bias = weight[order], bias[order]
        if config.output == "linear" and not config.normalize_output:  # then these steps are a part of the convolution
            weight, bias = weight * scale[:, None, None, None], np.tile(bias * scale + shift, 4)
            values = self.convolution(values, layer, self.names[layer], _blocks(weight), stride=2)
            values = self.ops.add(values, self.constant(bias.reshape(1, -1, 1, 1)))
            return self.ops.depth_to_space(self.ops.clamp(values, 0.0, 1.0), "blocks_first", 2)
        values = self.convolution(values, layer, self.names[layer], _blocks(weight), stride=2)
        values = self.ops.depth_to_space(values, "blocks_first", 2)
        values = self.normalization(values, bias, layer.normalization, order=order)
        if config.output == "tanh":
            values = self.ops.multiply(self.ops.tanh(values), self.constant(config.tanh_scale))
        return self.ops.clamp(self.affine(values, scale, shift), 0.0, 1.0)

    def convolution(self, values: Any, layer: ConvolutionLayer, name: str, weight: Array, stride: int = 0) -> Any:
        """The layer's convolution with its padding, and maybe with another weight and stride."""
        size, stride_of_layer = layer.convolution.kernel_size[0], layer.convolution.stride[0]
        stride = stride or stride_of_layer
        if layer.same:  # TensorFlow's padding for even sides: the odd zero comes last
            total = size - stride_of_layer
            return self.plain_convolution(values, name, weight, stride, ((total // 2, total - total // 2),) * 2)
        padding = int(layer.convolution.padding[0])
        if layer.convolution.padding_mode == "reflect" and padding:
            return self.plain_convolution(values, name, weight, stride, "reflect", padding)
        return self.plain_convolution(values, name, weight, stride, ((padding, padding),) * 2)

    def plain_convolution(
        self, values: Any, name: str, weight: Array, stride: int, border: Any, width: int = 1
    ) -> Any:
        """Convolution, in 8 bits if its name is among the ranges.

        Args:
            values: (N, I, H, W).
            name: of the convolution.
            weight: (O, I, K, K).
            stride: in both directions.
            border: "reflect" or "edge", `width` values on each side; or ((top, bottom), (left, right)) zeros.
            width: of the border.
        """
        self.inputs.append(values)
        if name in self.ranges:
            low, high = (self.constant(value) for value in _with_zero(*self.ranges[name]))
            values = self.ops.fake_quantize(values, low, high, low, high, LEVELS)
        zeros = ((0, 0), (0, 0)) if isinstance(border, str) else border
        if isinstance(border, str):
            values = self.pad(values, width, border)
        (top, bottom), (left, right) = zeros
        kernel = self.eight_bit_weight(weight) if name in self.ranges else self.constant(weight)
        return self.ops.convolution(values, kernel, [stride] * 2, [top, left], [bottom, right], [1, 1])

    def eight_bit_weight(self, weight: Array) -> Any:
        """Integers, multiplied by a factor for each output channel."""
        factor = np.abs(weight).max((1, 2, 3), keepdims=True) / LARGEST_WEIGHT
        factor[factor == 0] = 1
        integers = self.ops.constant(np.ascontiguousarray(np.round(weight / factor), np.int8))
        return self.ops.multiply(self.ops.convert(integers, np.float32), self.constant(factor))

    def normalization(
        self, values: Any, bias: Array, module: nn.Module, *, relu: bool = False, order: slice = slice(None)
    ) -> Any:
        """Normalization of the values plus `bias` (which includes batch normalization), and ReLU."""
        if isinstance(module, nn.InstanceNorm2d):
            values = self.ops.mvn(values, np.array(_HEIGHT_AND_WIDTH), True, module.eps, "inside_sqrt")
            values = self.affine(values, _array(module.weight)[order], _array(module.bias)[order])
        elif bias.any():
            values = self.ops.add(values, self.constant(bias.reshape(1, -1, 1, 1)))
        return self.ops.relu(values) if relu else values

    def affine(self, values: Any, scale: Array, shift: Array) -> Any:
        values = self.ops.multiply(values, self.constant(scale.reshape(1, -1, 1, 1)))
        return self.ops.add(values, self.constant(shift.reshape(1, -1, 1, 1)))

    def pad(self, values: Any, width: int, mode: str) -> Any:
        sides = np.array([0, 0, width, width])
        return self.ops.pad(values, sides, sides, mode, self.constant(0.0))  # a value is required, but not used

    def crop(self, values: Any, width: int) -> Any:
        """Remove `width` values on each side."""
        if width == 0:
            return values
        begin, end = np.array([width, width]), np.array([-width, -width])
        return self.ops.slice(values, begin, end, np.array([1, 1]), np.array(_HEIGHT_AND_WIDTH))

    def constant(self, values: Array | float) -> Any:
        return self.ops.constant(np.ascontiguousarray(values, np.float32))


def _folded(convolution: nn.Module, normalization: nn.Module) -> tuple[Array, Array]:
    """Weight (O, I, K, K), also of a transposed convolution, and bias (O,), including batch normalization."""
    weight = _array(convolution.weight)
    weight = weight.swapaxes(0, 1) if isinstance(convolution, nn.ConvTranspose2d) else weight
    bias = np.zeros(len(weight)) if convolution.bias is None else _array(convolution.bias)
    if isinstance(normalization, nn.BatchNorm2d):
        scale, shift = _batch_map(normalization)
        return weight * scale[:, None, None, None], bias * scale + shift
    return weight, bias


def _batch_map(normalization: nn.BatchNorm2d) -> tuple[Array, Array]:
    """Scale and shift of batch normalization in evaluation mode."""
    assert normalization.running_mean is not None
    assert normalization.running_var is not None
    scale = _array(normalization.weight) / np.sqrt(_array(normalization.running_var) + normalization.eps)
    return scale, _array(normalization.bias) - _array(normalization.running_mean) * scale


def _input_map(values: Preprocessing) -> tuple[Array, Array]:
    """`Preprocessing.apply` as pixels * scale + shift, for channels in the order RGB."""
    order = slice(None, None, -1 if values.channel_order == "BGR" else 1)
    mean, std = np.array(values.mean)[order], np.array(values.std)[order]
    return values.scale / std, -mean / std


def _output_map(values: Preprocessing) -> tuple[Array, Array]:
    """`Preprocessing.undo` as values * scale + shift, for channels in the order RGB."""
    order = slice(None, None, -1 if values.channel_order == "BGR" else 1)
    mean, std = np.array(values.mean)[order], np.array(values.std)[order]
    return std / values.scale, mean / values.scale


def _phases_of_nearest(weight: Array) -> Array:
    """Upsampling by 2 and a 3 x 3 convolution as one of 2 x 2, (O, I, 3, 3) to (4 O, I, 2, 2).

    Row p of the result depends on rows p - 1 and p of the smaller grid, which has one more row on each side. Its two
    phases are rows 2 p - 1 and 2 p of the larger grid, so the result has one extra row on each side.
    """
    upper = np.array([[1, 1, 0], [0, 0, 1]])  # row 2 p - 1 is the last of its pair: it depends on p - 1 twice
    lower = np.array([[1, 0, 0], [0, 1, 1]])
    return _phases(weight, (upper, lower))


def _phases_of_transposed(weight: Array, first: int) -> Array:
    """A transposed 3 x 3 convolution of stride 2 as one of 2 x 2, (O, I, 3, 3) to (4 O, I, 2, 2).

    Input row i adds to rows 2 i - first + k, k = 0 to 2, of the larger grid. With `first` = 0 the 2 x 2 convolution
    uses rows i - 1 and i, else i and i + 1.
    """
    if first == 0:
        return _phases(weight, (np.array([[0, 0, 1], [1, 0, 0]]), np.array([[0, 0, 0], [0, 1, 0]])))
    return _phases(weight, (np.array([[0, 1, 0], [0, 0, 0]]), np.array([[0, 0, 1], [1, 0, 0]])))


def _phases(weight: Array, maps: tuple[Array, Array]) -> Array:
    """Each of the two maps (2, 3) tells which of the 3 kernel rows are summed in the 2 rows of a phase's kernel."""
    phases = [np.einsum("ak,bl,oikl->oiab", vertical, horizontal, weight) for vertical in maps for horizontal in maps]
    return np.concatenate(phases)


def _blocks(weight: Array) -> Array:
    """A convolution as one of stride 2 with 2 x 2 results at each position: (O, I, K, K) to (4 O, I, K + 1, K + 1)."""
    shifts = [(y, x) for y in (0, 1) for x in (0, 1)]
    return np.concatenate([np.pad(weight, ((0, 0), (0, 0), (y, 1 - y), (x, 1 - x))) for y, x in shifts])


def _with_zero(low: float, high: float) -> tuple[float, float]:
    """The range, extended so that zero is one of its 256 levels: padding and ReLU give exact zeros."""
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return 0.0, 1.0
    if low == 0 or high == 0:
        return low, high
    below = min(max(round(-low / (high - low) * (LEVELS - 1)), 1), LEVELS - 2)
    step = max(-low / below, high / (LEVELS - 1 - below))
    return -step * below, step * (LEVELS - 1 - below)


def _array(tensor: Any) -> Array:
    return tensor.detach().cpu().double().numpy()
