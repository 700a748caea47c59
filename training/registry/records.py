"""Runs, models and files of an MLflow store as plain records, which can be compared and written elsewhere."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Run

from stylecore.files import file_sha256
from training.tracking.folders import parents_first
from training.tracking.store import fetch

_DATASET = ("name", "digest", "source_type", "source", "schema", "profile")

Point = tuple[int, int, float | str]
"""Step, timestamp in ms, and value. NaN is the text "nan", because NaN does not equal itself."""
Curves = dict[str, frozenset[Point]]
"""The values of metrics by their names."""


@dataclass(frozen=True)
class ModelRecord:
    """Content of a LoggedModel. `step`: of the run's output, None if it is no output; `files`: path to SHA-256."""

    name: str
    status: str
    model_type: str
    step: int | None
    params: dict[str, str]
    tags: dict[str, str]
    metrics: Curves
    files: dict[str, str]


@dataclass(frozen=True)
class RunRecord:
    """Content of a run, with the ids of the source. `files`: path to SHA-256; `models`: id to record."""

    name: str
    status: str
    start_time: int
    end_time: int | None
    params: dict[str, str]
    tags: dict[str, str]
    metrics: Curves
    datasets: frozenset[tuple[str, ...]]
    files: dict[str, str]
    models: dict[str, ModelRecord]


@dataclass
class Summary:
    """Numbers of what both stores have, counted at the target after the comparison.

    `skipped`: one sentence for everything that was left out.
    """

    runs: int = 0
    metric_values: int = 0
    files: int = 0
    models: int = 0
    versions: int = 0
    aliases: int = 0
    changed: int = 0
    skipped: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.runs} runs with {self.metric_values} metric values, {self.files} files, {self.models} models, "
            f"{self.versions} registered versions and {self.aliases} aliases are the same in both stores; "
            f"{self.changed} runs and versions were copied now"
        )


def by_time(runs: Iterable[Run]) -> list[Run]:
    """Runs by time, but each after its parent, whose new id it needs."""
    by_id = {run.info.run_id: run for run in sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))}
    ordered = parents_first({run_id: run.data.tags.get("mlflow.parentRunId") for run_id, run in by_id.items()})
    return [by_id[run_id] for run_id in ordered]


def inverted(ids: dict[str, str]) -> dict[str, str]:
    """A mapping of ids in the other direction."""
    return {old: new for new, old in ids.items()}


def translated(value: str, ids: dict[str, str]) -> str:
    """The text with every known id replaced. Ids have 32 hexadecimal digits, so nothing else is mistaken for one."""
    for old, new in ids.items():
        if old in value:
            value = value.replace(old, new)
    return value


def metric_points(metrics: Sequence[Metric]) -> frozenset[Point]:
    return frozenset((m.step, m.timestamp, "nan" if math.isnan(m.value) else m.value) for m in metrics)


def dataset_record(entry: DatasetInput) -> tuple[str, ...]:
    context = next((tag.value for tag in entry.tags if tag.key == "mlflow.data.context"), "")
    return (*(getattr(entry.dataset, name) or "" for name in _DATASET), context)


def dataset_input(fields: tuple[str, ...]) -> DatasetInput:
    *about, context = fields
    dataset = Dataset(**{name: value or None for name, value in zip(_DATASET, about, strict=True)})
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)] if context else [])


def stored_files(
    client: MlflowClient, location: str, listing: Callable[[str], list[Any]], folder: Path
) -> dict[str, str]:
    """Path to SHA-256 of every file below an artifact address; the folder gets a copy or a link of each."""
    digests = {}
    for path in _walk(listing, ""):
        kept = folder / path
        kept.parent.mkdir(parents=True, exist_ok=True)
        found = fetch(client, f"{location}/{path}", kept.parent)
        if found != kept:
            kept.symlink_to(found)
        digests[path] = file_sha256(kept)
    return digests


def _walk(listing: Callable[[str], list[Any]], path: str) -> Iterator[str]:
    for entry in listing(path):
        if entry.is_dir:
            yield from _walk(listing, entry.path)
        else:
            yield entry.path
