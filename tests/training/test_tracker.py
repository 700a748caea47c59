"""What a run looks like in MLflow after the tracker wrote it."""

import json
import math
import os
import re
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleModel, read_card
from training.tracking import sender as sender_module
from training.tracking.__main__ import main
from training.tracking.environment import environment_tags
from training.tracking.replay import replay
from training.tracking.store import connect, default_tracking_uri, tracking_uri_of
from training.tracking.tracker import Tracker


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
    assert found.data.params == {"style_weight": "10000000000.0", "layers": "relu1_2 relu2_2"}
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
    run.finish()
    assert len(connect(store).get_run(run.run_id).data.params) == 230


WRITES = """
create_experiment create_run update_run log_batch log_inputs log_artifact set_tag create_logged_model
log_model_artifacts finalize_logged_model log_outputs create_registered_model create_model_version
set_logged_model_tags set_registered_model_alias set_terminated
"""
FAILING = frozenset([1, 2, 4, 7, 11, 16])
"""Which calls of each of these fail: never one for ever, now one, now two in a row."""


def break_calls(patch: pytest.MonkeyPatch, name: str, *, done: bool, calls: list[str]) -> None:
    """Let calls of a method of MlflowClient fail, before or after they are `done`."""
    working = getattr(MlflowClient, name)

    def call(*arguments: Any, **named: Any) -> Any:
        calls.append(name)
        fails = calls.count(name) in FAILING
        answer = working(*arguments, **named) if done or not fails else None
        if fails:
            raise MlflowException("Remote end closed connection without response")
        return answer

    patch.setattr(MlflowClient, name, call)


def whole_run(tiny_style, **settings: Any) -> Tracker:
    """A run with something of every kind."""
    run = start(params={"seed": 1}, note="why", style=torch.rand(3, 8, 8), dataset={"name": "photos"}, **settings)
    for step in (0, 10):
        run.log_metrics({"loss/total": 2.0 - step / 10, "loss/style": math.nan}, step)
        run.log_preview("amber", torch.full((3, 8, 12), step / 20), step)
    run.log_checkpoint(tiny_style(), 10, {"loss/total": 1.0, "eval/content": 0.5})
    run.log_evaluation({"eval/spots": 0.25}, 10)
    run.finish("KILLED", "told to")
    return run


def all_of(uri: str) -> dict[str, Any]:
    """Everything that a store knows of its only run but ids and times."""
    client = connect(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("johnson").experiment_id])
    run_id = run.info.run_id
    histories = {key: client.get_metric_history(run_id, key) for key in run.data.metrics}
    (model,) = client.search_logged_models([run.info.experiment_id])
    (version,) = client.search_model_versions("name='tiny_waves'")
    pictures = [re.sub(r"timestamp.*?(\+compressed)?(\.\w+)$", r"\1\2", f.path) for f in files_below(client, run_id)]
    return {
        "status": (run.info.status, run.info.run_name, run.data.params),
        "tags": {k: v.replace(run_id, "") for k, v in run.data.tags.items() if k != "journal"},
        "metrics": {k: sorted((m.step, repr(m.value)) for m in history) for k, history in histories.items()},
        "datasets": [entry.dataset.name for entry in run.inputs.dataset_inputs],
        "outputs": [output.step for output in run.outputs.model_outputs],
        "model": (str(model.status), model.params, sorted((m.key, m.step, m.value) for m in model.metrics)),
        "model files": sorted(path.name for path in Path(model.artifact_location.removeprefix("file://")).iterdir()),
        "version": (version.version, version.aliases, version.tags.keys(), version.tags["iterations"]),
        "pictures": sorted(pictures),
    }


def files_below(client: MlflowClient, run_id: str, folder: str | None = None) -> list[Any]:
    entries = client.list_artifacts(run_id, folder)
    inside = [each for entry in entries if entry.is_dir for each in files_below(client, run_id, entry.path)]
    return [entry for entry in entries if not entry.is_dir] + inside


@pytest.mark.parametrize("done", [False, True])
def test_whatever_call_fails_a_run_arrives_exactly_once(
    store: str, migrated_store: Path, tmp_path: Path, tiny_style, monkeypatch: pytest.MonkeyPatch, done: bool
):
    """`done`: the store did what it was asked, and only its answer was lost."""
    monkeypatch.setattr(sender_module, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(sender_module, "LONGEST_PAUSE", 0.0)
    torch.manual_seed(1)
    whole_run(tiny_style)
    undisturbed = all_of(store)
    assert undisturbed["metrics"]["loss/total"] == [(0, "2.0"), (10, "1.0")]
    assert undisturbed["version"][0] == 1
    (tmp_path / "other").mkdir()
    other = f"sqlite:///{tmp_path}/other/mlflow.db"
    shutil.copyfile(migrated_store, tmp_path / "other" / "mlflow.db")
    calls: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in WRITES.split():
            break_calls(patch, name, done=done, calls=calls)
        torch.manual_seed(1)
        whole_run(tiny_style, tracking_uri=other)
    assert set(WRITES.split()) - set(calls) <= {"update_run"}  # only a run that was there is updated
    assert all_of(other) == undisturbed


def test_a_late_duplicate_of_the_run_is_removed(store: str, monkeypatch: pytest.MonkeyPatch):
    run = start()
    client = connect(store)
    experiment = client.get_experiment_by_name("johnson").experiment_id
    client.create_run(experiment, tags={"journal": client.get_run(run.run_id).data.tags["journal"]})
    run.finish()
    assert [found.info.run_id for found in client.search_runs([experiment])] == [run.run_id]


def away(run_folder: Path, **settings: Any) -> Tracker:
    """A run whose server is not there."""
    return start(tracking_uri="http://127.0.0.1:9", folder=run_folder, end_seconds=0.1, **settings)


def test_a_run_without_its_server_is_replayed(store: str, tmp_path: Path, tiny_style, caplog, capsys):
    folder = tmp_path / "runs" / "first"
    run = away(folder, params={"seed": 3}, style=torch.rand(3, 8, 8))
    assert "http://127.0.0.1:9 does not answer" in caplog.text
    assert run.comparison_link().startswith("http://127.0.0.1:9/#/experiments?workflowType")
    caplog.clear()
    run.log_metrics({"loss/total": 3.0}, 1)
    run.log_preview("amber", torch.zeros(3, 4, 4), 1)
    run.log_checkpoint(tiny_style(), 1, {"loss/total": 3.0})
    assert (run.checkpoints, run.versions) == ({1}, {})
    with pytest.raises(StylecoreError, match="has not taken 5 records"):
        run.flush(0.1)
    run.finish()
    assert f"`python -m training.tracking replay {folder}` sends them" in caplog.text
    assert caplog.text.count("\n") == 1

    assert main(["replay", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}: 6 records sent; everything is in MLflow.\n"
    assert main(["replay", str(folder)]) == 0
    assert ": 0 records sent" in capsys.readouterr().out
    client = connect(store)
    (found,) = client.search_runs([client.get_experiment_by_name("johnson").experiment_id])
    assert (found.info.status, found.data.params, found.data.metrics) == ("FINISHED", {"seed": "3"}, {"loss/total": 3})
    assert found.info.end_time >= found.info.start_time
    assert len(client.search_model_versions("name='tiny_waves'")) == 1
    assert not list((folder / "journal" / "files").iterdir())
    (folder / "journal" / "sent.json").unlink()  # nobody knows any more what has arrived
    assert main(["replay", str(folder)]) == 0
    assert len(client.search_runs([found.info.experiment_id])) == 1
    assert len(client.search_model_versions("name='tiny_waves'")) == 1


def test_a_run_that_began_without_its_server_is_continued_by_its_state(store: str, tmp_path: Path, caplog):
    first = away(tmp_path)
    first.log_metrics({"loss/total": 2.0}, 1)
    first.finish("KILLED")
    assert first.run_id.startswith("journal:")
    again = start(folder=tmp_path, run_id=first.run_id, params={"seed": 1})
    again.log_metrics({"loss/total": 1.0}, 2)
    again.finish()
    client = connect(store)
    (found,) = client.search_runs([client.get_experiment_by_name("johnson").experiment_id])
    assert (found.info.run_id, found.info.status) == (again.run_id, "FINISHED")
    assert [m.value for m in client.get_metric_history(again.run_id, "loss/total")] == [2.0, 1.0]
    with pytest.raises(StylecoreError, match="of another run than the saved state"):
        start(folder=tmp_path, run_id="journal:other")


def test_a_new_run_in_the_folder_of_an_unsent_one_loses_neither(store: str, tmp_path: Path, caplog):
    first = away(tmp_path, run_name="one")
    first.finish()
    second = start(folder=tmp_path, run_name="two")
    assert f"replay {tmp_path}/journal-1` sends them" in caplog.text
    second.finish()
    third = start(folder=tmp_path, run_name="three")  # the second's journal is sent, and goes
    third.finish()
    assert replay(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir() if path.name != "store"] == ["journal"]
    client = connect(store)
    found = client.search_runs([client.get_experiment_by_name("johnson").experiment_id])
    assert {run.info.run_name for run in found} == {"one", "two", "three"}


def test_a_replay_says_in_one_sentence_what_it_cannot_do(store: str, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr("training.tracking.replay.REPLAY_SECONDS", 0.5)
    run = start(folder=tmp_path / "living")
    away(tmp_path / "away").finish()
    for arguments, sentence in (
        ([tmp_path / "nothing"], "holds no journal"),
        ([tmp_path / "living"], f"is being written by process {os.getpid()} on "),
        (
            [tmp_path / "away", "--tracking-uri", "http://127.0.0.1:9"],
            "has not taken 2 records of the run (The MLflow",
        ),
    ):
        assert main(["replay", *map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert sentence in error
        assert error.count("\n") == 1
    run.finish()


def test_what_mlflow_refuses_is_set_aside_and_said(store: str, tmp_path: Path, caplog):
    run = start(folder=tmp_path)
    run.log_metrics({"loss:total?": 1.0}, 1)
    run.log_preview("amber", torch.zeros(3, 4, 4), 1)
    run.log_metrics({"loss/total": 2.0}, 2)
    run.finish()
    found = connect(store).get_run(run.run_id)
    assert (found.info.status, found.data.metrics) == ("FINISHED", {"loss/total": 2.0})
    assert found.data.tags["refused"].startswith("metrics (record 2): ")
    assert "MLflow refused a record" in caplog.text


def test_what_the_disk_lost_is_a_tag_of_the_run(store: str, tmp_path: Path):
    run = away(tmp_path)
    for step in (1, 2, 3):
        run.log_metrics({"loss/total": float(step)}, step)
    run._journal.append("missing", {"what": "7 records of metrics"})  # as a journal on a full disk says at its end
    run.finish()
    records = tmp_path / "journal" / "records.jsonl"
    records.write_text(records.read_text().replace('"loss/total": 2.0', '"loss/total": 9.0'))
    replay(tmp_path)
    client = connect(store)
    (found,) = client.search_runs([client.get_experiment_by_name("johnson").experiment_id])
    assert [m.value for m in client.get_metric_history(found.info.run_id, "loss/total")] == [1.0, 3.0]
    assert found.data.tags["missing"] == "7 records of metrics"
    assert found.data.tags["lost"].startswith("1 records of the run's journal were damaged")


def test_the_first_end_of_a_run_holds(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = start(folder=tmp_path)

    def interrupted(*arguments: Any, **named: Any) -> bool:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sender_module.Sender, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.finish()
    run.finish("KILLED", "interrupted at its end")
    replay(tmp_path)
    assert connect(store).get_run(run.run_id).info.status == "FINISHED"


def test_a_run_that_is_deleted_meanwhile_waits_to_be_brought_back(store: str, tmp_path: Path, caplog):
    run = start(folder=tmp_path, end_seconds=0.5)
    client = connect(store)
    client.delete_run(run.run_id)
    run.log_metrics({"loss/total": 2.0}, 2)
    run.finish()
    assert "must be in the 'active' state" in caplog.text
    client.restore_run(run.run_id)
    assert replay(tmp_path) == 2
    assert client.get_run(run.run_id).data.metrics == {"loss/total": 2.0}


def test_a_store_that_hangs_holds_no_step_up(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    released, working = threading.Event(), MlflowClient.log_batch

    def hanging(*arguments: Any, **named: Any) -> Any:
        released.wait(60)
        return working(*arguments, **named)

    run = start(folder=tmp_path, end_seconds=0.1)
    monkeypatch.setattr(MlflowClient, "log_batch", hanging)
    monkeypatch.setattr(sender_module, "GATHER_SECONDS", 0.0)
    began = time.monotonic()
    for step in range(100):
        run.log_metrics({"loss/total": float(step)}, step)
    run.finish()
    assert time.monotonic() - began < 30  # not 100 times the server's hanging: one second is granted to it
    released.set()
    assert replay(tmp_path) > 0
    assert len(connect(store).get_metric_history(run.run_id, "loss/total")) == 100


def test_a_preview_is_an_image_of_its_step(store: str, tmp_path: Path):
    run = start()
    pixels = torch.zeros(3, 4, 6)
    pixels[0] = 2.0  # out of range before clamping, as a network in training gives it
    run.log_preview("a b/c", pixels, 0)
    run.log_preview("a b/c", pixels, 7)
    run.flush()
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
    run.log_checkpoint(model, 10, {"loss/total": 0.5, "eval/content": 0.25})
    run.log_checkpoint(model, 20, {})
    run.flush()
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
    first, second = start(), start(run_name="second")
    first.log_checkpoint(tiny_style(), 10, {})
    first.flush()
    second.log_checkpoint(tiny_style(), 10, {})
    second.flush()
    aliases = connect(store).get_registered_model("tiny_waves").aliases
    assert aliases == {"champion": 1, "iterations-10": 2}


def test_an_interrupted_run_is_continued(store: str):
    first = start(params={"steps": 10, "seed": 1})
    first.log_metrics({"loss/total": 2.0}, 0)
    first.finish("KILLED", "asked to stop")
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
    assert "stop_reason" not in found.data.tags
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
        run.flush()
    run.finish()
    steps = [m.step for m in connect(store).get_metric_history(run.run_id, "system/cpu_utilization_percentage")]
    assert steps == list(range(len(steps)))
    again = start(system_metrics=True, run_id=run.run_id)
    again.finish()
    assert not [each for each in threading.enumerate() if each.name == "system-metrics"]


def _system_metrics(store: str, run_id: str) -> list[str]:
    return [key for key in connect(store).get_run(run_id).data.metrics if key.startswith("system/")]


def test_the_silent_tracker_does_nothing(tiny_style):
    silent = Tracker.silent()
    silent.log_metrics({"loss/total": 1.0}, 0)
    silent.log_preview("photo", torch.zeros(3, 2, 2), 0)
    silent.log_checkpoint(tiny_style(), 1, {})
    silent.log_evaluation({"eval/total": 1.0}, 1)
    silent.flush()
    silent.finish("FAILED", "reason")
    assert (silent.run_id, silent.versions) == ("", {})
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
