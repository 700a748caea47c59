"""From one machine's sqlite and folder to a server on PostgreSQL and S3 with accounts, interrupted on the way."""

import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from servers import MLflowServer
from tracked_runs import log_style, start_run, tiny_style

from stylecore.files import file_sha256
from stylecore.pictures.write import to_image
from training.registry.__main__ import main
from training.registry.migrate import MIGRATED
from training.registry.registry import Registry
from training.registry.versions import log_preview
from training.tracking.store import connect


def train(store: str, name: str, parent: str = "", checkpoints: int = 2) -> str:
    """A run as training leaves it; returns its id."""
    tracker = start_run(
        run_name=name,
        params={"style_weight": 5e9, "name": name},
        tags={"mlflow.parentRunId": parent} if parent else {"kept": "yes"},
        note="note",
        note_image=to_image(torch.rand(3, 16, 16)),
        dataset={"name": "photos", "source": "/data/photos", "digest": "abc"},
        tracking_uri=store,
    )
    log_preview(tracker, "tower", torch.rand(3, 16, 16), 0)
    for step in range(1, 31 if parent else 1201):  # more than MLflow gives at once
        tracker.log({"loss/total": 1 / step}, step)
    tracker.log({"odd": math.nan}, 1)
    tracker.log({"odd": math.inf}, 2)
    for step in range(600, 600 * checkpoints + 1, 600):
        log_style(tracker, tiny_style("waves", step), step, {"loss/total": 1 / step})
    tracker.finish()
    return tracker.run_id


@pytest.fixture(scope="module")
def source(new_store: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with two runs, the second a child of the first, four versions of which the second was deleted."""
    folder = tmp_path_factory.mktemp("source")
    uri = new_store(folder / "local")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_STATE_HOME", str(folder / "state"))
        first = train(uri, "first")
        train(uri, "second", parent=first)
    client = connect(uri)
    client.delete_model_version("waves", "2")
    client.set_registered_model_alias("waves", "champion", "3")
    return uri


class PowerCutError(BaseException):
    """Not to be caught by anybody."""


def ending_at_the_second_call(function: Callable[..., Any]) -> Callable[..., Any]:
    calls = []

    def ending(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise PowerCutError
        return function(*arguments, **named)

    return ending


def test_everything_arrives_however_often_it_is_interrupted(
    source: str,
    new_store: Callable[[Path], str],
    serve: Callable[..., MLflowServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = serve(password="twelve letters")
    command = ["migrate", "--from", source, "--to", server.url]
    for method in ("log_model_artifacts", "create_model_version", "set_registered_model_alias"):
        with monkeypatch.context() as patched:
            patched.setattr(MlflowClient, method, ending_at_the_second_call(getattr(MlflowClient, method)))
            with pytest.raises(PowerCutError):
                main(command)
    capsys.readouterr()
    assert main(command) == 0
    output = capsys.readouterr()
    assert output.err == ""
    (sentence,) = [line for line in output.out.splitlines() if "are the same" in line]
    assert re.fullmatch(
        r"2 runs with 1237 metric values, \d+ files, 4 models, 3 registered versions and 3 aliases are the same .*",
        sentence,
    )

    old, new = MlflowClient(source), MlflowClient(server.url)
    before = {run.info.run_name: run for run in runs(old)}
    after = {run.info.run_name: run for run in runs(new)}
    assert len(runs(new)) == 2
    for name, run in after.items():
        was = before[name]
        assert run.data.tags[MIGRATED] == was.info.run_id
        assert run.data.params == was.data.params
        assert (run.info.status, run.info.start_time, run.info.end_time) == (
            was.info.status,
            was.info.start_time,
            was.info.end_time,
        )
        for key in ("loss/total", "odd"):
            assert points(new, run.info.run_id, key) == points(old, was.info.run_id, key)
        assert run.inputs.dataset_inputs[0].dataset.digest == "abc"
        assert sorted(output.step for output in run.outputs.model_outputs) == [600, 1200]
        # The picture in the note is the one of this run.
        assert run.info.run_id in run.data.tags["mlflow.note.content"]
        assert was.info.run_id not in run.data.tags["mlflow.note.content"]
        picture = [
            Path(client.download_artifacts(each.info.run_id, "style/picture.jpg", str(tmp_path)))
            for client, each in ((new, run), (old, was))
        ]
        assert file_sha256(picture[0]) == file_sha256(picture[1])
    assert after["second"].data.tags["mlflow.parentRunId"] == after["first"].info.run_id

    local, remote = Registry(source), Registry(server.url)
    assert [(v.iterations, v.aliases, v.run_name) for v in remote.versions()] == [
        (v.iterations, v.aliases, v.run_name) for v in local.versions()
    ]
    assert [v.version for v in local.versions()] == ["1", "3", "4"]
    assert [v.version for v in remote.versions()] == ["1", "2", "3"]
    assert remote.find("waves").version == "2"
    for version, there in zip(local.versions(), remote.versions(), strict=True):
        assert file_sha256(remote.weights(there)) == file_sha256(local.weights(version))
        assert there.run_id == after[version.run_name].info.run_id
    (linked,) = new.get_logged_model(after["second"].outputs.model_outputs[0].model_id).metrics
    assert linked.key == "loss/total"

    # What the server's people decided since stays; what the machine added since follows.
    remote.promote("waves", "3")
    old.log_metric(before["first"].info.run_id, "late", 1.0)
    assert main(command) == 0
    output = capsys.readouterr()
    assert "The alias champion of waves belongs to version 3 at the target" in output.err
    assert remote.find("waves").version == "3"
    assert len(remote.versions()) == 3
    assert len(points(new, after["first"].info.run_id, "late")) == 1

    # Versions of another machine have the same numbers, and stay apart.
    other = new_store(tmp_path / "other")
    train(other, "third", checkpoints=1)
    before_it = [(v.version, v.run_name) for v in remote.versions()]
    for _ in range(2):
        assert main(["migrate", "--from", other, "--to", server.url]) == 0
    assert [(v.version, v.run_name) for v in remote.versions()] == [*before_it, ("4", "third")]


@pytest.mark.parametrize("broken", ["log_batch", "log_artifacts", "log_model_artifacts"])
def test_what_does_not_arrive_is_said(
    broken: str,
    source: str,
    new_store: Callable[[Path], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    called = getattr(MlflowClient, broken)

    def damaging(client: MlflowClient, *arguments: Any, **named: Any) -> Any:
        if named.get("metrics"):
            named["metrics"] = named["metrics"][:-1]
        elif broken != "log_batch":
            folder = tmp_path / "damaged"
            shutil.copytree(arguments[-1], folder, dirs_exist_ok=True)
            file = next(path for path in sorted(folder.rglob("*")) if path.is_file())
            file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])  # of the same size
            arguments = (*arguments[:-1], str(folder))
        return called(client, *arguments, **named)

    command = ["migrate", "--from", source, "--to", new_store(tmp_path / "other")]
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, broken, damaging)
        assert main(command) == 2
    output = capsys.readouterr()
    assert re.search(
        "error: the (run first|model .* of first) and its copy differ in (metric values|files)", output.err
    )
    assert "are the same" not in output.out
    assert main(command) == 0  # it is repaired


def test_a_run_that_goes_on_is_completed_by_the_next_migration(
    new_store: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = new_store(tmp_path / "local"), new_store(tmp_path / "other")
    client = MlflowClient(source)
    experiment = client.create_experiment("johnson")
    run_id = client.create_run(experiment, run_name="running").info.run_id
    train(source, "second", checkpoints=2)
    command = ["migrate", "--from", source, "--to", target]
    for step, status in enumerate(("RUNNING", "FINISHED")):
        client.log_metric(run_id, "loss", 1.0, step=step)
        client.update_run(run_id, status)
        assert main(command) == 0
        found = {run.info.run_name: run for run in runs(MlflowClient(target))}
        assert found["running"].info.status == status
        assert len(points(MlflowClient(target), found["running"].info.run_id, "loss")) == step + 1

    # On to a third store, interrupted as soon as the second version is made.
    third, make = new_store(tmp_path / "third"), MlflowClient.create_model_version

    def make_and_end(*arguments: Any, **named: Any) -> Any:
        made = make(*arguments, **named)
        if made.version == 2:
            raise PowerCutError
        return made

    command = ["migrate", "--from", target, "--to", third]
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "create_model_version", make_and_end)
        with pytest.raises(PowerCutError):
            main(command)
    assert main(command) == 0
    found = MlflowClient(third).search_model_versions("name='waves'")
    assert sorted(each.tags["iterations"] for each in found) == ["1200", "600"]


def test_an_experiment_that_cannot_be_made_there_holds_no_other_up(
    new_store: Callable[[Path], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = new_store(tmp_path / "local"), new_store(tmp_path / "other")
    client = MlflowClient(source)
    client.create_run(client.create_experiment("/Users/me/exp"))
    last = client.create_run(client.create_experiment("johnson"), run_name="last").info.run_id
    client.set_terminated(last)
    assert main(["migrate", "--from", source, "--to", target]) == 0
    assert "The 1 runs of '/Users/me/exp' were not migrated: The experiment name" in capsys.readouterr().err
    assert [run.info.run_name for run in runs(MlflowClient(target))] == ["last"]


def test_a_source_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing.db"
    assert main(["migrate", "--from", f"sqlite:///{missing}", "--to", "http://127.0.0.1:9"]) == 2
    assert "There is no MLflow store" in capsys.readouterr().err
    assert not missing.exists()


def runs(client: MlflowClient) -> list:  # type: ignore[type-arg]
    return list(client.search_runs([client.get_experiment_by_name("johnson").experiment_id]))


def points(client: MlflowClient, run_id: str, key: str) -> list[tuple[int, int, str]]:
    return sorted((m.step, m.timestamp, str(m.value)) for m in client.get_metric_history(run_id, key))
