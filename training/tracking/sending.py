"""Sending each kind of record to an MLflow store, and the meaning of the store's answer.

The kinds of records, with their data:

    run         key, run_id ("" when unknown), continued, experiment, run_name, tags, keep_files, disk_bytes,
                tracking_uri, time
    about       any of params, tags, note, style_picture (whether a picture follows), dataset
    metrics     values, step, time
    picture     key, step, time, code, file
    file        file, path
    checkpoint  file, step, run_name, metrics: [name, value, time] each,
                model: the fields of ModelDescription
    evaluation  values, step, time
    end         status, reason, time

Times are milliseconds since 1970. "file" names a file of the journal.
"""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from requests import HTTPError
from sqlalchemy.exc import DatabaseError

from training.tracking import TrackingError, delivery
from training.tracking.experiments import open_experiment
from training.tracking.journal import Journal
from training.tracking.journal_files import Record
from training.tracking.store import connect, plain_errors
from training.tracking.values import ModelDescription

_Part = TypeVar("_Part")
_REFUSALS = frozenset(
    [
        "BAD_REQUEST",
        "FEATURE_DISABLED",
        "INVALID_PARAMETER_VALUE",
        "MALFORMED_REQUEST",
        "NOT_FOUND",
        "NOT_IMPLEMENTED",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_DOES_NOT_EXIST",
        "RESOURCE_LIMIT_EXCEEDED",
    ]
)
_NO_ENTRY = frozenset(["PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"])
_RACES = ("UniqueViolation", "UNIQUE constraint failed", "Duplicate entry")
"""Two runs wrote the same row, for instance of a dataset, at the same time (PostgreSQL, sqlite, MySQL). MLflow calls
this a bad request, and finds the row the next time."""
MOST_REFUSALS = 100
"""A metric with a bad name is refused at every step: not all of them are described."""
_LATER = frozenset([401, 403, 404, 408, 425, 429])
"""HTTP statuses of an upload that are not about the file."""


class Refused(Exception):  # noqa: N818 (an answer)
    """The store refuses this record for good."""


class Lost(Exception):  # noqa: N818 (an answer)
    """The store refuses access, or the run does not exist (any more): a person must act first."""


@dataclass
class Answers:
    """The store's answers so far, as in sent.json.

    Attributes:
        key: of the journal, which is also the run's tag `journal`.
        versions: step of every registered checkpoint to the number of its version.
        refused: descriptions of the first `MOST_REFUSALS` refusals.
        more_refused: number of the later ones.
        lost: number of records that were damaged or lost before they could be sent.
    """

    key: str = ""
    run_id: str = ""
    experiment_id: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    more_refused: int = 0
    lost: int = 0

    def add_refusal(self, description: str) -> None:
        if len(self.refused) < MOST_REFUSALS:
            self.refused.append(description)
        else:
            self.more_refused += 1


class Store:
    """Sends each kind of record to one store."""

    def __init__(self, tracking_uri: str, journal: Journal, answers: Answers) -> None:
        # MLflow reads this only from the environment. Its own retries repeat every request: after a lost answer they
        # would make a second run.
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        self._journal, self._answers = journal, answers
        try:
            self._client: MlflowClient = connect(tracking_uri)
        except TrackingError as error:
            judged = judged_answer(error)
            raise (Lost(str(error)) if isinstance(judged, Refused) else judged) from error

    def send(self, records: Sequence[Record]) -> None:
        """Send one record, or several of metrics.

        Raises:
            Refused, Lost: see there.
            TrackingError: when the store cannot accept it now.
        """
        record, data = records[0], records[0].data
        try:
            with plain_errors(self._client.tracking_uri, f"writing {record.kind}"):
                if record.kind == "metrics":
                    self._send_metrics([each.data for each in records])
                elif record.kind == "run":
                    self._send_run(data)
                elif record.kind == "about":
                    known = self._client.get_run(self._answers.run_id).data.params if data.get("params") else {}
                    self._describe(data, known)
                elif record.kind in ("picture", "file", "checkpoint"):
                    with tempfile.TemporaryDirectory(prefix="sending-") as folder:
                        self._send_file(record.kind, data, Path(folder))
                elif record.kind == "evaluation":
                    self._send_evaluation(data)
                elif record.kind == "end":
                    self._send_end(data, records_before=record.number - 1)
                else:
                    raise Refused(f"this version of the program does not know records of the kind {record.kind!r}.")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Refused(f"the record cannot be understood ({type(error).__name__}: {error}).") from error
        except TrackingError as error:
            judged = judged_answer(error)
            if isinstance(judged, Refused) and (record.kind == "run" or not self._run_is_there()):
                judged = Lost(str(error))
            raise judged from error

    def _send_run(self, data: Mapping[str, Any]) -> None:
        client, answers = self._client, self._answers
        answers.key = data["key"]
        # The id in the record is of the store that the run was started with; this may be another one.
        run_id = answers.run_id or data["run_id"]
        new, known = False, dict[str, str]()
        if not run_id:
            answers.experiment_id = open_experiment(client, data["experiment"])
            there = delivery.runs_of(client, [answers.experiment_id], answers.key)
            new = not there
            if new:
                tag = {delivery.JOURNAL_TAG: answers.key}
                made = client.create_run(answers.experiment_id, data["time"], tag, data["run_name"])
            run_id = made.info.run_id if new else there[0]
        answers.run_id = run_id
        if not new:
            answers.experiment_id, known = delivery.continue_run(client, run_id)
        if data["continued"] and not new:
            answers.versions = delivery.registered_steps(client, run_id) | answers.versions
        self._describe(data, known)

    def _describe(self, data: Mapping[str, Any], known: Mapping[str, str]) -> None:
        """Write params, tags, note and dataset; `known` are the params that the run has."""
        client, run_id, params = self._client, self._answers.run_id, data.get("params", {})
        tags = dict(data.get("tags", {}))
        if note := data.get("note"):
            tags["mlflow.note.content"] = note + (delivery.note_of_image(run_id) if data["style_picture"] else "")
        tags |= {f"resumed/{k}": v for k, v in params.items() if k in known and known[k] != v[:6000]}
        delivery.log_params_and_tags(client, run_id, {}, tags)
        if dataset := data.get("dataset"):
            delivery.log_datasets(client, run_id, [delivery.dataset_fields(dataset)])
        new_params = [[(key, value)] for key, value in params.items() if key not in known]
        _all_or_each(new_params, lambda pairs: delivery.log_params_and_tags(client, run_id, dict(pairs), {}))

    def _send_metrics(self, records: Sequence[Mapping[str, Any]]) -> None:
        client, run_id = self._client, self._answers.run_id
        by_name: dict[str, list[Metric]] = {}
        for data in records:
            for name, value in data["values"].items():
                by_name.setdefault(name, []).append(Metric(name, float(value), data["time"], data["step"]))
        _all_or_each(list(by_name.values()), lambda metrics: delivery.log_metrics(client, run_id, metrics))

    def _send_file(self, kind: str, data: Mapping[str, Any], folder: Path) -> None:
        client, run_id, step = self._client, self._answers.run_id, data.get("step", 0)
        try:
            name = Path(data["path"]).name if kind == "file" else f"file{Path(data['file']).suffix}"
            file = self._journal.fetch(data["file"], folder / name)
        except TrackingError as error:
            if self._has_file(kind, data):  # sent before, and only the note of it is lost
                return
            raise Refused(str(error)) from error
        if kind == "file":
            parent = Path(data["path"]).parent.as_posix()
            client.log_artifact(run_id, str(file), None if parent == "." else parent)
        elif kind == "picture":
            delivery.log_picture(client, run_id, file, delivery.picture_path(data))
        else:
            model = ModelDescription(**data["model"])
            number = delivery.register_checkpoint(
                client,
                run_id=run_id,
                run_name=data["run_name"],
                experiment_id=self._answers.experiment_id,
                weights=file,
                model=model,
                step=step,
                metrics=[Metric(name, float(value), at, step) for name, value, at in data["metrics"]],
            )
            delivery.name_version(client, run_id, model.name, step, number)
            self._answers.versions[str(step)] = number

    def _has_file(self, kind: str, data: Mapping[str, Any]) -> bool:
        client, run_id = self._client, self._answers.run_id
        if kind == "checkpoint":
            return str(data["step"]) in delivery.registered_steps(client, run_id)
        path = Path(data["path"] if kind == "file" else delivery.picture_path(data))
        entries = client.list_artifacts(run_id, None if path.parent == Path() else path.parent.as_posix())
        return path.as_posix() in {entry.path for entry in entries}

    def _send_evaluation(self, data: Mapping[str, Any]) -> None:
        step = data["step"]
        if not delivery.log_evaluation(self._client, self._answers.run_id, step, data["values"], data["time"]):
            raise Refused(f"the checkpoint of step {step} was deleted in MLflow.")

    def _send_end(self, data: Mapping[str, Any], records_before: int) -> None:
        client, answers = self._client, self._answers
        tags = {"stop_reason": data["reason"][:5000]} if data["reason"] else {}
        if not data["reason"] and "stop_reason" in client.get_run(answers.run_id).data.tags:
            client.delete_tag(answers.run_id, "stop_reason")  # from before the run was resumed
        if answers.refused:
            more = f"; and {answers.more_refused} more" if answers.more_refused else ""
            tags["refused"] = "; ".join(answers.refused)[: 5000 - len(more)] + more
        if lost := answers.lost + records_before - self._journal.sent:
            tags["lost"] = f"{lost} records of the run's journal were damaged or found no room on the disk"
        delivery.log_params_and_tags(client, answers.run_id, {}, tags)
        if answers.key:
            delivery.remove_other_runs(client, answers.experiment_id, answers.key, answers.run_id)
        client.set_terminated(answers.run_id, data["status"], data["time"])

    def _run_is_there(self) -> bool:
        """Whether the run exists and can be written: then a refusal is about the record."""
        if not self._answers.run_id:
            return False
        try:
            return bool(self._client.get_run(self._answers.run_id).info.lifecycle_stage == "active")
        except Exception:
            return False


def _all_or_each(groups: Sequence[Sequence[_Part]], send: Callable[[Sequence[_Part]], None]) -> None:
    """Send all groups together, or one by one if the store refuses something: it takes all of a request or none."""
    try:
        send(list(chain.from_iterable(groups)))
        return
    except TrackingError as error:
        if len(groups) == 1 or not isinstance(judged_answer(error), Refused):
            raise
    refusals: list[TrackingError] = []
    for group in groups:
        try:
            send(group)
        except TrackingError as error:
            if not isinstance(judged_answer(error), Refused):
                raise
            refusals.append(error)
    if refusals:
        raise TrackingError(" ".join(map(str, refusals))) from refusals[0].__cause__


def judged_answer(error: TrackingError) -> Exception:
    """The meaning of an error for the record: `Refused`, `Lost`, or the error itself for "try again later"."""
    origin = error.__cause__
    if isinstance(origin, MlflowException):
        if any(sign in str(origin) for sign in _RACES):
            return error
        if origin.error_code in _REFUSALS:
            return Refused(str(error))
        if origin.error_code in _NO_ENTRY:
            return Lost(str(error))
    if isinstance(origin, HTTPError) and origin.response is not None:
        status = origin.response.status_code
        if status in (401, 403):
            return Lost(str(error))
        if 400 <= status < 500 and status not in _LATER:
            return Refused(str(error))
    if type(origin) is DatabaseError:  # a file that is not a database; temporary errors are an OperationalError
        return Lost(str(error))
    if origin is None:  # our own error: a deleted experiment, an invalid address
        return Refused(str(error))
    return error
