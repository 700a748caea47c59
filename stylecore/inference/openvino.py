"""Run a transformation network with OpenVINO, which is faster than PyTorch on a CPU.

OpenVINO reads the graph of `onnx_graph.py`. In quantized networks, convolutions are in 8 bits, and values between them
are bfloat16 if the processor supports it. Sides are dynamic: one compiled network serves pictures of all sizes.
"""

import functools
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.inference.folding import Array
from stylecore.johnson.transform_net import TransformNet

# Through this package OpenVINO reports every import to Google Analytics; it also works without the package.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

Result = TypeVar("Result")
Ranges = Mapping[str, tuple[float, float]]
"""Name of a convolution, such as "encoder.0", to the least and largest value of its input in 8 bits."""

LEVELS = 256
LARGEST_WEIGHT_OF_7_BITS = 63
"""Weights have 7 bits: a processor without VNNI adds two products of 8 x 8 bits in 16 bits, without overflow."""

EVERY = slice(None)

_FIRST_USE = threading.Lock()


@functools.cache
def core() -> Any:
    """OpenVINO's core, one for the whole process.

    Each Core replaces the thread's stack for signals, and later restores the one it found, even if that belonged to
    another Core that no longer exists: with two Cores, the next signal could end the process.
    """
    import openvino

    return openvino.Core()


class OpenVinoNetwork:
    """A network compiled for the CPU. Safe to share between threads.

    Args:
        network: of any form; computed in evaluation mode.
        ranges: the convolutions to compute in 8 bits; the others are in floating point.
        watch: compile for `input_ranges`.
        crop: as in `TransformNet.forward`.
        streams: pictures that are computed at the same time, each by its share of the threads. One picture takes
            longer then, but many take less: threads do not wait for each other after every layer.

    Raises:
        StylecoreError: when OpenVINO cannot compile the network.
    """

    def __init__(
        self,
        network: TransformNet,
        ranges: Ranges | None = None,
        *,
        watch: bool = False,
        crop: int = 0,
        streams: int = 1,
    ) -> None:
        self._names = convolution_names(network)
        self._compiled = _compile(network, ranges or {}, watch, crop, streams)
        self._requests: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(streams):
            self._requests.put(self._compiled.create_infer_request())
        self._streams = streams
        self._releasing = threading.Lock()

    def __call__(self, pixels: Tensor, rows: slice = EVERY, columns: slice = EVERY) -> Tensor:
        """Some rows and columns of the network's result for (N, 3, H, W) on the CPU, H and W multiples of 4.

        Raises:
            StylecoreError: when OpenVINO fails, for instance because there is too little memory.
        """
        return torch.from_numpy(self._run(pixels, lambda results: results[0][..., rows, columns].copy()))

    def input_ranges(self, pixels: Tensor) -> dict[str, tuple[float, float]]:
        """The least and largest input value of each convolution for these pixels."""
        least, largest = self._run(pixels, lambda results: [each.tolist() for each in results[1:]])
        return dict(zip(self._names, zip(least, largest, strict=True), strict=True))

    def release_memory(self) -> None:
        """Free the memory reserved for the next picture: 350 MB after one of 1024 x 768.

        Raises:
            StylecoreError: when OpenVINO fails.
        """
        with self._releasing:
            idle = [self._requests.get() for _ in range(self._streams)]
            try:
                self._compiled.release_memory()
            except RuntimeError as error:
                raise StylecoreError(f"OpenVINO failed: {_first_line(error)}.") from error
            finally:
                for request in idle:
                    self._requests.put(request)

    def _run(self, pixels: Tensor, take: Callable[[list[Array]], Result]) -> Result:
        """What is taken of the results, whose memory the next picture gets."""
        request = self._requests.get()  # waits until one is idle
        try:
            given = [pixels.detach().contiguous().numpy()]
            results = request.infer(given, share_inputs=True, share_outputs=True)
            return take([results[output] for output in self._compiled.outputs])
        except RuntimeError as error:
            raise StylecoreError(f"OpenVINO failed: {_first_line(error)}.") from error
        finally:
            self._requests.put(request)


def _compile(network: TransformNet, ranges: Ranges, watch: bool, crop: int, streams: int) -> Any:
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": streams,
        "ENABLE_CPU_PINNING": False,  # leave the choice of cores to the system
    }
    try:
        with _FIRST_USE:
            runtime = core()
        graph = build_graph(network, ranges, watch=watch, crop=crop)
        # Beside 8-bit convolutions the time is spent on reading and writing: bfloat16 halves it and loses no more
        # precision than 8 bits. It is slow without hardware support, and float32 networks stay in float32.
        in_half = bool(ranges) and "BF16" in runtime.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        settings["INFERENCE_PRECISION_HINT"] = "bf16" if in_half else "f32"
        return runtime.compile_model(graph, "CPU", settings)
    except RuntimeError as error:
        raise StylecoreError(f"OpenVINO cannot compile this network: {_first_line(error)}.") from error


def convolution_names(network: TransformNet) -> list[str]:
    """The convolutions in the order of the forward pass."""
    return [name.removesuffix(".convolution") for name, _ in network.named_modules() if name.endswith(".convolution")]


def build_graph(network: TransformNet, ranges: Ranges, *, watch: bool, crop: int) -> Any:
    """The network as an openvino.Model, with dynamic N, H and W; shapes are those of `TransformNet.forward`.

    Args:
        network: of any form.
        ranges: the convolutions to compute in 8 bits.
        watch: add two results (C,), the least and largest values of the C convolutions' inputs.
        crop: as in `TransformNet.forward`.
    """
    from openvino import opset13

    from stylecore.inference.onnx_graph import Graph

    file = Graph(network, "float32", ranges, LARGEST_WEIGHT_OF_7_BITS).model("transformation_network", crop)
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


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip().rstrip(".")
