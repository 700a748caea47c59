"""Where the runs are kept: the address of the MLflow store, a client for it, and its errors in plain words.

Everything else in this package speaks to MLflow through the client opened here, with explicit run ids; none of
it touches MLflow's process-wide "active run" or tracking address.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

from filelock import FileLock

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read once, while mlflow is imported

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Metric, Run
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from training.tracking import TrackingError
from training.tracking.database import database_address

__all__ = [
    "LOCAL_STORE",
    "REPOSITORY",
    "Metric",
    "MlflowClient",
    "Run",
    "all_pages",
    "artifact_folder",
    "connect",
    "default_tracking_uri",
    "fetch",
    "folder_of_store",
    "is_server",
    "one_at_a_time",
    "plain_errors",
    "store_exists",
    "tracking_uri_of",
    "without_password",
]
"""With the names of MLflow that others need: they do not import it themselves."""

REPOSITORY = Path(__file__).resolve().parents[2]
LOCAL_STORE = REPOSITORY / "mlruns"

_SERVERS = ("http", "https")
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def default_tracking_uri() -> str:
    """The store named by MLFLOW_TRACKING_URI, else the repository's own `mlruns/mlflow.db`."""
    return tracking_uri_of(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{LOCAL_STORE / 'mlflow.db'}")


def tracking_uri_of(address: str) -> str:
    """The address with its sqlite path made absolute and the folder of that file created.

    A relative sqlite path counts from the current directory, as everywhere in MLflow. Raises TrackingError for
    a folder of files: MLflow no longer writes those.
    """
    scheme = urlsplit(address).scheme.partition("+")[0]
    if scheme in _SERVERS:
        return address.rstrip("/")
    if scheme not in _DATABASES:
        raise TrackingError(
            f"The MLflow store {address!r} (MLFLOW_TRACKING_URI) is not one this project can write; "
            "use a server (http://host:5000), or a database such as sqlite:///mlruns/mlflow.db."
        )
    if scheme != "sqlite":
        return database_address(address)
    file = _sqlite_file(address)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrackingError(
            f"The folder of the MLflow store {file} cannot be created ({error.strerror}); "
            "set MLFLOW_TRACKING_URI to a place you may write to."
        ) from error
    return f"{urlsplit(address).scheme}:///{file}"


def connect(tracking_uri: str | None = None) -> MlflowClient:
    """A client for the store, which gives up on an unreachable server in seconds instead of minutes."""
    # MLflow reads these from nowhere but the environment; the user's own values win.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it announces each migration of a new store
    uri = tracking_uri_of(tracking_uri) if tracking_uri else default_tracking_uri()
    with plain_errors(uri, "opening it"), one_at_a_time(uri, "opening"):  # the first one makes the tables
        return MlflowClient(tracking_uri=uri)


@contextmanager
def plain_errors(tracking_uri: str, doing: str) -> Iterator[None]:
    """Turn what MLflow, its database and its disk raise into one TrackingError sentence that names the store."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        where, what = without_password(tracking_uri), re.sub(r"://[^/\s@]*@", "://", str(error))
        if "Max retries exceeded" in what or "Connection refused" in what or "timed out" in what:
            raise TrackingError(
                f"The MLflow server at {where} does not answer; start it, or set MLFLOW_TRACKING_URI to one that does."
            ) from error
        first_line = re.sub(r"\s+", " ", what.strip().partition("\n")[0])[:300].rstrip(". ")
        raise TrackingError(f"The MLflow store at {where} failed while {doing}: {first_line}.") from error


def without_password(tracking_uri: str) -> str:
    """The address fit to be printed: `user:password@` is left out."""
    parts = urlsplit(tracking_uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else tracking_uri


@contextmanager
def one_at_a_time(tracking_uri: str, doing: str) -> Iterator[None]:
    """Keep other processes from doing the same to a store on this machine; a server keeps its own order.

    The demo and MLflow's page, started together, both make the tables and both restore the published runs.
    """
    folder = artifact_folder(tracking_uri)
    if folder is None:
        yield
        return
    lock = FileLock(folder / f".{doing}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise TrackingError(
            f"The folder {folder} of the MLflow store cannot be written ({error.strerror})."
        ) from error
    try:
        yield
    finally:
        lock.release()


def all_pages(search: Callable[..., Any], *arguments: Any, **options: Any) -> list[Any]:
    """Everything that a search of MlflowClient finds, page after page."""
    found: list[Any] = []
    token = None
    while True:
        page = search(*arguments, **options, page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return found


def fetch(client: MlflowClient, artifact_uri: str, into: Path) -> Path:
    """The file or folder at an artifact address: where it lies when that is this machine, else downloaded `into`.

    Raises TrackingError when it is not there.
    """
    parts = urlsplit(artifact_uri)
    if parts.scheme in ("", "file"):
        path = Path(url2pathname(parts.path))
        if not path.exists():
            raise TrackingError(
                f"The MLflow store at {without_password(client.tracking_uri)} expects {path}, which is not there: "
                "its files were moved or removed; start from an empty store and restore the published runs."
            )
        return path
    if parts.scheme == "mlflow-artifacts" and not is_server(client.tracking_uri):
        raise TrackingError(
            f"{artifact_uri} was kept by an MLflow server; set MLFLOW_TRACKING_URI to that server's address."
        )
    with plain_errors(client.tracking_uri, f"fetching {artifact_uri}"):
        return Path(
            download_artifacts(artifact_uri=artifact_uri, dst_path=str(into), tracking_uri=client.tracking_uri)
        )


def folder_of_store(tracking_uri: str) -> Path | None:
    """The folder of a store that is a file on this machine; None for servers."""
    return _sqlite_file(tracking_uri).parent if urlsplit(tracking_uri).scheme.startswith("sqlite") else None


def is_server(tracking_uri: str) -> bool:
    """True when the store is behind an MLflow server, which then keeps the artifacts too."""
    return urlsplit(tracking_uri).scheme in _SERVERS


def store_exists(tracking_uri: str) -> bool:
    """False for a sqlite address whose file is missing, which opening it would create."""
    is_file = urlsplit(tracking_uri).scheme.partition("+")[0] == "sqlite"
    return not is_file or _sqlite_file(tracking_uri).is_file()


def artifact_folder(tracking_uri: str) -> Path | None:
    """Where new experiments keep their files: beside a sqlite database, in the repository's `mlruns` for another
    database, and None for a server, which decides itself.

    Said explicitly for every experiment, because MLflow's own default is relative to the current directory.
    """
    if is_server(tracking_uri):
        return None
    if urlsplit(tracking_uri).scheme.partition("+")[0] == "sqlite":
        return _sqlite_file(tracking_uri).parent / "artifacts"
    return LOCAL_STORE / "artifacts"


def _sqlite_file(uri: str) -> Path:
    path = urlsplit(uri).path[1:]  # sqlite:///relative.db, sqlite:////absolute.db
    if not path or path == ":memory:":
        raise TrackingError(
            f"The MLflow store {uri!r} names no file, so nothing would be kept; use sqlite:///mlruns/mlflow.db."
        )
    return Path(path).expanduser().absolute()
