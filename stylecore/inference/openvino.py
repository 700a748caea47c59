"""Run a transformation network with OpenVINO, which is faster than PyTorch on a CPU."""

import contextlib
import importlib.util
import queue
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.files import default_cache
from stylecore.inference.folding import Array
from stylecore.inference.openvino_graph import Ranges, build_graph, convolution_names, core
from stylecore.johnson.transform_net import TransformNet

Result = TypeVar("Result")
EVERY = slice(None)

CACHED_BYTES = 256_000_000
"""Limit for the cache of compiled networks; each has 2 to 7 MB."""

_FIRST_USE = threading.Lock()


def is_installed() -> bool:
    """Whether OpenVINO is installed, and onnx, whose graphs it reads; they are not imported."""
    return all(importlib.util.find_spec(name) for name in ("openvino", "onnx"))


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
        StylecoreError: when OpenVINO is not installed or cannot compile the network.
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
        if not is_installed():
            raise StylecoreError("OpenVINO is not installed; `pip install openvino onnx`, or choose another runtime.")
        self._names = convolution_names(network)
        self._compiled = _compile(partial(build_graph, network, ranges, watch=watch, crop=crop), bool(ranges), streams)
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
        """Free the memory reserved for the next picture: 350 MB after one of 1024 x 768."""
        with self._releasing:
            idle = [self._requests.get() for _ in range(self._streams)]
            self._compiled.release_memory()
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


def _compile(build: Callable[[], Any], in_eight_bits: bool, streams: int) -> Any:
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": streams,
        "ENABLE_CPU_PINNING": False,  # leave the choice of cores to the system
    }
    try:
        with _FIRST_USE:
            runtime = core()
        graph = build()
        # Beside 8-bit convolutions the time is spent on reading and writing: bfloat16 halves it and loses no more
        # precision than 8 bits. It is slow without hardware support, and float32 networks stay in float32.
        in_half = in_eight_bits and "BF16" in runtime.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        settings["INFERENCE_PRECISION_HINT"] = "bf16" if in_half else "f32"
        cache = default_cache() / "openvino"
        try:
            compiled = runtime.compile_model(graph, "CPU", settings | {"CACHE_DIR": str(cache)})
        except (RuntimeError, OSError):  # a folder without permission, a damaged file
            return runtime.compile_model(graph, "CPU", settings)
    except RuntimeError as error:
        raise StylecoreError(f"OpenVINO cannot compile this network: {_first_line(error)}.") from error
    _remove_oldest(cache)
    return compiled


def _remove_oldest(cache: Path) -> None:
    """Limit the size of the folder of compiled networks."""
    with contextlib.suppress(OSError):  # another process removes, too
        files = sorted(cache.iterdir(), key=lambda file: file.stat().st_mtime)
        total = sum(file.stat().st_size for file in files)
        for file in files:
            if total <= CACHED_BYTES:
                break
            total -= file.stat().st_size
            file.unlink()


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip().rstrip(".")
