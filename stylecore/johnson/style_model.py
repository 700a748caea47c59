"""A trained style: a transformation network and the card that says how it was made, in one .safetensors file."""

import dataclasses
import json
import logging
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.johnson.quantization import Quantization, companion_of, read_quantization, write_quantization
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from stylecore.preprocessing import Preprocessing

FORMAT = "1"
FORMAT_KEY = "stylecore.format"
CARD_KEY = "stylecore.card"

_log = logging.getLogger(__name__)

PAINTED_SIDE = 640
"""Pixels; see `StyleCard.painted_side`."""


@dataclass(frozen=True)
class StyleCard:
    """What a style is and how it was made.

    Attributes:
        name: letters, digits, "_" and "-": the registered model's name, the command line's --style.
        title, artist, year: of the style picture.
        credit, license: of the style picture's reproduction; of the network itself when it is an import.
        network: form of the transformation network.
        training: every setting of the run, as training.config.TrainConfig has them; empty for imports.
        iterations: optimizer steps taken.
        dataset: the content photos it was trained on.
        vgg: the loss network's weights.
        losses: last or held-out losses by name.
        git_commit: of the code that trained it.
        painted_side: longest side in pixels at which a picture's strokes cover as much of it as the painting's do.
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

    def __post_init__(self) -> None:
        if not self.name or not all(c.isascii() and (c.isalnum() or c in "_-") for c in self.name):
            raise StylecoreError(f"a style's name is made of letters, digits, '_' and '-'; {self.name!r} is not.")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "StyleCard":
        """Raises ValueError, TypeError or KeyError when the text is not a card's."""
        values = json.loads(text)
        network = values.pop("network")
        for side in ("input_values", "output_values"):
            preprocessing = network[side]
            for statistic in ("mean", "std"):
                preprocessing[statistic] = tuple(float(value) for value in preprocessing[statistic])
                if len(preprocessing[statistic]) != 3:
                    raise ValueError(f"{side} needs 3 values of {statistic}")
            network[side] = Preprocessing(**preprocessing)
        return cls(network=TransformNetConfig(**network), **values)


class StyleModel:
    """A network in evaluation mode, (N, 3, H, W) in [0, 1] to the same range, with its card.

    Attributes:
        network, card: see there.
        quantization: the network's 8-bit form, or None when nobody made it.
    """

    def __init__(self, network: TransformNet, card: StyleCard, quantization: Quantization | None = None) -> None:
        if network.config != card.network:
            raise ValueError("the card describes another network")
        self.network = network.eval()
        self.card = card
        self.quantization = quantization

    def save(self, path: str | Path, *, half: bool = False) -> None:
        """Write the file, whole or not at all, and its 8-bit form, if there is one, beside it.

        Args:
            path: ends in .safetensors; its folder is made when missing.
            half: store the weights as float16: half the size, and they are float32 again when loaded.

        Raises:
            StylecoreError: when the file cannot be written, or weights are not finite numbers (in half precision:
                are larger than 65504).
        """
        target = Path(path)
        tensors = {
            name: (tensor.half() if half and tensor.is_floating_point() else tensor).detach().cpu().contiguous()
            for name, tensor in self.network.state_dict().items()
        }
        broken = _first_not_finite(tensors)
        if broken is not None:
            raise StylecoreError(f"{target} was not written: the weights of {broken} are not finite numbers.")
        header = {FORMAT_KEY: FORMAT, CARD_KEY: self.card.to_json()}
        temporary = None
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            os.close(descriptor)
            save_file(tensors, temporary, metadata=header)
            os.chmod(temporary, 0o644)
            companion_of(target).unlink(missing_ok=True)  # of what was here before
            os.replace(temporary, target)
            if self.quantization is not None:
                write_quantization(self.quantization, companion_of(target))
        except (OSError, SafetensorError) as error:
            raise StylecoreError(f"cannot write {target}: {_reason(error)}.") from error
        finally:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> "StyleModel":
        """Read a file that `save` wrote, with its 8-bit form if that lies beside it.

        An 8-bit form that is damaged or belongs to another network is left out, with a warning.

        Raises:
            StylecoreError: when there is no such file, it is no StyleModel, or it is damaged.
        """
        card = read_card(path)
        network = TransformNet(card.network)
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError) as error:
            raise StylecoreError(f"{path} is damaged: {_reason(error)}.") from error
        expected = network.state_dict()
        wrong = sorted(
            name
            for name in expected.keys() | tensors.keys()
            if name not in expected or name not in tensors or tensors[name].shape != expected[name].shape
        )
        if wrong:
            raise StylecoreError(
                f"{path} does not hold the network that its card describes: {len(wrong)} tensors differ, "
                f"the first is {wrong[0]}."
            )
        tensors = {name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}
        if _first_not_finite(tensors) is not None:
            raise StylecoreError(f"{path} holds weights that are not numbers; train or download it again.")
        network.load_state_dict(tensors)
        return cls(network, card, _quantization_beside(Path(path), network))


def read_card(path: str | Path) -> StyleCard:
    """The card alone, without reading the weights.

    Raises:
        StylecoreError: as `StyleModel.load`.
    """
    file = Path(path)
    if not file.is_file():
        raise StylecoreError(f"there is no style file {file}.")
    try:
        with safe_open(file, framework="pt") as opened:
            header = opened.metadata() or {}
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
    except KeyError as error:
        raise StylecoreError(f"the style card in {file} cannot be read: {error} is missing.") from error
    except (ValueError, TypeError, AttributeError, RecursionError, StylecoreError) as error:
        raise StylecoreError(f"the style card in {file} cannot be read: {_reason(error)}.") from error


def _quantization_beside(path: Path, network: TransformNet) -> Quantization | None:
    companion = companion_of(path)
    if not companion.is_file():
        return None
    try:
        return read_quantization(companion, network)
    except StylecoreError as error:
        _log.warning("%s", error)
        return None


def _first_not_finite(tensors: dict[str, Tensor]) -> str | None:
    return next((name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()), None)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
