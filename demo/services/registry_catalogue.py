"""The styles of an MLflow registry, read again while the page runs."""

import logging
import threading
import time
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from demo.services.catalogue import Catalogue, StyleEntry, VersionEntry, VersionRecord, title_of
from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.library import CHAMPION, VISITORS

SECONDS_BETWEEN_READS = 15.0
"""A version that is promoted appears on the page after so long."""
SECONDS_WHILE_LOADING = 1.0
"""The same while the published styles are restored."""

LOCAL_PAGE = "http://127.0.0.1:5000"
"""Where `make mlflow-ui` shows the runs."""
SECONDS_FOR_THE_PAGE = 0.5

PATIENCE = 3.0
"""Seconds to wait for the registry where the styles are known from before."""

_log = logging.getLogger(__name__)


class RegistryCatalogue(Catalogue):
    """The styles of an MLflow registry, read again every few seconds.

    When the registry does not answer, the styles known so far are served and `notice` says so. Visitors' styles are
    left out.

    Args:
        tracking_uri: the MLflow store; MLFLOW_TRACKING_URI or the repository's own when left out.
        mlflow_page: address of MLflow's page, where it is not that of the store.
        is_local: visitors are on this machine, so runs are linked to the page of `make mlflow-ui` while it is open.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        *,
        mlflow_page: str = "",
        is_local: bool = False,
    ) -> None:
        super().__init__()
        self._mlflow_page = mlflow_page
        self._is_local = is_local
        self._tracking_uri = tracking_uri
        self._registry: Any = None
        self._known: list[StyleEntry] = []
        self._versions: dict[tuple[str, str], Any] = {}
        self._card = lru_cache(maxsize=None)(self._read_card)
        self._read_at = -float("inf")
        self._reading: threading.Thread | None = None

    def _entries(self) -> list[StyleEntry]:
        with self._lock:  # who asks during the first reading waits for it too
            reading = self._reading is not None and self._reading.is_alive()
            believed = SECONDS_WHILE_LOADING if self.loading else SECONDS_BETWEEN_READS
            if not reading and time.monotonic() - self._read_at > believed:
                self._reading = threading.Thread(target=self._try_to_read, name="registry", daemon=True)
                self._reading.start()
                # A server that does not answer is waited for once; until it does, what is known is served.
                self._reading.join(PATIENCE if self._known else None)
            return self._known

    def _try_to_read(self) -> None:
        try:
            self._read()
        except Exception as error:  # whatever it is, the page goes on with what it has
            _log.warning("The registry cannot be read: %s", error)
            served = "the styles read before are served" if self._known else "so there are no styles to show"
            self.notice = f"The registry cannot be read at the moment; {served}."
        self._read_at = time.monotonic()

    def _read(self) -> None:
        if self._registry is None:
            from training.registry.registry import Registry

            self._registry = Registry(self._tracking_uri)
        found: dict[str, list[Any]] = {}
        for version in self._registry.versions():
            if version.name.startswith(VISITORS):
                continue
            found.setdefault(version.name, []).append(version)
            self._versions[version.name, version.version] = version
        known = []
        for name, versions in found.items():
            newest_first = tuple(version.version for version in reversed(versions))
            aliases = {alias: version.version for version in versions for alias in version.aliases}
            default = (name, aliases.get(CHAMPION, newest_first[0]))
            try:
                card = self._card(*default)
            except StylecoreError as error:  # one broken style does not take the others away
                _log.warning("The style %s is left out: %s", name, error)
                continue
            known.append(StyleEntry(name, title_of(card), newest_first, aliases, card))
        self._known = known
        none = (
            "There is no style yet. `python -m training.registry restore` brings the published ones, "
            "and every training run adds its own."
        )
        self.notice = "" if known else none

    def _version(self, name: str, version: str) -> VersionEntry:
        return VersionEntry(name, version, self._card(name, version), self._versions[name, version].run_name)

    def _read_card(self, name: str, version: str) -> StyleCard:
        return self._registry.card(self._versions[name, version])

    def _record(self, name: str, version: str) -> VersionRecord:
        registered = self._versions.get((name, version))
        if registered is None:
            return VersionRecord()
        page = self._registry.run_page(registered, self._mlflow_page or self._local_page(registered.run_id))
        return VersionRecord(page=page, **vars(self._registry.measures(registered)))

    def _local_page(self, run_id: str) -> str:
        """The address of MLflow's page on this machine, if it is there and shows this run."""
        if not (self._is_local and run_id):
            return ""
        try:
            with urlopen(f"{LOCAL_PAGE}/api/2.0/mlflow/runs/get?run_id={run_id}", timeout=SECONDS_FOR_THE_PAGE):
                return LOCAL_PAGE
        except (OSError, ValueError):
            return ""

    def _painting_of(self, name: str, version: str) -> Path | None:
        return Path(self._registry.style_picture(self._versions[name, version]))

    def _load(self, name: str, version: str) -> StyleModel:
        return StyleModel.load(self._registry.weights(self._versions[name, version]))
