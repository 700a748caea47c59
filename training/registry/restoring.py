"""Put the published runs into an MLflow store."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Metric, Run
from PIL import Image

from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import read_card
from stylecore.library import CHAMPION
from training.registry.published import FORMAT, PUBLISHED, RUN_ID, folder_digest, preview_file
from training.tracking.delivery import (
    STYLE_PICTURE,
    file_sha256,
    log_datasets,
    log_metrics,
    log_params_and_tags,
    open_experiment,
    preview_key,
    register_checkpoint,
)
from training.tracking.store import connect, one_at_a_time, plain_errors


def restore_published(published_dir: Path = PUBLISHED, tracking_uri: str | None = None) -> list[str]:
    """Put every published run that the store lacks into it; returns their names.

    Safe to repeat and to interrupt. A run whose folder changed since it was restored is replaced. No alias is
    taken from a version that has it: a `champion` promoted by hand stays.
    """
    folders = sorted(path.parent for path in Path(published_dir).glob("*/run.json"))
    if not folders:
        return []
    client = connect(tracking_uri)
    restored = []
    with one_at_a_time(client.tracking_uri, "restoring"):
        for folder in folders:
            if _restore_run(client, folder):
                restored.append(folder.name)
        if restored:
            with plain_errors(client.tracking_uri, "naming the versions"):
                for name in {read_card(path).name for f in folders for path in f.glob("checkpoints/*.safetensors")}:
                    _fill_missing_aliases(client, name)
    return restored


def _restore_run(client: MlflowClient, folder: Path) -> bool:
    """False when the store has this very run already."""
    record, metrics = _read_record(folder)
    digest = folder_digest(folder)
    experiment_id = open_experiment(client, record["experiment"])
    with plain_errors(client.tracking_uri, f"restoring {folder.name}"):
        known = client.search_runs([experiment_id], f"tags.published_as = '{folder.name}'")
        if any(run.data.tags.get("published_digest") == digest for run in known):
            return False
        for run in known:
            if run.data.tags.get("restored") == "true":
                _remove_run(client, run)
        created = client.create_run(
            experiment_id,
            start_time=record["start_time"],
            tags={"published_as": folder.name, "restored": "true"},
            run_name=record["run_name"],
        )
        run_id = created.info.run_id
        note = {"mlflow.note.content": record["note"].replace(RUN_ID, run_id)} if record["note"] else {}
        log_params_and_tags(client, run_id, record["params"], {**record["tags"], **note})
        log_datasets(client, run_id, record["datasets"])
        if (folder / STYLE_PICTURE).is_file():
            client.log_artifact(run_id, str(folder / STYLE_PICTURE), str(Path(STYLE_PICTURE).parent))
        log_metrics(client, run_id, metrics)
        for preview in record["previews"]:
            with Image.open(preview_file(folder, preview)) as image:
                client.log_image(
                    run_id,
                    image,
                    key=preview_key(preview["photo"]),
                    step=preview["step"],
                    timestamp=preview["timestamp"],
                    synchronous=True,
                )
        for checkpoint in record["checkpoints"]:
            _restore_checkpoint(client, folder, record["run_name"], run_id, experiment_id, checkpoint)
        client.set_terminated(run_id, record["status"], record["end_time"])
        client.set_tag(run_id, "published_digest", digest)
    return True


def _restore_checkpoint(
    client: MlflowClient, folder: Path, run_name: str, run_id: str, experiment_id: str, checkpoint: Mapping[str, Any]
) -> None:
    weights = _checkpoint_file(folder, checkpoint)
    card = read_card(weights)
    number = register_checkpoint(
        client,
        run_id=run_id,
        run_name=run_name,
        experiment_id=experiment_id,
        weights=weights,
        card=card,
        step=checkpoint["step"],
        metrics=[Metric(m["key"], m["value"], m["timestamp"], m["step"]) for m in checkpoint["metrics"]],
    )
    taken = client.get_registered_model(card.name).aliases
    for alias in checkpoint["aliases"]:
        if alias not in taken:
            client.set_registered_model_alias(card.name, alias, number)


def _fill_missing_aliases(client: MlflowClient, name: str) -> None:
    """`iterations-<n>` to the newest version of n iterations, `champion` to the most trained, where nobody has it."""
    taken = client.get_registered_model(name).aliases
    numbers = {int(v.tags["iterations"]): str(v.version) for v in _versions(client, name) if "iterations" in v.tags}
    wanted = {f"iterations-{iterations}": number for iterations, number in numbers.items()}
    if numbers:
        wanted[CHAMPION] = numbers[max(numbers)]
    for alias, number in wanted.items():
        if alias not in taken:
            client.set_registered_model_alias(name, alias, number)


def _versions(client: MlflowClient, name: str) -> list[Any]:
    return sorted(client.search_model_versions(f"name='{name}'"), key=lambda v: int(v.version))


def _read_record(folder: Path) -> tuple[dict[str, Any], list[Metric]]:
    """run.json and metrics.csv, checked before anything is written to the store."""
    path = folder / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise StylecoreError(f"{path} has the format {record['format']!r}, this version reads {FORMAT!r}; update.")
        for checkpoint in record["checkpoints"]:
            if file_sha256(_checkpoint_file(folder, checkpoint)) != checkpoint["sha256"]:
                raise StylecoreError(
                    f"{_checkpoint_file(folder, checkpoint)} is damaged (its SHA-256 differs from run.json); "
                    "check it out again."
                )
        for preview in record["previews"]:
            path = preview_file(folder, preview)
            if not path.is_file() or ("sha256" in preview and file_sha256(path) != preview["sha256"]):
                raise StylecoreError(f"{path} is missing or damaged, and {folder.name} needs it; check it out again.")
        path = folder / "metrics.csv"
        with path.open(newline="", encoding="utf-8") as file:
            metrics = [
                Metric(row["key"], float(row["value"]), int(row["timestamp"]), int(row["step"]))
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StylecoreError(f"The published run {path} cannot be read ({error}); check it out again.") from error
    return record, metrics


def _checkpoint_file(folder: Path, checkpoint: Mapping[str, Any]) -> Path:
    return folder / "checkpoints" / f"iterations-{int(checkpoint['step'])}.safetensors"


def _remove_run(client: MlflowClient, run: Run) -> None:
    """Take back what a restore made: its versions (their aliases with them), its LoggedModels, the run."""
    run_id = run.info.run_id
    for version in client.search_model_versions(f"run_id='{run_id}'"):
        client.delete_model_version(version.name, version.version)
    for model in _logged_models(client, run):
        client.delete_logged_model(model.model_id)
    client.delete_run(run_id)


def _logged_models(client: MlflowClient, run: Run) -> list[LoggedModel]:
    found = client.search_logged_models([run.info.experiment_id], filter_string=f"source_run_id = '{run.info.run_id}'")
    return list(found)
