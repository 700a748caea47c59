"""What a training logs, in the form of records: numbers, texts, and pictures as files."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from PIL import Image

from training.tracking import TrackingError

PNG_COMPRESSION = 1
"""The fastest: files are a fifth larger than by default, in a quarter of the time."""

NOTE_IMAGE = "style/picture.jpg"
"""Path of the picture that a run's note shows."""


@dataclass(frozen=True)
class ModelDescription:
    """Description of a checkpoint for the store, beside its weights.

    Attributes:
        name: of the registered model, and of the file of weights.
        about: description of a new registered model in Markdown; its first line is what it is.
        about_version: description of this version in Markdown; its picture is written below it.
        kind: MLflow's type of model.
        flavor: name of the files' format in `MLmodel`.
        params: of the LoggedModel.
        texts: name to content of small files beside the weights; `MLmodel` lists them by their stems.
        inputs, outputs: name to shape of the float32 tensors that the model takes and gives; -1 is any size.
    """

    name: str
    about: str
    kind: str
    flavor: str
    params: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    about_version: str = ""
    inputs: dict[str, Sequence[int]] = field(default_factory=dict)
    outputs: dict[str, Sequence[int]] = field(default_factory=dict)


def param_text(value: object) -> str:
    """The text of a setting as a parameter; the values of a tuple have spaces between them."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def numbers_and_texts(
    values: Mapping[str, Any], warn: Callable[[str], None]
) -> tuple[dict[str, float], dict[str, str]]:
    """The numbers (also in tensors and arrays of one element) and the texts; `warn` is told what is neither."""
    numbers: dict[str, float] = {}
    texts: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, str):
            texts[name] = value
            continue
        try:
            # A loss still has its graph, and PyTorch warns of losing it.
            numbers[name] = float(value.detach() if hasattr(value, "detach") else value)
        except (TypeError, ValueError, RuntimeError):
            warn(f"{name!r} is a {type(value).__name__}, neither a number nor a text, and is not logged.")
    return numbers, texts


def as_images(picture: Any) -> Iterator[Image.Image]:
    """The images of one picture, or of several.

    Args:
        picture: a PIL image; an array (H, W), (H, W, 3) or (N, H, W, 3), of bytes or in [0, 1]; a tensor (3, H, W) or
            (N, 3, H, W) in [0, 1]; or a sequence of these. Values outside [0, 1] are clipped. One channel is gray.

    Raises:
        TrackingError: for anything else.
    """
    if isinstance(picture, Image.Image):
        yield picture
    elif isinstance(picture, Sequence) and not isinstance(picture, str):
        for each in picture:
            yield from as_images(each)
    else:
        is_tensor = hasattr(picture, "detach")
        array = picture.detach().float().cpu().numpy() if is_tensor else np.asarray(picture)
        if is_tensor and array.ndim >= 3:
            array = np.moveaxis(array, -3, -1)
        if array.ndim == 4:
            for each in array:
                yield _as_image(each)
        else:
            yield _as_image(array)


def _as_image(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.dtype.kind not in "uifb" or not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4))):
        raise TrackingError(
            f"a picture of shape {array.shape} and type {array.dtype} cannot be logged; give a PIL image, an array "
            "(H, W, 3), or a tensor (3, H, W) in [0, 1]."
        )
    if array.dtype != np.uint8:
        array = (np.nan_to_num(array.astype(np.float64)).clip(0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(array)


def encoded(image: Image.Image, form: Literal["PNG", "JPEG"]) -> bytes:
    """The file of an image."""
    buffer = io.BytesIO()
    image.save(buffer, form, compress_level=PNG_COMPRESSION)  # which JPEG does not have
    return buffer.getvalue()
