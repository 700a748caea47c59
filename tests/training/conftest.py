"""A fresh MLflow store per test, without paying for its migrations each time, and a style small enough to save."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from training.tracking.store import connect


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty sqlite store with its tables; making it takes seconds, copying it nothing. The workers share it."""
    here = tmp_path_factory.getbasetemp()
    file = (here.parent if "PYTEST_XDIST_WORKER" in os.environ else here) / "template.db"
    with FileLock(f"{file}.lock"):
        if not file.exists():
            connect(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def store(migrated_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of this test's own store, which is also the one MLFLOW_TRACKING_URI names."""
    file = tmp_path / "store" / "mlflow.db"
    file.parent.mkdir()
    shutil.copyfile(migrated_store, file)
    uri = f"sqlite:///{file}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return uri


@pytest.fixture(scope="session")
def tiny_style() -> Callable[..., StyleModel]:
    """Makes an untrained style of a few thousand weights: `tiny_style(name=..., iterations=...)`."""

    def make(name: str = "tiny_waves", iterations: int = 10) -> StyleModel:
        network = TransformNetConfig(residual_blocks=1, width=0.25)
        about = {"title": "Tiny waves", "artist": "Nobody", "year": "1900"}
        return StyleModel(TransformNet(network), StyleCard(name=name, network=network, iterations=iterations, **about))

    return make
