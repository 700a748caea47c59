"""A network that spoils requests, many runs at once, a page under load."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from training.tracking import TrackingError, sender
from training.tracking.folders import sync
from training.tracking.journal import Journal


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request to a server that hangs fails after seconds, and is soon repeated."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    monkeypatch.setattr(sender, "FIRST_PAUSE", 0.2)
    monkeypatch.setattr(sender, "LONGEST_PAUSE", 1.0)
    monkeypatch.setattr(sender, "GATHER_SECONDS", 0.5)
    monkeypatch.setattr("training.tracking.folders.SYNC_SECONDS", 10.0)


def check_that_all_is_there_once(client: MlflowClient, folder: Path, status: str = "FINISHED") -> str:
    """Compare a run in the store with its journal; returns the run's id."""
    journal = Journal(folder)
    records = journal.records()
    assert journal.sent == journal.last == len(records)
    assert not journal.answers["refused"]
    run_id = journal.answers["run_id"]
    journal.close()
    (begin,) = (record.data for record in records if record.kind == "run")
    run = client.get_run(run_id)
    with_key = client.search_runs([run.info.experiment_id], f"tags.journal = '{begin['key']}'")
    assert [found.info.run_id for found in with_key] == [run_id]
    assert run.info.status == status
    about = [record.data for record in records if record.kind in ("run", "about")]
    params = {name: text for data in about for name, text in data.get("params", {}).items()}
    tags = {name: text for data in about for name, text in data.get("tags", {}).items() if name != "mlflow.user"}
    assert params
    assert run.data.params == params
    assert run.data.tags.items() >= tags.items()

    said: dict[str, list[tuple[int, int, str]]] = {}
    linked: dict[int, set[str]] = {}
    for record in records:
        data = record.data
        if record.kind in ("metrics", "evaluation"):
            values = [[name, value, data["time"]] for name, value in data["values"].items()]
        else:
            values = data.get("metrics", [])
        for name, value, at in values:
            said.setdefault(name, []).append((data["step"], at, repr(float(value))))
        if record.kind in ("checkpoint", "evaluation"):
            linked.setdefault(data["step"], set()).update(name for name, _, _ in values)
    assert run.data.metrics.keys() == said.keys()
    for name, points in said.items():
        history = [(m.step, m.timestamp, repr(m.value)) for m in client.get_metric_history(run_id, name)]
        assert sorted(history) == sorted(set(points)), name

    pictures = {}
    for record in records:
        if record.kind == "picture":
            data = record.data
            stem = f"{data['key'].replace('/', '~')}+step+{data['step']}+timestamp+{data['time']}+{data['code']}"
            pictures[f"images/{stem}.png"] = data["file"].partition("-")[0]
    found = [entry.path for entry in client.list_artifacts(run_id, "images")] if pictures else []
    assert sorted(path for path in found if path.endswith(".png")) == sorted(pictures)
    assert len(found) == 2 * len(pictures)
    for path, digest in pictures.items():
        assert sha256(Path(client.download_artifacts(run_id, path)).read_bytes()).hexdigest() == digest

    checkpoints = {record.data["step"]: record.data["file"] for record in records if record.kind == "checkpoint"}
    models = client.search_logged_models([run.info.experiment_id], filter_string=f"source_run_id = '{run_id}'")
    assert sorted(int(model.tags["iterations"]) for model in models) == sorted(checkpoints)
    assert {str(model.status) for model in models} <= {"READY"}
    for model in models:
        assert {metric.key for metric in model.metrics or []} == linked[int(model.tags["iterations"])]
    outputs = run.outputs.model_outputs if run.outputs else []
    assert sorted(output.step for output in outputs) == sorted(checkpoints)
    versions = client.search_model_versions(f"run_id='{run_id}'")
    assert sorted(int(version.tags["iterations"]) for version in versions) == sorted(checkpoints)
    for version in versions:
        assert version.tags["sha256"] == checkpoints[int(version.tags["iterations"])].partition("-")[0]
    return str(run_id)


def replay_until_all_is_sent(folder: Path, url: str | None = None) -> None:
    """Faults go on during a replay, which may then have to be asked for again."""
    for _ in range(20):
        try:
            sync(folder, url)
            return
        except TrackingError as error:
            if "has not received" not in str(error):
                raise
    pytest.fail("a replay gets nowhere")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder
