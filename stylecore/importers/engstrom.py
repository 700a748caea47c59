"""Engstrom's fast-style-transfer: its variables as .npz, a folder of raw files, or a TensorFlow checkpoint."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.importers.foreign import (
    RGB_255,
    ForeignNetwork,
    checked_blocks,
    float_tensor,
    layer_names,
    refuse,
    width_of,
)
from stylecore.johnson.transform_net import TransformNetConfig
from stylecore.preprocessing import Preprocessing

ORIGIN = {
    "credit": "network trained with Logan Engstrom's fast-style-transfer",
    "license": "Copyright (c) 2016 Logan Engstrom; free for research use, as long as proper attribution is given and "
    "this notice is retained; other uses need the author's permission",
}
RGB_255_CENTERED = Preprocessing("RGB", 255.0, (127.5, 127.5, 127.5), (1.0, 1.0, 1.0))


def read_npz(source: Path) -> ForeignNetwork:
    """The variables as NumPy saves them, by name."""
    try:
        with np.load(source, allow_pickle=False) as archive:
            variables = {name: archive[name] for name in archive.files if not _of_the_optimizer(name)}
    except Exception as error:  # of NumPy, zipfile and zlib
        refuse(source, f"it is damaged ({error})")
    return _network(source, variables)


def read_manifest(source: Path) -> ForeignNetwork:
    """manifest.json names the raw files beside it: {"Variable": {"filename": "Variable", "shape": [9, 9, 3, 32]}}."""
    manifest = source / "manifest.json" if source.is_dir() else source
    try:
        entries = json.loads(manifest.read_bytes())
        shapes = {name: tuple(int(size) for size in entry["shape"]) for name, entry in entries.items()}
        if any(size < 0 for shape in shapes.values() for size in shape):
            raise ValueError
        files = {name: str(entry["filename"]) for name, entry in entries.items()}
    except (OSError, ValueError, OverflowError, TypeError, KeyError, AttributeError, RecursionError):
        refuse(manifest, "it does not list variables with their filename and shape")
    variables = {}
    for name, shape in shapes.items():
        if _of_the_optimizer(name):
            continue
        if Path(files[name]).name != files[name]:
            refuse(manifest, f"the file of {name} is not in the same folder")
        try:
            data = (manifest.parent / files[name]).read_bytes()
        except (OSError, ValueError) as error:
            refuse(manifest, f"the file of {name} cannot be read ({getattr(error, 'strerror', error)})")
        if len(data) != 4 * math.prod(shape):
            refuse(manifest, f"the file of {name} has {len(data)} bytes instead of {4 * math.prod(shape)}")
        variables[name] = np.frombuffer(data, "<f4").reshape(shape)
    return _network(manifest, variables)


def read_tensorflow(source: Path) -> ForeignNetwork:
    """A TensorFlow checkpoint of version 1 (one file) or 2 (several), or the folder of one."""
    try:
        from tensorflow import train  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise StylecoreError(
            f"{source} is a TensorFlow checkpoint, and reading one needs TensorFlow, which is not installed: "
            "`pip install tensorflow`, or import the network's .npz."
        ) from error
    # A checkpoint of version 2 is several files and is named by what their names have in common.
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", str(source))
    try:
        # TensorFlow's errors have no common class of their own.
        reader = train.load_checkpoint(prefix)
        names = [name for name in reader.get_variable_to_shape_map() if not _of_the_optimizer(name)]
        variables = {name: np.asarray(reader.get_tensor(name)) for name in names}
    except Exception as error:
        refuse(source, f"TensorFlow cannot read it ({str(error).splitlines()[0] if str(error) else error!r})")
    return _network(source, variables)


def _of_the_optimizer(name: str) -> bool:
    return "Adam" in name or "beta" in name


def _network(source: Path, variables: Mapping[str, np.ndarray]) -> ForeignNetwork:
    """Variables without names of their own, numbered in the order of creation: weight, shift, scale of each layer."""
    names = ["Variable" if index == 0 else f"Variable_{index}" for index in range(len(variables))]
    unexpected = sorted(variables.keys() ^ set(names))
    if unexpected:
        refuse(source, f"its variables are not numbered like Engstrom's ({unexpected[0]})")
    ordered = [variables[name] for name in names]
    if len(ordered) < 24 or (len(ordered) - 18) % 6 or any(weight.ndim != 4 for weight in ordered[::3]):
        refuse(source, f"its {len(ordered)} variables are not those of Engstrom's network")
    residual_blocks = checked_blocks(source, (len(ordered) - 18) // 6)
    state: dict[str, Tensor] = {}
    for index, layer in enumerate(layer_names(residual_blocks, "transposed")):
        weight, shift, scale = (float_tensor(source, values) for values in ordered[3 * index : 3 * index + 3])
        # (height, width, in, out), and (height, width, out, in) of transposed convolutions; torch has it reversed.
        state[f"{layer}.convolution.weight"] = weight.permute(3, 2, 0, 1)
        state[f"{layer}.normalization.weight"] = scale
        state[f"{layer}.normalization.bias"] = shift
    config = TransformNetConfig(
        residual_blocks=residual_blocks,
        width=width_of(source, state["encoder.0.convolution.weight"]),
        padding="same",
        upsampling="transposed",
        output="tanh",
        bias=False,
        normalization_epsilon=1e-3,
        normalize_output=True,
        input_values=RGB_255,
        output_values=RGB_255_CENTERED,
    )
    return ForeignNetwork(config, state, ORIGIN)
