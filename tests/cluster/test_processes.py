"""The processes of a training: killed and gone on with, stopped, and two that train as one."""

import io
import random
import signal
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
from forked import Running
from train_script import (  # noqa: F401 - fixtures
    RELATIVE,
    check_it_ended_as_the_straight_run,
    curve,
    folder,
    only_run,
    photo,
    runs_of,
    start,
    train_here,
    vgg16,
    weights,
)

from training.tracking.folders import sync


def test_a_killed_run_resumes_as_if_nothing_had_happened(
    folder: Path, store: str, start: Callable[..., Running]
) -> None:
    flags: list[object] = ["--iterations", 6, "--checkpoints", 1, 6, "--batch-size", 1, *RELATIVE]
    rows = []
    for index in range(20):
        content = io.BytesIO()
        photo(index).save(content, "PNG")
        rows.append({"bytes": content.getvalue(), "path": f"{index}.png"})
    images = datasets.Dataset.from_dict({"image": rows}).cast_column("image", datasets.Image())
    (folder / "dataset").mkdir()
    for part in range(2):
        images.shard(2, part).to_parquet(folder / "dataset" / f"{part}.parquet")
    flags += ["--photos", folder / "dataset", "--streaming"]
    start(*flags, "--run-name", "straight", processes=2).wait()
    flags += ["--run-name", "killed", "--save-minutes", 0]
    running = start(*flags, processes=2)
    step = random.Random(2).randint(2, 4)
    running.wait_for(folder / "runs" / "killed" / f"state-{step:07d}.safetensors")
    running.kill()
    start(*flags, "--resume", "auto", processes=2).wait()
    check_it_ended_as_the_straight_run(folder, store, "killed")


@pytest.mark.parametrize(("number", "processes", "workers"), [(signal.SIGINT, 1, 2), (signal.SIGTERM, 2, 1)])
def test_a_signal_saves_the_state_and_marks_the_run_killed(
    folder: Path,
    store: str,
    start: Callable[..., Running],
    number: signal.Signals,
    processes: int,
    workers: int,
) -> None:
    running = start("--iterations", 100000, "--checkpoints", 1, "--workers", workers, processes=processes)
    running.wait_for(folder / "runs" / "stripes" / "state-0000001.safetensors")
    running.send(number, group=True)
    output = running.wait(143)
    assert "--resume auto" in output
    assert "Traceback" not in output
    assert sorted((folder / "runs" / "stripes").glob("state-*"))[-1].name > "state-0000001.safetensors"
    sync(folder / "runs" / "stripes")  # a stopped run does not wait long for its store
    assert only_run(store)[1].info.status == "KILLED"


def test_two_processes_and_accumulation_train_as_one_with_the_double_batch(
    store: str, start: Callable[..., Running], train_here: Callable[..., None]
) -> None:
    running = start("--iterations", 3, "--run-name", "two", "--batch-size", 1, processes=2)
    train_here("--iterations", 3, "--run-name", "one")
    train_here("--iterations", 3, "--run-name", "twice", "--batch-size", 1, "--gradient-accumulation", 2)
    running.wait()
    # Not the weights: a bias before a normalization has no gradient but rounding, which Adam magnifies.
    client, runs = runs_of(store)
    assert {run.data.params["global_batch_size"] for run in runs.values()} == {"2"}
    for metric in ("loss/total", "loss/content", "opt/gradient_norm", "data/images_seen"):
        one = curve(client, runs["one"], metric)
        assert len(one) == 3
        assert curve(client, runs["two"], metric) == pytest.approx(one, rel=1e-3)
        assert curve(client, runs["twice"], metric) == pytest.approx(one, rel=1e-3)
