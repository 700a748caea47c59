"""A fresh MLflow store per test, and a style small enough to save."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig


@pytest.fixture
def store(new_store: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of this test's own store, which is also the one MLFLOW_TRACKING_URI names."""
    uri = new_store(tmp_path / "store")
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
