"""A transformation network as a graph of OpenVINO; `graph.py` has the layers.

In quantized networks, convolutions are in 8 bits, and values between them are bfloat16 if the processor supports it.
Sides are dynamic: one compiled network serves pictures of all sizes.
"""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from stylecore.inference.folding import Array
from stylecore.inference.graph import Zeros, write_network
from stylecore.johnson.transform_net import TransformNet

# Through this package OpenVINO reports every import to Google Analytics; it also works without the package.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

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

    operators = _Operators(opset13, ranges or {})
    pixels = opset13.parameter([-1, 3, -1, -1], np.float32, name="pixels")
    results = [opset13.result(write_network(network, operators, pixels))]
    if watch:
        results += [opset13.result(extremes) for extremes in operators.extremes_of_inputs()]
    graph = openvino.Model(results, [pixels], "transformation_network")
    for number, node in enumerate(graph.get_ordered_ops()):
        # OpenVINO's default names depend on all nodes made by the process, and the cache's key depends on the names.
        node.set_friendly_name(f"{node.get_type_name()}_{number}")
    for number, output in enumerate(graph.outputs):
        output.set_names({f"result_{number}"})
    return graph


class _Operators:
    """`graph.Operators` of OpenVINO.

    Attributes:
        inputs: of the convolutions so far.
    """

    def __init__(self, ops: Any, ranges: Ranges) -> None:
        self.ops = ops
        self.ranges = ranges
        self.inputs: list[Any] = []

    def extremes_of_inputs(self) -> list[Any]:
        """The least and the largest value (C,) of each convolution's input."""
        return [
            self.ops.concat([self.ops.reshape(reduce(x, np.arange(4)), np.array([1]), False) for x in self.inputs], 0)
            for reduce in (self.ops.reduce_min, self.ops.reduce_max)
        ]

    def convolution(
        self, values: Any, name: str, weight: Array, bias: Array | None, stride: int, border: str | Zeros, width: int
    ) -> Any:
        """In 8 bits if its name is among the ranges."""
        self.inputs.append(values)
        if name in self.ranges:
            low, high = (self.constant(value) for value in _with_zero(*self.ranges[name]))
            values = self.ops.fake_quantize(values, low, high, low, high, LEVELS)
        zeros: Zeros = ((0, 0), (0, 0)) if isinstance(border, str) else border
        if isinstance(border, str):
            values = self.pad(values, width, border)
        (top, bottom), (left, right) = zeros
        kernel = self.eight_bit_weight(weight) if name in self.ranges else self.constant(weight)
        values = self.ops.convolution(values, kernel, [stride] * 2, [top, left], [bottom, right], [1, 1])
        return values if bias is None else self.ops.add(values, self.constant(bias.reshape(1, -1, 1, 1)))

    def eight_bit_weight(self, weight: Array) -> Any:
        """Integers, multiplied by a factor for each output channel."""
        factor = np.abs(weight).max((1, 2, 3), keepdims=True) / LARGEST_WEIGHT
        factor[factor == 0] = 1
        integers = self.ops.constant(np.ascontiguousarray(np.round(weight / factor), np.int8))
        return self.ops.multiply(self.ops.convert(integers, np.float32), self.constant(factor))

    def instance_normalization(self, values: Any, scale: Array, shift: Array, epsilon: float) -> Any:
        values = self.ops.mvn(values, np.array(_HEIGHT_AND_WIDTH), True, epsilon, "inside_sqrt")
        return self.affine(values, scale, shift)

    def affine(self, values: Any, scale: Array, shift: Array) -> Any:
        values = self.ops.multiply(values, self.constant(scale.reshape(1, -1, 1, 1)))
        return self.ops.add(values, self.constant(shift.reshape(1, -1, 1, 1)))

    def add(self, values: Any, others: Any) -> Any:
        return self.ops.add(values, others)

    def relu(self, values: Any) -> Any:
        return self.ops.relu(values)

    def tanh(self, values: Any, factor: float) -> Any:
        return self.ops.multiply(self.ops.tanh(values), self.constant(factor))

    def clamp(self, values: Any) -> Any:
        return self.ops.clamp(values, 0.0, 1.0)

    def depth_to_space(self, values: Any) -> Any:
        return self.ops.depth_to_space(values, "blocks_first", 2)

    def pad(self, values: Any, width: int, mode: str) -> Any:
        sides = np.array([0, 0, width, width])
        return self.ops.pad(values, sides, sides, mode, self.constant(0.0))  # a value is required, but not used

    def crop(self, values: Any, width: int) -> Any:
        begin, end = np.array([width, width]), np.array([-width, -width])
        return self.ops.slice(values, begin, end, np.array([1, 1]), np.array(_HEIGHT_AND_WIDTH))

    def constant(self, values: Array | float) -> Any:
        return self.ops.constant(np.ascontiguousarray(values, np.float32))


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
