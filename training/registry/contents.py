"""What an MLflow store has of a run or a LoggedModel, in sets that can be compared with those of another store."""

import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import FileInfo, Metric, Run

from stylecore.files import file_sha256
from training.tracking.delivery import output_steps
from training.tracking.store import fetch

Contents = dict[str, set[tuple[Any, ...]]]
"""Kind of content to all of it, such as "params" to pairs of name and value."""
_Tags = Callable[[Mapping[str, str]], Mapping[str, str]]


def run_contents(client: MlflowClient, run: Run, tags: _Tags) -> Contents:
    """What is in a run, without its models; `tags` makes those to compare. A run that goes on has no end."""
    info = run.info
    histories = (client.get_metric_history(info.run_id, key) for key in run.data.metrics)
    datasets = [each.dataset for each in run.inputs.dataset_inputs] if run.inputs else []
    return {
        "params": set(run.data.params.items()),
        "tags": set(tags(run.data.tags).items()),
        "metric values": _values(metric for history in histories for metric in history),
        "datasets": {(dataset.name, dataset.digest) for dataset in datasets},
        "files": _files(client, info.artifact_uri, client.list_artifacts(info.run_id)),
        "end": {(info.status,), (info.end_time,)} - {("RUNNING",), (None,)},
    }


def model_contents(client: MlflowClient, run: Run, model_id: str, tags: _Tags) -> Contents:
    """What is in a LoggedModel of a run; `tags` makes those to compare."""
    model = client.get_logged_model(model_id)
    return {
        "params": set(model.params.items()),
        "tags": set(tags(model.tags).items()),
        "metric values": _values(model.metrics or []),
        "files": _files(client, model.artifact_location, client.list_logged_model_artifacts(model_id)),
        "state": {(model.name, model.model_type or "", str(model.status), output_steps(run).get(model_id))},
    }


def difference(wanted: Contents, found: Contents) -> Contents:
    """What is wanted and not found, by the kinds of which there is any."""
    return {kind: rest for kind, items in wanted.items() if (rest := items - found[kind])}


def _values(metrics: Iterable[Metric]) -> set[tuple[Any, ...]]:
    """Key, value, time and step. NaN is a text, because it does not equal itself."""
    return {(m.key, "nan" if math.isnan(m.value) else m.value, m.timestamp, m.step) for m in metrics}


def _files(client: MlflowClient, address: str, listed: Sequence[FileInfo]) -> set[tuple[Any, ...]]:
    """Path and SHA-256 of every file at an address; `listed` is what is directly there."""
    if not listed:
        return set()
    with tempfile.TemporaryDirectory(prefix="stylecore-migrate-") as folder:
        root = fetch(client, address, Path(folder))
        return {(str(path.relative_to(root)), file_sha256(path)) for path in root.rglob("*") if path.is_file()}
