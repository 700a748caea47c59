"""Tensors by name: their .safetensors files, and whether they are those of a network."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from stylecore.files import replaced_whole


def write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    """Write a .safetensors file, completely or not at all; a missing folder is made.

    Raises:
        OSError, SafetensorError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_whole(path) as temporary:
        save_file(tensors, temporary, metadata=header)
        temporary.chmod(0o644)  # save_file makes it readable only for its owner


def read_header(path: str | Path) -> dict[str, str]:
    """The header of a .safetensors file, without the tensors.

    Raises:
        OSError, SafetensorError: it cannot be read.
    """
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def first_mismatch(tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """A clause about the first tensor that is missing, not expected, not of its shape, or not finite; None if all fit.

    Args:
        shapes: of the tensors that are expected.
    """
    for name in {**shapes, **tensors}:
        if name not in tensors:
            return f"{name} is missing"
        if name not in shapes:
            return f"{name} is not expected"
        if tensors[name].shape != shapes[name]:
            return f"{name} has shape {tuple(tensors[name].shape)} instead of {tuple(shapes[name])}"
        # Numbers with a finite sum are finite, which is sooner known.
        if not (tensors[name].sum().isfinite() or tensors[name].isfinite().all()):
            return f"the values of {name} are not finite numbers"
    return None
