"""Names and numbers in words, for the page and for the files it hands out."""

import re

import torch

CPU = "the CPU"


def file_name(*parts: str) -> str:
    """A tidy name for a download, without suffix: `holiday-starry_night`."""
    tidy = (re.sub(r"[^A-Za-z0-9_]+", "-", part).strip("-")[:60] for part in parts)
    return "-".join(part for part in tidy if part) or "picture"


def device_name(device: torch.device | str) -> str:
    """`CPU`, or the GPU's name."""
    device = torch.device(device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else CPU


def seconds_text(seconds: float) -> str:
    """ "0.4 s", "12 s", "2 min 5 s"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
