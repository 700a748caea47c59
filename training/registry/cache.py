"""The files of registered versions on this machine: fetched at most once, each by itself."""

import os
import shutil
import tempfile
import threading
from hashlib import sha256
from pathlib import Path

from mlflow import MlflowClient

from stylecore.files import file_sha256
from training.registry.errors import as_stylecore_errors
from training.tracking.store import fetch, plain_errors


class VersionFiles:
    """The files of one store's versions. Safe to share between threads: they wait for each other at one version only.

    Files of a server are kept in `folder` (by default in the user's cache folder); those of a store on this machine
    are used where they lie.
    """

    def __init__(self, client: MlflowClient, folder: Path | None) -> None:
        self._client = client
        self._folder = folder or _user_cache()
        self._guard = threading.Lock()
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._addresses: dict[tuple[str, str], str] = {}

    @as_stylecore_errors()
    def fetch(self, name: str, version: str, file: str, digest: str = "") -> Path:
        """The local path of a version's file; with a `digest`, its SHA-256, an older file is fetched again.

        Raises:
            StylecoreError: when the version does not have it, or the store does not answer.
        """
        with self._guard:
            lock = self._locks.setdefault((name, version), threading.Lock())
        with lock:
            folder = self._addresses.get((name, version))
            if folder is None:
                with plain_errors(self._client.tracking_uri, f"locating {name}/{version}"):
                    folder = str(self._client.get_model_version_download_uri(name, version)).rstrip("/")
                self._addresses[name, version] = folder
            return self._kept(folder, file, digest)

    @as_stylecore_errors()
    def fetch_of_run(self, run_id: str, file: str) -> Path:
        """The local path of a run's artifact, one that is written once.

        Raises:
            StylecoreError: as `fetch`.
        """
        with plain_errors(self._client.tracking_uri, f"locating the run {run_id}"):
            folder = str(self._client.get_run(run_id).info.artifact_uri).rstrip("/")
        with self._guard:
            lock = self._locks.setdefault((run_id, ""), threading.Lock())
        with lock:
            return self._kept(folder, file, "")

    def _kept(self, folder: str, file: str, digest: str) -> Path:
        # The address holds a random id, so its content never changes, unless its SHA-256 says so.
        kept = self._folder / sha256(folder.encode()).hexdigest()[:16] / file
        if kept.is_file() and digest in ("", file_sha256(kept)):
            return kept
        with tempfile.TemporaryDirectory() as temporary:
            fetched = fetch(self._client, f"{folder}/{file}", Path(temporary))
            if Path(temporary) not in fetched.parents:
                return fetched
            kept.parent.mkdir(parents=True, exist_ok=True)
            arriving = kept.with_name(f".{kept.name}.{os.getpid()}")
            shutil.move(fetched, arriving)
            os.replace(arriving, kept)
        return kept


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stylecore" / "registry"
