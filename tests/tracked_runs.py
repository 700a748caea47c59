"""Runs that tests log, without training."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from training.registry.versions import description_of
from training.tracking import JournaledTracker, sender, tracker

# A wait ends with what it waits for. On a busy machine that may take minutes.
sender.START_SECONDS = tracker.STOP_SECONDS = 300.0


def start_run(
    *,
    experiment: str = "johnson",
    run_name: str = "first",
    params: Mapping[str, Any] | None = None,
    run_id: str = "",
    tracking_uri: str | None = None,
    folder: Path | None = None,
    end_seconds: float = 300.0,
    system_metrics: bool = False,
    **about: Any,
) -> JournaledTracker:
    """Begin a run, or continue the run `run_id`; `about` is told to `describe`. The test ends it."""
    run = JournaledTracker(
        folder,
        experiment=experiment,
        run_name=run_name,
        tracking_uri=tracking_uri,
        resume=run_id or False,
        end_seconds=end_seconds,
        system_metrics=system_metrics,
    )
    run.start()
    if params:
        run.store_init_configuration(params)
    if about:
        run.describe(**about)
    return run


def away(run_folder: Path, **settings: Any) -> JournaledTracker:
    """A run whose server is not there."""
    return start_run(tracking_uri="http://127.0.0.1:9", folder=run_folder, end_seconds=0.1, **settings)


def tiny_style(name: str = "tiny_waves", iterations: int = 10) -> StyleModel:
    """An untrained style of a few thousand weights."""
    network = TransformNetConfig(residual_blocks=1, width=0.25)
    about = {"title": "Tiny waves", "artist": "Nobody", "year": "1900"}
    return StyleModel(TransformNet(network), StyleCard(name=name, network=network, iterations=iterations, **about))


def log_style(run: JournaledTracker, model: StyleModel, step: int, metrics: Mapping[str, float]) -> None:
    """Log a model as the run's checkpoint of this step, as a training does with its file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{model.card.name}.safetensors"
        model.save(file)
        run.log_checkpoint(file, step, description_of(model.card), metrics, unchanging=True)


def files_of(client: MlflowClient, run_id: str, folder: str | None = None) -> list[str]:
    """The paths of all artifacts of a run."""
    entries = client.list_artifacts(run_id, folder)
    inside = [path for entry in entries if entry.is_dir for path in files_of(client, run_id, entry.path)]
    return [entry.path for entry in entries if not entry.is_dir] + inside
