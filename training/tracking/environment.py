"""The environment of a run: commit, versions, device, user, samples of processor, memory and GPU use, and the store.

Nothing here needs MLflow. Where it is not installed, runs stay in their folders.
"""

import getpass
import itertools
import logging
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from training.tracking import TrackingError, database_address
from training.tracking.journal_files import milliseconds, plain_numbers

REPOSITORY = Path(__file__).resolve().parents[2]
LOCAL_STORE = REPOSITORY / "mlruns"

LOCAL_PAGE = "http://127.0.0.1:5000"
"""Address of `make mlflow-ui`, which shows a local store."""

_SERVERS = ("http", "https")
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_PACKAGES = ("torch", "torchvision", "accelerate", "datasets", "mlflow")


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
        **{package: _version(package) for package in _PACKAGES},
    }
    return tags | ({"mlflow.source.git.commit": commit} if commit else {})


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


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


class SystemMetrics(threading.Thread):
    """A thread that samples the metrics of MLflow's system monitor, in its interval, and writes them to the journal.

    MLflow's own monitor would stop for good after one failed request.
    """

    def __init__(self, record: Callable[..., None]) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        super().__init__(name="system-metrics", daemon=True)
        logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)  # it reports missing GPUs
        # Never started: only its samplers are used. Its client would make a database in the current folder.
        self._monitor = SystemMetricsMonitor("", tracking_uri="http://unused.invalid")
        self._record = record
        self._ended = threading.Event()
        self.start()

    def finish(self) -> None:
        self._ended.set()
        self.join(1.0)

    def run(self) -> None:
        monitor = self._monitor
        for step in itertools.count():
            monitor.collect_metrics()
            if self._ended.wait(monitor.sampling_interval):
                return
            values = {f"system/{name}": float(value) for name, value in monitor.aggregate_metrics().items()}
            self._record(
                "metrics", {"values": plain_numbers(values), "step": step, "time": milliseconds()}, at_once=False
            )
            for each in monitor.monitors:
                each.clear_metrics()


def has_mlflow() -> bool:
    """Whether MLflow is installed. A Space teaches without it."""
    return find_spec("mlflow") is not None


def default_tracking_uri() -> str:
    """The store of MLFLOW_TRACKING_URI, or else the repository's `mlruns/mlflow.db`; none ("") without MLflow."""
    if not has_mlflow():
        return ""
    return tracking_uri_of(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{LOCAL_STORE / 'mlflow.db'}")


def tracking_uri_of(address: str) -> str:
    """The address with an absolute sqlite path; makes the folder of the sqlite file.

    A relative sqlite path starts at the current folder, as everywhere in MLflow.

    Raises:
        TrackingError: for an address that is neither a server nor a database, or a folder that cannot be made.
    """
    scheme = urlsplit(address).scheme.partition("+")[0]
    if scheme in _SERVERS:
        return address.rstrip("/")
    if scheme not in _DATABASES:
        raise TrackingError(
            f"The MLflow store {address!r} (MLFLOW_TRACKING_URI) is neither a server nor a database; "
            "use a server (http://host:5000), or a database such as sqlite:///mlruns/mlflow.db."
        )
    if scheme != "sqlite":
        return database_address(address)
    file = sqlite_file(address)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrackingError(
            f"The folder of the MLflow store {file} cannot be created ({error.strerror}); "
            "set MLFLOW_TRACKING_URI to a folder that you can write to."
        ) from error
    return f"{urlsplit(address).scheme}:///{file}"


def without_password(tracking_uri: str) -> str:
    """The address without `user:password@`, which can be printed."""
    parts = urlsplit(tracking_uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else tracking_uri


def comparison_page(tracking_uri: str, experiment_id: str, view: str = "", *, charts: bool = True) -> str:
    """The address of the charts, or else of the table, that compares the runs of an experiment."""
    page = without_password(tracking_uri) if is_server(tracking_uri) else LOCAL_PAGE
    return page_of_runs(f"{page}/", experiment_id, view, charts=charts)


def page_of_runs(page: str, experiment_id: str, view: str = "", *, charts: bool) -> str:
    """The address of the table or of the charts of an experiment's runs, below the address `page` of MLflow.

    It asks for MLflow's page on model training, which is not its default page, and maybe for a saved view
    (experiments.py).
    """
    inside = f"/{experiment_id}/runs" if experiment_id else ""
    asked = ["workflowType=machine_learning", *([f"viewStateShareKey={view}"] if view else [])]
    return f"{page}#/experiments{inside}?{'&'.join(asked + (['compareRunsMode=CHART'] if charts else []))}"


def is_server(tracking_uri: str) -> bool:
    """Whether the store is an MLflow server, which then also has the artifacts."""
    return urlsplit(tracking_uri).scheme in _SERVERS


def sqlite_file(uri: str) -> Path:
    """The file of a sqlite address; TrackingError if it names none."""
    path = urlsplit(uri).path[1:]  # sqlite:///relative.db, sqlite:////absolute.db
    if not path or path == ":memory:":
        raise TrackingError(f"The MLflow store {uri!r} names no file; use sqlite:///mlruns/mlflow.db.")
    return Path(path).expanduser().absolute()
