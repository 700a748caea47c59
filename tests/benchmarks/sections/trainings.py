"""Sections on training: what an iteration takes beside a plain loop, and what a second process gives."""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from comparing import REPOSITORY, Contender, Figure, Line, Process, compare, environment, say, spread

from stylecore.errors import StylecoreError
from training.tracking.store import connect

PHOTOS_AN_ITERATION = 4
CROP = 256
ITERATIONS = 9
LOG_EVERY = 2
FIRST_COUNTED = 4
"""Iterations before are slower: memory is allocated, photos are waited for."""
RUNS = 2
"""Of each number of processes, in turns."""


def iteration(options: argparse.Namespace) -> Iterator[Line]:
    """One iteration of batch 4 at 256 pixels, and what its photos take to read."""
    where = {"photos": options.photo_folder, "crop": options.crop, "batch": PHOTOS_AN_ITERATION}
    names = {"plain loop": "plain", "ours, float32": "float32", "ours, bfloat16": "bf16"}
    contenders: dict[str, Contender] = {
        name: Process(options.threads, contender="training_step", style=options.painting, mode=mode, **where)
        for name, mode in names.items()
    }
    contenders["reading the photos, one process"] = Process(1, contender="loading", **where)
    yield from compare("training, an iteration", contenders, ("plain loop",), options.repetitions)


def processes(options: argparse.Namespace) -> Iterator[Line]:
    """train.py itself, by as many processes as there are threads, of one thread each, and by one process of all."""
    if options.threads < 2:
        yield "several processes are left out: there is one thread."
        return
    one = f"1 process, {options.threads} threads"
    several = f"{options.threads} processes, 1 thread each"
    counts = {one: 1, several: options.threads}
    speeds: dict[str, list[list[float]]] = {name: [] for name in counts}
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/mlflow.db"
        connect(store)  # making its tables would take time from the first run
        for turn in range(RUNS):
            for name, count in counts.items():
                say(f"training by processes: {name}, run {turn + 1} of {RUNS}")
                speeds[name].append(images_per_second(options, count, Path(folder, f"{count}-{turn}"), store))
    say("")
    section = f"train.py, {PHOTOS_AN_ITERATION // options.threads * options.threads} photos of {options.crop} px"
    for name, runs in speeds.items():
        seconds = [1 / speed for run in runs for speed in run]
        ratios = {}
        if name != one:
            ratios[one] = median(median(run) / median(alone) for run, alone in zip(runs, speeds[one], strict=True))
        more = {"images_per_second": median(speed for run in runs for speed in run)}
        yield Figure(f"{section}, a photo", name, *spread(seconds), ratios, more)


def images_per_second(options: argparse.Namespace, count: int, folder: Path, store: str) -> list[float]:
    """What a run of so many processes logs of itself after its first iterations; together they have all threads."""
    launch = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    launch += ["--num_processes", str(count), "--num_machines", "1", "--main_process_port", "0"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no"] + ["--multi_gpu"] * (count > 1)
    threads = options.threads // count
    launch += ["--num_cpu_threads_per_process", str(threads)]
    flags = {
        "name": "benchmark",
        "run-name": folder.name,
        "style-image": options.painting,
        "photos": options.photo_folder,
        "crop": options.crop,
        "batch-size": max(1, PHOTOS_AN_ITERATION // options.threads) * options.threads // count,
        "workers": 1,
        "iterations": ITERATIONS,
        "log-every": LOG_EVERY,
        "preview-photos": options.photo,
        "preview-size": 32,
        "output-dir": folder.parent,
    }
    command = [*launch, str(REPOSITORY / "training" / "train.py"), "--cpu", "--evaluate-sizes"]
    command += [str(word) for flag, value in flags.items() for word in (f"--{flag}", value)]
    ended = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment(threads) | {"MLFLOW_TRACKING_URI": store},
    )
    if ended.returncode:
        raise StylecoreError(f"a training by {count} processes failed: {ended.stderr.strip()[-500:]}")
    client = connect(store)
    (experiment,) = (each for each in client.search_experiments() if each.name != "Default")
    runs = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{folder.name}'")
    history = client.get_metric_history(runs[0].info.run_id, "perf/images_per_second")
    return [point.value for point in history if point.step >= FIRST_COUNTED]
