"""What training tells MLflow: parameters, losses, sample pictures, and one registered model version per checkpoint.

Rank 0 holds a `Tracker`; every other rank holds `Tracker.silent()`, which accepts the same calls and does nothing,
so the training loop has no "if main process" around its lines.

Names: metrics `loss/...`, `opt/...`, `perf/...`, `eval/...`, `data/...` and images `preview/<photo>`, which MLflow's
page groups by the part before the slash; one LoggedModel per checkpoint, with its step; the registered model bears
the name of the style, its versions the tags `iterations` and `run_name` and the aliases `iterations-<step>` and
`champion`.

A checkpoint is kept as three plain files: the safetensors, its card as JSON, and an `MLmodel` that names our own
flavor `stylecore`. Nothing in it is executable, so nothing fetched from a store is ever run.
"""

import contextlib
import dataclasses
import getpass
import hashlib
import json
import logging
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.pictures import to_image
from stylecore.style_model import StyleCard, StyleModel
from training.store import (
    REPOSITORY,
    artifact_folder,
    connect,
    default_tracking_uri,
    is_server,
    plain_errors,
    without_password,
)

__all__ = ["Tracker", "default_tracking_uri", "environment_tags", "file_sha256", "register_checkpoint"]

LOCAL_PAGE = "http://127.0.0.1:5000"
"""Where `make mlflow-ui` shows a local store."""

STYLE_PICTURE = "style/picture.jpg"
FLUSH_SECONDS = 10.0
RETRY_SECONDS = 60.0
"""Pause after a store did not answer: each attempt may hold the training up for its timeout."""
METRICS_A_CALL = 1000
"""MLflow's own limit for one log_batch."""
PARAMS_A_CALL = 100
"""MLflow's own limit, for params and for tags."""

_PACKAGES = ("torch", "torchvision", "accelerate", "datasets", "mlflow")

_log = logging.getLogger(__name__)


class Tracker:
    """One MLflow run that is being written. Make it with `start` (rank 0) or `silent` (the other ranks)."""

    run_id: str
    versions: dict[int, str]
    """Step of every checkpoint that is registered, to the number of its version; those of a continued run too."""

    def __init__(self, client: MlflowClient | None, run_id: str, experiment_id: str, run_name: str) -> None:
        self.run_id = run_id
        self.versions = {}
        self._client = client
        self._experiment_id = experiment_id
        self._run_name = run_name
        self._buffer: list[Metric] = []
        self._latest: dict[str, Metric] = {}
        self._flush_due = time.monotonic() + FLUSH_SECONDS
        self._unnamed: dict[int, str] = {}
        self._system_metrics: Any = None
        self._finished = False

    @classmethod
    def silent(cls) -> Self:
        """The tracker of every rank but the first: same methods, no effect, `run_id` empty."""
        return cls(None, "", "", "")

    @classmethod
    def start(
        cls,
        *,
        experiment: str,
        run_name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        note: str = "",
        style: Tensor | None = None,
        dataset: Mapping[str, str] | None = None,
        run_id: str | None = None,
        tracking_uri: str | None = None,
        system_metrics: bool = True,
    ) -> Self:
        """Begin a run, or continue the run `run_id` (after an interruption).

        `note` is Markdown, shown at the top of the run's page, followed by the picture `style` (3, H, W), sRGB,
        [0, 1]; a continued run keeps those it has. `dataset` describes the content photos: `name` is
        required, `source` (address or folder) and `digest` are used when given, everything else is kept as its
        profile. A continued run keeps the parameters it began with; one that changed since is kept as the tag
        `resumed/<parameter>`. With `system_metrics`, MLflow samples processor, memory and GPU use every 10 s.
        Raises StylecoreError when the store cannot be reached or written, or does not know `run_id`.
        """
        client = connect(tracking_uri)
        all_tags = {
            "mlflow.user": _user(),
            "mlflow.source.name": Path(sys.argv[0]).name,
            "mlflow.source.type": "LOCAL",
            **{key: str(value) for key, value in tags.items()},
        }
        if run_id is None:
            experiment_id = open_experiment(client, experiment)
            with plain_errors(client.tracking_uri, "beginning a run"):
                run_id = client.create_run(experiment_id, run_name=run_name).info.run_id
            known: dict[str, str] = {}
            continued = False
            picture = _keep_style_picture(client, run_id, style) if style is not None else ""
            if note or picture:
                all_tags["mlflow.note.content"] = note + picture
        else:
            experiment_id, known = _continue_run(client, run_id)
            continued = True
        changed = {f"resumed/{k}": str(v) for k, v in params.items() if k in known and known[k] != str(v)[:6000]}
        new = {key: value for key, value in params.items() if key not in known}
        log_params_and_tags(client, run_id, new, {**all_tags, **changed})
        if dataset and not continued:
            log_datasets(client, run_id, [_dataset_fields(dataset)])
        tracker = cls(client, run_id, experiment_id, run_name)
        if continued:
            tracker.versions = _registered_steps(client, run_id)
        if system_metrics:
            tracker._system_metrics = _start_system_metrics(run_id, client.tracking_uri, continued)
        return tracker

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Note scalars at a step. They are gathered and sent about every 10 s, so this may be called at each step.

        A store that does not answer does not stop the training: the values wait for the next attempt.
        """
        if self._client is None:
            return
        now = time.time_ns() // 1_000_000
        for key, value in values.items():
            metric = Metric(key, float(value), now, step)
            self._latest[key] = metric
            self._buffer.append(metric)
        if time.monotonic() > self._flush_due:
            self._flush_or_wait()

    def log_preview(self, photo: str, pixels: Tensor, step: int) -> None:
        """Keep a sample picture (3, H, W), sRGB, [0, 1] as image `preview/<photo>` at this step.

        Log one at step 0 for every photo: the slider of MLflow's page starts there.
        """
        if self._client is None:
            return
        image = to_image(pixels)
        with plain_errors(self._client.tracking_uri, f"keeping a picture of {photo!r}"):
            self._client.log_image(self.run_id, image, key=preview_key(photo), step=step, synchronous=True)

    def log_checkpoint(self, model: StyleModel, step: int, metrics: Mapping[str, float]) -> str:
        """Keep the model as a LoggedModel of this step and as a new version of the registered model `card.name`.

        `metrics` are linked to the model (a value already logged at this step is not logged twice). The version
        gets the alias `iterations-<step>`, and `champion` unless another run has it. Returns the version number.
        """
        if self._client is None:
            return ""
        now = time.time_ns() // 1_000_000
        linked = []
        for key, value in metrics.items():
            last = self._latest.get(key)
            same = last is not None and last.step == step and last.value == float(value)
            linked.append(Metric(key, float(value), last.timestamp if same and last else now, step))
        self.flush()
        with tempfile.TemporaryDirectory(prefix="stylecore-checkpoint-") as folder:
            weights = Path(folder) / f"{model.card.name}.safetensors"
            model.save(weights)
            # A version that a failing store took without its aliases is not made twice.
            number = self._unnamed.get(step) or register_checkpoint(
                self._client,
                run_id=self.run_id,
                run_name=self._run_name,
                experiment_id=self._experiment_id,
                weights=weights,
                card=model.card,
                step=step,
                metrics=linked,
            )
        self._unnamed[step] = number
        with plain_errors(self._client.tracking_uri, "naming the new version"):
            name = model.card.name
            self._client.set_registered_model_alias(name, f"iterations-{step}", number)
            champion = self._client.get_registered_model(name).aliases.get("champion")
            if champion is None or self._client.get_model_version(name, champion).run_id == self.run_id:
                self._client.set_registered_model_alias(name, "champion", number)
        self.versions[step] = number
        return number

    def flush(self) -> None:
        """Send what is still gathered; StylecoreError when the store does not take it (nothing is lost then)."""
        if self._client is None:
            return
        self._flush_due = time.monotonic() + FLUSH_SECONDS
        while self._buffer:
            batch = self._buffer[:METRICS_A_CALL]
            with plain_errors(self._client.tracking_uri, "logging metrics"):
                self._client.log_batch(self.run_id, metrics=batch, synchronous=True)
            del self._buffer[: len(batch)]

    def finish(self, status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED", reason: str = "") -> None:
        """End the run. `reason` is kept as the tag `stop_reason`. A second call does nothing.

        Raises StylecoreError when the store does not take the end of a finished run; after a failure it only warns,
        so that what went wrong with the training stays the error to be seen.
        """
        if self._client is None or self._finished:
            return
        self._finished = True
        if self._system_metrics is not None:
            self._system_metrics.finish()
        try:
            self.flush()
            with plain_errors(self._client.tracking_uri, "ending the run"):
                if reason:
                    self._client.set_tag(self.run_id, "stop_reason", reason[:5000])
                self._client.set_terminated(self.run_id, status)
        except StylecoreError as error:
            if status == "FINISHED":
                raise
            _log.warning("The run is still shown as running: %s", error)

    def comparison_link(self) -> str:
        """The page that compares this experiment's runs as charts (for a local store: what `make mlflow-ui` serves).

        MLflow opens elsewhere by default; the address asks for the page on model training.
        """
        if self._client is None:
            return ""
        uri = self._client.tracking_uri
        page = without_password(uri) if is_server(uri) else LOCAL_PAGE
        return f"{page}/#/experiments/{self._experiment_id}/runs?workflowType=machine_learning&compareRunsMode=CHART"

    def _flush_or_wait(self) -> None:
        try:
            self.flush()
        except StylecoreError as error:
            _log.warning("%s %d metric values wait for the next attempt.", error, len(self._buffer))
            self._flush_due = time.monotonic() + RETRY_SECONDS


def open_experiment(client: MlflowClient, name: str) -> str:
    """The id of the experiment, made if it is new, with its files beside a local store (not for a server)."""
    if not re.fullmatch(r"[\w. -]+", name):
        raise StylecoreError(f"The experiment name {name!r} may hold only letters, digits, '_', '-', '.' and spaces.")
    with plain_errors(client.tracking_uri, f"opening the experiment {name!r}"):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            folder = artifact_folder(client.tracking_uri)
            location = (folder / name).as_uri() if folder else None
            try:
                return client.create_experiment(name, artifact_location=location)
            except MlflowException:
                experiment = client.get_experiment_by_name(name)  # another process was quicker
                if experiment is None:
                    raise
    if experiment.lifecycle_stage != "active":
        raise StylecoreError(
            f"The experiment {name!r} was deleted in MLflow; bring it back with "
            f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`, or use another name."
        )
    if experiment.artifact_location.startswith("mlflow-artifacts:") and not is_server(client.tracking_uri):
        raise StylecoreError(
            f"The experiment {name!r} was made through an MLflow server, which keeps its files; "
            "set MLFLOW_TRACKING_URI to that server's address."
        )
    return experiment.experiment_id


def register_checkpoint(
    client: MlflowClient,
    *,
    run_id: str,
    run_name: str,
    experiment_id: str,
    weights: Path,
    card: StyleCard,
    step: int,
    metrics: list[Metric],
) -> str:
    """LoggedModel, its metrics and the registered version for one `.safetensors`; returns the version number.

    `metrics` keep their timestamps; the run gets them too, once. Aliases are the caller's to give.
    """
    name, uri = card.name, client.tracking_uri
    with plain_errors(uri, f"keeping the checkpoint of step {step}"), tempfile.TemporaryDirectory() as folder:
        logged = client.create_logged_model(
            experiment_id,
            name=name,
            source_run_id=run_id,
            params={"iterations": str(step), **{k: str(v) for k, v in dataclasses.asdict(card.network).items()}},
            tags={"iterations": str(step), "run_name": run_name},
            model_type="style",
        )
        try:
            _write_model_folder(Path(folder), weights, card, logged.model_id, run_id)
            client.log_model_artifacts(logged.model_id, folder)
        except BaseException:
            with contextlib.suppress(MlflowException):
                client.finalize_logged_model(logged.model_id, "FAILED")
            raise
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step)])
        if metrics:
            linked = [
                Metric(m.key, m.value, m.timestamp, m.step, model_id=logged.model_id, run_id=run_id) for m in metrics
            ]
            client.log_batch(run_id, metrics=linked, synchronous=True)

        _ensure_registered_model(client, card)
        # Without a server, MLflow looks a `models:/` source up in the process-wide store, which may be another one.
        source = f"models:/{logged.model_id}" if is_server(uri) else logged.artifact_location
        registered = client.create_model_version(
            name,
            source,
            run_id=run_id,
            tags={"iterations": step, "run_name": run_name, "sha256": file_sha256(weights)},
            await_creation_for=0,
            model_id=logged.model_id,
        )
        number = str(registered.version)
        if not is_server(uri):  # the link back that a server sets by itself
            client.set_logged_model_tags(
                logged.model_id, {"mlflow.modelVersions": json.dumps([{"name": name, "version": number}])}
            )
        return number


def preview_key(photo: str) -> str:
    """The image key of a sample photo: `preview/<photo>`, with what MLflow does not take replaced."""
    return "preview/" + re.sub(r"[^A-Za-z0-9_.-]", "_", photo)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def environment_tags(world_size: int, device: str) -> dict[str, str]:
    """The tags that say what produced a run: git commit and whether files were changed since, devices, versions."""
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no")
    tags = {
        "git_commit": commit or "unknown",
        "git_dirty": "unknown" if commit is None else str(bool(changed)).lower(),
        "world_size": str(world_size),
        "device": device,
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
    }
    return tags | ({"mlflow.source.git.commit": commit} if commit else {})


def log_params_and_tags(client: MlflowClient, run_id: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
    """Write params and tags in as few calls as MLflow allows; values are cut where MLflow would refuse them."""
    all_params = [Param(key, str(value)[:6000]) for key, value in params.items()]
    all_tags = [RunTag(key, str(value)[:8000]) for key, value in tags.items()]
    with plain_errors(client.tracking_uri, "logging the parameters"):
        for first in range(0, len(all_params), PARAMS_A_CALL):
            client.log_batch(run_id, params=all_params[first : first + PARAMS_A_CALL], synchronous=True)
        for first in range(0, len(all_tags), PARAMS_A_CALL):
            client.log_batch(run_id, tags=all_tags[first : first + PARAMS_A_CALL], synchronous=True)


def log_datasets(client: MlflowClient, run_id: str, datasets: Sequence[Mapping[str, str]]) -> None:
    """Record what the run read, by the fields of MLflow's Dataset; the data itself is not read."""
    inputs = [DatasetInput(Dataset(**fields), [InputTag("mlflow.data.context", "training")]) for fields in datasets]
    if inputs:
        with plain_errors(client.tracking_uri, "recording the dataset"):
            client.log_inputs(run_id, datasets=inputs)


def _dataset_fields(dataset: Mapping[str, str]) -> dict[str, str]:
    about = {key: str(value) for key, value in dataset.items()}
    fingerprint = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    return {
        "name": about["name"],
        "digest": about.get("digest", fingerprint)[:36],  # MLflow's own limit
        "source_type": "local",
        "source": json.dumps({"uri": about.get("source", about["name"])}),
        "profile": json.dumps({k: v for k, v in about.items() if k not in {"name", "digest", "source"}}),
    }


def _write_model_folder(folder: Path, weights: Path, card: StyleCard, model_id: str, run_id: str) -> None:
    (folder / f"{card.name}.safetensors").write_bytes(weights.read_bytes())
    (folder / "card.json").write_text(card.to_json() + "\n", encoding="utf-8")
    description = Model(run_id=run_id, model_id=model_id)
    description.add_flavor("stylecore", weights=f"{card.name}.safetensors", card="card.json")
    description.save(str(folder / "MLmodel"))


def _ensure_registered_model(client: MlflowClient, card: StyleCard) -> None:
    try:
        client.get_registered_model(card.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        about = ", ".join(part for part in (card.title, card.artist, card.year) if part)
        try:
            client.create_registered_model(card.name, description=about)
        except MlflowException as other:
            if other.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was quicker
                raise


def _keep_style_picture(client: MlflowClient, run_id: str, style: Tensor) -> str:
    """Keep the style picture as an artifact; returns the Markdown that shows it, as MLflow's own server serves it."""
    with plain_errors(client.tracking_uri, "keeping the style picture"):
        client.log_image(run_id, to_image(style), artifact_file=STYLE_PICTURE)
    return f"\n![the style picture](get-artifact?path={quote(STYLE_PICTURE, safe='')}&run_uuid={run_id})\n"


def _registered_steps(client: MlflowClient, run_id: str) -> dict[int, str]:
    with plain_errors(client.tracking_uri, f"listing the versions of the run {run_id}"):
        found = client.search_model_versions(f"run_id='{run_id}'")
    steps = {int(entry.tags["iterations"]): str(entry.version) for entry in found if "iterations" in entry.tags}
    return dict(sorted(steps.items()))


def _continue_run(client: MlflowClient, run_id: str) -> tuple[str, dict[str, str]]:
    with plain_errors(client.tracking_uri, f"continuing the run {run_id}"):
        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                raise
            raise StylecoreError(
                f"The MLflow store at {without_password(client.tracking_uri)} has no run {run_id!r} to continue; "
                "set MLFLOW_TRACKING_URI to the store that the interrupted training wrote to."
            ) from error
        if run.info.lifecycle_stage != "active":
            raise StylecoreError(
                f"The run {run_id} was deleted in MLflow and cannot be continued; "
                f"bring it back with `mlflow runs restore --run-id {run_id}`."
            )
        client.update_run(run_id, status="RUNNING")
        return run.info.experiment_id, dict(run.data.params)


def _start_system_metrics(run_id: str, tracking_uri: str, continued: bool) -> Any:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)  # it announces its own start and stop
    try:
        monitor = SystemMetricsMonitor(run_id, resume_logging=continued, tracking_uri=tracking_uri)
    except (ImportError, MlflowException) as error:  # psutil is optional to MLflow
        _log.warning("System metrics are not sampled: %s", error)
        return None
    monitor.start()
    return monitor


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user id has no name
        return "unknown"
