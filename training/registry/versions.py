"""How a style is logged to the tracker: each network as a version of a registered model, and sample pictures.

Every version has the tags of training.tracking; a version with a quantized network also has `int8`.
"""

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from stylecore.files import file_sha256
from stylecore.johnson.quantization import sidecar_of
from stylecore.johnson.style_model import StyleCard
from stylecore.pictures.write import to_image
from training.tracking.values import ModelDescription

if TYPE_CHECKING:  # it imports Accelerate, which the page does without
    from training.tracking import JournaledTracker

INT8_TAG = "int8"
"""Tag of a version with a quantized network: SHA-256 of its sidecar."""
STYLE = "style"
"""The kind of a model that is a style."""
PICTURES = (-1, 3, -1, -1)
"""Shape of what a network takes and gives: any number of RGB pictures of any size, in [0, 1]."""
USAGE = """Paint a photo with it, in the repository:

```sh
source .venv/bin/activate
file=$(python -m training.registry file {name}@champion)
python -m stylecore stylize photo.jpg --style "$file" -o out.png
```"""
"""What a registered model's description says below its title."""


def log_preview(tracker: "JournaledTracker", photo: str, pixels: Tensor, step: int) -> None:
    """Log a sample picture (3, H, W), sRGB, [0, 1], as image `preview/<photo>` of this step; step 0 is the photo."""
    tracker.log_images({preview_key(photo): to_image(pixels)}, step)


def description_of(card: StyleCard, words: str = "") -> ModelDescription:
    """A style's card as MLflow's description of the model; `words` are of the version, instead of its settings."""
    about = ", ".join(part for part in (card.title or card.name, card.artist, card.year) if part)
    seen = f"trained on {card.dataset}" if card.dataset else "trained" if card.iterations else "imported"
    network = f"width {card.network.width:g}, {card.network.residual_blocks} residual blocks"
    return ModelDescription(
        name=card.name,
        about=f"{about}\n\n{USAGE.format(name=card.name)}",
        about_version=words or f"{about}: {card.iterations} iterations, {seen}; {network}.",
        kind=STYLE,
        flavor="stylecore",
        params={name: str(value) for name, value in dataclasses.asdict(card.network).items()},
        texts={"card.json": card.to_json() + "\n"},
        inputs={"photos": PICTURES},
        outputs={"pictures": PICTURES},
    )


def int8_tag(weights: Path) -> dict[str, str]:
    """The tag of a version whose weights have a sidecar beside them; empty for others."""
    sidecar = sidecar_of(weights)
    return {INT8_TAG: file_sha256(sidecar)} if sidecar.is_file() else {}


def preview_key(photo: str) -> str:
    """The image key of a sample photo: `preview/<photo>`, without characters that MLflow refuses."""
    return "preview/" + re.sub(r"[^A-Za-z0-9_.-]", "_", photo)
