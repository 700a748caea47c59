"""The environment of a run: commit, versions, device, user, and samples of processor, memory and GPU use."""

import getpass
import logging
import platform
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from mlflow.exceptions import MlflowException

from training.tracking.journal_files import milliseconds, plain_numbers
from training.tracking.store import REPOSITORY

_PACKAGES = ("torch", "torchvision", "accelerate", "datasets", "mlflow")

_log = logging.getLogger(__name__)


def environment_tags(world_size: int, device: str) -> dict[str, str]:
    """Tags of a run's environment: git commit, whether files have changed since, device, versions."""
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


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def source_tags() -> dict[str, str]:
    """MLflow's own tags of who ran which script."""
    script = Path(sys.argv[0]).name
    return {"mlflow.user": user_name(), "mlflow.source.name": script, "mlflow.source.type": "LOCAL"}


def user_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user id has no name
        return "unknown"


class SystemMetrics:
    """Samples the metrics of MLflow's system monitor, in its interval, and writes them to the journal.

    MLflow's own monitor would stop for good after one failed request.
    """

    def __init__(self, record: Callable[..., None], first_step: int) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)  # it reports missing GPUs
        # Never started: only its samplers are used. Its client would make a database in the current folder.
        self._monitor = SystemMetricsMonitor("", tracking_uri="http://unused.invalid")
        self._record, self._step = record, first_step
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="system-metrics", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        self._ended.set()
        self._thread.join(1.0)

    def _sample(self) -> None:
        monitor = self._monitor
        prefix = "system/" + (f"{monitor.node_id}/" if monitor.node_id else "")
        while True:
            for _ in range(monitor.samples_before_logging):
                try:
                    monitor.collect_metrics()
                except Exception as error:  # for instance a driver that is removed
                    _log.warning("System metrics are no longer sampled: %s", error)
                    return
                if self._ended.wait(monitor.sampling_interval):
                    return
            if self._ended.is_set():
                return
            values = {prefix + name: float(value) for name, value in monitor.aggregate_metrics().items()}
            self._record(
                "metrics", {"values": plain_numbers(values), "step": self._step, "time": milliseconds()}, at_once=False
            )
            self._step += 1
            for each in monitor.monitors:
                each.clear_metrics()


def start_system_metrics(record: Callable[..., None], first_step: int) -> SystemMetrics | None:
    try:
        return SystemMetrics(record, first_step)
    except (ImportError, MlflowException) as error:  # psutil is optional to MLflow
        _log.warning("System metrics are not sampled: %s", error)
        return None
