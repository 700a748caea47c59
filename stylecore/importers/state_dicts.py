"""A file of PyTorch with the state dict of a known implementation."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.importers.foreign import FORMATS, ForeignNetwork, refuse
from stylecore.importers.mina import read_mina
from stylecore.importers.pytorch_examples import read_pytorch_examples


def read_state_dict(source: Path) -> ForeignNetwork:  # noqa: RET503 (refuse never returns)
    """Read the state dict with the importer that knows the names of its tensors."""
    try:
        # A damaged file can raise any error.
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:
        why = "it is damaged, or has other things than weights"
        raise StylecoreError(
            f"cannot import {source}: {why}, which is refused because such a file can run any program; "
            f"save the network's state_dict() alone. stylecore imports {FORMATS}."
        ) from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        refuse(source, "it holds no state dict")
    # torch.nn.DataParallel adds the prefix "module.".
    weights = {str(name).removeprefix("module."): tensor for name, tensor in loaded.items()}
    if "conv1.conv2d.weight" in weights:
        return read_pytorch_examples(source, weights)
    if "ConvBlock.0.conv_layer.weight" in weights:
        return read_mina(source, weights)
    refuse(source, "its state dict is of another network")
