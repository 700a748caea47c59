"""Trainings of others, tests/other_trainings.py and docs/tracking.md, keep everything whatever their server does."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import requests
from forked import Forked, fork, free_port
from forked_server import forked_mlflow_server
from mlflow import MlflowClient
from other_trainings import run
from outages import Proxy, check_that_all_is_there_once, impatient, replay_until_all_is_sent, spoiling  # noqa: F401 - fixtures
from servers import MLflowServer
from tracked_runs import files_of

from training.tracking.journal_files import all_sent

REPOSITORY = Path(__file__).resolve().parents[2]
AWAY_SECONDS = 8.0
"""How long the server of the example is away."""
STEPS = 101
SMALLER = {
    "STEPS = 300": f"import time\n\nSTEPS = {STEPS}",
    "torch.rand(8,": "torch.rand(1,",
    "optimizer.zero_grad()": "optimizer.zero_grad()\n    time.sleep(0.05)",
}
"""What is changed in the example: it is on its way when the server goes, but it waits where it would compute."""
FAULT_SECONDS = 2.0
"""How long each fault of the others' server lasts."""


def serve_sqlite(folder: Path, new_store: Callable[[Path], str]) -> Any:
    """An MLflow server whose database and files are in a folder."""
    return forked_mlflow_server(folder, new_store(folder), (folder / "artifacts").as_uri(), {})


@dataclass
class Example:
    """The example of the docs, while it runs or after it has ended."""

    folder: Path
    server: MLflowServer
    process: subprocess.Popen[str]
    outage: threading.Thread
    seconds_away: float = 0.0


@pytest.fixture(scope="module", autouse=True)
def example(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], str]) -> Iterator[Example]:
    """The docs' example, started beside all tests of this file, because it waits most of the time."""
    folder = tmp_path_factory.mktemp("example")
    (code,) = re.findall(r"^```python\n(.*?)^```", (REPOSITORY / "docs" / "tracking.md").read_text(), re.S | re.M)
    for there, here in SMALLER.items():
        assert code.count(there) == 1
        code = code.replace(there, here)
    (folder / "example.py").write_text(code)
    with serve_sqlite(folder, new_store) as server:
        environment = {"PYTHONPATH": str(REPOSITORY), "MLFLOW_TRACKING_URI": server.url, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, "example.py"],
            cwd=folder,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        found = Example(folder, server, process, threading.Thread(target=lambda: take_away(found)))
        found.outage.start()
        try:
            yield found
        finally:
            process.kill()
            found.outage.join()


def take_away(example: Example) -> None:
    """Kill the server when the first records have arrived, and start it again after a while."""
    wait_for_the_first_record(example.folder / "runs" / "denoiser")
    example.server.kill()
    began = time.monotonic()
    time.sleep(AWAY_SECONDS)
    example.server.start()
    example.seconds_away = time.monotonic() - began


def wait_for_the_first_record(folder: Path) -> None:
    deadline = time.monotonic() + 300
    while not any(sent.number for sent in all_sent(folder / "journal").values()):
        assert time.monotonic() < deadline, f"nothing of {folder} arrives"
        time.sleep(0.1)


@pytest.fixture
def small_disk(mount_disk: Callable[[str], Path]) -> Path:
    return mount_disk("size=24m")


def start(training: str, processes: int, folder: Path, uri: str, pause: float) -> list[Forked]:
    """Start a training as `accelerate launch --num_processes` does."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "ACCELERATE_USE_CPU": "true"}
    if processes > 1:
        environment |= {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = []
    for rank in range(processes):
        ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}
        started.append(fork(run, training, folder, pause, environment=environment | ranks))
    return started


def end(processes: list[Forked]) -> None:
    for process in processes:
        process.join(300)
        process.kill()
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


def is_full(server: MLflowServer) -> bool:
    """Whether the server has met a full disk."""
    return "No space left on device" in server.text() or "disk is full" in server.text()


def rage(proxy: Proxy, server: MLflowServer, disk: Path) -> dict[str, int]:
    """One fault after the other; returns how many requests the proxy answered with each of its own."""
    server.kill()
    time.sleep(FAULT_SECONDS)
    server.start()
    for fault in ("500", "slow"):
        proxy.faults, proxy.share = (fault,), 1.0
        time.sleep(FAULT_SECONDS)
    proxy.share = 0.0
    ballast = disk / "something else"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    deadline = time.monotonic() + 120
    while not is_full(server) and time.monotonic() < deadline:
        # On a slow machine the trainings may have ended by now, and ask for nothing.
        requests.post(f"{server.url}/api/2.0/mlflow/experiments/create", json={"name": "of someone else"}, timeout=60)
    ballast.unlink()
    return proxy.spoiled


def contents(client: MlflowClient, run_id: str) -> dict[str, Any]:
    """Everything of a run but ids and times."""
    run = client.get_run(run_id)
    values = {key: client.get_metric_history(run_id, key) for key in run.data.metrics}
    files: list[tuple[str, str]] = []
    for path in files_of(client, run_id):
        name = re.sub(r"\+timestamp.*?(\+compressed)?(\.\w+)$", r"\1\2", path)
        files.append((name, sha256(Path(client.download_artifacts(run_id, path)).read_bytes()).hexdigest()))
    versions = client.search_model_versions(f"run_id='{run_id}'")
    return {
        "run": (run.info.status, run.info.run_name, run.data.params),
        "metrics": {key: sorted((m.step, repr(m.value)) for m in history) for key, history in values.items()},
        "files": sorted(files),
        "versions": sorted((version.tags["iterations"], version.tags["sha256"]) for version in versions),
    }


def test_others_trainings_end_as_undisturbed_ones(
    new_store: Callable[[Path], str], small_disk: Path, tmp_path: Path
) -> None:
    cases = (("text", 1), ("pictures", 2))
    calm, stormy = {}, {}
    with serve_sqlite(small_disk, new_store) as server, spoiling(server.url, share=0.0) as proxy:
        for training, processes in cases:
            folder = tmp_path / "stormy" / f"{training}_{processes}"
            stormy[training, processes] = start(training, processes, folder, proxy.url, pause=0.5)
        for training, processes in cases:
            wait_for_the_first_record(tmp_path / "stormy" / f"{training}_{processes}")
        spoiled = rage(proxy, server, small_disk)
        assert min(spoiled["500"], spoiled["slow"]) > 0
        assert is_full(server)
        for training, processes in cases:
            store = new_store(tmp_path / f"calm_{training}_{processes}")
            folder = tmp_path / "calm" / f"{training}_{processes}"
            calm[training, processes] = start(training, processes, folder, store, pause=0.0)
        for each in [*calm.values(), *stormy.values()]:
            end(each)
        theirs = MlflowClient(server.url)
        for training, processes in cases:
            name = f"{training}_{processes}"
            replay_until_all_is_sent(tmp_path / "stormy" / name, proxy.url)
            disturbed = check_that_all_is_there_once(theirs, tmp_path / "stormy" / name)
            ours = MlflowClient(f"sqlite:///{tmp_path}/calm_{name}/mlflow.db")
            undisturbed = check_that_all_is_there_once(ours, tmp_path / "calm" / name)
            expected = contents(ours, undisturbed)
            assert len(expected["metrics"]["loss" if training == "text" else "content"]) == 32 // processes
            assert len(expected["files"]) == (2 if training == "text" else 6 * 8 // processes)
            assert contents(theirs, disturbed) == expected


def test_the_example_of_the_docs_keeps_everything_while_its_server_is_away(example: Example) -> None:
    output = example.process.communicate(timeout=400)[0]
    example.outage.join()
    assert example.process.returncode == 0, output
    assert not re.search("Traceback|UserWarning", output), output
    assert example.seconds_away >= AWAY_SECONDS
    folder = example.folder / "runs" / "denoiser"
    replay_until_all_is_sent(folder, example.server.url)  # a fast machine ends before the server is back
    client = MlflowClient(example.server.url)
    run_id = check_that_all_is_there_once(client, folder)
    history = client.get_metric_history(run_id, "loss")
    assert sorted(metric.step for metric in history) == list(range(STEPS))
    assert len(client.search_model_versions(f"run_id='{run_id}'")) == 1
    pngs = [file.path for file in client.list_artifacts(run_id, "images") if file.path.endswith(".png")]
    assert len(pngs) == 2 * 2
