"""A transformation network as a graph of OpenVINO, which reads the one of `onnx_graph.py`.

In quantized networks, convolutions are in 8 bits, and values between them are bfloat16 if the processor supports it.
Sides are dynamic: one compiled network serves pictures of all sizes.
"""

import functools
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from stylecore.johnson.transform_net import TransformNet

# Through this package OpenVINO reports every import to Google Analytics; it also works without the package.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

Ranges = Mapping[str, tuple[float, float]]
"""Name of a convolution, such as "encoder.0", to the least and largest value of its input in 8 bits."""

LEVELS = 256
LARGEST_WEIGHT = 63
"""Weights have 7 bits: a processor without VNNI adds two products of 8 x 8 bits in 16 bits, without overflow."""


@functools.cache
def core() -> Any:
    """OpenVINO's core, one for the whole process.

    Each Core replaces the thread's stack for signals, and later restores the one it found, even if that belonged to
    another Core that no longer exists: with two Cores, the next signal could end the process.
    """
    import openvino

    return openvino.Core()


def convolution_names(network: TransformNet) -> list[str]:
    """The convolutions in the order of the forward pass."""
    return [name.removesuffix(".convolution") for name, _ in network.named_modules() if name.endswith(".convolution")]


def build_graph(network: TransformNet, ranges: Ranges | None = None, *, watch: bool = False, crop: int = 0) -> Any:
    """The network as an openvino.Model, with dynamic N, H and W; shapes are those of `TransformNet.forward`.

    Args:
        network: of any form.
        ranges: the convolutions to compute in 8 bits.
        watch: add two results (C,), the least and largest values of the C convolutions' inputs.
        crop: as in `TransformNet.forward`.
    """
    from openvino import opset13

    from stylecore.inference.onnx_graph import Operators, onnx_model

    ranges = ranges or {}
    file = onnx_model(network, Operators("float32", ranges, LARGEST_WEIGHT), "transformation_network", crop)
    graph = core().read_model(file.SerializeToString())
    convolutions = [node for node in graph.get_ops() if node.get_type_name() == "Convolution"]
    # The bias is a node of its own, and has the name.
    by_name = {node.get_friendly_name().removesuffix("/WithoutBiases"): node for node in convolutions}
    # In front of the padding, where there is a node of it.
    inputs = [_unpadded(by_name[name].input(0)) for name in convolution_names(network)]
    if watch:
        values = [value.get_source_output() for value in inputs]
        graph.add_results([opset13.result(_of_all(opset13, reduce, values)) for reduce in ("min", "max")])
    for name, value in zip(convolution_names(network), inputs, strict=True):
        if name in ranges:
            low, high = (opset13.constant(np.float32(end)) for end in _with_zero(*ranges[name]))
            rounded = opset13.fake_quantize(value.get_source_output(), low, high, low, high, LEVELS)
            value.replace_source_output(rounded.output(0))
    for number, node in enumerate(graph.get_ordered_ops()):
        # OpenVINO's default names depend on all nodes made by the process, and the cache's key depends on the names.
        node.set_friendly_name(f"{node.get_type_name()}_{number}")
    for number, output in enumerate(graph.outputs):
        output.set_names({f"result_{number}"})
    return graph


def _unpadded(value: Any) -> Any:
    """The input of the padding that a convolution's input comes from, or else the input itself."""
    node = value.get_source_output().get_node()
    return node.input(0) if node.get_type_name() == "Pad" else value


def _of_all(ops: Any, reduce: str, values: list[Any]) -> Any:
    """The least or the largest value (C,) of each of C values."""
    extremes = (getattr(ops, f"reduce_{reduce}")(value, np.arange(4)) for value in values)
    return ops.concat([ops.reshape(extreme, np.array([1]), False) for extreme in extremes], 0)


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
