"""Writes runs to an MLflow store in such a way that everything can be repeated.

After a lost answer it is unknown whether the store has executed a request, so every request must be repeatable. The
store identifies metric values by (run, name, step, time, value), and params, tags and files by their names: writing
them twice changes nothing. Runs, LoggedModels and versions are searched before they are made: a run by its tag
`journal`, the others by their run and step. A slow store may still make one twice; then the later one is removed.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModel,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking.multimedia import compress_image_size
from mlflow.types import Schema, TensorSpec
from PIL import Image

from training.tracking import TrackingError
from training.tracking.environment import is_server, without_password
from training.tracking.journal_files import file_digest
from training.tracking.store import all_pages, plain_errors
from training.tracking.values import NOTE_IMAGE, ModelDescription, param_text

CHAMPION = "champion"
"""Alias of the default version of a model."""
METRICS_A_CALL = 1000
"""MLflow's limit for one log_batch."""
PARAMS_A_CALL = 100
"""MLflow's limit for params, and for tags."""
BELOW_THE_WORDS = "\n\n---\n\n"
"""The line below what a person wrote in a version's description."""
LONGEST_TEXT = 5000
"""MLflow's limit for a version's description."""
JOURNAL_TAG = "journal"
"""Tag with the key of a run's journal, which exists before the run has an id."""
AUTOMATIC_TAG = "automatic_aliases"
"""Tag of a version: the aliases that a program gave it. Its other aliases were given by a person."""
FORMER_TAG = "restored_aliases"
"""The same in stores that were restored before there was the other."""
KIND_TAG = "kind"
"""Tag of a version: the kind of its model."""


def runs_of(client: MlflowClient, experiment_ids: Sequence[str], key: str) -> list[str]:
    """The ids of all runs with this key in their tag `journal`, including deleted ones: normally one or none."""
    found = client.search_runs(list(experiment_ids), f"tags.{JOURNAL_TAG} = '{key}'", run_view_type=ViewType.ALL)
    return sorted(run.info.run_id for run in found)


def remove_other_runs(client: MlflowClient, experiment_id: str, key: str, run_id: str) -> None:
    """Remove other runs with this key, made by a request that seemed lost and was executed late."""
    for surplus in runs_of(client, [experiment_id], key):
        if surplus != run_id:
            client.delete_tag(surplus, JOURNAL_TAG)
            client.delete_run(surplus)


def continue_run(client: MlflowClient, run_id: str) -> tuple[str, dict[str, str]]:
    """Give a run the status RUNNING again; returns its experiment and its parameters."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise
        raise TrackingError(
            f"The MLflow store at {without_password(client.tracking_uri)} has no run {run_id!r} to continue; "
            "set MLFLOW_TRACKING_URI to the store that the interrupted training wrote to."
        ) from error
    if run.info.lifecycle_stage != "active":
        raise TrackingError(
            f"The run {run_id} was deleted in MLflow and cannot be continued; "
            f"restore it with `MLFLOW_TRACKING_URI={without_password(client.tracking_uri)} mlflow runs restore "
            f"--run-id {run_id}`."
        )
    client.update_run(run_id, status="RUNNING")
    return run.info.experiment_id, dict(run.data.params)


def registered_steps(client: MlflowClient, run_id: str) -> dict[str, str]:
    """Step to version number of the registered checkpoints of a run."""
    found = client.search_model_versions(f"run_id='{run_id}'")
    return {entry.tags["iterations"]: str(entry.version) for entry in found if "iterations" in entry.tags}


def register_checkpoint(
    client: MlflowClient,
    *,
    run_id: str,
    run_name: str,
    experiment_id: str,
    weights: Path,
    model: ModelDescription,
    step: int,
    metrics: Sequence[Metric],
    tags: Mapping[str, str] | None = None,
    sidecars: Mapping[str, Path] | None = None,
) -> str:
    """Make the LoggedModel, its metrics and the registered version of one file of weights; returns the version number.

    A run has one checkpoint per step: existing parts of it stay, missing parts are made.

    Args:
        metrics: values with their timestamps; the run gets them too, once.
        tags: of the version, beside those of every version. The caller gives the aliases.
        sidecars: name to path of files that are stored with the weights.
    """
    name, uri = model.name, client.tracking_uri
    logged = find_logged_model(client, experiment_id, run_id, step) or client.create_logged_model(
        experiment_id,
        name=name,
        source_run_id=run_id,
        params={"iterations": str(step), **model.params},
        tags={"iterations": str(step), "run_name": run_name},
        model_type=model.kind,
    )
    with tempfile.TemporaryDirectory() as folder:
        for file_name, sidecar in (sidecars or {}).items():
            shutil.copyfile(sidecar, Path(folder) / file_name)
        _write_model_folder(Path(folder), weights, model, logged.model_id, run_id)
        client.log_model_artifacts(logged.model_id, folder)
    client.finalize_logged_model(logged.model_id, "READY")
    if logged.model_id not in output_steps(client.get_run(run_id)):
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step)])
    log_model_metrics(client, run_id, logged.model_id, metrics)

    try:
        client.create_registered_model(name, description=model.about)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    number = find_version(client, run_id, name, step)
    if number is None:
        # Without a server, MLflow looks for a `models:/` source in the global store, which may be another one.
        source = f"models:/{logged.model_id}" if is_server(uri) else logged.artifact_location
        registered = client.create_model_version(
            name,
            source,
            run_id=run_id,
            tags={
                "iterations": step,
                "run_name": run_name,
                "sha256": file_digest(weights),
                KIND_TAG: model.kind,
                **(tags or {}),
            },
            description=f"{model.about_version}{BELOW_THE_WORDS}{_picture_of_step(client, run_id, step)}"[
                :LONGEST_TEXT
            ],
            await_creation_for=0,
            model_id=logged.model_id,
        )
        number = str(registered.version)
    if not is_server(uri):  # a server sets this link itself
        client.set_logged_model_tags(
            logged.model_id, {"mlflow.modelVersions": json.dumps([{"name": name, "version": number}])}
        )
    return number


def describe_version(client: MlflowClient, name: str, number: str, words: str) -> None:
    """Replace the words of a version's description; the picture below them stays."""
    _, below, picture = (client.get_model_version(name, number).description or "").partition(BELOW_THE_WORDS)
    client.update_model_version(name, number, f"{words}{below}{picture}"[:LONGEST_TEXT])


def words_of(description: str | None) -> str:
    """What a person or a program wrote in a version's description, without the picture."""
    return (description or "").partition(BELOW_THE_WORDS)[0].strip()


def newest(metrics: Sequence[Metric]) -> list[Metric]:
    """The last value of each metric at each step: a repeated evaluation replaces the earlier one. Sorted by both."""
    last = {(metric.key, metric.step): metric for metric in sorted(metrics, key=lambda metric: metric.timestamp)}
    return [last[key] for key in sorted(last)]


def _picture_of_step(client: MlflowClient, run_id: str, step: int) -> str:
    """The Markdown that shows the run's first picture of a step; "" where there is none."""
    found = sorted(file.path for file in client.list_artifacts(run_id, "images") if f"+step+{step}+" in file.path)
    small = [path for path in found if path.endswith(".webp")]
    return f"![a picture of step {step}]({_page_of_file(run_id, small[0])})" if small else ""


def models_of(client: MlflowClient, experiment_id: str, run_id: str) -> list[LoggedModel]:
    """The LoggedModels of a run, without those that were deleted."""
    return all_pages(client.search_logged_models, [experiment_id], f"source_run_id = '{run_id}'")


def output_steps(run: Run) -> dict[str, int]:
    """Id to step of the LoggedModels that a run names as its outputs; some may be deleted."""
    return {output.model_id: output.step for output in (run.outputs.model_outputs if run.outputs else [])}


def find_logged_model(client: MlflowClient, experiment_id: str, run_id: str, step: int) -> LoggedModel | None:
    """The checkpoint of this run and step. Of several the first one is used, and the others are removed."""
    of_run = models_of(client, experiment_id, run_id)
    found = [model for model in of_run if model.tags.get("iterations") == str(step)]
    found.sort(key=lambda model: (model.creation_timestamp, model.model_id))
    for surplus in found[1:]:
        client.delete_logged_model(surplus.model_id)
    return found[0] if found else None


def find_version(client: MlflowClient, run_id: str, name: str, step: int) -> str | None:
    """The version number of this run and step. Of several the lowest is used, and the others are removed."""
    of_run = client.search_model_versions(f"run_id='{run_id}'")
    found = [int(v.version) for v in of_run if v.name == name and v.tags.get("iterations") == str(step)]
    for surplus in sorted(found)[1:]:
        client.delete_model_version(name, str(surplus))
    return str(min(found)) if found else None


def name_version(client: MlflowClient, run_id: str, name: str, step: int, number: str) -> None:
    """Give a version the alias `iterations-<step>`, and `champion` unless another run or a later step has it."""
    client.set_registered_model_alias(name, f"iterations-{step}", number)
    champion = client.get_registered_model(name).aliases.get(CHAMPION)
    if champion is not None:
        version = client.get_model_version(name, champion)
        if version.run_id != run_id or int(version.tags.get("iterations", 0)) >= step:
            return
    give_alias(client, name, CHAMPION, number)


def give_alias(client: MlflowClient, name: str, alias: str, number: str, *, by_hand: bool = False) -> None:
    """Give an alias to a version. A program takes none from another version that a person gave it."""
    bearer = client.get_registered_model(name).aliases.get(alias)
    if not by_hand and bearer is not None and alias not in automatic_aliases(client.get_model_version(name, bearer)):
        return
    others = automatic_aliases(client.get_model_version(name, number)) - {alias}
    automatic = sorted(others if by_hand else {*others, alias})
    client.set_model_version_tag(name, number, AUTOMATIC_TAG, " ".join(automatic))
    client.set_registered_model_alias(name, alias, number)


def automatic_aliases(version: ModelVersion) -> set[str]:
    """The aliases that a program gave to a version; it may have lost some of them."""
    return {alias for tag in (AUTOMATIC_TAG, FORMER_TAG) for alias in version.tags.get(tag, "").split()}


def log_metrics(client: MlflowClient, run_id: str, metrics: Sequence[Metric]) -> None:
    """Write any number of values to a run."""
    with plain_errors(client.tracking_uri, "logging metrics"):
        for first in range(0, len(metrics), METRICS_A_CALL):
            client.log_batch(run_id, metrics=metrics[first : first + METRICS_A_CALL], synchronous=True)


def log_model_metrics(client: MlflowClient, run_id: str, model_id: str, metrics: Sequence[Metric]) -> None:
    """Write values to a LoggedModel and to its run."""
    linked = [Metric(m.key, m.value, m.timestamp, m.step, model_id=model_id, run_id=run_id) for m in metrics]
    log_metrics(client, run_id, linked)


def log_evaluation(client: MlflowClient, run_id: str, step: int, values: Mapping[str, Any], timestamp: int) -> bool:
    """Write metrics to the checkpoint of a step and to its run; False when the checkpoint was deleted in MLflow."""
    model = find_logged_model(client, client.get_run(run_id).info.experiment_id, run_id, step)
    if model is None:
        return False
    metrics = [Metric(name, float(value), timestamp, step) for name, value in values.items()]
    log_model_metrics(client, run_id, model.model_id, metrics)
    return True


def log_picture(client: MlflowClient, run_id: str, picture: Path, path: str) -> None:
    """Log a PNG at its `picture_path`, like `MlflowClient.log_image`."""
    with tempfile.TemporaryDirectory() as folder:
        whole, small = (Path(folder) / f"{Path(path).stem}{ending}" for ending in (".png", "+compressed.webp"))
        shutil.copyfile(picture, whole)
        with Image.open(picture) as image:
            compress_image_size(image).save(small)
        for file in (whole, small):
            client.log_artifact(run_id, str(file), "images")
    client.set_tag(run_id, "mlflow.loggedImages", True)


def picture_path(record: Mapping[str, Any]) -> str:
    """The artifact path of a picture, as MLflow's page expects it. With its `code`, a repetition overwrites it."""
    name = record["key"].replace("/", "~")
    return f"images/{name}+step+{record['step']}+timestamp+{record['time']}+{record['code']}.png"


def note_of_image(run_id: str) -> str:
    """The Markdown that shows the note's picture on MLflow's page."""
    return f"\n![the style picture]({_page_of_file(run_id, NOTE_IMAGE)})\n"


def _page_of_file(run_id: str, path: str) -> str:
    """The address of a run's file, relative to MLflow's page."""
    return f"get-artifact?path={quote(path, safe='')}&run_uuid={run_id}"


def log_params_and_tags(client: MlflowClient, run_id: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
    """Write params and tags in as few calls as MLflow allows; values that are too long for MLflow are cut."""
    all_params = [Param(key, param_text(value)[:6000]) for key, value in params.items()]
    all_tags = [RunTag(key, str(value)[:8000]) for key, value in tags.items()]
    with plain_errors(client.tracking_uri, "logging the parameters"):
        for first in range(0, max(len(all_params), len(all_tags)), PARAMS_A_CALL):
            part = slice(first, first + PARAMS_A_CALL)
            client.log_batch(run_id, params=all_params[part], tags=all_tags[part], synchronous=True)


def log_datasets(client: MlflowClient, run_id: str, datasets: Sequence[Mapping[str, str]]) -> None:
    """Log the datasets of a run, by the fields of MLflow's Dataset; the data is not read."""
    inputs = [DatasetInput(Dataset(**fields), [InputTag("mlflow.data.context", "training")]) for fields in datasets]
    if inputs:
        client.log_inputs(run_id, datasets=inputs)


def dataset_fields(dataset: Mapping[str, str]) -> dict[str, str]:
    """The fields of MLflow's Dataset for the argument of `JournaledTracker.describe`.

    "name", "source" (an address or a folder) and "digest" have their own fields; all other values are the profile.
    """
    about = {key: str(value) for key, value in dataset.items()}
    fingerprint = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    return {
        "name": about["name"],
        "digest": about.get("digest", fingerprint)[:36],  # MLflow's own limit
        "source_type": "local",
        "source": json.dumps({"uri": about.get("source", about["name"])}),
        "profile": json.dumps({k: v for k, v in about.items() if k not in {"name", "digest", "source"}}),
    }


def _write_model_folder(folder: Path, weights: Path, model: ModelDescription, model_id: str, run_id: str) -> None:
    file = folder / f"{model.name}{weights.suffix}"
    shutil.copyfile(weights, file)
    for name, text in model.texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    signature = None
    if model.inputs:
        inputs, outputs = (
            Schema([TensorSpec(np.dtype("float32"), tuple(shape), name) for name, shape in tensors.items()])
            for tensors in (model.inputs, model.outputs)
        )
        signature = ModelSignature(inputs, outputs)
    description = Model(run_id=run_id, model_id=model_id, signature=signature)
    description.add_flavor(model.flavor, weights=file.name, **{Path(name).stem: name for name in model.texts})
    description.save(str(folder / "MLmodel"))
