"""The MLflow store: a client for it, and its errors in plain words. Its address is in environment.py.

Everything else in this package uses the client of this module, with explicit run ids. Nothing uses MLflow's global
"active run" or global tracking address.
"""

import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run as Run  # so that other packages need not import MLflow
from mlflow.exceptions import MlflowException
from PIL import Image
from sqlalchemy.exc import SQLAlchemyError

from training.tracking import TrackingError
from training.tracking.environment import (
    LOCAL_STORE,
    default_tracking_uri,
    is_server,
    sqlite_file,
    tracking_uri_of,
    without_password,
)


def connect(tracking_uri: str | None = None) -> MlflowClient:
    """A client for the store; an unreachable server is an error after seconds instead of minutes."""
    # MLflow reads these only from the environment; the user's values win.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it logs each migration of a new store
    uri = tracking_uri_of(tracking_uri) if tracking_uri else default_tracking_uri()
    with plain_errors(uri, "opening it"), one_at_a_time(uri, "opening"):  # the first process makes the tables
        return MlflowClient(tracking_uri=uri)


@contextmanager
def plain_errors(tracking_uri: str, doing: str) -> Iterator[None]:
    """Turn errors of MLflow, its database and its disk into a TrackingError: one sentence that names the store."""
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


@contextmanager
def one_at_a_time(tracking_uri: str, doing: str) -> Iterator[None]:
    """Lock an action on a store of this machine against other processes; a server needs no lock.

    For instance the demo and MLflow's page, started together, both make the tables and restore the published runs.

    Raises:
        TrackingError: when the lock's file cannot be written.
    """
    folder = artifact_folder(tracking_uri)
    if folder is None:
        yield
        return
    with plain_errors(tracking_uri, f"making its folder and the lock for {doing}"):
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / f".{doing}.lock").acquire()
    with held:
        yield


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
    """The file or folder at an artifact address: in place if it is on this machine, else downloaded `into` a folder.

    Raises:
        TrackingError: when it does not exist, or the store does not answer.
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
            f"{artifact_uri} is on an MLflow server; set MLFLOW_TRACKING_URI to that server's address."
        )
    with plain_errors(client.tracking_uri, f"fetching {artifact_uri}"):
        return Path(
            download_artifacts(artifact_uri=artifact_uri, dst_path=str(into), tracking_uri=client.tracking_uri)
        )


def fetch_picture(client: MlflowClient, artifact_uri: str) -> Image.Image:
    """The picture at an artifact address, in RGB.

    Raises:
        TrackingError: as `fetch`.
        OSError: when it is damaged.
    """
    with tempfile.TemporaryDirectory() as folder, Image.open(fetch(client, artifact_uri, Path(folder))) as image:
        return image.convert("RGB")


def folder_of_store(tracking_uri: str) -> Path | None:
    """The folder of a store that is a file on this machine; None for servers and other databases."""
    return sqlite_file(tracking_uri).parent if urlsplit(tracking_uri).scheme.startswith("sqlite") else None


def artifact_folder(tracking_uri: str) -> Path | None:
    """The folder for files of new experiments; None for a server, which has its own.

    It is beside a sqlite database, and in the repository's `mlruns` for another database. Every experiment gets it
    explicitly, because MLflow's default is relative to the current folder.
    """
    return None if is_server(tracking_uri) else (folder_of_store(tracking_uri) or LOCAL_STORE) / "artifacts"
