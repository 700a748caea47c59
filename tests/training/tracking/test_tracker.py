"""What a run looks like in MLflow after the tracker wrote it."""

import json
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from tracked_runs import away, files_of, log_style, start_run

from stylecore.pictures.write import to_image
from training.registry.versions import log_preview
from training.tracking import JournaledTracker, TrackingError
from training.tracking import sender as sender_module
from training.tracking.__main__ import main
from training.tracking.delivery import words_of
from training.tracking.folders import sync
from training.tracking.store import connect


def test_a_run_holds_what_training_said(store: str):
    run = start_run(
        params={"style_weight": 1e10, "layers": ("relu1_2", "relu2_2")},
        tags={"git_commit": "abc"},
        note="**why**",
        dataset={"name": "photos", "source": "/data/photos", "split": "train"},
    )
    run.log({"loss/total": 2.0}, 0)
    with warnings.catch_warnings(action="error"):
        run.log({"loss/style": torch.tensor(1.5, requires_grad=True)}, 0)
    run.log({"loss/total": math.nan}, 1)
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
    run = start_run()
    for step in range(1100):
        run.log({"loss/total": float(step)}, step)
    run.finish()
    history = connect(store).get_metric_history(run.run_id, "loss/total")
    assert sorted((m.step, m.value) for m in history) == [(step, float(step)) for step in range(1100)]


def test_more_params_than_one_call_takes(store: str):
    run = start_run(params={f"p{number}": number for number in range(230)})
    run.finish()
    assert len(connect(store).get_run(run.run_id).data.params) == 230


WRITES = """
create_experiment create_run update_run log_batch log_inputs log_artifact set_tag create_logged_model
log_model_artifacts finalize_logged_model log_outputs create_registered_model create_model_version
set_logged_model_tags set_registered_model_alias set_experiment_tag set_terminated
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


def whole_run(tiny_style, **settings: Any) -> JournaledTracker:
    """A run with something of every kind."""
    run = start_run(
        params={"seed": 1},
        note="why",
        note_image=to_image(torch.rand(3, 8, 8)),
        dataset={"name": "photos"},
        **settings,
    )
    for step in (0, 10):
        run.log({"loss/total": 2.0 - step / 10, "loss/style": math.nan}, step)
        log_preview(run, "amber", torch.full((3, 8, 12), step / 20), step)
    log_style(run, tiny_style(), 10, {"loss/total": 1.0, "eval/content": 0.5})
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
    pictures = [re.sub(r"timestamp.*?(\+compressed)?(\.\w+)$", r"\1\2", path) for path in files_of(client, run_id)]
    return {
        "status": (run.info.status, run.info.run_name, run.data.params),
        "tags": {k: v.replace(run_id, "") for k, v in run.data.tags.items() if k != "journal"},
        "metrics": {k: sorted((m.step, repr(m.value)) for m in history) for k, history in histories.items()},
        "datasets": [entry.dataset.name for entry in run.inputs.dataset_inputs],
        "outputs": [output.step for output in run.outputs.model_outputs],
        "model": (str(model.status), model.params, sorted((m.key, m.step, m.value) for m in model.metrics)),
        "model files": sorted(path.name for path in Path(model.artifact_location.removeprefix("file://")).iterdir()),
        "version": (version.version, version.aliases, version.tags.keys(), version.tags["iterations"]),
        "words": words_of(version.description),
        "pictures": sorted(pictures),
    }


@pytest.fixture(scope="module")
def undisturbed(
    new_store: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory, tiny_style
) -> dict[str, Any]:
    """What a store has of the run when no call fails."""
    uri = new_store(tmp_path_factory.mktemp("undisturbed"))
    torch.manual_seed(1)
    whole_run(tiny_style, tracking_uri=uri)
    return all_of(uri)


@pytest.mark.parametrize("done", [False, True])
def test_whatever_call_fails_a_run_arrives_exactly_once(
    undisturbed: dict[str, Any], store: str, tiny_style, monkeypatch: pytest.MonkeyPatch, done: bool
):
    """`done`: the store did what it was asked, and only its answer was lost."""
    monkeypatch.setattr(sender_module, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(sender_module, "LONGEST_PAUSE", 0.0)
    assert undisturbed["metrics"]["loss/total"] == [(0, "2.0"), (10, "1.0")]
    assert undisturbed["version"][0] == 1
    calls: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in WRITES.split():
            break_calls(patch, name, done=done, calls=calls)
        torch.manual_seed(1)
        whole_run(tiny_style)
    assert set(WRITES.split()) - set(calls) <= {"update_run"}  # only a run that was there is updated
    assert all_of(store) == undisturbed


def test_a_late_duplicate_of_the_run_is_removed(store: str, monkeypatch: pytest.MonkeyPatch):
    run = start_run()
    client = connect(store)
    experiment = client.get_experiment_by_name("johnson").experiment_id
    client.create_run(experiment, tags={"journal": client.get_run(run.run_id).data.tags["journal"]})
    run.finish()
    assert [found.info.run_id for found in client.search_runs([experiment])] == [run.run_id]


def test_a_run_without_its_server_is_sent_later(store: str, tmp_path: Path, tiny_style, caplog, capsys):
    folder = tmp_path / "runs" / "first"
    run = away(folder, params={"seed": 3}, note_image=to_image(torch.rand(3, 8, 8)))
    assert "http://127.0.0.1:9 does not answer" in caplog.text
    assert run.comparison_link().startswith("http://127.0.0.1:9/#/experiments?workflowType")
    caplog.clear()
    run.log({"loss/total": 3.0}, 1)
    log_preview(run, "amber", torch.zeros(3, 4, 4), 1)
    log_style(run, tiny_style(), 1, {"loss/total": 3.0})
    assert (run.checkpoints, run.versions) == ({1}, {})
    with pytest.raises(TrackingError, match="has not received 7 records"):
        run.flush(0.1)
    run.finish()
    assert f"`python -m training.tracking sync {folder}` sends them" in caplog.text
    assert caplog.text.count("\n") == 1

    assert main(["sync", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}: 8 records sent; everything is in MLflow.\n"
    assert main(["sync", str(folder)]) == 0
    assert ": 0 records sent" in capsys.readouterr().out
    client = connect(store)
    (found,) = client.search_runs([client.get_experiment_by_name("johnson").experiment_id])
    assert (found.info.status, found.data.params, found.data.metrics) == ("FINISHED", {"seed": "3"}, {"loss/total": 3})
    assert found.info.end_time >= found.info.start_time
    assert len(client.search_model_versions("name='tiny_waves'")) == 1
    assert not list((folder / "journal" / "files").iterdir())
    (folder / "journal" / "sent.json").unlink()  # nobody knows any more what has arrived
    assert main(["sync", str(folder)]) == 0
    assert len(client.search_runs([found.info.experiment_id])) == 1
    assert len(client.search_model_versions("name='tiny_waves'")) == 1


def test_a_run_that_began_without_its_server_is_continued_by_its_state(store: str, tmp_path: Path, caplog):
    first = away(tmp_path)
    first.log({"loss/total": 2.0}, 1)
    first.finish("KILLED")
    assert first.run_id.startswith("journal:")
    again = start_run(folder=tmp_path, run_id=first.run_id, params={"seed": 1})
    again.log({"loss/total": 1.0}, 2)
    again.finish()
    client = connect(store)
    (found,) = client.search_runs([client.get_experiment_by_name("johnson").experiment_id])
    assert (found.info.run_id, found.info.status) == (again.run_id, "FINISHED")
    assert [m.value for m in client.get_metric_history(again.run_id, "loss/total")] == [2.0, 1.0]
    with pytest.raises(TrackingError, match="are of different runs"):
        start_run(folder=tmp_path, run_id="journal:other")


def test_a_run_that_was_sent_to_another_store_is_continued_there(store: str, new_store, tmp_path: Path):
    other_store = new_store(tmp_path / "other")
    first = start_run(folder=tmp_path, params={"seed": 1})
    first.log({"loss/total": 2.0}, 1)
    first.finish("KILLED")
    sync(tmp_path, other_store)
    again = start_run(folder=tmp_path, run_id=first.run_id, params={"seed": 1}, tracking_uri=other_store)
    again.log({"loss/total": 1.0}, 2)
    again.finish()
    client = connect(other_store)
    (found,) = client.search_runs([client.get_experiment_by_name("johnson").experiment_id])
    assert found.info.run_id == again.run_id != first.run_id
    assert [m.value for m in client.get_metric_history(again.run_id, "loss/total")] == [2.0, 1.0]


def test_a_new_run_in_the_folder_of_an_unsent_one_loses_neither(store: str, tmp_path: Path, caplog):
    first = away(tmp_path, run_name="one")
    first.finish()
    second = start_run(folder=tmp_path, run_name="two")
    assert f"sync {tmp_path}/journal-1` sends them" in caplog.text
    second.finish()
    third = start_run(folder=tmp_path, run_name="three")  # the second's journal is sent, and goes
    third.finish()
    assert sync(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir() if path.name != "store"] == ["journal"]
    client = connect(store)
    found = client.search_runs([client.get_experiment_by_name("johnson").experiment_id])
    assert {run.info.run_name for run in found} == {"one", "two", "three"}
