"""A trained style: a transformation network and its card, in one .safetensors file."""

import dataclasses
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file

from stylecore.errors import StylecoreError
from stylecore.johnson.quantization import Quantization, read_quantization, sidecar_of, write_quantization
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from stylecore.tensors import first_mismatch, read_header, write_tensors

FORMAT = "1"
FORMAT_KEY = "stylecore.format"
CARD_KEY = "stylecore.card"

_log = logging.getLogger(__name__)

PAINTED_SIDE = 640
"""Pixels; see `StyleCard.painted_side`."""

OBJECTIVE = (
    "style_image",
    "style_size",
    "style_layers",
    "style_weight",
    "style_normalization",
    "style_layer_weights",
    "loss_scales",
    "content_layer",
    "content_weight",
    "content_normalization",
    "total_variation_weight",
    "steadiness_weight",
    "grid_weight",
    "vgg_weights",
)
"""The settings of a training that decide what is minimized. Losses compare between networks that agree in them."""
EARLIER_DEFAULTS: dict[str, Any] = {
    "content_normalization": "mean",
    "style_normalization": "mean",
    "style_layer_weights": [],
    "loss_scales": [1],
    "steadiness_weight": 0.0,
    "grid_weight": 0.0,
    "vgg_weights": "",
}
"""What networks had that were trained before there were these settings: their cards do not name them."""


@dataclass(frozen=True)
class StyleCard:
    """The description of a style and its training.

    Attributes:
        name: letters, digits, "_" and "-": the registered model's name, the command line's --style.
        title, artist, year: of the style picture.
        credit, license: of the style picture's reproduction; for imports, of the network.
        network: form of the transformation network.
        training: all settings of the run, as in training.config.TrainConfig; empty for imports.
        iterations: number of optimizer steps.
        dataset: the content photos of the training.
        vgg: the loss network's weights.
        losses: last or held-out losses by name.
        git_commit: of the code that trained it.
        painted_side: longest side in pixels at which strokes cover the same share of a picture as of the painting.
    """

    name: str
    title: str = ""
    artist: str = ""
    year: str = ""
    credit: str = ""
    license: str = ""
    network: TransformNetConfig = field(default_factory=TransformNetConfig)
    training: dict[str, Any] = field(default_factory=dict)
    iterations: int = 0
    dataset: str = ""
    vgg: str = ""
    losses: dict[str, float] = field(default_factory=dict)
    git_commit: str = ""
    painted_side: int = PAINTED_SIDE

    __pydantic_config__ = ConfigDict(extra="forbid")  # for `from_json`

    def __post_init__(self) -> None:
        if not self.name or not all(c.isascii() and (c.isalnum() or c in "_-") for c in self.name):
            raise StylecoreError(f"a style's name is made of letters, digits, '_' and '-'; {self.name!r} is not.")
        if self.painted_side < 1:
            raise StylecoreError(f"the painted side of a style is {self.painted_side}, and must be at least 1 pixel.")

    @property
    def objective(self) -> dict[str, Any]:
        """What was minimized: the settings of `OBJECTIVE`, and the loss network's weights. Empty for imports."""
        if not self.training:
            return {}
        return {name: self.training.get(name, EARLIER_DEFAULTS.get(name)) for name in OBJECTIVE} | {"vgg": self.vgg}

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "StyleCard":
        """Read a card; ValueError, or StylecoreError for a value out of its range, when the text is not a card."""
        try:
            return _CARD.validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'card'}: {first['msg']}") from error


_CARD = TypeAdapter(StyleCard)


class StyleModel:
    """A network in evaluation mode, (N, 3, H, W) in [0, 1] to the same range, with its card.

    Attributes:
        network, card: of the style.
        quantization: of the network; None if it is not quantized.
    """

    def __init__(self, network: TransformNet, card: StyleCard, quantization: Quantization | None = None) -> None:
        if network.config != card.network:
            raise ValueError("the card describes another network")
        self.network = network.eval()
        self.card = card
        self.quantization = quantization

    def save(self, path: str | Path, *, half: bool = False) -> None:
        """Write the file, completely or not at all, and the sidecar of its quantized network, if any.

        Args:
            path: ends in .safetensors; a missing folder is made.
            half: store the weights as float16, in half the size; they are loaded as float32.

        Raises:
            StylecoreError: when the file cannot be written, or weights are not finite numbers (in half precision:
                are larger than 65504).
        """
        target = Path(path)
        tensors = {
            name: (tensor.half() if half and tensor.is_floating_point() else tensor).detach().cpu().contiguous()
            for name, tensor in self.network.state_dict().items()
        }
        if broken := [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]:
            raise StylecoreError(f"{target} was not written: the weights of {broken[0]} are not finite numbers.")
        header = {FORMAT_KEY: FORMAT, CARD_KEY: self.card.to_json()}
        try:
            write_tensors(target, tensors, header)
            sidecar_of(target).unlink(missing_ok=True)  # of an older file
            if self.quantization is not None:
                write_quantization(self.quantization, sidecar_of(target))
        except (OSError, SafetensorError) as error:
            raise StylecoreError(f"cannot write {target}: {_reason(error)}.") from error

    @classmethod
    def load(cls, path: str | Path) -> "StyleModel":
        """Read a file that `save` wrote, with its sidecar if there is one.

        A damaged sidecar, or one of another network, is left out with a warning.

        Raises:
            StylecoreError: when the file is missing, damaged or not a StyleModel.
        """
        card = read_card(path)
        network = TransformNet(card.network)
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise StylecoreError(f"{path} is damaged: {_reason(error)}.") from error
        shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
        if problem := first_mismatch(tensors, shapes):
            raise StylecoreError(f"{path} does not hold the network that its card describes: {problem}.")
        network.load_state_dict(tensors)
        return cls(network, card, _quantization_beside(Path(path), network))


def read_card(path: str | Path) -> StyleCard:
    """Read only the card, without the weights.

    Raises:
        StylecoreError: as `StyleModel.load`.
    """
    file = Path(path)
    if not file.is_file():
        raise StylecoreError(f"there is no style file {file}.")
    try:
        header = read_header(file)
    except (OSError, SafetensorError) as error:
        raise StylecoreError(
            f"{file} is not a readable .safetensors file ({_reason(error)}); it is damaged or something else."
        ) from error
    if FORMAT_KEY not in header or CARD_KEY not in header:
        raise StylecoreError(
            f"{file} is a .safetensors file without a style card; "
            "stylecore's own style files have one, and `python -m stylecore import` makes them."
        )
    if header[FORMAT_KEY] != FORMAT:
        raise StylecoreError(
            f"{file} has style format {header[FORMAT_KEY]}, and this version reads format {FORMAT}; update stylecore."
        )
    try:
        return StyleCard.from_json(header[CARD_KEY])
    except (ValueError, StylecoreError) as error:
        raise StylecoreError(f"the style card in {file} cannot be read: {_reason(error)}.") from error


def _quantization_beside(path: Path, network: TransformNet) -> Quantization | None:
    sidecar = sidecar_of(path)
    if not sidecar.is_file():
        return None
    try:
        return read_quantization(sidecar, network)
    except StylecoreError as error:
        _log.warning("%s", error)
        return None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
