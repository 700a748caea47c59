"""One PostgreSQL and one S3 store for all tests of this room; each test has a database and a prefix of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from forked_server import forked_mlflow_server
from PIL import Image
from servers import BUCKET, S3, TEMPLATE, MLflowServer, Postgres, postgres_cluster, s3_store

from stylecore.errors import StylecoreError
from stylecore.vgg.weights import find_weights
from training.tracking.store import connect


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of four photos, 0.png to 3.png, for a training: it skips without VGG-16's weights."""
    try:
        find_weights("vgg16")
    except StylecoreError as error:
        pytest.skip(f"VGG-16's weights are not here: {error}")
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="session")
def _postgres() -> Iterator[Postgres]:
    with postgres_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def _s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3_store(tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture
def postgres(_postgres: Postgres) -> Iterator[Postgres]:
    """A running PostgreSQL. A test may kill it."""
    yield _postgres
    _postgres.resume()
    _postgres.start()


@pytest.fixture
def s3(_s3: S3) -> Iterator[S3]:
    """A running S3 store. A test may pause it."""
    yield _s3
    _s3.resume()


@pytest.fixture(scope="session")
def _migrated(_postgres: Postgres) -> str:
    """A database with MLflow's tables, to be copied: making them takes seconds."""
    _postgres.execute(f'CREATE DATABASE "{TEMPLATE}"')
    connect(_postgres.url(TEMPLATE)).search_experiments()
    # As a server would have made it.
    _postgres.execute("UPDATE experiments SET artifact_location = 'mlflow-artifacts:/0'", TEMPLATE)
    # A database that someone is connected to cannot be copied.
    statement = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{TEMPLATE}'"
    _postgres.execute(statement)
    return TEMPLATE


@pytest.fixture
def mlflow_database(postgres: Postgres, _migrated: str) -> str:
    """The address of an empty PostgreSQL database that has MLflow's tables."""
    return postgres.url(postgres.create_database(_migrated))


@pytest.fixture
def serve(
    mlflow_database: str, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., MLflowServer]]:
    """Starts an MLflow server on PostgreSQL and S3 and logs this process in to it: `serve(password="...")`.

    Called again it starts another server on the same database and bucket.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with ExitStack() as servers:

        def start(password: str = "") -> MLflowServer:
            where = (tmp_path, mlflow_database, f"s3://{BUCKET}/{mlflow_database.rpartition('/')[2]}", s3.keys)
            server = servers.enter_context(forked_mlflow_server(*where, password=password))
            server.log_in(monkeypatch)
            return server

        yield start
