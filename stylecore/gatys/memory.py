"""The memory of the optimization of Gatys et al. (2016), estimated before it starts."""

from bisect import bisect_right
from pathlib import Path

import torch

from stylecore.errors import StylecoreError
from stylecore.gatys.config import GatysConfig

PAINTING_BYTES = 3086
"""A pixel of the picture, for VGG-19 up to relu5_1: the activations that are kept for the gradient, their copies for
Gram matrices, and ten copies of the pixels."""
STYLE_BYTES = 2192
"""A pixel of a style picture, whose activations are computed before the run."""
COPY_BYTES = 12
"""A pixel of each tensor that the optimizer remembers."""
FIXED_BYTES = 180_000_000
"""Beside them. Measured as peak resident memory on a CPU with VGG-19 from 256 x 256 to 768 x 1024 pixels; the estimate
is within -2 and +8 percent of all four measurements, and too high where only shallow layers are wanted."""

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def estimate_memory(height: int, width: int, config: GatysConfig) -> int:
    """Peak memory of a run at this size in bytes, with the border, without the network's weights."""
    pixels = (height + 2 * config.border) * (width + 2 * config.border)
    remembered = 2 * min(config.history, config.steps) if config.optimizer == "lbfgs" else 2
    run = PAINTING_BYTES + remembered * COPY_BYTES
    style_pictures = STYLE_BYTES * config.style_scale**2
    return round(pixels * max(run, style_pictures)) + FIXED_BYTES


def check_memory(height: int, width: int, config: GatysConfig, device: torch.device) -> None:
    """Check that a run fits into the memory.

    Raises:
        StylecoreError: when it does not; the message names the largest size of this shape that fits.
    """
    available = available_memory(device)
    needed = estimate_memory(height, width, config)
    if available is None or needed <= available:
        return
    longest = max(height, width)
    side = bisect_right(
        range(1, longest),
        available,
        key=lambda side: estimate_memory(height * side // longest, width * side // longest, config),
    )
    advice = (
        f"reduce the picture to at most {side} pixels on its longest side"
        if side
        else "no size fits; close other programs"
    )
    raise StylecoreError(
        f"painting {width} x {height} pixels needs about {needed / 1e9:.1f} GB of memory and {available / 1e9:.1f} GB "
        f"are available; {advice}."
    )


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
