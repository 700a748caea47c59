"""What a lesson tells while it goes on: the time left from the first iteration on, and its end at once."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from training import state
from training.config import TrainConfig
from training.state import Clock
from training.teach import progress as progress_module
from training.teach.progress import FIGURES, LessonProgress


def test_the_time_left_and_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (state, progress_module):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    config = TrainConfig(name="waves", iterations=10, minutes=1, output_dir=str(tmp_path / "runs"))
    network = TransformNet(TransformNetConfig(residual_blocks=1, width=0.0625))
    losses = {f"loss/{name}": torch.tensor(2.0) for name in ("total", "content", "style")}
    progress, clock = LessonProgress(tmp_path), Clock(config, 4.0)

    def told(iteration: int) -> dict[str, object]:
        progress.learn(config, network, iteration, losses, clock)
        return dict(json.loads((tmp_path / FIGURES).read_text()))

    first = told(1)
    assert first["phase"] == "learning"
    assert first["seconds_left"] == 36  # nine iterations of four seconds
    assert told(2) == first  # too soon after it
    last = told(10)
    assert (last["phase"], last["iteration"], last["seconds_left"]) == ("finishing", 10, 0)
