"""Names and numbers in words, for the page and for the files it hands out."""

import re

import torch

CPU = "the CPU"
UPLOAD_WORDS = {
    "upload_text.drop_video": "Drop your film here",
    "upload_text.drop_file": "Drop your photos here",
    "upload_text.click_to_upload": "or click to choose",
}
"""By Gradio's own keys: what stands in the upload boxes that take no text of ours."""
NBSP = "\N{NO-BREAK SPACE}"


def file_name(*parts: str) -> str:
    """A tidy name for a download, without suffix: `holiday-starry_night`."""
    tidy = (re.sub(r"[^A-Za-z0-9_]+", "-", part).strip("-")[:60] for part in parts)
    return "-".join(part for part in tidy if part) or "picture"


def device_name(device: torch.device | str) -> str:
    """`CPU`, or the GPU's name."""
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else CPU


def size_text(size: tuple[int, int]) -> str:
    """ "1024 × 768", of (height, width)."""
    height, width = size
    return f"{width} \N{MULTIPLICATION SIGN} {height}"


def seconds_text(seconds: float) -> str:
    """ "0.4 s", "12 s", "2 min 5 s", "10 min", with spaces that do not break."""
    if round(seconds, 1) < 10:
        return f"{seconds:.1f}{NBSP}s"
    minutes, rest = divmod(round(seconds), 60)
    parts = [f"{minutes}{NBSP}min"] * (minutes > 0) + [f"{rest}{NBSP}s"] * (rest > 0)
    return NBSP.join(parts)
