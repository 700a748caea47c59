"""The layers of a transformation network as nodes of an ONNX graph, built from the weights and not traced.

This takes milliseconds, and the graph computes the same with less work:

- The affine maps of input and output and batch normalization are folded into the convolutions; a bias in front
  of instance normalization has no effect and is left out.
- Nearest-neighbor upsampling and its 3 x 3 convolution, or a transposed 3 x 3 convolution, become one 2 x 2
  convolution at the lower size with four times the channels, one for each phase of the larger grid (Shi et al. 2016):
  4 multiplications instead of 9.
- The last 9 x 9 convolution has 3 output channels, and processors compute 16 at once; a 10 x 10 convolution of stride
  2 gives blocks of 2 x 2 pixels, 12 channels.

`onnx_graph.py` has the operators, and `openvino_graph.py` reads its graph. Sides are dynamic.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

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
from stylecore.johnson.transform_net import ConvolutionLayer, TransformNet, TransposedConvolutionLayer, UpsamplingLayer

if TYPE_CHECKING:
    from stylecore.inference.onnx_graph import Operators

Zeros = tuple[tuple[int, int], tuple[int, int]]
"""((top, bottom), (left, right)): numbers of zeros beside a picture."""


def write_network(network: TransformNet, operators: "Operators", pixels: str, crop: int = 0) -> str:
    """Add the network of the value `pixels` (N, 3, H, W), H and W multiples of 4; returns the name of the result.

    `crop` is that of `TransformNet.forward`.
    """
    return _Writer(network, operators).write(pixels, crop)


class _Writer:
    """Writes one network layer by layer."""

    def __init__(self, network: TransformNet, operators: "Operators") -> None:
        self.ops = operators
        self.network = network
        self.config = network.config
        self.names = {module: name for name, module in network.named_modules()}

    def write(self, pixels: str, crop: int) -> str:
        ops, config = self.ops, self.config
        network: Any = self.network  # for mypy, the layers of nn.Sequential are only modules
        values = pixels
        scale, shift = input_map(config.input_values)
        if config.padding != "reflect":  # zeros beside the picture mean zeros after this map
            values = ops.affine(values, scale, shift)
            scale, shift = np.ones(3), np.zeros(3)
        if config.padding == "reflect-start":
            values = ops.pad(values, config.border, "reflect")
        first, *others = network.encoder
        values = self.convolution_layer(values, first, scale, shift)
        for layer in others:
            values = self.convolution_layer(values, layer)
        for block in network.residual_blocks:
            change = self.convolution_layer(self.convolution_layer(values, block.first), block.second)
            values = ops.add(ops.crop(values, block.crop) if block.crop else values, change)
        values = ops.crop(values, crop) if crop else values
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
        values = self.convolution(values, layer, weight, _bias(bias, layer.normalization))
        return self.normalization(values, layer.normalization, relu=isinstance(layer.relu, nn.ReLU))

    def upsampling_layer(self, values: str, upsampling: UpsamplingLayer) -> str:
        if isinstance(upsampling.before, nn.Sequential):
            before = upsampling.before[0]
            if isinstance(before, nn.BatchNorm2d):
                values = self.ops.relu(self.ops.affine(values, *batch_map(before)))
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
        values = self.ops.convolution(values, self.names[layer], phases, biases, 1, border, 1)
        values = self.ops.depth_to_space(values)
        values = values if transposed else self.ops.crop(values, 1)
        return self.normalization(values, layer.normalization, relu=True)

    def output_layer(self, values: str, layer: ConvolutionLayer) -> str:
        """The last convolution and the following steps."""
        config, order = self.config, slice(None, None, -1 if self.config.output_values.channel_order == "BGR" else 1)
        scale, shift = output_map(config.output_values)
        weight, bias = folded(layer.convolution, layer.normalization)
        weight, bias = weight[order], bias[order]
        if config.output == "linear" and not config.normalize_output:  # then these steps are a part of the convolution
            weight, bias = weight * scale[:, None, None, None], np.tile(bias * scale + shift, 4)
            values = self.convolution(values, layer, blocks(weight), bias, stride=2)
            return self.ops.depth_to_space(self.ops.clamp(values))
        biases = _bias(np.tile(bias, 4), layer.normalization)
        values = self.ops.depth_to_space(self.convolution(values, layer, blocks(weight), biases, stride=2))
        values = self.normalization(values, layer.normalization, order=order)
        if config.output == "tanh":
            values = self.ops.tanh(values, config.tanh_scale)
        return self.ops.clamp(self.ops.affine(values, scale, shift))

    def convolution(
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
        return self.ops.convolution(values, name, weight, bias, stride or stride_of_layer, border, padding)

    def normalization(self, values: str, module: nn.Module, *, relu: bool = False, order: slice = slice(None)) -> str:
        """Instance normalization, if the layer has it (batch normalization is folded), and ReLU."""
        if isinstance(module, nn.InstanceNorm2d):
            scale, shift = array(module.weight)[order], array(module.bias)[order]
            values = self.ops.instance_normalization(values, scale, shift, module.eps)
        return self.ops.relu(values) if relu else values


def _bias(bias: Array, normalization: nn.Module) -> Array | None:
    """None where it has no effect."""
    return None if isinstance(normalization, nn.InstanceNorm2d) or not bias.any() else bias
