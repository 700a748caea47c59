"""Runs that tests log, without training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.tracking import JournaledTracker


def start_run(
    *,
    experiment: str = "johnson",
    run_name: str = "first",
    params: Mapping[str, Any] | None = None,
    run_id: str = "",
    tracking_uri: str | None = None,
    folder: Path | None = None,
    end_seconds: float = 60.0,
    system_metrics: bool = False,
    **about: Any,
) -> JournaledTracker:
    """Begin a run, or continue the run `run_id`; `about` is told to `describe`."""
    tracker = JournaledTracker(
        folder,
        experiment=experiment,
        run_name=run_name,
        tracking_uri=tracking_uri,
        resume=run_id or False,
        end_seconds=end_seconds,
        system_metrics=system_metrics,
    )
    tracker.start()
    if params:
        tracker.store_init_configuration(params)
    if about:
        tracker.describe(**about)
    return tracker


def away(run_folder: Path, **settings: Any) -> JournaledTracker:
    """A run whose server is not there."""
    return start_run(tracking_uri="http://127.0.0.1:9", folder=run_folder, end_seconds=0.1, **settings)
