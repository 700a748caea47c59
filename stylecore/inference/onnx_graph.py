"""A transformation network as an ONNX file, for browsers, for OpenVINO and others; `graph.py` has the layers.

The operators are among those that ONNX Runtime computes on processors, in WebAssembly and on WebGPU. All values are
float32: sums of instance normalization over a large picture do not fit into float16. Weights may be stored in fewer
bits; then the first operators of the graph convert them, once for each session.
"""

from collections.abc import Collection
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from stylecore.errors import StylecoreError
from stylecore.inference.folding import Array
from stylecore.inference.graph import Zeros, write_network
from stylecore.johnson.style_model import CARD_KEY, StyleModel
from stylecore.johnson.transform_net import TransformNet

Weights = Literal["float32", "float16", "int8"]
"""How the weights of convolutions are stored. 8-bit ones have a factor for each output channel."""

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
    operators = OperatorsForTiles(weights) if tiles else Operators(weights)
    file = onnx_model(model.network, operators, model.card.name, crop)
    helper.set_model_props(file, {CARD_KEY: model.card.to_json()})
    onnx.checker.check_model(file)
    return file.SerializeToString(deterministic=True)


def onnx_model(network: TransformNet, operators: "Operators", name: str, crop: int = 0) -> onnx.ModelProto:
    """The network as an ONNX model, by operators that have no nodes yet."""
    result = write_network(network, operators, INPUT, crop)
    sides: list[Any] = ["N", 3, "H", "W"]
    inputs = [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, sides)]
    outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", 3, None, None] if crop else sides)]
    operators.node("Identity", [result], OUTPUT)
    if isinstance(operators, OperatorsForTiles):
        shape = [2, operators.channels, 1, 1]
        operators.node("Concat", operators.all_measured(), MEASURED, axis=0)
        inputs.append(helper.make_tensor_value_info(HELD, TensorProto.BOOL, []))
        inputs.append(helper.make_tensor_value_info(STATISTICS, TensorProto.FLOAT, shape))
        outputs.append(helper.make_tensor_value_info(MEASURED, TensorProto.FLOAT, shape))
    graph = helper.make_graph(operators.nodes, name, inputs, outputs, operators.initializers)
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    file.producer_name = "stylecore"
    return file


class Operators:
    """What networks consist of. A value (N, C, H, W) is its name in the graph.

    Args:
        weights: how those of convolutions are stored.
        eight_bits: the convolutions whose weights are in 8 bits, whatever `weights` says.
        largest_weight: in 8 bits.

    Attributes:
        nodes, initializers: of the graph so far.
    """

    def __init__(
        self, weights: Weights, eight_bits: Collection[str] = (), largest_weight: int = LARGEST_WEIGHT
    ) -> None:
        self.weights = weights
        self.eight_bits = eight_bits
        self.largest_weight = largest_weight
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

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

    def add(self, values: str, others: str) -> str:
        return self.node("Add", [values, others])

    def relu(self, values: str) -> str:
        return self.node("Relu", [values])

    def tanh(self, values: str, factor: float) -> str:
        """factor * tanh(values)."""
        return self.node("Mul", [self.node("Tanh", [values]), self.constant(np.array(factor))])

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


class OperatorsForTiles(Operators):
    """Instance normalization by statistics that are given or measured.

    Attributes:
        channels: of all instance normalizations so far.
        measured: names of the means, and of the variances.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self.channels = 0
        self.measured: tuple[list[str], list[str]] = ([], [])

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

    def all_measured(self) -> list[str]:
        """The rows of the statistics, (1, C, 1, 1) each."""
        if not self.channels:
            raise StylecoreError("a network without instance normalization needs no form for tiles.")
        return [self.node("Concat", names, axis=1) for names in self.measured]
