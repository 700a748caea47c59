"""What a lesson shows while it goes on: the network as it is, in a file, and figures beside it.

    progress.json    {phase, iteration, loss, content, style, seconds, seconds_left, curve: [[seconds, loss], ...]}
    now.style        the network as a style file, of the same moment or newer

The phases are "beginning", "learning", "finishing" (the evaluation), "done" and "failed". With "done" come `file`, the
style's file, `version` and `run_page`, as the registry names them; with "failed" comes `reason`.
"""

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from stylecore.files import write_whole
from stylecore.johnson.transform_net import TransformNet
from training.checkpoints import style_of
from training.config import TrainConfig
from training.state import Clock

FIGURES = "progress.json"
NETWORK = "now.style"
SECONDS_BETWEEN = 3.0
CURVE_POINTS = 200


class LessonProgress:
    """Writes the files above into a folder; without a folder it does nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._figures: dict[str, Any] = {"curve": []}
        self._written_at = -SECONDS_BETWEEN
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError, ValueError, KeyError):  # the curve of a lesson that is resumed goes on
                self._figures["curve"] = json.loads((folder / FIGURES).read_text(encoding="utf-8"))["curve"]

    def write(self, phase: str, **figures: Any) -> None:
        """Write the phase, these figures, and those that were written before."""
        self._figures |= {"phase": phase, **figures}
        if self._folder is not None:
            write_whole(self._folder / FIGURES, json.dumps(self._figures).encode())

    def learn(
        self, config: TrainConfig, network: TransformNet, iteration: int, losses: Mapping[str, Tensor], clock: Clock
    ) -> None:
        """Write the state after an iteration, if it is the last one or some seconds have passed."""
        is_over = clock.share(iteration) >= 1
        if self._folder is None or (time.monotonic() - self._written_at < SECONDS_BETWEEN and not is_over):
            return
        seconds, loss = clock.seconds, float(losses["loss/total"])
        style_of(config, network, iteration).save(self._folder / NETWORK)
        curve = [*self._figures["curve"], [round(seconds, 1), round(loss, 4)]]
        self.write(
            "finishing" if is_over else "learning",
            iteration=iteration,
            loss=loss,
            content=float(losses["loss/content"]),
            style=float(losses["loss/style"]),
            seconds=seconds,
            seconds_left=clock.seconds_left(iteration, seconds / iteration),
            curve=curve[::2] if len(curve) > CURVE_POINTS else curve,
        )
        self._written_at = time.monotonic()
