"""What a run looks like in MLflow after the tracker wrote it."""

import json
import math
import os
import time
from pathlib import Path

import mlflow
import pytest
import torch
from mlflow.exceptions import MlflowException

from stylecore.errors import StylecoreError
from stylecore.style_model import StyleModel, read_card
from training import tracker as tracker_module
from training.store import connect, tracking_uri_of
from training.tracker import Tracker, default_tracking_uri, environment_tags


def start(**changes) -> Tracker:
    settings = {"experiment": "johnson", "run_name": "first", "params": {}, "tags": {}, "system_metrics": False}
    return Tracker.start(**{**settings, **changes})


def test_a_run_holds_what_training_said(store: str):
    run = start(
        params={"style_weight": 1e10, "layers": ("relu1_2", "relu2_2")},
        tags={"git_commit": "abc"},
        note="**why**",
        dataset={"name": "photos", "source": "/data/photos", "split": "train"},
    )
    run.log_metrics({"loss/total": 2.0, "loss/style": torch.tensor(1.5)}, 0)
    run.log_metrics({"loss/total": math.nan}, 1)
    run.finish("KILLED", "asked to stop")

    found = connect(store).get_run(run.run_id)
    assert found.info.status == "KILLED"
    assert found.info.run_name == "first"
    assert found.data.params == {"style_weight": "10000000000.0", "layers": "('relu1_2', 'relu2_2')"}
    assert found.data.tags["git_commit"] == "abc"
    assert found.data.tags["stop_reason"] == "asked to stop"
    assert found.data.tags["mlflow.note.content"] == "**why**"
    assert found.data.metrics["loss/style"] == 1.5
    assert math.isnan(found.data.metrics["loss/total"])
    dataset = found.inputs.dataset_inputs[0].dataset
    assert (dataset.name, json.loads(dataset.source), json.loads(dataset.profile)) == (
        "photos",
        {"uri": "/data/photos"},
        {"split": "train"},
    )


def test_every_value_arrives_once_and_in_order_whatever_the_number(store: str):
    run = start()
    for step in range(2100):
        run.log_metrics({"loss/total": float(step)}, step)
    run.finish()
    history = connect(store).get_metric_history(run.run_id, "loss/total")
    assert sorted((m.step, m.value) for m in history) == [(step, float(step)) for step in range(2100)]


def test_more_params_than_one_call_takes(store: str):
    run = start(params={f"p{number}": number for number in range(230)})
    assert len(connect(store).get_run(run.run_id).data.params) == 230


def test_metrics_wait_while_the_store_does_not_answer(store: str, monkeypatch: pytest.MonkeyPatch, caplog):
    monkeypatch.setattr(tracker_module, "FLUSH_SECONDS", -1.0)
    monkeypatch.setattr(tracker_module, "RETRY_SECONDS", -1.0)
    run = start()
    working = run._client.log_batch

    def failing(*arguments, **named):
        raise MlflowException("Max retries exceeded with url")

    monkeypatch.setattr(run._client, "log_batch", failing)
    run.log_metrics({"loss/total": 1.0}, 0)
    assert "does not answer" in caplog.text
    with pytest.raises(StylecoreError, match="does not answer"):
        run.flush()
    monkeypatch.setattr(run._client, "log_batch", working)
    run.log_metrics({"loss/total": 2.0}, 1)
    assert [m.value for m in connect(store).get_metric_history(run.run_id, "loss/total")] == [1.0, 2.0]


def test_the_training_s_own_error_is_not_hidden_by_a_store_that_went_away(store: str, monkeypatch, caplog):
    failed, finished = start(), start()

    def failing(*arguments, **named):
        raise MlflowException("Max retries exceeded with url")

    for run in (failed, finished):
        monkeypatch.setattr(run._client, "set_terminated", failing)
    failed.finish("FAILED", "out of memory")
    assert "does not answer" in caplog.text
    with pytest.raises(StylecoreError, match="does not answer"):
        finished.finish()


def test_a_preview_is_an_image_of_its_step(store: str, tmp_path: Path):
    run = start()
    pixels = torch.zeros(3, 4, 6)
    pixels[0] = 2.0  # out of range before clamping, as a network in training gives it
    run.log_preview("a b/c", pixels, 0)
    run.log_preview("a b/c", pixels, 7)
    client = connect(store)
    names = sorted(f.path for f in client.list_artifacts(run.run_id, "images") if f.path.endswith(".png"))
    assert [name.split("+timestamp")[0] for name in names] == [
        "images/preview~a_b_c+step+0",
        "images/preview~a_b_c+step+7",
    ]
    from PIL import Image

    with Image.open(client.download_artifacts(run.run_id, names[0])) as image:
        assert image.size == (6, 4)
        assert image.getpixel((0, 0)) == (255, 0, 0)


def test_a_checkpoint_is_a_registered_version_without_code(store: str, tiny_style):
    run = start()
    run.log_metrics({"loss/total": 0.5}, 10)
    model = tiny_style()
    assert run.log_checkpoint(model, 10, {"loss/total": 0.5, "eval/content": 0.25}) == "1"
    assert run.log_checkpoint(model, 20, {}) == "2"

    client = connect(store)
    registered = client.get_registered_model("tiny_waves")
    assert registered.aliases == {"iterations-10": 1, "iterations-20": 2, "champion": 2}
    version = client.get_model_version("tiny_waves", "1")
    assert version.run_id == run.run_id
    assert version.tags["iterations"] == "10"
    assert version.tags["run_name"] == "first"

    outputs = client.get_run(run.run_id).outputs.model_outputs
    assert sorted(output.step for output in outputs) == [10, 20]
    logged = client.get_logged_model(min(outputs, key=lambda output: output.step).model_id)
    assert str(logged.status) == "READY"
    assert {m.key: m.value for m in logged.metrics} == {"loss/total": 0.5, "eval/content": 0.25}
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "tiny_waves", "version": "1"}]
    assert len(client.get_metric_history(run.run_id, "loss/total")) == 1  # logged twice, kept once

    folder = Path(mlflow.artifacts.download_artifacts("models:/tiny_waves@iterations-10"))
    ours = {path.name for path in folder.iterdir()} - {"registered_model_meta"}  # MLflow's own note on downloading
    assert ours == {"MLmodel", "card.json", "tiny_waves.safetensors"}
    loaded = StyleModel.load(folder / "tiny_waves.safetensors")
    for name, weights in loaded.network.state_dict().items():
        assert torch.equal(weights, model.network.state_dict()[name])
    assert read_card(folder / "tiny_waves.safetensors") == model.card
    flavors = mlflow.models.Model.load(str(folder / "MLmodel")).flavors
    assert set(flavors) == {"stylecore"}


def test_a_champion_stays_when_another_run_is_registered(store: str, tiny_style):
    first, second = start(), start(run_name="second")
    first.log_checkpoint(tiny_style(), 10, {})
    second.log_checkpoint(tiny_style(), 10, {})
    aliases = connect(store).get_registered_model("tiny_waves").aliases
    assert aliases == {"champion": 1, "iterations-10": 2}


def test_an_interrupted_run_is_continued(store: str):
    first = start(params={"steps": 10, "seed": 1})
    first.log_metrics({"loss/total": 2.0}, 0)
    first.finish("KILLED")
    again = start(params={"steps": 20, "seed": 1, "workers": 2}, run_id=first.run_id)
    assert connect(store).get_run(first.run_id).info.status == "RUNNING"
    again.log_metrics({"loss/total": 1.0}, 1)
    again.finish()
    found = connect(store).get_run(first.run_id)
    assert again.run_id == first.run_id
    assert found.info.status == "FINISHED"
    assert found.data.params == {"steps": "10", "seed": "1", "workers": "2"}
    assert found.data.tags["resumed/steps"] == "20"
    assert "resumed/seed" not in found.data.tags
    assert len(connect(store).get_metric_history(first.run_id, "loss/total")) == 2


@pytest.mark.parametrize("unknown", ["0" * 32, "not a run id"])
def test_continuing_an_unknown_run(store: str, unknown: str):
    with pytest.raises(StylecoreError, match=r"no run .* to continue"):
        start(run_id=unknown)


def test_deleted_runs_and_experiments_are_not_written_to(store: str):
    run = start()
    client = connect(store)
    client.delete_run(run.run_id)
    with pytest.raises(StylecoreError, match="mlflow runs restore"):
        start(run_id=run.run_id)
    client.delete_experiment(client.get_experiment_by_name("johnson").experiment_id)
    with pytest.raises(StylecoreError, match="mlflow experiments restore"):
        start()


def test_an_experiment_made_through_a_server_needs_the_server(store: str):
    connect(store).create_experiment("served", artifact_location="mlflow-artifacts:/1")
    with pytest.raises(StylecoreError, match="made through an MLflow server"):
        start(experiment="served")


def test_system_metrics_are_sampled_until_the_end(store: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    run = start(system_metrics=True)
    deadline = time.monotonic() + 30
    while not _system_metrics(store, run.run_id) and time.monotonic() < deadline:
        time.sleep(0.05)
    run.finish()
    assert "system/cpu_utilization_percentage" in _system_metrics(store, run.run_id)
    assert run._system_metrics._process is None


def _system_metrics(store: str, run_id: str) -> list[str]:
    return [key for key in connect(store).get_run(run_id).data.metrics if key.startswith("system/")]


def test_the_silent_tracker_does_nothing(tiny_style):
    silent = Tracker.silent()
    silent.log_metrics({"loss/total": 1.0}, 0)
    silent.log_preview("photo", torch.zeros(3, 2, 2), 0)
    assert silent.log_checkpoint(tiny_style(), 1, {}) == ""
    silent.flush()
    silent.finish("FAILED", "reason")
    assert silent.run_id == ""
    assert silent.comparison_link() == ""


def test_the_comparison_link_asks_for_the_charts(store: str):
    run = start()
    experiment = connect(store).get_experiment_by_name("johnson").experiment_id
    assert run.comparison_link() == (
        f"http://127.0.0.1:5000/#/experiments/{experiment}/runs?workflowType=machine_learning&compareRunsMode=CHART"
    )


def test_the_store_is_the_repository_s_unless_the_environment_says_another(tmp_path: Path, monkeypatch):
    repository = Path(__file__).resolve().parents[2]
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert default_tracking_uri() == f"sqlite:///{repository}/mlruns/mlflow.db"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///some/where/mlflow.db")
    assert default_tracking_uri() == f"sqlite:///{tmp_path}/some/where/mlflow.db"
    assert (tmp_path / "some" / "where").is_dir()
    assert tracking_uri_of("http://host:5000/") == "http://host:5000"


@pytest.mark.parametrize("refused", ["file:///tmp/mlruns", "./mlruns", "/tmp/mlruns", "ftp://host/x", "sqlite://"])
def test_stores_that_mlflow_cannot_write_are_refused(refused: str):
    with pytest.raises(StylecoreError, match=r"sqlite:///mlruns/mlflow\.db"):
        tracking_uri_of(refused)


def test_a_store_that_cannot_be_made_or_is_no_database(tmp_path: Path):
    (tmp_path / "file").write_text("this is text, not a database, and long enough to be looked at" * 20)
    with pytest.raises(StylecoreError, match="cannot be created"):
        tracking_uri_of(f"sqlite:///{tmp_path}/file/mlflow.db")
    with pytest.raises(StylecoreError, match="failed while"):
        start(tracking_uri=f"sqlite:///{tmp_path}/file")


def test_environment_tags_are_all_text():
    tags = environment_tags(2, "cpu")
    assert tags["world_size"] == "2"
    assert tags["device"] == "cpu"
    assert tags["torch"] == torch.__version__.partition("+")[0] or tags["torch"] == torch.__version__
    assert {"git_commit", "git_dirty", "mlflow", "python"} <= tags.keys()
    assert all(isinstance(value, str) for value in tags.values())
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
