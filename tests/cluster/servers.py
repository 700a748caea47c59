"""The servers that a tracker stands on, as real processes of this machine: PostgreSQL, an S3 store, MLflow.

Each can be stopped, killed, paused and started again in the middle of a test. The fixtures are in conftest.py.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import boto3
import psutil
import psycopg2
import pytest
from forked import free_port

from training.server.__main__ import CONNECTIONS

START_SECONDS = 120
"""A busy machine takes long to import MLflow."""
UNPRIVILEGED = ("postgres", "nobody")
"""Whom PostgreSQL runs as when the tests run as root, which it refuses: the first of these that there is."""
BUCKET = "stylecore"
S3_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
TEMPLATE = "mlflow_template"


def start_command(service: "Service", environment: dict[str, str]) -> psutil.Process:
    """A process of the service's command."""
    with service.log.open("ab") as log:
        return psutil.Popen(
            service.command,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            user=service.user,
            cwd=service.log.parent,
        )


@dataclass
class Service:
    """One server process, with its children.

    `answers` tells whether it takes requests; `environment` is added to that of the tests, None takes a variable out.
    """

    command: list[str]
    log: Path
    answers: Callable[[], bool]
    environment: Mapping[str, str | None] = field(default_factory=dict)
    user: str | None = None
    stop_signal: int = signal.SIGTERM
    launch: Callable[["Service", dict[str, str]], psutil.Process] = start_command
    process: psutil.Process | None = None

    def start(self) -> None:
        """Start it if it does not run, and wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        while not self.is_running() or not self.answers():
            if not self.is_running():  # also when the remains of a killed one were in its way
                self._launch()
            assert time.monotonic() < deadline, f"{self.command[0]} does not start:\n{self.text()}"
            time.sleep(0.1)

    def stop(self) -> None:
        """Let it end in good order."""
        if self.is_running():
            assert self.process
            self.resume()
            family = self._family()
            self.process.send_signal(self.stop_signal)
            with suppress(psutil.TimeoutExpired):
                self.process.wait(30)
            _kill(family)

    @contextmanager
    def running(self) -> Iterator[Self]:
        """It runs within the block, and is killed at its end."""
        try:
            self.start()
            yield self
        finally:
            self.kill()

    def kill(self) -> None:
        """End it and its children at once, as a power cut does."""
        if self.is_running():
            _kill(self._family())

    def pause(self) -> None:
        """Let it accept connections and answer none, as a server that hangs."""
        for process in self._family():
            process.suspend()

    def resume(self) -> None:
        """Go on after `pause`."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):  # a worker that has just ended
                process.resume()

    def is_running(self) -> bool:
        with suppress(psutil.NoSuchProcess):
            return self.process is not None and self.process.status() != psutil.STATUS_ZOMBIE
        return False

    def text(self) -> str:
        """What it wrote so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def _launch(self) -> None:
        environment = {**os.environ, **self.environment}
        self.process = self.launch(self, {key: value for key, value in environment.items() if value is not None})
        with suppress(psutil.TimeoutExpired):
            self.process.wait(0.2)

    def _family(self) -> list[psutil.Process]:
        if not self.is_running():
            return []
        assert self.process
        with suppress(psutil.NoSuchProcess):
            return [self.process, *self.process.children(recursive=True)]
        return []


def _kill(family: list[psutil.Process]) -> None:
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, 10)


@dataclass
class Postgres(Service):
    """A PostgreSQL cluster in a temporary folder, reached over TCP by this machine only."""

    port: int = 0

    def url(self, database: str) -> str:
        """The SQLAlchemy address of a database."""
        return f"postgresql+psycopg2://stylecore@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one statement outside a transaction."""
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="stylecore", dbname=database)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()

    def create_database(self, template: str = "template1") -> str:
        """A new database, copied from the template; returns its name."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name


@contextmanager
def postgres_cluster() -> Iterator[Postgres]:
    """A running PostgreSQL; the test skips where its programs are missing."""
    programs = _postgres_programs()
    user = _unprivileged_user()
    with tempfile.TemporaryDirectory(prefix="stylecore-postgres-", ignore_cleanup_errors=True) as temporary:
        folder, port = Path(temporary), free_port()
        folder.chmod(0o755)
        data = folder / "data"
        data.mkdir(mode=0o700)
        if user:
            shutil.chown(data, user)
        initdb = [programs / "initdb", "-D", data, "-U", "stylecore", "-A", "trust", "-E", "UTF8", "--locale=C"]
        made = subprocess.run(
            [*initdb, "--no-sync", "--no-instructions"],
            capture_output=True,
            text=True,
            user=user,
            cwd=folder,
        )
        if made.returncode:
            pytest.skip(f"no PostgreSQL cluster can be made here: {made.stderr.strip()}")
        # No disk needs to be waited for: what survives a killed process is in the system's memory.
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        cluster = Postgres(
            [str(programs / "postgres"), "-D", str(data), *options],
            folder / "log.txt",
            lambda: _accepts_queries(port),
            user=user,
            stop_signal=signal.SIGINT,
            port=port,
        )
        with cluster.running():
            yield cluster


def _postgres_programs() -> Path:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    for folder in [Path(found).resolve().parent] * bool(found) + folders:
        if all((folder / program).is_file() for program in ("initdb", "postgres")):
            return folder
    pytest.skip("PostgreSQL's programs initdb and postgres are not installed")


def _unprivileged_user() -> str | None:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    import pwd

    known = {entry.pw_name for entry in pwd.getpwall()}
    for user in UNPRIVILEGED:
        if user in known:
            return user
    pytest.skip("PostgreSQL does not run as root, and there is no other user here")


def _accepts_queries(port: int) -> bool:
    try:
        psycopg2.connect(host="127.0.0.1", port=port, user="stylecore", dbname="postgres", connect_timeout=5).close()
    except psycopg2.Error:
        return False
    return True


@dataclass
class S3(Service):
    """moto's S3 with one bucket. It keeps everything in memory: `pause` it, for what is killed has lost all."""

    endpoint: str = ""

    @property
    def keys(self) -> dict[str, str | None]:
        """The environment that gives a server access to it."""
        return {**S3_KEYS, "MLFLOW_S3_ENDPOINT_URL": self.endpoint}

    def list_keys(self, prefix: str, bucket: str = BUCKET) -> list[str]:
        """The names of the objects below a prefix."""
        pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def create_bucket(self) -> None:
        self._client().create_bucket(Bucket=BUCKET)

    def _client(self):  # type: ignore[no-untyped-def]
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=S3_KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=S3_KEYS["AWS_SECRET_ACCESS_KEY"],
            region_name=S3_KEYS["AWS_DEFAULT_REGION"],
        )


@contextmanager
def s3_store(folder: Path) -> Iterator[S3]:
    """A running S3 store with an empty bucket."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    store = S3(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        folder / "s3.txt",
        lambda: answers(f"{endpoint}/moto-api/"),
        endpoint=endpoint,
    )
    with store.running():
        store.create_bucket()
        yield store


@dataclass
class MLflowServer(Service):
    """`mlflow server`, by its address `url`; with authentication when `password` (of the user admin) is not empty."""

    url: str = ""
    password: str = ""

    def process_lines(self) -> list[str]:
        """The command lines of its processes, which every user of the machine can read."""
        return [" ".join(process.cmdline()) for process in self._family()]

    def log_in(self, patch: pytest.MonkeyPatch) -> None:
        """Make it the store that this process and those it starts speak to, as clients without any S3 keys."""
        patch.setenv("MLFLOW_TRACKING_URI", self.url)
        for key in (*S3_KEYS, "MLFLOW_S3_ENDPOINT_URL"):
            patch.delenv(key, raising=False)
        if self.password:
            patch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
            patch.setenv("MLFLOW_TRACKING_PASSWORD", self.password)


def accounts(folder: Path, database_url: str, password: str) -> dict[str, str | None]:
    """The environment of a server with accounts, of which admin has this password."""
    users = folder / "auth.ini"
    lines = ["[mlflow]", "default_permission = READ", f"database_uri = {database_url}", "admin_username = admin"]
    # Or else every request takes a tenth of a second to check the password.
    users.write_text("\n".join([*lines, "auth_cache_ttl_seconds = 60\n"]))
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(users),
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of a test",
    }


@contextmanager
def mlflow_server(
    folder: Path,
    database_url: str,
    artifacts: str,
    keys: Mapping[str, str | None],
    *,
    password: str = "",
    workers: int = 1,
) -> Iterator[MLflowServer]:
    """A running `mlflow server` on a free port, artifacts proxied.

    Args:
        folder: where its log goes.
        artifacts: s3://bucket/prefix, or a folder.
        keys: environment that gives access to the artifacts.
        password: of the user admin; without it everybody may do everything.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**keys, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_TRACKING_URI": None, **CONNECTIONS}
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database_url]
    command += [
        "--workers",
        str(workers),
        "--artifacts-destination",
        artifacts,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    if password:
        environment |= accounts(folder, database_url, password)
        command += ["--app-name", "basic-auth"]
    server = MLflowServer(
        command,
        folder / f"mlflow-{port}.txt",
        lambda: answers(f"{url}/health"),
        environment,
        url=url,
        password=password,
    )
    with server.running():
        yield server


def answers(url: str) -> bool:
    """Whether a GET of the address succeeds."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
