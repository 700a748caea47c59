"""What a tracker does with its store: refusals, ends, previews, checkpoints, continued runs."""

from pathlib import Path
from typing import Any

from training.tracking.tracker import Tracker


def start(**changes) -> Tracker:
    settings = {"experiment": "johnson", "run_name": "first", "params": {}, "tags": {}, "system_metrics": False}
    return Tracker.start(**{**settings, **changes})


def away(run_folder: Path, **settings: Any) -> Tracker:
    """A run whose server is not there."""
    return start(tracking_uri="http://127.0.0.1:9", folder=run_folder, end_seconds=0.1, **settings)
