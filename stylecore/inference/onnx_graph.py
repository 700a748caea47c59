"""A transformation network as an ONNX file, for browsers, for OpenVINO and others.

The graph is built from the weights and not traced. This takes milliseconds, and the graph computes the same with less
work:

- The affine maps of input and output and batch normalization are folded into the convolutions; a bias in front
  of instance normalization has no effect and is left out.
- Nearest-neighbor upsampling and its 3 x 3 convolution, or a transposed 3 x 3 convolution, become one 2 x 2
  convolution at the lower size with four times the channels, one for each phase of the larger grid (Shi et al. 2016):
  4 multiplications instead of 9.
- The last 9 x 9 convolution has 3 output channels, and processors compute 16 at once; a 10 x 10 convolution of stride
  2 gives blocks of 2 x 2 pixels, 12 channels.

The operators are among those that ONNX Runtime computes on processors, in WebAssembly and on WebGPU. All values are
float32: sums of instance normalization over a large picture do not fit into float16. Weights may be stored in fewer
bits; then the first operators of the graph convert them, once for each session.
"""

from collections.abc import Collection
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from stylecore.errors import StylecoreError
from stylecore.inference.folding import (
    Array,
    array,
    batch_map,
    blocks,
    folded,
    input_map,
    output_map,
    phases_of_nearest,
    phases_of_transposed,
)
from stylecore.johnson.style_model import CARD_KEY, StyleModel
from stylecore.johnson.transform_net import ConvolutionLayer, TransformNet, TransposedConvolutionLayer, UpsamplingLayer

Weights = Literal["float32", "float16", "int8"]
"""How the weights of convolutions are stored. 8-bit ones have a factor for each output channel."""

Zeros = tuple[tuple[int, int], tuple[int, int]]
"""((top, bottom), (left, right)): numbers of zeros beside a picture."""

OPSET = 17
IR_VERSION = 8
LARGEST_WEIGHT = 127
INPUT, OUTPUT = "pixels", "stylized"
HELD, STATISTICS, MEASURED = "held", "statistics", "measured"


def export_onnx(model: StyleModel, weights: Weights = "float16", *, tiles: bool = False, crop: int = 0) -> bytes:
    """The network as the bytes of an ONNX file: `pixels` (N, 3, H, W) to `stylized`, RGB in [0, 1].

    N, H and W are dynamic; H and W are multiples of 4. The file's metadata has the style's card. The network alone is
    in the graph: `Engine` adds noise and a border before, which the card and `engine.frame` describe.

    Args:
        weights: how they are stored.
        tiles: for large pictures in tiles (tiling.py). The graph has more inputs, `held` (true or false) and
            `statistics` (2, C, 1, 1), means and variances of all instance normalizations, and one more output,
            `measured`, of that shape. When `held` is false, the statistics are those of all N pictures together.
        crop: as in `TransformNet.forward`; `engine.crop_of` is that of the engine.

    Raises:
        StylecoreError: when a weight does not fit into float16.
    """
    graph = GraphForTiles(model.network, weights) if tiles else Graph(model.network, weights)
    file = graph.model(model.card.name, crop)
    helper.set_model_props(file, {CARD_KEY: model.card.to_json()})
    onnx.checker.check_model(file)
    return file.SerializeToString(deterministic=True)


class Graph:
    """Writes one network layer by layer. A value (N, C, H, W) is its name in the graph.

    Args:
        network: of any form; computed in evaluation mode.
        weights: how those of convolutions are stored.
        eight_bits: the convolutions whose weights are in 8 bits, whatever `weights` says.
        largest_weight: in 8 bits.

    Attributes:
        nodes, initializers, inputs, outputs: of the graph so far.
    """

    def __init__(
        self,
        network: TransformNet,
        weights: Weights,
        eight_bits: Collection[str] = (),
        largest_weight: int = LARGEST_WEIGHT,
    ) -> None:
        self.network = network
        self.config = network.config
        self.weights = weights
        self.eight_bits = eight_bits
        self.largest_weight = largest_weight
        self.names = {module: name for name, module in network.named_modules()}
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def model(self, name: str, crop: int = 0) -> onnx.ModelProto:
        """The whole network; to be called once."""
        sides: list[Any] = ["N", 3, "H", "W"]
        self.inputs.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, sides))
        self.outputs.append(
            helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", 3, None, None] if crop else sides)
        )
        self.node("Identity", [self.layers(INPUT, crop)], OUTPUT)
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.initializers)
        file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        file.producer_name = "stylecore"
        return file

    # --- the layers of networks ---

    def layers(self, values: str, crop: int) -> str:
        """All layers of the network; returns the name of the result."""
        config = self.config
        network: Any = self.network  # for mypy, the layers of nn.Sequential are only modules
        scale, shift = input_map(config.input_values)
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
            values = self.node("Add", [self.crop(values, block.crop) if block.crop else values, change])
        values = self.crop(values, crop) if crop else values
        *upsampling, last = network.decoder
        for layer in upsampling:
            values = self.upsampling_layer(values, layer)
        return self.output_layer(values, last)

    def convolution_layer(
        self, values: str, layer: ConvolutionLayer, scale: Array | None = None, shift: Array | None = None
    ) -> str:
        """The layer, applied to values * scale + shift if they are given."""
        weight, bias = folded(layer.convolution, layer.normalization)
        if scale is not None and shift is not None:  # the picture is RGB; the map converts it for the weights
            weight = weight[:, ::-1] if self.config.input_values.channel_order == "BGR" else weight
            bias = bias + (weight * shift[None, :, None, None]).sum((1, 2, 3))
            weight = weight * scale[None, :, None, None]
        values = self.padded_convolution(values, layer, weight, _bias(bias, layer.normalization))
        return self.normalization(values, layer.normalization, relu=isinstance(layer.relu, nn.ReLU))

    def upsampling_layer(self, values: str, upsampling: UpsamplingLayer) -> str:
        if isinstance(upsampling.before, nn.Sequential):
            before = upsampling.before[0]
            if isinstance(before, nn.BatchNorm2d):
                values = self.node("Relu", [self.affine(values, *batch_map(before))])
            else:
                values = self.normalization(values, before, relu=True)
        transposed = isinstance(upsampling.layer, TransposedConvolutionLayer)
        layer: Any = upsampling.layer if transposed else upsampling.layer[1]  # type: ignore[index]
        weight, bias = folded(layer.convolution, layer.normalization)
        biases = _bias(np.tile(bias, 4), layer.normalization)
        border: str | Zeros
        if transposed:
            phases = phases_of_transposed(weight, first=0 if layer.same else 1)
            border = ((1, 0), (1, 0)) if layer.same else ((0, 1), (0, 1))
        else:
            phases = phases_of_nearest(weight)
            # Reflection at the larger grid repeats the edge value of the smaller grid.
            border = "edge" if self.config.padding == "reflect" else ((1, 1), (1, 1))
        values = self.convolution(values, self.names[layer], phases, biases, 1, border, 1)
        values = self.depth_to_space(values)
        values = values if transposed else self.crop(values, 1)
        return self.normalization(values, layer.normalization, relu=True)

    def output_layer(self, values: str, layer: ConvolutionLayer) -> str:
        """The last convolution and the following steps."""
        config, order = self.config, slice(None, None, -1 if self.config.output_values.channel_order == "BGR" else 1)
        scale, shift = output_map(config.output_values)
        weight, bias = folded(layer.convolution, layer.normalization)
        weight, bias = weight[order], bias[order]
        if config.output == "linear" and not config.normalize_output:  # then these steps are a part of the convolution
            weight, bias = weight * scale[:, None, None, None], np.tile(bias * scale + shift, 4)
            values = self.padded_convolution(values, layer, blocks(weight), bias, stride=2)
            return self.depth_to_space(self.clamp(values))
        biases = _bias(np.tile(bias, 4), layer.normalization)
        values = self.depth_to_space(self.padded_convolution(values, layer, blocks(weight), biases, stride=2))
        values = self.normalization(values, layer.normalization, order=order)
        if config.output == "tanh":
            values = self.node("Mul", [self.node("Tanh", [values]), self.constant(np.array(config.tanh_scale))])
        return self.clamp(self.affine(values, scale, shift))

    def padded_convolution(
        self, values: str, layer: ConvolutionLayer, weight: Array, bias: Array | None, stride: int = 0
    ) -> str:
        """The layer's convolution with its padding, and maybe with another weight and stride."""
        size, stride_of_layer = layer.convolution.kernel_size[0], layer.convolution.stride[0]
        padding = int(layer.convolution.padding[0])
        border: str | Zeros = ((padding, padding),) * 2
        if layer.same:  # TensorFlow's padding for even sides: the odd zero comes last
            total = size - stride_of_layer
            border = ((total // 2, total - total // 2),) * 2
        elif layer.convolution.padding_mode == "reflect" and padding:
            border = "reflect"
        name = self.names[layer]
        return self.convolution(values, name, weight, bias, stride or stride_of_layer, border, padding)

    def normalization(self, values: str, module: nn.Module, *, relu: bool = False, order: slice = slice(None)) -> str:
        """Instance normalization, if the layer has it (batch normalization is folded), and ReLU."""
        if isinstance(module, nn.InstanceNorm2d):
            scale, shift = array(module.weight)[order], array(module.bias)[order]
            values = self.instance_normalization(values, scale, shift, module.eps)
        return self.node("Relu", [values]) if relu else values

    # --- their operators ---

    def convolution(
        self, values: str, name: str, weight: Array, bias: Array | None, stride: int, border: str | Zeros, width: int
    ) -> str:
        """Convolution with the border of `pad`, or with zeros. `name` is that of the layer: "encoder.0"."""
        pads = [0, 0, 0, 0]
        if isinstance(border, str):
            values = self.pad(values, width, border)
        else:
            (top, bottom), (left, right) = border
            pads = [top, left, bottom, right]
        inputs = [values, self.weight(weight, name)]
        inputs += [] if bias is None else [self.constant(bias)]
        kernel = list(weight.shape[2:])
        return self.node("Conv", inputs, name, kernel_shape=kernel, strides=[stride] * 2, pads=pads)

    def weight(self, weight: Array, name: str) -> str:
        if self.weights == "int8" or name in self.eight_bits:
            factor = np.abs(weight).max((1, 2, 3), keepdims=True) / self.largest_weight
            factor[factor == 0] = 1
            integers = self.node("Cast", [self.constant(np.round(weight / factor), np.int8)], to=TensorProto.FLOAT)
            return self.node("Mul", [integers, self.constant(factor)])
        if self.weights == "float16":
            if np.abs(weight).max() > np.finfo(np.float16).max:
                raise StylecoreError(f"the weights of {name} do not fit into float16; export it in float32.")
            return self.node("Cast", [self.constant(weight, np.float16)], to=TensorProto.FLOAT)
        return self.constant(weight)

    def instance_normalization(self, values: str, scale: Array, shift: Array, epsilon: float) -> str:
        """Mean `shift` and deviation `scale` for every channel (C,) of each picture."""
        return self.node(
            "InstanceNormalization", [values, self.constant(scale), self.constant(shift)], epsilon=epsilon
        )

    def affine(self, values: str, scale: Array, shift: Array) -> str:
        """values * scale + shift, each (C,)."""
        scaled = self.node("Mul", [values, self.constant(scale.reshape(1, -1, 1, 1))])
        return self.node("Add", [scaled, self.constant(shift.reshape(1, -1, 1, 1))])

    def clamp(self, values: str) -> str:
        """Clipped to [0, 1]."""
        return self.node("Clip", [values, self.constant(np.array(0.0)), self.constant(np.array(1.0))])

    def depth_to_space(self, values: str) -> str:
        """(N, 4 C, H, W) to (N, C, 2 H, 2 W); the phase is the slower index of the channels."""
        return self.node("DepthToSpace", [values], blocksize=2, mode="DCR")

    def pad(self, values: str, width: int, mode: str) -> str:
        """`width` values on each side; the mode is "reflect" or "edge"."""
        return self.node("Pad", [values, self.constant(np.array([0, 0, width, width] * 2), np.int64)], mode=mode)

    def crop(self, values: str, width: int) -> str:
        """Remove `width` values on each side."""
        ends = ([width, width], [-width, -width], [2, 3])
        return self.node("Slice", [values, *(self.constant(np.array(end), np.int64) for end in ends)])

    def node(self, operator: str, inputs: list[str], name: str = "", **attributes: Any) -> str:
        name = name or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, values: Array, kind: type = np.float32) -> str:
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(
            numpy_helper.from_array(np.ascontiguousarray(values, kind).reshape(values.shape), name)
        )
        return name


class GraphForTiles(Graph):
    """Instance normalization by statistics that are given or measured.

    Attributes:
        channels: of all instance normalizations so far.
        measured: names of the means, and of the variances.
    """

    def __init__(self, network: TransformNet, weights: Weights) -> None:
        super().__init__(network, weights)
        self.channels = 0
        self.measured: tuple[list[str], list[str]] = ([], [])

    def layers(self, values: str, crop: int) -> str:
        result = super().layers(values, crop)
        if not self.channels:
            raise StylecoreError("a network without instance normalization needs no form for tiles.")
        shape = [2, self.channels, 1, 1]
        self.node("Concat", [self.node("Concat", names, axis=1) for names in self.measured], MEASURED, axis=0)
        self.inputs.append(helper.make_tensor_value_info(HELD, TensorProto.BOOL, []))
        self.inputs.append(helper.make_tensor_value_info(STATISTICS, TensorProto.FLOAT, shape))
        self.outputs.append(helper.make_tensor_value_info(MEASURED, TensorProto.FLOAT, shape))
        return result

    def instance_normalization(self, values: str, scale: Array, shift: Array, epsilon: float) -> str:
        at, self.channels = self.channels, self.channels + len(scale)
        mean = self.statistic(0, at, values)
        centered = self.node("Sub", [values, mean])
        variance = self.statistic(1, at, self.node("Mul", [centered, centered]))
        deviation = self.node("Sqrt", [self.node("Add", [variance, self.constant(np.array(epsilon))])])
        factor = self.node("Div", [self.constant(scale.reshape(1, -1, 1, 1)), deviation])
        return self.node("Add", [self.node("Mul", [centered, factor]), self.constant(shift.reshape(1, -1, 1, 1))])

    def statistic(self, row: int, at: int, values: str) -> str:
        """(1, C, 1, 1): what is given in that row, or the mean of the values over all pictures and positions."""
        ends = ([row, at], [row + 1, self.channels], [0, 1])
        given = self.node("Slice", [STATISTICS, *(self.constant(np.array(end), np.int64) for end in ends)])
        mean = self.node("ReduceMean", [values], axes=[0, 2, 3], keepdims=1)
        self.measured[row].append(self.node("Where", [HELD, given, mean]))
        return self.measured[row][-1]


def _bias(bias: Array, normalization: nn.Module) -> Array | None:
    """None where it has no effect."""
    return None if isinstance(normalization, nn.InstanceNorm2d) or not bias.any() else bias
