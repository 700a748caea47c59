"""The memory of the optimization of Gatys et al. (2016), estimated before it starts."""

from bisect import bisect_right
from pathlib import Path

import torch
from torch import nn

from stylecore.errors import StylecoreError
from stylecore.gatys.config import GatysConfig, layer_weights
from stylecore.vgg.network import VGG

FLOAT_BYTES = 4
INDEX_BYTES = 8
PIXEL_COPIES = 10
"""Tensors of the picture's size beside L-BFGS's history: parameter, gradients, direction, last good picture..."""

WORKING_SHARE = 1.45
FIXED_BYTES = 180_000_000
"""Memory of convolutions beside the counted tensors: measured as peak resident memory on a CPU with VGG-19
from 256 x 256 to 768 x 1024 pixels; the estimate is within -2 and +8 percent of all four measurements."""

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def estimate_memory(height: int, width: int, config: GatysConfig, vgg: VGG) -> int:
    """Peak memory of a run at this size in bytes, with the border, without the network's weights.

    It counts the activations that are kept for the gradient, their copies for Gram matrices, the pixels with L-BFGS's
    history, and the activations of the style pictures, which are computed before the run.
    """
    style_layers = layer_weights(config.style_layers)
    wanted = {**layer_weights(config.content_layers), **style_layers}
    height, width = height + 2 * config.border, width + 2 * config.border
    area = height * width
    kept, held, widest = 0.0, 0.0, 0.0
    channels = 3
    remaining = set(wanted)
    for name, layer in vgg.layers.items():
        if not remaining:
            break
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
        if name.startswith("pool"):
            area //= 4
        size = area * channels * FLOAT_BYTES
        widest = max(widest, size)
        # The output of a convolution is freed after its ReLU, unless it is a wanted layer.
        if not isinstance(layer, nn.Conv2d) or name in wanted:
            kept += size
        if isinstance(layer, nn.MaxPool2d):
            kept += area * channels * INDEX_BYTES
        if name in style_layers:
            kept += size
            held += size
        remaining.discard(name)
    pixels = height * width * 3 * FLOAT_BYTES
    history = 2 * min(config.history, config.steps) if config.optimizer == "lbfgs" else 2
    run = (kept + PIXEL_COPIES * pixels) * WORKING_SHARE + history * pixels
    style_pictures = (held + 4 * widest) * config.style_scale**2 * WORKING_SHARE
    return round(max(run, style_pictures)) + FIXED_BYTES


def check_memory(height: int, width: int, config: GatysConfig, vgg: VGG) -> None:
    """Check that a run fits into the memory.

    Raises:
        StylecoreError: when it does not; the message names the largest size of this shape that fits.
    """
    available = available_memory(next(vgg.parameters()).device)
    needed = estimate_memory(height, width, config, vgg)
    if available is None or needed <= available:
        return
    side = largest_side(height, width, available, config, vgg)
    advice = (
        f"reduce the picture to at most {side} pixels on its longest side"
        if side
        else "no size fits; close other programs"
    )
    raise StylecoreError(
        f"painting {width} x {height} pixels needs about {needed / 1e9:.1f} GB of memory and {available / 1e9:.1f} GB "
        f"are available; {advice}."
    )


def largest_side(height: int, width: int, available: int, config: GatysConfig, vgg: VGG) -> int:
    """The longest side in pixels at which a picture of this aspect needs at most `available` bytes; 0 if none."""
    longest = max(height, width)

    def needed(side: int) -> int:
        return estimate_memory(height * side // longest, width * side // longest, config, vgg)

    return bisect_right(range(1, longest), available, key=needed)


def available_memory(device: torch.device) -> int | None:
    """Bytes available to a run on this device; None if the system does not tell.

    On Linux: the memory that the kernel can free, and at most the rest of the container's limit (control groups 2).
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type != "cpu" or not MEMINFO.is_file():
        return None
    fields = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
    if "MemAvailable" not in fields:
        return None
    available = int(fields["MemAvailable"].split()[0]) * 1024
    try:
        limit = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
        counters = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no control group, or "max": no limit
        return available
    # Pages of files count as used, but can be freed.
    return min(available, max(0, limit - used + int(counters.get("inactive_file", 0))))
