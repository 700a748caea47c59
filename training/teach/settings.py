"""The settings of a lesson: what is the same for every painting, and what is chosen from the painting."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.files import file_sha256, write_whole
from training.config import TrainConfig
from training.photos import SAMPLES
from training.teach.start import Start

DEFAULTS = TrainConfig(
    minutes=10,
    iterations=100_000,
    checkpoints=(),
    photos=SAMPLES,
    smallest_crop=0.35,
    width=0.5,
    input_noise=0.06,
    style_size=0,
    style_layer_weights=(20, 8, 2, 1),
    content_weight=0,
    steadiness_weight=100,
    grid_weight=1e5,
    batch_size=2,
    workers=1,
    learning_rate=1.5e-3,
    gradient_clip=10,
    schedule="cosine",
    warmup=20,
    save_minutes=0.5,
    gatys_iterations=0,
    mixed_precision="bf16",
)
"""As the published recipes have them, for minutes instead of iterations. 0 is chosen from the painting."""
STYLE_SIZE = 448
LEAST_STYLE_SIZE = 256
WIDEST = 2.0
"""Of a painting that is wider than so many times its height, or higher than its width, fewer pixels are taken."""
CONTENT_WEIGHTS = (2.0, 4.0)
"""The least and the largest; 3 without a start."""
FAR = 1.0
"""The distance from which a start is no nearer than an unrelated picture."""
FAR_SETTINGS: Mapping[str, Any] = {
    "style_layers": ("relu1_1", *DEFAULTS.style_layers),
    "style_layer_weights": (20.0, *DEFAULTS.style_layer_weights),
    "bias_rate": 8.0,
    "steadiness_every": 4,
}
"""From a far start. relu1_1 sees the brightness and contrast of the colors, which the other layers leave for last:
without it ten minutes of Monet's poppy field end murky. Biases that learn faster, and a tenth of the time saved on the
steadiness loss, bring them nearly to what an hour makes. From a near start the two brought Gauguin's Tahiti no nearer.
"""
BRUSHES = (0.5, 2.0)
SETTINGS = "lesson.json"
"""The settings of a lesson in its folder, for a resume."""


def style_size(painting: Tensor, brush: float) -> int:
    """Short side in pixels to which a painting (3, H, W) is resized: never enlarged beyond `LEAST_STYLE_SIZE`.

    Raises:
        StylecoreError: for a brush that is not in `BRUSHES`.
    """
    if not BRUSHES[0] <= brush <= BRUSHES[1]:
        raise StylecoreError(f"--brush is {brush:g}, and must be {BRUSHES[0]:g} to {BRUSHES[1]:g}.")
    short, long = sorted(painting.shape[-2:])
    wanted = STYLE_SIZE * brush * math.sqrt(min(1.0, WIDEST * short / long))
    return round(max(min(wanted, short), min(wanted, LEAST_STYLE_SIZE)))


def content_weight(start: Start | None) -> float:
    """That of the start, whose painting is like the new one; within limits that fit a short training."""
    least, most = CONTENT_WEIGHTS
    if start is None:
        return (least + most) / 2
    return min(max(float(start.card.training.get("content_weight") or least), least), most)


def far_settings(start: Start | None) -> Mapping[str, Any]:
    """Settings other than `DEFAULTS` for a start that is far; none for a near one or without one."""
    return FAR_SETTINGS if start and start.distance > FAR else {}


def keep_settings(config: TrainConfig, painting: Path) -> None:
    """Write the settings to the run's folder."""
    content = {"painting": file_sha256(painting), "settings": config.for_card()}
    config.folder.mkdir(parents=True, exist_ok=True)
    write_whole(config.folder / SETTINGS, json.dumps(content, indent=2).encode())


def kept_settings(folder: Path, painting: Path) -> TrainConfig | None:
    """The settings of a lesson that began in this folder; None if there is none.

    Raises:
        StylecoreError: when the folder holds another run, or the lesson of another painting.
    """
    try:
        content = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if any(folder.glob("*.safetensors")):
            raise StylecoreError(f"{folder} already holds a run; choose another --name.") from None
        return None
    if content["painting"] != file_sha256(painting):
        raise StylecoreError(f"{folder} holds the lesson of another painting; choose another --name.")
    return TrainConfig.of_card(content["settings"])
