"""What logging to MLflow costs a training and what it loses: MLflow's own ways, Accelerate's tracker, and ours.

    python tests/benchmarks/logging_cost.py [--only cost killed full away] [--away 60]

Each way runs in a process of its own, against a real `mlflow server` on a PostgreSQL of its own. A training is a loop:
each step takes 10 ms and then logs four metrics.

    cost    alone, one way after the other: the time that a step spends in the call
    away    the server is killed for a minute
    killed  the training is killed (SIGKILL) after 100 steps or more
    full    the disk of the training's folder is full from its tenth step on

A value is lost if the call returned or raised, and the value is not in the store after the training has ended and, for
ours, `python -m training.tracking sync` has run.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))

import mlflow
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, MLflowTracker
from mlflow import MlflowClient
from servers import MLflowServer, mlflow_server, postgres_cluster

from training.tracking import JournaledTracker, TrackingError
from training.tracking.folders import sync

CURVES = ("loss/total", "loss/content", "loss/style", "loss/tv")
STEP_SECONDS = 0.01
STEPS = {"cost": 300, "killed": 100_000, "full": 500, "away": 1000}
TOLD = "told.txt"
Log = Callable[..., object]


@contextmanager
def mlflow_itself(name: str, folder: Path, *, synchronous: bool) -> Iterator[Log]:
    mlflow.set_experiment("cost")
    with mlflow.start_run(run_name=name):
        yield partial(mlflow.log_metrics, synchronous=synchronous)


@contextmanager
def accelerate(name: str, folder: Path, *, ours: bool) -> Iterator[Log]:
    tracker: GeneralTracker
    if ours:
        tracker = JournaledTracker(folder, experiment="cost", run_name=name, system_metrics=False)
    else:
        tracker = MLflowTracker("cost", run_name=name)
    accelerator = Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("cost")
    yield accelerator.log
    accelerator.end_training()


WAYS = {
    "MLflow, synchronous": partial(mlflow_itself, synchronous=True),
    "MLflow, asynchronous": partial(mlflow_itself, synchronous=False),
    "Accelerate's MLflowTracker": partial(accelerate, ours=False),
    "JournaledTracker": partial(accelerate, ours=True),
}


def train(way: str, name: str, folder: Path, steps: int) -> None:
    """The training: notes in a file how long each call took."""
    told = os.open(folder / TOLD, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    (folder / "disk").mkdir(exist_ok=True)
    with WAYS[way](name, folder / "disk") as log:
        for step in range(steps):
            time.sleep(STEP_SECONDS)
            if name.startswith("full") and step == 10:
                fill(folder / "disk")
            values = {curve: float(step) for curve in CURVES}
            began = time.perf_counter()
            try:
                log(values, step=step)
            finally:
                os.write(told, f"{time.perf_counter() - began}\n".encode())


def fill(folder: Path) -> None:
    with (folder / "something else").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


class Training:
    """One training in a process of its own."""

    def __init__(self, way: str, kind: str, folder: Path) -> None:
        self.way, self.name = way, f"{kind}-{list(WAYS).index(way)}"
        self.folder = folder / self.name
        self.folder.mkdir()
        if kind == "full":
            (self.folder / "disk").mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", self.folder / "disk"]
            subprocess.run(mount, check=True)
        command = [sys.executable, __file__, "--train", way, self.name, self.folder, STEPS[kind]]
        with (self.folder / "output.txt").open("wb") as output:
            # MLflow's own retries, which `sync` turns off in this process.
            environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_HTTP_")}
            self.process = subprocess.Popen(
                [str(part) for part in command], stdout=output, stderr=output, cwd=self.folder, env=environment
            )

    def seconds(self) -> list[float]:
        """How long each call took so far."""
        told = self.folder / TOLD
        return [float(line) for line in told.read_text().split()] if told.exists() else []

    def wait_for_steps(self, steps: int) -> None:
        while len(self.seconds()) < steps and self.process.poll() is None:
            time.sleep(0.05)

    def lost(self, client: MlflowClient) -> str:
        """What is missing in the store after the training has ended, and how the training ended."""
        if (self.folder / "disk" / "journal").exists():
            with suppress(TrackingError):
                sync(self.folder / "disk")
        experiment = client.get_experiment_by_name("cost").experiment_id
        (run,) = client.search_runs([experiment], f"attributes.run_name = '{self.name}'")
        there = sum(len(client.get_metric_history(run.info.run_id, curve)) for curve in CURVES)
        logged = len(CURVES) * len(self.seconds())
        code = self.process.returncode
        how = {0: "ended well", -signal.SIGKILL: "killed"}.get(code, f"ended with an exception ({code})")
        return f"{max(0, logged - there):6} of {logged:6} values lost; {how}, the run is {run.info.status}"

    def end(self) -> None:
        self.process.kill()
        if (self.folder / "disk").is_mount():
            subprocess.run(["umount", "--lazy", self.folder / "disk"], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--away", type=float, default=60.0, help="seconds that the server is away")
    parser.add_argument("--train", nargs=4, metavar=("WAY", "NAME", "FOLDER", "STEPS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        way, name, at, steps = options.train
        train(way, name, Path(at), int(steps))
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        postgres = stack.enter_context(postgres_cluster())
        postgres.execute("CREATE DATABASE mlflow")
        files = (folder / "artifacts").as_uri()
        server = stack.enter_context(mlflow_server(folder, postgres.url("mlflow"), files, {}))
        os.environ["MLFLOW_TRACKING_URI"] = server.url
        mlflow.create_experiment("cost")
        for kind in options.only:
            print(kind, flush=True)
            for training, sentence in MEASURES[kind](server, folder, options.away):
                print(f"  {training.way:<28}{sentence}", flush=True)


Lines = Iterator[tuple[Training, str]]
Fault = Callable[[MLflowServer, float, list[Training]], None]


def cost(server: MLflowServer, folder: Path, away: float) -> Lines:
    for way in WAYS:
        training = Training(way, "cost", folder)
        training.process.wait()
        took = sorted(training.seconds())
        median, last = statistics.median(took) * 1e3, took[len(took) * 99 // 100] * 1e3
        yield training, f"median {median:7.2f} ms a step, 99 of 100 below {last:7.2f} ms"


def loss(server: MLflowServer, folder: Path, away: float, *, kind: str, fault: Fault) -> Lines:
    """All ways at once: their losses do not depend on each other."""
    trainings = [Training(way, kind, folder) for way in WAYS]
    try:
        for training in trainings:
            training.wait_for_steps(100)
        fault(server, away, trainings)
        for training in trainings:
            training.process.wait()
            longest = max(training.seconds(), default=0.0)
            yield training, f"{training.lost(MlflowClient())}; longest step {longest:6.1f} s"
    finally:
        for training in trainings:
            training.end()


def take_away(server: MLflowServer, seconds: float, trainings: list[Training]) -> None:
    server.kill()
    time.sleep(seconds)
    server.start()


def kill(server: MLflowServer, seconds: float, trainings: list[Training]) -> None:
    for training in trainings:
        training.process.kill()


def nothing(server: MLflowServer, seconds: float, trainings: list[Training]) -> None:
    """The training fills its disk itself."""


MEASURES: Mapping[str, Callable[[MLflowServer, Path, float], Lines]] = {
    "cost": cost,
    "away": partial(loss, kind="away", fault=take_away),
    "killed": partial(loss, kind="killed", fault=kill),
    "full": partial(loss, kind="full", fault=nothing),
}


if __name__ == "__main__":
    main()
