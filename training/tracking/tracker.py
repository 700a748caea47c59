"""What a run tells MLflow: parameters, losses, pictures, and one registered model version per checkpoint.

    python -m training.tracking replay RUN_DIR     # send what a run that has ended could not send

Rank 0 holds a `Tracker`; every other rank holds `Tracker.silent()`, which accepts the same calls and does nothing,
so the training loop has no "if main process" around its lines.

Nothing here waits for the store. What is said is written to a journal on this machine's disk (journal.py) and sent
from there by a thread (sender.py), so a store that is away, slow or broken costs no number and no step.

Names: MLflow's page groups metrics and images by the part of their name before the slash, as `loss/` in `loss/total`.
A checkpoint is a LoggedModel of its step and a version of a registered model; the version has the tags `iterations`
(the step) and `run_name` and the aliases `iterations-<step>` and `champion`. It is kept as plain files: the weights,
the texts beside them, and an `MLmodel` that says which they are. Nothing in it is executable, so nothing fetched from
a store is ever run.
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
from training.tracking.journal_files import FOLDER
from training.tracking.record import milliseconds, plain_number, plain_numbers
from training.tracking.sender import Sender
from training.tracking.store import default_tracking_uri, is_server, tracking_uri_of, without_password

LOCAL_PAGE = "http://127.0.0.1:5000"
"""Where `make mlflow-ui` shows a local store."""

START_SECONDS = 10.0
"""How long a run waits at its start for a store that neither answers nor refuses."""
STOP_SECONDS = 10.0
"""How long a run that was told to stop waits at its end: who stops it waits no longer than half a minute."""
PNG_COMPRESSION = 1
"""PNG's fastest: a fifth larger than by default, in a quarter of the time."""
NO_ID_YET = "journal:"
"""Begins the `run_id` of a run that MLflow does not know yet; the key of its journal follows."""


_log = logging.getLogger(__name__)


class Tracker:
    """One run that is being written. Make it with `start` (rank 0) or `silent` (the other ranks)."""

    checkpoints: set[int]
    """Steps of the checkpoints that this run has told of, before an interruption too."""

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

        `note` is Markdown, shown at the top of the run's page, followed by `note_image`; a continued run keeps those
        it has. `dataset` describes what the run reads: `name` is required, `source` (address or folder) and `digest`
        are used when given, everything else is kept as its profile. A continued run keeps the parameters it began
        with; one that changed since is kept as the tag `resumed/<parameter>`. With
        `system_metrics`, processor, memory and GPU use are sampled every 10 s.

        The journal is kept in the run's `folder`; without one in a folder of its own, which goes when everything has
        arrived. `end_seconds` is how long `finish` waits for that. A store that is away stops nothing: the run then
        gets its id later, and until then `run_id` is a name that this method takes as well.

        Raises:
            TrackingError: when the store answers and refuses (it does not know `run_id`, is no database, does not
                let us in), or another process writes this run.
        """
        uri = tracking_uri_of(tracking_uri) if tracking_uri else default_tracking_uri()
        at = Path(folder) if folder else _own_folder(run_name)
        if not run_id:
            aside = set_aside(at)
            if aside:
                _log.warning("An earlier run in %s could not send everything: %s", at, _how_to_replay(aside))
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
            tracker._say("file", {"file": journal.stage(_encoded(note_image, "JPEG"), ".jpg"), "path": NOTE_IMAGE})
        if system_metrics:
            tracker._system_metrics = start_system_metrics(tracker._say, past.system_step)
        return tracker

    @property
    def run_id(self) -> str:
        """MLflow's id of the run; until the store has given it, a name that `start` takes in its place."""
        if self._sender is None:
            return ""
        return self._sender.answers.run_id or NO_ID_YET + self._key

    @property
    def versions(self) -> dict[int, str]:
        """Step of every checkpoint that is known to be registered, to the number of its version."""
        if self._sender is None:
            return {}
        known = dict(self._sender.answers.versions)
        return {step: known[str(step)] for step in sorted(map(int, known))}

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Note scalars at a step. They are gathered and sent about every 10 s, so this may be called at each step."""
        now = milliseconds()
        numbers = {name: float(value) for name, value in values.items()}
        self._latest |= {name: (step, value, now) for name, value in numbers.items()}
        self._say("metrics", {"values": plain_numbers(numbers), "step": step, "time": now}, at_once=False)

    def log_image(self, key: str, image: Image.Image, step: int) -> None:
        """Keep a picture, without loss, as the image `key` of this step: letters, digits, `_ . -` and `/`.

        Log one of each key at step 0: the slider of MLflow's page starts there.
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
        self._say("picture", about)

    def log_checkpoint(self, file: Path, model: ModelDescription, step: int, metrics: Mapping[str, float]) -> None:
        """Keep a file of weights as a LoggedModel of this step and as a new version of the model `model.name`.

        `metrics` are linked to the model (a value already logged at this step is not logged twice). The version
        gets the alias `iterations-<step>`, and `champion` unless another run has it. A run has one checkpoint a
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
        self._say("checkpoint", {"file": self._journal.stage_file(file), **about})
        self.checkpoints.add(step)

    def log_evaluation(self, values: Mapping[str, float], step: int) -> None:
        """Link metrics to the checkpoint of this step, and keep them with the run."""
        numbers = {name: float(value) for name, value in values.items()}
        self._say("evaluation", {"values": plain_numbers(numbers), "step": step, "time": milliseconds()})

    def flush(self, seconds: float = END_SECONDS) -> None:
        """Wait until everything has arrived; TrackingError when it has not in so many seconds (nothing is lost)."""
        if self._journal is None or self._sender is None:
            return
        if not self._sender.wait(self._journal.last, seconds):
            raise TrackingError(what_waits(self._journal, self._sender))

    def finish(self, status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED", reason: str = "") -> None:
        """End the run. `reason` is kept as the tag `stop_reason`. Of several calls the first one's status holds, and
        a second, after the first was interrupted, waits no more.

        Waits at most `end_seconds` for what is still on its way (a run that was told to stop, STOP_SECONDS); what
        has not arrived then stays in the journal, and one sentence says how to send it.
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
            self._say("end", {"status": status, "reason": reason, "time": milliseconds()})
        arrived = self._sender.wait(self._journal.last, seconds)
        self._sender.stop()
        if not arrived:
            _log.warning("%s", what_waits(self._journal, self._sender))
        self._journal.close()
        if arrived and self._is_temporary:
            shutil.rmtree(self._journal.folder.parent, ignore_errors=True)
        self._journal = None

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """End the run with the block: FINISHED, or KILLED when it is interrupted, or FAILED when it raises."""
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
        """The page that compares this experiment's runs as charts (for a local store: what `make mlflow-ui` serves).

        MLflow opens elsewhere by default; the address asks for the page on model training.
        """
        if self._sender is None:
            return ""
        page = without_password(self._uri) if is_server(self._uri) else LOCAL_PAGE
        number = self._sender.answers.experiment_id
        inside = f"/{number}/runs" if number else ""
        return f"{page}/#/experiments{inside}?workflowType=machine_learning&compareRunsMode=CHART"

    def _say(self, kind: str, data: Mapping[str, Any], *, at_once: bool = True) -> None:
        if self._journal is not None and self._sender is not None:
            self._journal.append(kind, data)
            self._sender.notice(at_once=at_once)


class _Past:
    """What a run had said before it was interrupted."""

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
    """The key of the journal, and MLflow's id of the run as far as it is known.

    `run_id` is empty for a new run, else what a saved state knew.
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
            f"the journal {journal.folder} is of another run than the saved state beside it; move the journal away, "
            "or train under another --run-name."
        )
    return key, run_id


def what_waits(journal: Journal, sender: Sender) -> str:
    count = journal.last - journal.sent
    why = f" ({sender.trouble.rstrip('.')})" if sender.trouble else ""
    return f"MLflow has not taken {count} records of the run{why}: {_how_to_replay(journal.folder.parent)}"


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
