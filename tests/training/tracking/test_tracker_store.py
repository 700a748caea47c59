"""What a tracker does with its store: refusals, ends, previews, checkpoints, continued runs."""

import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from mlflow import MlflowClient
from tracked_runs import away, log_style, start_run

from stylecore.johnson.style_model import StyleModel, read_card
from training.registry.versions import log_preview
from training.tracking import TrackingError
from training.tracking import sender as sender_module
from training.tracking.__main__ import main
from training.tracking.environment import default_tracking_uri, environment_tags, tracking_uri_of
from training.tracking.folders import status, sync
from training.tracking.store import connect


def end_at_trouble(patch: pytest.MonkeyPatch) -> None:
    """Let every wait end when the store has refused something, and not before."""
    wait = sender_module.Sender.wait
    patch.setattr(
        sender_module.Sender,
        "wait",
        lambda sender, number, *_, **__: wait(sender, number, 300, give_up_in_trouble=True),
    )


def test_a_sync_says_in_one_sentence_what_it_cannot_do(store: str, tmp_path: Path, capsys, monkeypatch):
    end_at_trouble(monkeypatch)
    run = start_run(folder=tmp_path / "living")
    away(tmp_path / "away").finish()
    for arguments, sentence in (
        ([tmp_path / "nothing"], "has no journal"),
        ([tmp_path / "living"], f"is being written by process {os.getpid()} on "),
        (
            [tmp_path / "away", "--tracking-uri", "http://127.0.0.1:9"],
            "has not received 2 records of the run (The MLflow",
        ),
    ):
        assert main(["sync", *map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert sentence in error
        assert error.count("\n") == 1
    run.finish()


def test_what_mlflow_refuses_is_set_aside_and_said(store: str, tmp_path: Path, caplog):
    run = start_run(folder=tmp_path)
    run.log({"loss:total?": 1.0}, 1)
    log_preview(run, "amber", torch.zeros(3, 4, 4), 1)
    run.log({"loss/total": 2.0}, 2)
    run.finish()
    found = connect(store).get_run(run.run_id)
    assert (found.info.status, found.data.metrics) == ("FINISHED", {"loss/total": 2.0})
    assert found.data.tags["refused"].startswith("metrics (record 2): ")
    assert "MLflow refused a record" in caplog.text


def test_of_many_refusals_the_first_are_described_and_the_others_counted(store: str, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("training.tracking.sending.MOST_REFUSALS", 1)
    run = start_run(folder=tmp_path)
    for step in range(3):
        run.log({"loss:total?": 1.0}, step)
        log_preview(run, "amber", torch.zeros(3, 4, 4), step)
    run.finish()
    found = connect(store).get_run(run.run_id).data.tags["refused"]
    assert found.startswith("metrics (record 2): ")
    assert found.endswith("; and 2 more")
    assert "record 4" not in found
    assert status(tmp_path).endswith("0 missing, 3 refused")


def test_a_name_that_mlflow_refuses_takes_no_other_with_it(store: str):
    run = start_run(params={"seed": 1, "rate (max)": 2, "width": 3})
    for step in range(3):
        run.log({"loss/total": float(step), "top@5": 0.5, "what?": 1.0}, step)
    run.finish()
    found = connect(store).get_run(run.run_id)
    assert found.data.metrics == {"loss/total": 2.0}
    assert len(connect(store).get_metric_history(run.run_id, "loss/total")) == 3
    assert found.data.params == {"seed": "1", "width": "3"}
    assert '"rate (max)"' in found.data.tags["refused"]
    assert '"top@5"' in found.data.tags["refused"]
    assert '"what?"' in found.data.tags["refused"]


def test_what_the_disk_lost_is_a_tag_of_the_run(store: str, tmp_path: Path):
    run = away(tmp_path)
    for step in (1, 2, 3):
        run.log({"loss/total": float(step)}, step)
    run.log({"loss/total": 4.0}, 4)
    run.finish()
    records = tmp_path / "journal" / "records.jsonl"
    lines = records.read_text().replace('"loss/total": 2.0', '"loss/total": 9.0').splitlines(keepends=True)
    records.write_text("".join([*lines[:-2], lines[-1]]))  # a full disk has room for the end alone
    sync(tmp_path)
    client = connect(store)
    (found,) = client.search_runs([client.get_experiment_by_name("johnson").experiment_id])
    assert [m.value for m in client.get_metric_history(found.info.run_id, "loss/total")] == [1.0, 3.0]
    assert found.data.tags["lost"].startswith("2 records of the run's journal were damaged")


def test_the_first_end_of_a_run_holds(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = start_run(folder=tmp_path)

    def interrupted(*arguments: Any, **named: Any) -> bool:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sender_module.Sender, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.finish()
    run.finish("KILLED", "interrupted at its end")
    sync(tmp_path)
    assert connect(store).get_run(run.run_id).info.status == "FINISHED"


def test_a_run_that_is_deleted_meanwhile_waits_to_be_brought_back(
    store: str, tmp_path: Path, caplog, monkeypatch: pytest.MonkeyPatch
):
    run = start_run(folder=tmp_path)
    client = connect(store)
    client.delete_run(run.run_id)
    run.log({"loss/total": 2.0}, 2)
    with monkeypatch.context() as patch:
        end_at_trouble(patch)
        run.finish()
    assert "must be in the 'active' state" in caplog.text
    client.restore_run(run.run_id)
    assert sync(tmp_path) == 2
    assert client.get_run(run.run_id).data.metrics == {"loss/total": 2.0}


def test_a_store_that_hangs_holds_no_step_up(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    released, working = threading.Event(), MlflowClient.log_batch

    def hanging(*arguments: Any, **named: Any) -> Any:
        released.wait(300)
        return working(*arguments, **named)

    run = start_run(folder=tmp_path, end_seconds=0.1)
    monkeypatch.setattr(MlflowClient, "log_batch", hanging)
    monkeypatch.setattr(sender_module, "GATHER_SECONDS", 0.0)
    for step in range(100):
        run.log({"loss/total": float(step)}, step)
    run.finish()
    assert not released.is_set()  # all was said while the store hung
    released.set()
    assert sync(tmp_path) > 0
    assert len(connect(store).get_metric_history(run.run_id, "loss/total")) == 100


def test_a_preview_is_an_image_of_its_step(store: str, tmp_path: Path):
    run = start_run()
    pixels = torch.zeros(3, 4, 6)
    pixels[0] = 2.0  # out of range before clamping, as a network in training gives it
    log_preview(run, "a b/c", pixels, 0)
    log_preview(run, "a b/c", pixels, 7)
    run.finish()
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
    run = start_run()
    run.log({"loss/total": 0.5}, 10)
    model = tiny_style()
    log_style(run, model, 10, {"loss/total": 0.5, "eval/content": 0.25})
    log_style(run, model, 20, {})
    run.finish()
    assert run.versions == {10: "1", 20: "2"}

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
    first, second = start_run(), start_run(run_name="second")
    log_style(first, tiny_style(), 10, {})
    first.flush()
    log_style(second, tiny_style(), 10, {})
    for run in (first, second):
        run.finish()
    aliases = connect(store).get_registered_model("tiny_waves").aliases
    assert aliases == {"champion": 1, "iterations-10": 2}


def test_the_first_of_many_checkpoints_is_evaluated_too(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    search = MlflowClient.search_logged_models  # a page has a hundred, the newest first

    def two_a_page(*arguments: Any, **named: Any) -> Any:
        return search(*arguments, **named, max_results=2)

    monkeypatch.setattr(MlflowClient, "search_logged_models", two_a_page)
    (tmp_path / "weights.bin").write_bytes(b"weights")
    run = start_run()
    for step in range(1, 4):
        run.log_checkpoint(tmp_path / "weights.bin", step)
    run.log_evaluation({"eval/total": 1.0}, 1)
    run.finish()
    found = connect(store).get_run(run.run_id)
    assert found.data.metrics == {"eval/total": 1.0}
    assert "refused" not in found.data.tags


def test_an_interrupted_run_is_continued(store: str):
    first = start_run(params={"steps": 10, "seed": 1})
    first.log({"loss/total": 2.0}, 0)
    first.finish("KILLED", "asked to stop")
    again = start_run(params={"steps": 20, "seed": 1, "workers": 2}, run_id=first.run_id)
    assert connect(store).get_run(first.run_id).info.status == "RUNNING"
    again.log({"loss/total": 1.0}, 1)
    again.finish()
    found = connect(store).get_run(first.run_id)
    assert again.run_id == first.run_id
    assert found.info.status == "FINISHED"
    assert found.data.params == {"steps": "10", "seed": "1", "workers": "2"}
    assert found.data.tags["resumed/steps"] == "20"
    assert "resumed/seed" not in found.data.tags
    assert "stop_reason" not in found.data.tags
    assert len(connect(store).get_metric_history(first.run_id, "loss/total")) == 2


@pytest.mark.parametrize("unknown", ["0" * 32, "not a run id"])
def test_continuing_an_unknown_run(store: str, unknown: str):
    with pytest.raises(TrackingError, match=r"no run .* to continue"):
        start_run(run_id=unknown)


def test_deleted_runs_and_experiments_are_not_written_to(store: str):
    run = start_run(end_seconds=0.1)
    client = connect(store)
    client.delete_run(run.run_id)
    with pytest.raises(TrackingError, match=f"MLFLOW_TRACKING_URI={re.escape(store)} mlflow runs restore"):
        start_run(run_id=run.run_id)
    client.delete_experiment(client.get_experiment_by_name("johnson").experiment_id)
    with pytest.raises(TrackingError, match=f"MLFLOW_TRACKING_URI={re.escape(store)} mlflow experiments restore"):
        start_run()
    run.finish()


def test_an_experiment_made_through_a_server_needs_the_server(store: str):
    connect(store).create_experiment("served", artifact_location="mlflow-artifacts:/1")
    with pytest.raises(TrackingError, match="made through an MLflow server"):
        start_run(experiment="served")


def test_system_metrics_are_sampled_until_the_end(store: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    run = start_run(system_metrics=True)
    deadline = time.monotonic() + 200
    while not _system_metrics(store, run.run_id) and time.monotonic() < deadline:
        run.flush()
    run.finish()
    steps = [m.step for m in connect(store).get_metric_history(run.run_id, "system/cpu_utilization_percentage")]
    assert steps == list(range(len(steps)))
    again = start_run(system_metrics=True, run_id=run.run_id)
    again.finish()
    assert not [each for each in threading.enumerate() if each.name == "system-metrics"]


def _system_metrics(store: str, run_id: str) -> list[str]:
    return [key for key in connect(store).get_run(run_id).data.metrics if key.startswith("system/")]


def test_the_comparison_link_asks_for_the_charts(store: str):
    run = start_run()
    experiment = connect(store).get_experiment_by_name("johnson").experiment_id
    assert run.comparison_link() == (
        f"http://127.0.0.1:5000/#/experiments/{experiment}/runs?workflowType=machine_learning&compareRunsMode=CHART"
    )
    run.finish()  # or the process waits for the run at its end


def test_the_store_is_the_repository_s_unless_the_environment_says_another(tmp_path: Path, monkeypatch):
    repository = Path(__file__).resolve().parents[3]
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert default_tracking_uri() == f"sqlite:///{repository}/mlruns/mlflow.db"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///some/where/mlflow.db")
    assert default_tracking_uri() == f"sqlite:///{tmp_path}/some/where/mlflow.db"
    assert (tmp_path / "some" / "where").is_dir()
    assert tracking_uri_of("http://host:5000/") == "http://host:5000"


@pytest.mark.parametrize("refused", ["file:///tmp/mlruns", "./mlruns", "/tmp/mlruns", "ftp://host/x", "sqlite://"])
def test_stores_that_mlflow_cannot_write_are_refused(refused: str):
    with pytest.raises(TrackingError, match=r"sqlite:///mlruns/mlflow\.db"):
        tracking_uri_of(refused)


def test_a_store_that_cannot_be_made_or_is_no_database(tmp_path: Path):
    (tmp_path / "file").write_text("this is text, not a database, and long enough to be looked at" * 20)
    with pytest.raises(TrackingError, match="cannot be created"):
        tracking_uri_of(f"sqlite:///{tmp_path}/file/mlflow.db")
    with pytest.raises(TrackingError, match="failed while"):
        start_run(tracking_uri=f"sqlite:///{tmp_path}/file")


def test_environment_tags_are_all_text():
    tags = environment_tags(2, "cpu")
    assert tags["world_size"] == "2"
    assert tags["device"] == "cpu"
    assert tags["torch"] == torch.__version__.partition("+")[0] or tags["torch"] == torch.__version__
    assert {"git_commit", "git_dirty", "mlflow", "python"} <= tags.keys()
    assert all(isinstance(value, str) for value in tags.values())
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
