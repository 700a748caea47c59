"""A run in its folder: without a store, sent to several stores, and what `status` says of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator
from mlflow.entities import Run

from training.tracking import JournaledTracker, TrackingError
from training.tracking.__main__ import main
from training.tracking.folders import status, sync
from training.tracking.store import connect


@pytest.fixture
def second_store(new_store: Callable[[Path], str], tmp_path: Path) -> str:
    return new_store(tmp_path / "second")


def logged(folder: Path, store: str) -> JournaledTracker:
    """A run that has ended, with a param, two losses and a picture, logged through Accelerate."""
    tracker = JournaledTracker(folder, experiment="own", tracking_uri=store, system_metrics=False, resume=False)
    accelerator = Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("own", config={"learning_rate": 0.5})
    for step in (1, 2):
        accelerator.log({"loss/total": 3.0 - step}, step=step)
    tracker.log_images({"preview/amber": np.zeros((4, 6, 3), dtype=np.uint8)}, step=0)
    accelerator.end_training()
    return tracker


def runs(store: str) -> list[Run]:
    client = connect(store)
    experiment = client.get_experiment_by_name("own")
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def pictures(store: str, run: Run) -> list[str]:
    found = [file.path for file in connect(store).list_artifacts(run.info.run_id, "images")]
    return [name for name in found if name.endswith(".png")]


def assert_complete(store: str) -> None:
    (run,) = runs(store)
    assert (run.info.run_name, run.info.status) == ("my_run", "FINISHED")
    assert run.data.params == {"learning_rate": "0.5"}
    history = connect(store).get_metric_history(run.info.run_id, "loss/total")
    assert [(metric.step, metric.value) for metric in history] == [(1, 2.0), (2, 1.0)]
    assert len(pictures(store, run)) == 1


def test_a_run_without_a_store_stays_in_its_folder_until_it_is_sent(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    folder = tmp_path / "my_run"
    tracker = logged(folder, "")
    assert f"`python -m training.tracking sync {folder} --to URI` sends them" in caplog.text
    assert tracker.run_id.startswith("journal:")
    assert tracker.comparison_link() == ""
    with pytest.raises(TrackingError, match="started without a store; say where"):
        sync(folder)
    assert "sent nowhere, " in status(folder)
    assert main(["sync", str(folder), "--to", store]) == 0
    assert_complete(store)


def test_a_folder_is_sent_to_each_store_once_and_its_files_to_the_first(
    store: str, second_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my_run"
    logged(folder, "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    files = folder / "journal" / "files"
    assert list(files.iterdir())
    sent = sync(folder, store)
    assert sent > 0
    assert not list(files.iterdir())
    assert sync(folder, store) == 0
    assert_complete(store)
    assert runs(second_store) == []
    assert sync(folder, second_store) == sent
    assert sync(folder, second_store) == 0
    (run,) = runs(second_store)
    assert run.info.run_id != runs(store)[0].info.run_id
    assert run.data.metrics == {"loss/total": 1.0}
    assert "has lost its file" in run.data.tags["refused"]
    (folder / "journal" / "sent.json").unlink()  # nobody knows any more what has arrived
    assert sync(folder, store) == sent
    assert_complete(store)
    assert "refused" not in runs(store)[0].data.tags


def test_status_says_what_each_store_has(
    store: str, second_store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / "my_run"
    logged(folder, store)
    assert main(["status", str(tmp_path / "runs")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{folder}: run my_run of the experiment own, FINISHED"
    assert "2 metrics, 1 picture, 1 run" in lines[1]
    last = int(lines[1].split()[0])
    assert lines[2:] == [f"  {store}: {last} sent, 0 missing, 0 refused"]
    assert sync(folder, second_store) == last
    assert status(folder).splitlines()[3:] == [f"  {second_store}: {last} sent, 0 missing, 1 refused"]
    assert main(["status", str(tmp_path / "empty")]) == 2
    assert "has no journal; give the folder of a run" in capsys.readouterr().err
    assert main(["status", "x" * 300]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: xxx")
    assert error.endswith(": File name too long.\n")
