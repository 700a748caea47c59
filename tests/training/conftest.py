"""A fresh MLflow store per test, and a style small enough to save."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stylecore.johnson.style_model import StyleModel


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
    """Makes an untrained style: `tiny_style(name=..., iterations=...)`."""
    from tracked_runs import tiny_style  # it imports Accelerate

    return tiny_style
