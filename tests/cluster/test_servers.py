"""A client of a server on PostgreSQL and S3 holds no keys, and what was kept survives that everything is killed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from servers import S3, MLflowServer, Postgres


def test_runs_survive_a_power_cut(
    serve: Callable[..., MLflowServer], postgres: Postgres, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(password="twelve letters")
    client = MlflowClient(server.url)
    run_id = client.create_run("0").info.run_id
    client.log_metric(run_id, "loss", 1.5, step=3)
    client.log_text(run_id, "kept", "note.txt")
    assert [key.rpartition("/")[2] for key in s3.list_keys("") if run_id in key] == ["note.txt"]
    server.kill()
    postgres.kill()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MlflowException):
        client.get_run(run_id)
    postgres.start()
    server.start()
    (point,) = client.get_metric_history(run_id, "loss")
    assert (point.step, point.value) == (3, 1.5)
    assert Path(client.download_artifacts(run_id, "note.txt", str(tmp_path))).read_text() == "kept"
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "another")
    with pytest.raises(MlflowException, match="401"):
        client.get_run(run_id)
