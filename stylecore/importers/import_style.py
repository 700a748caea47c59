"""Read a network of another project: the importer is chosen by the file's content, or else by its suffix.

Nothing in a file is executed.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stylecore.errors import StylecoreError
from stylecore.importers.engstrom import read_manifest, read_npz, read_tensorflow
from stylecore.importers.foreign import FORMATS, ForeignNetwork, refuse
from stylecore.importers.johnson import read_johnson
from stylecore.importers.state_dicts import read_state_dict
from stylecore.importers.torch7 import looks_like_torch7
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet
from stylecore.tensors import first_mismatch

TENSORFLOW_TABLE_END = bytes.fromhex("57fb808b247547db")
"""The last 8 bytes of a TensorFlow checkpoint (version 1) or of its index (version 2)."""


def import_style(path: str | Path, name: str, **card_fields: Any) -> StyleModel:
    """Read a network that another project trained.

    Args:
        path: the file, or the folder with manifest.json.
        name: of the style, for its card.
        card_fields: other fields of the StyleCard. `credit` and `license` are by default those of the project; a
            value that is not empty replaces them.

    Returns:
        The network with its card; `training` and `iterations` stay empty.

    Raises:
        StylecoreError: when the file is missing, damaged, of an unknown format, or is not a transformation network
            of Johnson's form.
    """
    source = Path(path)
    found = _reader(source)(source)
    stated = {key: value for key, value in card_fields.items() if value}
    card = StyleCard(name=name, network=found.config, **found.origin | stated)
    network = TransformNet(found.config)
    # Batch normalization counts its training batches; evaluation does not use the number.
    shapes = {name: each.shape for name, each in network.state_dict().items() if not name.endswith("batches_tracked")}
    if problem := first_mismatch(found.state, shapes):
        refuse(source, f"its network is not Johnson's: {problem}")
    network.load_state_dict(found.state, strict=False)
    return StyleModel(network, card)


def _reader(source: Path) -> Callable[[Path], ForeignNetwork]:  # noqa: RET503 (refuse never returns)
    """The function that reads this file, by its content."""
    if source.is_dir():
        if (source / "manifest.json").is_file():
            return read_manifest
        if (source / "checkpoint").is_file():
            return read_tensorflow
        refuse(source, "the folder holds no manifest.json")
    if not source.is_file():
        if source.with_name(source.name + ".index").is_file():
            return read_tensorflow
        raise StylecoreError(f"there is no file {source} to import; stylecore imports {FORMATS}.")
    try:
        with source.open("rb") as file:
            head = file.read(64)
            file.seek(0, 2)
            file.seek(max(0, file.tell() - len(TENSORFLOW_TABLE_END)))
            end = file.read()
    except OSError as error:
        refuse(source, error.strerror or "it cannot be read")
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(source) as archive:
                names = archive.namelist()
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
            refuse(source, "it is damaged or incomplete")
        return read_npz if any(name.endswith(".npy") for name in names) else read_state_dict
    if head.startswith(b"\x80"):
        return read_state_dict
    if looks_like_torch7(head):
        return read_johnson
    if head.lstrip().startswith(b"{"):
        return read_manifest
    if end == TENSORFLOW_TABLE_END or source.suffix in (".ckpt", ".index", ".meta") or ".data-" in source.name:
        return read_tensorflow
    why = "it has none of the known formats, or is damaged"
    if source.suffix == ".safetensors":
        why = "a .safetensors file is a style already, which needs no import, or has none of the known formats"
    refuse(source, why)
