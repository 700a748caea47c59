"""What telling MLflow costs: the share of a training's time that is spent in the JournaledTracker.

    python tests/benchmarks/logging_cost.py [any flags of train.py]

Without flags it trains 200 iterations of the recipe's size at the default --log-every, on noise, with a sqlite store
in a temporary folder. The sampling of system metrics runs beside the training, in a thread, and is not counted.
"""

import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from PIL import Image

from training import train
from training.config import parse_config
from training.tracking import JournaledTracker

COUNTED = ("start", "log", "log_images", "log_checkpoint", "finish")


def main() -> None:
    spent: dict[str, float] = defaultdict(float)
    for name in COUNTED:
        setattr(JournaledTracker, name, timed(getattr(JournaledTracker, name), name, spent))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "photos").mkdir()
        for index in range(8):
            pixels = np.random.default_rng(index).integers(0, 255, (480, 640, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / f"{index}.jpg")
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        flags = ["--name", "logging-cost", "--style-image", str(folder / "photos" / "0.jpg"), "--iterations", "200"]
        flags += ["--photos", str(folder / "photos"), "--output-dir", str(folder / "runs"), "--checkpoints", "200"]
        config, _ = parse_config([*flags, *sys.argv[1:]])
        began = time.monotonic()
        steps = Steps()
        train.training_losses = steps.counting(train.training_losses)  # type: ignore[attr-defined]
        train.train(config)
        whole = time.monotonic() - began
    print(f"\n{config.iterations} iterations, {steps.between():.3f} s each; {whole:.1f} s in all")
    for name, seconds in spent.items():
        print(f"{name:>15}: {seconds:7.3f} s")
    metrics = spent["log"] / config.iterations / steps.between()
    print(f"log takes {metrics:.2%} of a step; everything {sum(spent.values()) / whole:.2%} of the run")


class Steps:
    """When each step computed its losses."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def counting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            self.times.append(time.monotonic())
            return function(*arguments)

        return counted

    def between(self) -> float:
        """Median seconds from one step to the next."""
        return float(np.median(np.diff(self.times)))


def timed(function: Any, name: str, spent: dict[str, float]) -> Any:
    def measured(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            spent[name] += time.perf_counter() - began

    return measured


if __name__ == "__main__":
    main()
