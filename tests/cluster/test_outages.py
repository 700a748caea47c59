"""Whatever fails between a run and its tracker, everything that the run said is there in the end, once.

The truth is the run's own journal: each value, picture and checkpoint that it said must be in the store, and nothing
else.
"""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import forked
import pytest
import torch
from forked import Running
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from outages import check_that_all_is_there_once, impatient, replay_until_all_is_sent  # noqa: F401 - fixtures
from servers import S3, MLflowServer, Postgres

from stylecore.johnson.style_model import StyleModel
from training.tracking import TrackingError
from training.tracking.folders import sync

ITERATIONS = 36


def start_training(photos: Path, output: Path) -> Running:
    flags = ["--name", output.name, "--style-image", photos / "0.png", "--photos", photos, "--output-dir", output]
    flags += ["--preview-photos", photos / "1.png", "--style-size", 48, "--crop", 32, "--width", 0.25, "--workers", 0]
    flags += [
        "--residual-blocks",
        1,
        "--batch-size",
        1,
        "--iterations",
        ITERATIONS,
        "--checkpoints",
        1,
        18,
        "--log-every",
        1,
    ]
    flags += ["--cpu", "--evaluate-sizes", "--end-seconds", 5]
    return forked.start([str(flag) for flag in flags], output.with_suffix(".txt"))


@contextmanager
def storm(server: MLflowServer, postgres: Postgres, s3: S3) -> Iterator[None]:
    """Kills, restarts and pauses the servers at random moments; all of them run when it is over."""
    chance, ended = random.Random(3), threading.Event()

    def rage() -> None:
        while not ended.is_set():
            server.start()
            ended.wait(chance.uniform(0.0, 3.0))
            fault = chance.choice(["server", "postgres", "s3"])
            if fault == "server":
                server.kill()
            elif fault == "postgres":
                postgres.kill()
                postgres.start()
            else:
                s3.pause()
                ended.wait(chance.uniform(0.0, 3.0))
                s3.resume()

    thread = threading.Thread(target=rage)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        server.start()


def test_a_training_whose_servers_fail_all_the_time_ends_as_an_undisturbed_one(
    serve: Callable[..., MLflowServer],
    postgres: Postgres,
    s3: S3,
    photos: Path,
    new_store: Callable[[Path], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = serve()
    server.kill()  # away at the start
    with monkeypatch.context() as patched:
        patched.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path))
        undisturbed = start_training(photos, tmp_path / "calm")
    disturbed = start_training(photos, tmp_path / "stormy")
    try:
        with storm(server, postgres, s3):
            undisturbed.wait()
            assert "Traceback" not in disturbed.wait()
            with suppress(TrackingError):  # nor does a replay mind
                sync(tmp_path / "stormy" / "stormy")
    finally:
        for training in (undisturbed, disturbed):
            training.kill()
    replay_until_all_is_sent(tmp_path / "stormy" / "stormy")
    ours, theirs = MlflowClient(server.url), MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run = check_that_all_is_there_once(ours, tmp_path / "stormy" / "stormy")
    other = check_that_all_is_there_once(theirs, tmp_path / "calm" / "calm")
    for name in ("loss/total", "opt/gradient_norm"):
        histories = [client.get_metric_history(of, name) for client, of in ((ours, run), (theirs, other))]
        here, there = ([(m.step, m.value) for m in sorted(h, key=lambda m: m.step)] for h in histories)
        assert here == there
        assert [step for step, _ in here] == list(range(1, ITERATIONS + 1))
    versions = ours.search_model_versions("name='stormy'")
    assert sorted(int(version.version) for version in versions) == [1, 2, 3]
    assert ours.get_registered_model("stormy").aliases.keys() >= {
        "champion",
        "iterations-1",
        f"iterations-{ITERATIONS}",
    }
    for iterations in (1, 18, ITERATIONS):
        files = [tmp_path / name / name / f"iterations-{iterations}.safetensors" for name in ("calm", "stormy")]
        one, two = (StyleModel.load(file).network.state_dict() for file in files)
        assert all(torch.equal(one[key], two[key]) for key in one)


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
