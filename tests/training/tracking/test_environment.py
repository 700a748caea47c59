"""What a tracker samples of the machine."""

from pathlib import Path

import pytest

from training.tracking import environment


def test_sampling_leaves_no_store_of_its_own_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.01")
    monkeypatch.chdir(tmp_path)
    kept: list[dict[str, object]] = []
    metrics = environment.SystemMetrics(lambda kind, values, at_once: kept.append(values))
    while not kept:
        assert metrics.is_alive()
    metrics.finish()
    assert not list(tmp_path.iterdir())
