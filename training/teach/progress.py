"""What a lesson shows while it goes on: the network as it is, in a file, and figures beside it.

    progress.json    {phase, iteration, loss, content, style, seconds, seconds_left, curve: [[seconds, loss], ...]}
    now.style        the network as a style file, of the same moment or newer

The phases are "beginning", "learning", "finishing" (the evaluation), "done" and "failed". With "done" come `file`, the
style's file, `version` and `run_page`, as the registry names them; with "failed" comes `reason`.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from stylecore.files import write_whole
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet
from training.checkpoints import copy_on_cpu
from training.config import TrainConfig
from training.state import Clock

FIGURES = "progress.json"
NETWORK = "now.style"
SECONDS_BETWEEN = 3.0
CURVE_POINTS = 200


class Progress:
    """Writes the files above into a folder; without a folder it does nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._figures: dict[str, Any] = {"phase": "beginning", "curve": []}
        self._written_at = -SECONDS_BETWEEN
        self._seconds_each = 0.0
        self._last: tuple[int, float] | None = None

    def begin(self) -> None:
        """Say so; the curve of a lesson that is resumed goes on."""
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._figures["curve"] = json.loads((self._folder / FIGURES).read_text(encoding="utf-8"))["curve"]
        except (OSError, ValueError, KeyError):
            self._figures["curve"] = []
        self._write("beginning")

    def learn(
        self, config: TrainConfig, network: TransformNet, iteration: int, losses: Mapping[str, Tensor], clock: Clock
    ) -> None:
        """Write the state after an iteration, if it is the last one or some seconds have passed."""
        is_over = clock.share(iteration) >= 1
        if self._folder is None or (time.monotonic() - self._written_at < SECONDS_BETWEEN and not is_over):
            return
        now = clock.seconds
        if self._last is not None:
            self._seconds_each = (now - self._last[1]) / max(1, iteration - self._last[0])
        else:
            self._seconds_each = now / iteration
        self._last = (iteration, now)
        card = StyleCard(config.name, config.title, network=network.config, training=config.for_card())
        StyleModel(copy_on_cpu(network), card).save(self._folder / NETWORK)
        loss = float(losses["loss/total"])
        curve = [*self._figures["curve"], [round(now, 1), round(loss, 4)]]
        self._figures["curve"] = curve[::2] if len(curve) > CURVE_POINTS else curve
        self._write(
            "finishing" if is_over else "learning",
            iteration=iteration,
            loss=loss,
            content=float(losses["loss/content"]),
            style=float(losses["loss/style"]),
            seconds=now,
            seconds_left=clock.seconds_left(iteration, self._seconds_each),
        )
        self._written_at = time.monotonic()

    def finish(self) -> None:
        """The training is over, its evaluation begins."""
        self._write("finishing")

    def done(self, file: Path, version: str, run_page: str) -> None:
        """The style can be used."""
        self._write("done", file=str(file.resolve()), version=version, run_page=run_page)

    def failed(self, reason: str) -> None:
        """The lesson ended without a style."""
        self._write("failed", reason=reason)

    def _write(self, phase: str, **figures: Any) -> None:
        self._figures |= {"phase": phase, **figures}
        if self._folder is not None:
            write_whole(self._folder / FIGURES, json.dumps(self._figures).encode())
