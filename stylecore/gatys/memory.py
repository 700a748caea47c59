"""How much memory the optimization of Gatys et al. (2016) takes, known before it starts."""

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
"""What convolutions need beside the tensors that are counted: measured as peak resident memory on a CPU with VGG-19
from 256 x 256 to 768 x 1024 pixels; the estimate is within -2 and +8 percent of all four measurements."""

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def estimate_memory(height: int, width: int, config: GatysConfig, vgg: VGG) -> int:
    """Peak memory in bytes that a run at this size takes beside the network's weights.

    It counts the activations that are kept for the gradient, the copies of them that Gram matrices are taken of, the
    pixels with L-BFGS's history, and the activations of the style pictures, which come before the run.
    """
    style_layers = layer_weights(config.style_layers)
    wanted = {**layer_weights(config.content_layers), **style_layers}
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
        # A convolution's own output goes when its ReLU has read it, unless it is asked for.
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
    """Refuse a run that does not fit.

    Raises:
        StylecoreError: naming the largest size of this shape that fits.
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
    """The longest side, in pixels, at which a picture of this aspect takes at most `available` bytes; 0 if none."""
    longest = max(height, width)
    fits, too_large = 0, longest
    while too_large - fits > 1:
        side = (fits + too_large) // 2
        if estimate_memory(height * side // longest, width * side // longest, config, vgg) <= available:
            fits = side
        else:
            too_large = side
    return fits


def available_memory(device: torch.device) -> int | None:
    """Bytes that a run on this device may take; None where the system does not say.

    On Linux what the kernel can free, and no more than what is left to the container (control groups, version 2).
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type != "cpu" or not MEMINFO.is_file():
        return None
    fields = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    try:
        limit = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
        counters = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no control group, or "max": no limit
        return available
    # Pages of files count as used, but give way.
    return min(available, max(0, limit - used + int(counters.get("inactive_file", 0))))
