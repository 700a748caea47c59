"""The files of registered versions on this machine, each fetched at most once."""

import shutil
import tempfile
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from mlflow import MlflowClient

from stylecore.files import default_cache, file_sha256, replaced_whole
from training.registry import as_stylecore_errors
from training.tracking.store import fetch, plain_errors


class VersionFiles:
    """The files of one store's versions. Safe to share between threads, which wait for each other only at one version.

    Files of a server are kept in the user's cache folder; files of a store on this machine are used in place.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._folder = default_cache() / "registry"
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._addresses: dict[str, str] = {}

    def fetch(self, name: str, version: str, file: str, digest: str = "") -> Path:
        """The local path of a version's file. With a `digest` (SHA-256), a file of other content is fetched again.

        Raises:
            StylecoreError: when the version does not have the file, or the store does not answer.
        """
        return self._fetch(
            f"{name}/{version}", lambda: self._client.get_model_version_download_uri(name, version), file, digest
        )

    def fetch_of_run(self, run_id: str, file: str) -> Path:
        """The local path of a run's artifact, one that is written once.

        Raises:
            StylecoreError: as `fetch`.
        """
        return self._fetch(f"the run {run_id}", lambda: self._client.get_run(run_id).info.artifact_uri, file, "")

    @as_stylecore_errors()
    def _fetch(self, what: str, locate: Callable[[], str], file: str, digest: str) -> Path:
        with self._guard:
            lock = self._locks.setdefault(what, threading.Lock())
        with lock:
            if what not in self._addresses:
                with plain_errors(self._client.tracking_uri, f"locating {what}"):
                    self._addresses[what] = locate().rstrip("/")
            return self._kept(self._addresses[what], file, digest)

    def _kept(self, folder: str, file: str, digest: str) -> Path:
        # The address has a random id, so its content does not change, except for files that have a digest.
        kept = self._folder / sha256(folder.encode()).hexdigest()[:16] / file
        if kept.is_file() and digest in ("", file_sha256(kept)):
            return kept
        with tempfile.TemporaryDirectory() as temporary:
            fetched = fetch(self._client, f"{folder}/{file}", Path(temporary))
            if Path(temporary) not in fetched.parents:
                return fetched
            kept.parent.mkdir(parents=True, exist_ok=True)
            with replaced_whole(kept) as temporary_file:
                shutil.move(fetched, temporary_file)
        return kept
