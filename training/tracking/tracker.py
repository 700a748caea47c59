"""Logs a run to MLflow: parameters, losses, pictures, and one registered model version per checkpoint.

    python -m training.tracking replay RUN_DIR     # send the unsent records of an ended run

Rank 0 has a `Tracker`; every other rank has `Tracker.silent()`, which accepts the same calls and does nothing. So the
training loop needs no "if main process".

Logging does not wait for the store. Records are written to a journal on this machine's disk (journal.py), and a thread
sends them (sender.py). So a store that is missing, slow or broken costs no record and no step.

Names: MLflow's page groups metrics and images by the part of their name before the slash, such as `loss/` in
`loss/total`. A checkpoint is a LoggedModel of its step and a version of a registered model. The version has the tags
`iterations` (the step) and `run_name`, and the aliases `iterations-<step>` and `champion`. It consists of plain files:
the weights, the texts beside them, and an `MLmodel` that lists them. None of them is executable, so nothing that comes
from a store is ever run.
"""

import io
import logging
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Self

from PIL import Image

from training.tracking import TrackingError
from training.tracking.delivery import NOTE_IMAGE, ModelDescription, param_text
from training.tracking.environment import SystemMetrics, start_system_metrics, user_name
from training.tracking.journal import END_SECONDS, Journal, set_aside
from training.tracking.journal_files import FOLDER, milliseconds, plain_number, plain_numbers
from training.tracking.sender import Sender
from training.tracking.store import default_tracking_uri, is_server, tracking_uri_of, without_password

LOCAL_PAGE = "http://127.0.0.1:5000"
"""Address of `make mlflow-ui`, which shows a local store."""
START_SECONDS = 10.0
"""Longest wait at the start of a run for the store's answer."""
STOP_SECONDS = 10.0
"""Longest wait at the end of a stopped run: schedulers kill it soon after SIGTERM, often after 30 s."""
PNG_COMPRESSION = 1
"""The fastest: files are a fifth larger than by default, in a quarter of the time."""
NO_ID_YET = "journal:"
"""Prefix of the `run_id` of a run without an id of MLflow; the key of its journal follows."""

_log = logging.getLogger(__name__)


class Tracker:
    """One run that is being logged. Make it with `start` (rank 0) or `silent` (the other ranks)."""

    checkpoints: set[int]
    """Steps of the logged checkpoints, including those before an interruption."""

    def __init__(self, journal: Journal | None, sender: Sender | None, key: str, run_name: str, uri: str) -> None:
        self.checkpoints = set()
        self._journal, self._sender = journal, sender
        self._key, self._run_name, self._uri = key, run_name, uri
        self._end_seconds = END_SECONDS
        self._is_temporary = self._has_ended = False
        self._latest: dict[str, tuple[int, float, int]] = {}
        self._system_metrics: SystemMetrics | None = None

    @classmethod
    def silent(cls) -> Self:
        """The tracker of every rank but the first: same methods, no effect, `run_id` empty."""
        return cls(None, None, "", "", "")

    @classmethod
    def start(
        cls,
        *,
        experiment: str,
        run_name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        note: str = "",
        note_image: Image.Image | None = None,
        dataset: Mapping[str, str] | None = None,
        run_id: str | None = None,
        tracking_uri: str | None = None,
        system_metrics: bool = True,
        folder: Path | None = None,
        end_seconds: float = END_SECONDS,
    ) -> Self:
        """Begin a run, or continue the run `run_id` (after an interruption).

        A continued run keeps its parameters, its note and its picture; a parameter with a new value is logged as the
        tag `resumed/<parameter>`. When the store does not answer, the run gets its id later. Until then `run_id` is a
        temporary name, which this method accepts as well.

        Args:
            note: Markdown for the top of the run's page; `note_image` follows it.
            dataset: description of the training data: `name` is required, `source` (address or folder) and `digest`
                are optional, and all other values are its profile.
            system_metrics: sample processor, memory and GPU use every 10 s.
            folder: of the run, for the journal; by default a temporary one, which is removed when everything has
                arrived.
            end_seconds: how long `finish` waits until everything has arrived.

        Raises:
            TrackingError: when the store refuses (it does not know `run_id`, is not a database, denies access), or
                another process writes this run.
        """
        uri = tracking_uri_of(tracking_uri) if tracking_uri else default_tracking_uri()
        at = Path(folder) if folder else _own_folder(run_name)
        if not run_id:
            aside = set_aside(at)
            if aside:
                _log.warning("An earlier run in %s has unsent records: %s", at, _how_to_replay(aside))
        journal = Journal(at)
        try:
            past = _Past(journal)
            key, known_id = _identity(journal, past, run_id or "")
            sender = Sender(journal, uri)
            began = journal.append(
                "run",
                {
                    "key": key,
                    "run_id": known_id,
                    "continued": bool(run_id),
                    "experiment": experiment,
                    "run_name": run_name,
                    "params": {name: param_text(value) for name, value in params.items()},
                    "tags": {
                        "mlflow.user": user_name(),
                        "mlflow.source.name": Path(sys.argv[0]).name,
                        "mlflow.source.type": "LOCAL",
                        **{name: str(value) for name, value in tags.items()},
                    },
                    "note": note,
                    "style_picture": note_image is not None,
                    "dataset": {name: str(value) for name, value in (dataset or {}).items()},
                    "tracking_uri": without_password(uri),
                    "time": milliseconds(),
                },
            )
            sender.start()
            sender.wait(began, START_SECONDS, give_up_in_trouble=True)
            if sender.is_lost:
                sender.stop()
                journal.retract(began)
                raise TrackingError(sender.trouble)
        except BaseException:
            journal.close()
            if folder is None:
                shutil.rmtree(at, ignore_errors=True)
            elif not run_id:
                shutil.rmtree(at / FOLDER, ignore_errors=True)
            raise
        tracker = cls(journal, sender, key, run_name, uri)
        tracker._end_seconds, tracker._is_temporary = end_seconds, folder is None
        tracker.checkpoints = past.checkpoints | tracker.versions.keys()
        if note_image is not None and not run_id:
            tracker._record("file", {"file": journal.stage(_encoded(note_image, "JPEG"), ".jpg"), "path": NOTE_IMAGE})
        if system_metrics:
            tracker._system_metrics = start_system_metrics(tracker._record, past.system_step)
        return tracker

    @property
    def run_id(self) -> str:
        """MLflow's id of the run; until the store has answered, a temporary name, which `start` accepts."""
        if self._sender is None:
            return ""
        return self._sender.answers.run_id or NO_ID_YET + self._key

    @property
    def versions(self) -> dict[int, str]:
        """Step to version number of the checkpoints that are known to be registered."""
        if self._sender is None:
            return {}
        known = dict(self._sender.answers.versions)
        return {step: known[str(step)] for step in sorted(map(int, known))}

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log scalars of a step. They are collected and sent about every 10 s, so this can be called at each step."""
        now = milliseconds()
        numbers = {name: float(value) for name, value in values.items()}
        self._latest |= {name: (step, value, now) for name, value in numbers.items()}
        self._record("metrics", {"values": plain_numbers(numbers), "step": step, "time": now}, at_once=False)

    def log_image(self, key: str, image: Image.Image, step: int) -> None:
        """Log a picture, without loss, as the image `key` of this step. A key has letters, digits, `_ . -` and `/`.

        Log each key at step 0, too: the slider of MLflow's page starts there.
        """
        if self._journal is None:
            return
        file = self._journal.stage(_encoded(image, "PNG", compress_level=PNG_COMPRESSION), ".png")
        about = {
            "key": key,
            "step": step,
            "time": milliseconds(),
            "code": str(uuid.uuid4()),
            "file": file,
        }
        self._record("picture", about)

    def log_checkpoint(self, file: Path, model: ModelDescription, step: int, metrics: Mapping[str, float]) -> None:
        """Log a file of weights as a LoggedModel of this step and as a new version of the model `model.name`.

        `metrics` are linked to the model; a value that is already logged at this step is not logged twice. The version
        gets the alias `iterations-<step>`, and `champion` unless another run has it. A run has one checkpoint per
        step. `file` may be removed later, but must not change.
        """
        if self._journal is None:
            return
        now = milliseconds()
        linked = []
        for name, value in metrics.items():
            last_step, last_value, last_time = self._latest.get(name, (None, None, now))
            same = last_step == step and last_value == float(value)
            linked.append([name, plain_number(float(value)), last_time if same else now])
        about = {"step": step, "run_name": self._run_name, "metrics": linked, "model": asdict(model)}
        self._record("checkpoint", {"file": self._journal.stage_file(file), **about})
        self.checkpoints.add(step)

    def log_evaluation(self, values: Mapping[str, float], step: int) -> None:
        """Log metrics of the checkpoint of this step, for its LoggedModel and for the run."""
        numbers = {name: float(value) for name, value in values.items()}
        self._record("evaluation", {"values": plain_numbers(numbers), "step": step, "time": milliseconds()})

    def flush(self, seconds: float = END_SECONDS) -> None:
        """Wait until everything has arrived; TrackingError when the time is over (nothing is lost)."""
        if self._journal is None or self._sender is None:
            return
        if not self._sender.wait(self._journal.last, seconds):
            raise TrackingError(unsent(self._journal, self._sender))

    def finish(self, status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED", reason: str = "") -> None:
        """End the run; `reason` becomes the tag `stop_reason`.

        It waits at most `end_seconds` (for a stopped run STOP_SECONDS) until everything has arrived. Unsent records
        stay in the journal, and one sentence says how to send them. Of several calls the first one decides the status,
        and the others do not wait.
        """
        if self._journal is None or self._sender is None:
            return
        if self._system_metrics is not None:
            self._system_metrics.finish()
        seconds = min(self._end_seconds, STOP_SECONDS) if status == "KILLED" else self._end_seconds
        if self._has_ended:
            seconds = 0.0
        else:
            self._has_ended = True
            self._record("end", {"status": status, "reason": reason, "time": milliseconds()})
        arrived = self._sender.wait(self._journal.last, seconds)
        self._sender.stop()
        if not arrived:
            _log.warning("%s", unsent(self._journal, self._sender))
        self._journal.close()
        if arrived and self._is_temporary:
            shutil.rmtree(self._journal.folder.parent, ignore_errors=True)
        self._journal = None

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """End the run after the block: FINISHED, KILLED after Ctrl-C, or FAILED after another exception."""
        try:
            yield
            self.finish("FINISHED")
        except KeyboardInterrupt:
            self.finish("KILLED", "interrupted")
            raise
        except BaseException as error:
            self.finish("FAILED", str(error) or type(error).__name__)
            raise

    def comparison_link(self) -> str:
        """The address of the charts that compare this experiment's runs (for a local store: by `make mlflow-ui`).

        The address asks for MLflow's page on model training, which is not its default page.
        """
        if self._sender is None:
            return ""
        page = without_password(self._uri) if is_server(self._uri) else LOCAL_PAGE
        number = self._sender.answers.experiment_id
        inside = f"/{number}/runs" if number else ""
        return f"{page}/#/experiments{inside}?workflowType=machine_learning&compareRunsMode=CHART"

    def _record(self, kind: str, data: Mapping[str, Any], *, at_once: bool = True) -> None:
        if self._journal is not None and self._sender is not None:
            self._journal.append(kind, data)
            self._sender.notice(at_once=at_once)


class _Past:
    """The records of a run before its interruption."""

    def __init__(self, journal: Journal) -> None:
        self.key, self.checkpoints, self.system_step = "", set[int](), 0
        for record in journal.records():
            if record.kind == "run":
                self.key = record.data["key"]
            elif record.kind == "checkpoint":
                self.checkpoints.add(record.data["step"])
            elif record.kind == "metrics" and any(name.startswith("system/") for name in record.data["values"]):
                self.system_step = record.data["step"] + 1


def _identity(journal: Journal, past: _Past, run_id: str) -> tuple[str, str]:
    """The key of the journal, and MLflow's id of the run if it is known.

    `run_id` is empty for a new run, else the one in a saved state.
    """
    if not run_id:
        return uuid.uuid4().hex, ""
    if run_id.startswith(NO_ID_YET):
        key, run_id = run_id.removeprefix(NO_ID_YET), ""
        is_same = past.key in ("", key)
    else:
        key = past.key or uuid.uuid4().hex
        is_same = journal.answers.get("run_id") in (None, "", run_id)
    if not is_same:
        raise TrackingError(
            f"the journal {journal.folder} and the saved state beside it are of different runs; move the journal "
            "away, or choose another --run-name."
        )
    return key, run_id


def unsent(journal: Journal, sender: Sender) -> str:
    """A sentence on the unsent records, and how to send them."""
    count = journal.last - journal.sent
    why = f" ({sender.trouble.rstrip('.')})" if sender.trouble else ""
    return f"MLflow has not received {count} records of the run{why}: {_how_to_replay(journal.folder.parent)}"


def _how_to_replay(run_folder: Path) -> str:
    return f"`python -m training.tracking replay {run_folder}` sends them."


def _own_folder(run_name: str) -> Path:
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    name = re.sub(r"[^A-Za-z0-9_-]", "_", run_name)
    return state / "stylecore" / "runs" / f"{name}-{uuid.uuid4().hex[:8]}"


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()
