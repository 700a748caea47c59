"""What the tracker is told of a style: its networks, each a version of the registered model of its name, and pictures.

Beside the tags that every version has (training.tracking), one with a quantized network has `int8`.
"""

import dataclasses
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from stylecore.files import file_sha256
from stylecore.johnson.quantization import sidecar_of
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.pictures.read import to_image
from training.tracking.delivery import ModelDescription
from training.tracking.tracker import Tracker

INT8_TAG = "int8"
"""Of a version that has a quantized network: SHA-256 of its sidecar."""


def log_preview(tracker: Tracker, photo: str, pixels: Tensor, step: int) -> None:
    """Keep a sample picture (3, H, W), sRGB, [0, 1] as image `preview/<photo>` at this step; at step 0 the photo."""
    tracker.log_image(preview_key(photo), to_image(pixels), step)


def log_style(
    tracker: Tracker, model: StyleModel, step: int, metrics: Mapping[str, float], file: Path | None = None
) -> None:
    """Keep the model as the run's checkpoint of this step, which registers it as a version of its style.

    `file` is where the model is saved already, if it is; it may be removed later, but must not change.
    """
    with tempfile.TemporaryDirectory(prefix="stylecore-checkpoint-") as folder:
        if file is None:
            file = Path(folder) / f"{model.card.name}.safetensors"
            model.save(file)
        tracker.log_checkpoint(file, description_of(model.card), step, metrics)


def description_of(card: StyleCard) -> ModelDescription:
    """What a style's card says to MLflow."""
    return ModelDescription(
        name=card.name,
        about=", ".join(part for part in (card.title, card.artist, card.year) if part),
        kind="style",
        flavor="stylecore",
        params={name: str(value) for name, value in dataclasses.asdict(card.network).items()},
        texts={"card.json": card.to_json() + "\n"},
    )


def int8_tag(weights: Path) -> dict[str, str]:
    """The tag of a version whose file of weights has a sidecar beside it."""
    sidecar = sidecar_of(weights)
    return {INT8_TAG: file_sha256(sidecar)} if sidecar.is_file() else {}


def preview_key(photo: str) -> str:
    """The image key of a sample photo: `preview/<photo>`, with what MLflow does not take replaced."""
    return "preview/" + re.sub(r"[^A-Za-z0-9_.-]", "_", photo)
