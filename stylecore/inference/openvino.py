"""Run a transformation network with OpenVINO, on a CPU faster than PyTorch does."""

import contextlib
import functools
import importlib.util
import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.files import default_cache
from stylecore.inference.openvino_graph import Array, Ranges, build_graph, convolution_names
from stylecore.johnson.transform_net import TransformNet

CACHED_BYTES = 256_000_000
"""Compiled networks that are kept, at most; one takes 2 to 7 MB."""

_FIRST_USE = threading.Lock()


def is_installed() -> bool:
    """Whether there is OpenVINO; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


class OpenVinoNetwork:
    """A network compiled for the CPU. Safe to share between threads.

    Args:
        network: of any form; computes as in evaluation mode.
        ranges: the convolutions to compute in 8 bits; the others, or all when left out, are in floating point.
        watch: compile for `input_ranges`.

    Raises:
        StylecoreError: when OpenVINO is not installed or cannot compile the network.
    """

    def __init__(self, network: TransformNet, ranges: Ranges | None = None, *, watch: bool = False) -> None:
        if not is_installed():
            raise StylecoreError("OpenVINO is not installed; `pip install openvino`, or choose another runtime.")
        self._names = convolution_names(network)
        self._compiled = _compile(network, ranges, watch)
        self._one_at_a_time = threading.Lock()

    def __call__(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) on the CPU, H and W multiples of 4, to the same shape, as the network itself.

        Raises:
            StylecoreError: when OpenVINO fails, for want of memory for instance.
        """
        return torch.from_numpy(self._run(pixels)[0])

    def input_ranges(self, pixels: Tensor) -> dict[str, tuple[float, float]]:
        """The least and largest value that each convolution is given for these pixels."""
        _, least, largest = self._run(pixels)
        return dict(zip(self._names, zip(least.tolist(), largest.tolist(), strict=True), strict=True))

    def release_memory(self) -> None:
        """Give back what the network keeps for the next picture: 350 MB after one of 1024 x 768."""
        with self._one_at_a_time:
            self._compiled.release_memory()

    def _run(self, pixels: Tensor) -> list[Array]:
        try:
            with self._one_at_a_time:
                results = self._compiled([pixels.detach().contiguous().numpy()], share_inputs=True)
                return [results[output] for output in self._compiled.outputs]
        except RuntimeError as error:
            raise StylecoreError(f"OpenVINO failed: {_first_line(error)}.") from error


@functools.cache
def _core() -> Any:
    """OpenVINO itself, once and for as long as the process lives.

    Each Core puts a stack for signals in the place of the thread's and, when it goes, puts back the one it found, even
    if the Core that this one was of is gone already: with two Cores, the next signal could end the process.
    """
    import openvino

    return openvino.Core()


def _compile(network: TransformNet, ranges: Ranges | None, watch: bool) -> Any:
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,  # other programs compute too
    }
    try:
        graph = build_graph(network, ranges, watch=watch)
        with _FIRST_USE:
            core = _core()
        # Beside convolutions in 8 bits, all else is reading and writing: half the bytes take half the time, and the
        # 8 bits of a bfloat16 lose no more. In software it would be slow, and float32 is to be float32.
        in_half = bool(ranges) and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        settings["INFERENCE_PRECISION_HINT"] = "bf16" if in_half else "f32"
        cache = default_cache() / "openvino"
        try:
            compiled = core.compile_model(graph, "CPU", settings | {"CACHE_DIR": str(cache)})
        except (RuntimeError, OSError):  # a folder that cannot be written, a file that is damaged
            return core.compile_model(graph, "CPU", settings)
    except RuntimeError as error:
        raise StylecoreError(f"OpenVINO cannot compile this network: {_first_line(error)}.") from error
    _remove_oldest(cache)
    return compiled


def _remove_oldest(cache: Path) -> None:
    """Keep the folder of compiled networks from growing for ever."""
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
