"""A tracker of Accelerate that logs a run to MLflow: params, metrics, pictures, files, checkpoints.

    tracker = JournaledTracker("runs/my_run")
    accelerator = Accelerator(log_with=tracker)
    accelerator.init_trackers("my_run", config={"learning_rate": 1e-3})

Every process makes the tracker; in all but the main process its calls do nothing. Logging does not wait for the store:
records are written to a journal on this machine's disk (journal.py), and a thread sends them (sender.py).

Names: MLflow's page groups metrics and images by the part of their name before the slash, such as `loss/` in
`loss/total`. A checkpoint is a LoggedModel of its step and a version of a registered model, with the tags `iterations`
(the step) and `run_name` and the aliases `iterations-<step>` and `champion`. It consists of plain files, of which none
is executable: the weights, the texts beside them, and an `MLmodel` that lists them.
"""

import atexit
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from accelerate import PartialState
from accelerate.tracking import GeneralTracker
from PIL import Image

from training.tracking import TrackingError
from training.tracking.environment import (
    SystemMetrics,
    comparison_page,
    has_mlflow,
    source_tags,
    tracking_uri_of,
    without_password,
)
from training.tracking.folders import (
    NO_ID_YET,
    how_to_sync,
    identity,
    journals,
    set_aside,
    temporary_folder,
    unsent,
)
from training.tracking.journal import END_SECONDS, Journal
from training.tracking.journal_files import DISK_BYTES, FOLDER, milliseconds, plain_number, plain_numbers, records_in
from training.tracking.values import NOTE_IMAGE, ModelDescription, as_images, encoded, numbers_and_texts, param_text

if TYPE_CHECKING:  # it imports MLflow
    from training.tracking.sender import Sender

STOP_SECONDS = 10.0
"""Longest wait at the end of a stopped run: schedulers kill it soon after SIGTERM, often after 30 s."""

_log = logging.getLogger(__name__)


class JournaledTracker(GeneralTracker):
    """One run in a folder, which is sent to MLflow."""

    name = "journaled"
    requires_logging_directory = False
    main_process_only = True

    checkpoints: set[int]
    """Steps of the logged checkpoints, including those before an interruption."""
    resume: bool | str
    """Whether to continue the run in the folder, or the id of the run to continue. It is read by `start`."""

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        experiment: str | None = None,
        run_name: str | None = None,
        tags: Mapping[str, str] | None = None,
        tracking_uri: str | None = None,
        resume: bool | str | None = None,
        system_metrics: bool = True,
        end_seconds: float = END_SECONDS,
        keep_files: bool = False,
        disk_bytes: int = DISK_BYTES,
    ) -> None:
        """Describe the run; `accelerator.init_trackers` begins it.

        Args:
            folder: of the run, for its journal; by default a temporary one, which is removed when all has arrived.
            experiment: by default $MLFLOW_EXPERIMENT_NAME, or else "Default".
            run_name: by default the name of the folder.
            tracking_uri: the store; by default $MLFLOW_TRACKING_URI. Without both, the run stays in its folder.
            resume: True to continue the run in the folder (or begin one, if there is none); a `run_id` to continue
                that run; by default $MLFLOW_RUN_ID, or else a new run.
            system_metrics: sample processor, memory and GPU use every 10 s.
            end_seconds: how long `finish` waits until everything has arrived.
            keep_files: keep pictures and files that have arrived, to send the folder to another store, too.
            disk_bytes: limit of the journal's records and files. At the limit it behaves like a full disk.
        """
        super().__init__()
        self.checkpoints = set()
        self.resume = os.environ.get("MLFLOW_RUN_ID", False) if resume is None else resume
        self._folder = Path(folder) if folder else None
        self._experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "Default"
        self._run_name = run_name or (self._folder.absolute().name if self._folder else self._experiment)
        self._tags = dict(tags or {})
        self._uri = tracking_uri if tracking_uri is not None else os.environ.get("MLFLOW_TRACKING_URI", "")
        self._with_system_metrics, self._end_seconds = system_metrics, end_seconds
        self._keep_files, self._disk_bytes = keep_files, disk_bytes
        self._journal: Journal | None = None
        self._sender: Sender | None = None
        self._key = ""
        self._has_begun = self._has_ended = False
        self._warnings: set[str] = set()
        self._latest: dict[str, tuple[int, float, int]] = {}
        self._system_metrics: SystemMetrics | None = None

    def start(self) -> None:
        """Begin the run, or continue one; `accelerator.init_trackers` calls it.

        A continued run keeps its parameters, its note and its picture; a parameter with a new value is logged as the
        tag `resumed/<parameter>`. When the store does not answer, the run gets its id later. Until then `run_id` is a
        temporary name, which `resume` accepts as well.

        Raises:
            TrackingError: when the store refuses (it does not know the run, is not a database, denies access), or
                another process writes this run.
        """
        if self._has_begun or not self._has_effect():
            return
        uri = tracking_uri_of(self._uri) if self._uri else ""
        at = self._folder or temporary_folder(self._run_name)
        run_id = self.resume if isinstance(self.resume, str) else ""
        continued = bool(run_id) or (self.resume is True and at in journals(at))
        aside = None if continued else set_aside(at)
        if aside:
            _log.warning("An earlier run in %s has unsent records: %s", at, how_to_sync(aside))
        store = without_password(uri) or None
        journal = Journal(at, store=store, keep_files=self._keep_files, limit=self._disk_bytes)
        try:
            self.checkpoints = {record.data["step"] for record in records_in(journal.folder, "checkpoint")}
            self._key, known_id = identity(journal, run_id, continued)
            began = journal.append(
                "run",
                {
                    "key": self._key,
                    "run_id": known_id,
                    "continued": continued,
                    "experiment": self._experiment,
                    "run_name": self._run_name,
                    "tags": source_tags() | {name: str(value) for name, value in self._tags.items()},
                    "keep_files": self._keep_files,
                    "disk_bytes": self._disk_bytes,
                    "tracking_uri": without_password(uri),
                    "time": milliseconds(),
                },
            )
            if uri:
                from training.tracking.sender import begin_sending

                self._sender = begin_sending(journal, uri, began)
        except BaseException:
            journal.close()
            if self._folder is None:
                shutil.rmtree(at, ignore_errors=True)
            elif not continued:
                shutil.rmtree(at / FOLDER, ignore_errors=True)
            raise
        self._uri, self._journal, self._has_begun, self._is_continued = uri, journal, True, continued
        self.checkpoints |= self.versions.keys()
        if self._with_system_metrics and has_mlflow():
            self._system_metrics = SystemMetrics(self._record)
        atexit.register(self._end_with_script)

    @property
    def tracker(self) -> Journal | None:
        """The journal of the run while it goes on, in the main process."""
        return self._journal

    @property
    def run_id(self) -> str:
        """MLflow's id of the run; until the store has answered, a temporary name, which `resume` accepts."""
        known = self._sender.answers.run_id if self._sender else ""
        return known or (NO_ID_YET + self._key if self._key else "")

    @property
    def versions(self) -> dict[int, str]:
        """Step to version number of the checkpoints that are known to be registered."""
        known = dict(self._sender.answers.versions) if self._sender else {}
        return {step: known[str(step)] for step in sorted(map(int, known))}

    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Log params of the run; `accelerator.init_trackers` calls it with its `config`."""
        self._record("about", {"params": {name: param_text(value) for name, value in values.items()}})

    def describe(
        self,
        *,
        tags: Mapping[str, str] | None = None,
        note: str = "",
        note_image: Image.Image | None = None,
        dataset: Mapping[str, str] | None = None,
    ) -> None:
        """Log tags, and, unless the run is continued, its note and dataset.

        Args:
            note: Markdown for the top of the run's page; `note_image` follows it.
            dataset: description of the training data: `name` is required, `source` (address or folder) and `digest`
                are optional, and all other values are its profile.
        """
        journal = self._open_journal()
        if journal is None:
            return
        about: dict[str, Any] = {"tags": {name: str(value) for name, value in (tags or {}).items()}}
        if not self._is_continued:
            about |= {"note": note, "style_picture": note_image is not None}
            about |= {"dataset": {name: str(value) for name, value in (dataset or {}).items()}}
        self._record("about", about)
        if note_image is not None and not self._is_continued:
            self._record("file", {"file": journal.stage(encoded(note_image, "JPEG"), ".jpg"), "path": NOTE_IMAGE})

    def log(self, values: Mapping[str, Any], step: int | None = None, **_: Any) -> None:
        """Log numbers of a step as metrics, and texts as tags; `accelerator.log` calls it.

        Numbers are sent about every 10 s, so this can be called at each step. Without a step it is 0, as in MLflow.
        What is neither is left out, with one warning.
        """
        now, step = milliseconds(), int(step or 0)
        numbers, texts = numbers_and_texts(values, self._warn_once)
        self._latest |= {name: (step, value, now) for name, value in numbers.items()}
        if numbers:
            self._record("metrics", {"values": plain_numbers(numbers), "step": step, "time": now}, at_once=False)
        if texts:
            self._record("about", {"tags": texts})

    def log_images(self, values: Mapping[str, Any], step: int | None = None, **_: Any) -> None:
        """Log pictures of a step, without loss: name to picture, or to several; see `as_images` for their forms.

        A name has letters, digits, `_ . -` and `/`; of several pictures it is `name/0`, `name/1` and so on. Log each
        name at step 0, too: the slider of MLflow's page starts there.
        """
        journal = self._open_journal()
        if journal is None:
            return
        for name, picture in values.items():
            images = list(as_images(picture))
            for index, image in enumerate(images):
                key = name if len(images) == 1 else f"{name}/{index}"
                about = {"key": key, "step": int(step or 0), "time": milliseconds(), "code": str(uuid.uuid4())}
                self._record("picture", {**about, "file": journal.stage(encoded(image, "PNG"), ".png")})

    def log_artifact(self, local_path: str | Path, artifact_path: str | None = None) -> None:
        """Log a file as it is now, in the folder `artifact_path` of the run's artifacts."""
        journal, file = self._open_journal(), Path(local_path)
        if journal:
            name = (Path(artifact_path or "") / file.name).as_posix()
            self._record("file", {"file": journal.stage_file(file, link=False), "path": name})

    def log_artifacts(self, local_dir: str | Path, artifact_path: str | None = None) -> None:
        """Log all files of a folder, with its subfolders."""
        for file in sorted(path for path in Path(local_dir).rglob("*") if path.is_file()):
            below = file.relative_to(local_dir).parent
            self.log_artifact(file, (Path(artifact_path or "") / below).as_posix())

    def log_checkpoint(
        self,
        file: str | Path,
        step: int,
        model: ModelDescription | None = None,
        metrics: Mapping[str, float] | None = None,
        *,
        unchanging: bool = False,
    ) -> None:
        """Log a file of weights as a LoggedModel of this step and as a new version of a registered model.

        The version gets the alias `iterations-<step>`, and `champion` unless another run has it. A run has one
        checkpoint per step.

        Args:
            model: its description; by default the registered model has the name of the run.
            metrics: are linked to the model; a value that is already logged at this step is not logged twice.
            unchanging: the file never changes, though it may be removed: it needs not be copied.
        """
        journal = self._open_journal()
        if journal is None:
            return
        now, step, linked = milliseconds(), int(step or 0), []
        model = model or ModelDescription(re.sub(r"[/:]", "_", self._run_name), "", "checkpoint", "weights")
        for name, value in (metrics or {}).items():
            last_step, last_value, last_time = self._latest.get(name, (None, None, now))
            same = last_step == step and last_value == float(value)
            linked.append([name, plain_number(float(value)), last_time if same else now])
        about = {"step": step, "run_name": self._run_name, "metrics": linked, "model": asdict(model)}
        self._record("checkpoint", {"file": journal.stage_file(Path(file), link=unchanging), **about})
        self.checkpoints.add(step)

    def log_evaluation(self, values: Mapping[str, float], step: int) -> None:
        """Log metrics of the checkpoint of this step, for its LoggedModel and for the run."""
        numbers = plain_numbers({name: float(value) for name, value in values.items()})
        self._record("evaluation", {"values": numbers, "step": int(step or 0), "time": milliseconds()})

    def flush(self, seconds: float = END_SECONDS) -> None:
        """Wait until everything has arrived; TrackingError when the time is over (nothing is lost)."""
        if self._journal and self._sender and not self._sender.wait(self._journal.last, seconds):
            raise TrackingError(unsent(self._journal, self._sender))

    def finish(self, status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED", reason: str = "") -> None:
        """End the run; `accelerator.end_training` calls it. `reason` becomes the tag `stop_reason`.

        It waits at most `end_seconds` (for a stopped run STOP_SECONDS) until everything has arrived. What is unsent
        stays in the journal; one sentence says how to send it. Of several calls the first decides, the others pass.
        """
        journal, sender, arrived = self._journal, self._sender, False
        if journal is None:
            return
        if self._system_metrics is not None:
            self._system_metrics.finish()
        seconds = min(self._end_seconds, STOP_SECONDS) if status == "KILLED" else self._end_seconds
        if self._has_ended:
            seconds = 0.0
        else:
            self._record("end", {"status": status, "reason": reason, "time": milliseconds()})
            self._has_ended = True
        if sender is None:
            _log.warning("The run was sent nowhere: %s", how_to_sync(journal.folder.parent, " --to URI"))
        else:
            arrived = sender.wait(journal.last, seconds)
            sender.stop()
            if not arrived:
                _log.warning("%s", unsent(journal, sender))
        journal.close()
        if arrived and self._folder is None:
            shutil.rmtree(journal.folder.parent, ignore_errors=True)
        self._journal = None
        atexit.unregister(self._end_with_script)

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
        """The address of the charts that compare this experiment's runs (for a local store: by `make mlflow-ui`)."""
        return comparison_page(self._uri, self._sender.answers.experiment_id) if self._sender else ""

    def _warn_once(self, warning: str) -> None:
        if warning not in self._warnings:
            _log.warning("%s", warning)
        self._warnings.add(warning)

    def _end_with_script(self) -> None:
        self.finish("FAILED", "the script ended without accelerator.end_training().")

    def _has_effect(self) -> bool:
        """Whether this is the main process. Without an Accelerator there is only one."""
        return not PartialState._shared_state or PartialState().is_main_process

    def _open_journal(self) -> Journal | None:
        """The journal to write to; None in other processes and after the end, TrackingError before the begin."""
        if not self._has_effect():
            return None
        if not self._has_begun:
            raise TrackingError("the run has not begun; call accelerator.init_trackers before you log.")
        if self._has_ended:
            self._warn_once("The run has ended; what is logged now is not kept.")
        return None if self._has_ended else self._journal

    def _record(self, kind: str, data: Mapping[str, Any], *, at_once: bool = True) -> None:
        journal = self._open_journal()
        if journal is not None:
            journal.append(kind, data)
            if self._sender:
                self._sender.notice(at_once=at_once)
