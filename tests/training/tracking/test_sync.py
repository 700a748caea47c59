"""A run in its folder: without a store, sent to several stores, and what `status` says of it."""

import re
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


def logged(folder: Path, store: str, *, keep_files: bool = True) -> JournaledTracker:
    """A run that has ended, with a param, two losses and a picture, logged through Accelerate."""
    tracker = JournaledTracker(
        folder, experiment="own", tracking_uri=store, keep_files=keep_files, system_metrics=False, resume=False
    )
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
    tracker = logged(folder, "", keep_files=False)
    assert f"`python -m training.tracking sync {folder} --to URI` sends them" in caplog.text
    assert tracker.run_id.startswith("journal:")
    assert tracker.comparison_link() == ""
    with pytest.raises(TrackingError, match="started without a store; say where"):
        sync(folder)
    assert "sent nowhere, " in status(folder)
    assert main(["sync", str(folder), "--to", store]) == 0
    assert_complete(store)
    assert not list((folder / "journal" / "files").iterdir())


def test_a_run_that_keeps_its_files_is_sent_whole_to_two_stores_once_each(
    store: str, second_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my_run"
    logged(folder, store)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert sync(folder) == 0  # its own store has everything
    assert runs(second_store) == []
    sent = sync(folder, second_store)
    assert sent > 0
    assert sync(folder, second_store) == 0
    (folder / "journal" / "sent.json").unlink()  # nobody knows any more what has arrived
    assert sync(folder, store) == sent
    for each in (store, second_store):
        assert_complete(each)
        assert "refused" not in runs(each)[0].data.tags
    assert runs(store)[0].info.run_id != runs(second_store)[0].info.run_id


def test_a_run_that_keeps_its_files_is_kept_when_another_begins_in_its_folder(
    store: str, second_store: str, tmp_path: Path
) -> None:
    folder = tmp_path / "my_run"
    logged(folder, store)
    logged(folder, store)
    for _ in range(2):
        sync(folder, second_store)
    assert (folder / "journal-1" / "journal").is_dir()
    assert [len(pictures(second_store, run)) for run in runs(second_store)] == [1, 1]


def test_files_that_were_not_kept_are_refused_by_a_second_store(store: str, second_store: str, tmp_path: Path) -> None:
    logged(tmp_path / "my_run", store, keep_files=False)
    sync(tmp_path / "my_run", second_store)
    (run,) = runs(second_store)
    assert run.data.metrics == {"loss/total": 1.0}
    assert "has lost its file" in run.data.tags["refused"]


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
    assert re.fullmatch(r"  0\.\d MB on the disk, of at most 21,475 MB", lines[2])
    assert lines[3:] == [f"  {store}: {last} sent, 0 missing, 0 refused"]
    assert sync(folder, second_store) == last
    assert status(folder).splitlines()[4:] == [f"  {second_store}: {last} sent, 0 missing, 0 refused"]
    assert main(["status", str(tmp_path / "empty")]) == 2
    assert "has no journal; give the folder of a run" in capsys.readouterr().err
    assert main(["status", "x" * 300]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: xxx")
    assert error.endswith(": File name too long.\n")
