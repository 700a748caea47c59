"""Workers on one study in PostgreSQL: one is killed, two go on together."""

import csv
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest
from forked import VGG_CACHE, Running, fork
from mlflow import MlflowClient
from optuna.trial import TrialState
from PIL import Image
from servers import Postgres

from training.experiments import sweep
from training.experiments.study import SCHEMA, open_storage


def work(kind: str, folder: Path, arguments: list[str]) -> None:
    """A worker that hangs in its first evaluation, or one that begins when it is told to."""
    if kind == "hangs":

        def hang(*_: object) -> None:
            (folder / "hangs").touch()
            time.sleep(600)

        sweep._Worker._evaluate = hang  # type: ignore[method-assign]
    else:
        (folder / f"ready-{kind}").touch()
        while not (folder / "go").exists():
            time.sleep(0.05)
    sys.exit(sweep.main(arguments))


@pytest.fixture
def arguments(
    photos: Path, new_store: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The flags of a search whose trials take a second."""
    monkeypatch.setenv("STYLECORE_CACHE", str(VGG_CACHE))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path / "store"))
    photo = photos / "0.png"
    recipe = f"name: stripes\nstyle_image: {photo}\nstyle_size: 48\nwidth: 0.25\niterations: 4\n"
    (tmp_path / "recipe.yaml").write_text(recipe)
    flags = ["--crop", 32, "--batch-size", 2, "--workers", 0, "--log-every", 1, "--cpu", "--preview-photos", photo]
    flags += ["--residual-blocks", 1, 2, "--style-sizes", 48, 64, "--rungs", 2, "--size", 32, "--trials", 4]
    flags += ["--output-dir", tmp_path / "runs", "--startup-trials", 2]
    return [str(part) for part in [tmp_path / "recipe.yaml", "--photos", photos, *flags]]


@pytest.fixture
def workers() -> Iterator[list[Running]]:
    started: list[Running] = []
    yield started
    for worker in started:
        worker.kill()


def test_workers_share_a_study_and_make_up_for_a_killed_one(
    arguments: list[str],
    workers: list[Running],
    postgres: Postgres,
    mlflow_database: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    database = mlflow_database.rpartition("/")[2]
    # The database has MLflow's tables: a study may be kept beside them.
    arguments += ["--storage", mlflow_database.replace("+psycopg2", "")]

    def start(kind: str) -> Running:
        output = tmp_path / f"{kind}.txt"
        output.write_bytes(b"")
        process = fork(work, kind, tmp_path, arguments, environment=os.environ, output=output)
        workers.append(Running([process], output))
        return workers[-1]

    killed = start("hangs")
    pair = [start("one"), start("two")]
    killed.wait_for(tmp_path / "hangs")
    killed.kill()
    for kind, worker in zip(("one", "two"), pair, strict=True):
        worker.wait_for(tmp_path / f"ready-{kind}")
    # As if its heartbeats had been missed for an hour.
    long_ago = f"UPDATE {SCHEMA}.trial_heartbeats SET heartbeat = heartbeat - interval '1 hour'"
    postgres.execute(long_ago, database)
    (tmp_path / "go").touch()
    for worker in pair:
        worker.wait()

    config = sweep.SweepConfig(study="stripes", storage=mlflow_database)
    study = optuna.load_study(study_name="stripes", storage=open_storage(config))
    dead, *others = study.trials
    assert dead.state == TrialState.FAIL
    ended = [trial for trial in others if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(ended) == 4
    assert len({trial.user_attrs["worker"] for trial in ended}) == 2
    (again,) = [trial for trial in ended if trial.system_attrs.get("failed_trial") == 0]
    assert again.params == dead.params

    client = MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name("johnson").experiment_id])
    (parent,) = [run for run in runs if run.info.run_name == "stripes"]
    children = {int(run.data.tags["trial"]): run for run in runs if run is not parent}
    assert len(children) == len(runs) - 1  # no trial was made twice
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
    assert parent.info.status == "FINISHED"
    assert children[0].info.status == "KILLED"
    for trial in ended:
        points = client.get_metric_history(children[trial.number].info.run_id, "reference/total")
        assert {point.step: point.value for point in points} == trial.intermediate_values
        assert float(children[trial.number].data.params["style_weight"]) == trial.params["style_weight"]
    assert not client.search_registered_models()

    parent_id = parent.info.run_id
    table = Path(client.download_artifacts(parent_id, "trials.csv", str(tmp_path))).read_text()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert {int(row["trial"]) for row in rows} == {trial.number for trial in ended}
    complete = [float(row["loss"]) for row in rows if row["state"] == "complete"]
    assert complete == sorted(complete)
    assert "| trial | loss |" in parent.data.tags["mlflow.note.content"]
    with Image.open(client.download_artifacts(parent_id, "sheet.png", str(tmp_path))) as sheet:
        assert sheet.width > 2 * 64
        assert np.asarray(sheet).std() > 10

    # The study has all its trials; one that was begun with other settings is another study.
    capsys.readouterr()
    assert sweep.main(arguments) == 0
    assert len(study.trials) == 1 + len(others)
    assert sweep.main([*arguments, "--style-sizes", "32"]) == 2
    assert "begun with other settings (style_sizes)" in capsys.readouterr().err
