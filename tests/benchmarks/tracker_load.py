"""What one MLflow server carries: many trainings that log to it at once, or one with very many values.

    python tests/benchmarks/tracker_load.py [--runs 200] [--processes 4] [--minutes 10] [--workers 1]
    python tests/benchmarks/tracker_load.py --values 1000000

A real `mlflow server` stands on a PostgreSQL and an S3 store of its own, all on this machine. Each run logs four
metrics a second, a picture a minute and a checkpoint at its end, by a JournaledTracker of its own. Printed are the
server's requests, how old the newest figure in the store is, memory, and what is missing at the end.

With --values one run logs so many values as fast as it can, four a call.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))

import numpy as np
import psutil
import psycopg2
from servers import BUCKET, S3, MLflowServer, Postgres, mlflow_server, postgres_cluster, s3_store

from training.tracking import JournaledTracker

CURVES = ("loss/total", "loss/content", "loss/style", "loss/tv")
PICTURE_SECONDS = 60
WEIGHTS_BYTES = 200_000
END_SECONDS = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=1, help="processes of the MLflow server")
    parser.add_argument("--values", type=int, default=0, help="of one run, instead of many runs")
    parser.add_argument("--train", type=int, nargs=2, metavar=("FIRST", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train(*options.train, options.minutes * 60)
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        postgres = stack.enter_context(postgres_cluster())
        postgres.execute("CREATE DATABASE mlflow")
        s3 = stack.enter_context(s3_store(folder))
        server = stack.enter_context(
            mlflow_server(folder, postgres.url("mlflow"), f"s3://{BUCKET}", s3.keys, workers=options.workers)
        )
        os.environ["MLFLOW_TRACKING_URI"] = server.url
        os.chdir(folder)
        if options.values:
            one_long_run(folder, server, postgres, options.values)
        else:
            many_runs(options, server, postgres, s3)


def train(first: int, count: int, seconds: float) -> None:
    """The runs of one process; prints as JSON what they logged and how long the calls took."""
    trackers = [
        JournaledTracker(f"runs/{number}", experiment="load", system_metrics=False, end_seconds=END_SECONDS)
        for number in range(first, first + count)
    ]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(JournaledTracker.start, trackers))
    print("started", flush=True)
    random = np.random.default_rng(first)
    weights = Path(f"weights-{first}.bin")
    weights.write_bytes(random.bytes(WEIGHTS_BYTES))
    said: Counter[str] = Counter()
    took = []
    began = time.monotonic()
    for step in range(int(seconds)):
        for number, tracker in enumerate(trackers):
            before = time.perf_counter()
            tracker.log({curve: float(step) for curve in CURVES}, step)
            took.append(time.perf_counter() - before)
            said["values"] += len(CURVES)
            if (step + number) % PICTURE_SECONDS == 0:
                tracker.log_images({"preview": random.integers(0, 255, (64, 96, 3), dtype=np.uint8)}, step)
                said["pictures"] += 1
        time.sleep(max(0.0, began + step + 1 - time.monotonic()))
    for tracker in trackers:
        tracker.log_checkpoint(weights, int(seconds))
        said["versions"] += 1
    behind = time.monotonic() - began - seconds
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(JournaledTracker.finish, trackers))
    calls = {"median": statistics.median(took), "longest": max(took), "behind": behind}
    print(json.dumps({"said": said, "calls": calls}), flush=True)


def many_runs(options: argparse.Namespace, server: MLflowServer, postgres: Postgres, s3: S3) -> None:
    each = options.runs // options.processes
    command = [sys.executable, __file__, "--minutes", str(options.minutes), "--train"]
    trainings = [
        subprocess.Popen([*command, str(first), str(each)], stdout=subprocess.PIPE, text=True)
        for first in range(0, options.runs, each)
    ]
    for training in trainings:
        assert training.stdout
        assert training.stdout.readline() == "started\n"
    began, requests = time.monotonic(), requests_to(server)
    work = processor_seconds(server, postgres, s3)
    ages: list[float] = []
    while time.monotonic() < began + options.minutes * 60:
        time.sleep(5)
        if time.monotonic() > began + 20:  # the first figures are sent after ten seconds
            ages += ages_of_newest(postgres)
    seconds = time.monotonic() - began
    asked = requests_to(server) - requests
    work = {name: (now - work[name]) / seconds for name, now in processor_seconds(server, postgres, s3).items()}
    sizes = {"trainings": [psutil.Process(training.pid) for training in trainings]}
    sizes |= {name: family(service) for name, service in (("server", server), ("PostgreSQL", postgres), ("S3", s3))}
    memory = {name: megabytes(processes) for name, processes in sizes.items()}
    ended = time.monotonic()
    answers = [json.loads(training.communicate()[0]) for training in trainings]
    print(f"{each * len(trainings)} runs from {len(trainings)} processes, {seconds:.0f} s, {options.workers} workers")
    print(f"requests a second: {asked.total() / seconds:.1f}; {dict(asked.most_common(4))}")
    print(f"age of a run's newest figure: {spread(ages)} s")
    print(
        "a call takes " + ", ".join(f"{answer['calls']['median'] * 1e3:.2f}" for answer in answers) + " ms (medians)"
    )
    print("longest call " + ", ".join(f"{answer['calls']['longest']:.2f}" for answer in answers) + " s")
    print("cores used: " + ", ".join(f"{name} {share:.2f}" for name, share in work.items()))
    print("memory, MB: " + ", ".join(f"{name} {size:.0f}" for name, size in memory.items()))
    print(f"everything had arrived {time.monotonic() - ended:.0f} s after the last step")
    said = sum((Counter(answer["said"]) for answer in answers), Counter[str]())
    pictures = [key for key in s3.list_keys("") if "/images/" in key and key.endswith(".png")]
    there = {"values": count(postgres, "metrics"), "pictures": len(pictures)}
    there["versions"] = count(postgres, "model_versions")
    print(f"logged {dict(said)}, in the store {there}")
    print(f"database: {size_of(postgres) / 1e6:.0f} MB")
    assert there == dict(said), "something is lost"


def one_long_run(folder: Path, server: MLflowServer, postgres: Postgres, values: int) -> None:
    tracker = JournaledTracker("runs/long", experiment="load", system_metrics=False, end_seconds=3600)
    tracker.start()
    began = time.monotonic()
    for step in range(values // len(CURVES)):
        tracker.log(dict.fromkeys(CURVES, step / 7), step)
    logged = time.monotonic() - began
    journal = sum(path.stat().st_size for path in (folder / "runs").rglob("*") if path.is_file())
    tracker.finish()
    sent = time.monotonic() - began
    asked = requests_to(server)
    in_store = count(postgres, "metrics")
    print(f"{values:,} values logged in {logged:.1f} s ({logged / values * len(CURVES) * 1e6:.0f} us a call of four)")
    print(f"journal {journal / 1e6:.1f} MB, {journal / values:.0f} bytes a value")
    print(f"all had arrived {sent:.0f} s after the first call, {values / sent:.0f} values a second")
    print(f"requests: {dict(asked.most_common(3))}")
    print(f"in the store {in_store:,} values, {size_of(postgres) / 1e6:.0f} MB")
    print(
        f"memory of the training {megabytes([psutil.Process()]):.0f} MB, of the server {megabytes(family(server)):.0f}"
    )
    assert in_store == values


def requests_to(server: MLflowServer) -> Counter[str]:
    """What the server's log says it was asked, by the last part of the path."""
    return Counter(re.findall(r'"[A-Z]+ [^ ?]*?/(?:mlflow|artifacts)/([a-z-]+(?:/[a-z-]+)?)', server.text()))


def ages_of_newest(postgres: Postgres) -> list[float]:
    """For every run the seconds since its newest figure that is in the store was logged."""
    return [
        time.time() - newest / 1e3
        for (newest,) in query(postgres, "SELECT max(timestamp) FROM latest_metrics GROUP BY run_uuid")
    ]


def count(postgres: Postgres, table: str) -> int:
    return int(query(postgres, f"SELECT count(*) FROM {table}")[0][0])


def size_of(postgres: Postgres) -> int:
    return int(query(postgres, "SELECT pg_database_size('mlflow')")[0][0])


def query(postgres: Postgres, statement: str) -> list[Any]:
    connection = psycopg2.connect(postgres.url("mlflow").replace("+psycopg2", ""))
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())
    finally:
        connection.close()


def family(service: Any) -> list[psutil.Process]:
    parent = psutil.Process(service.process.pid)
    return [parent, *parent.children(recursive=True)]


def processor_seconds(server: MLflowServer, postgres: Postgres, s3: S3) -> dict[str, float]:
    services = {"server": server, "PostgreSQL": postgres, "S3": s3}
    total = {}
    for name, service in services.items():
        times = []
        for process in family(service):
            with suppress(psutil.NoSuchProcess):
                times.append(sum(process.cpu_times()[:2]))
        total[name] = sum(times)
    return total


def megabytes(processes: list[psutil.Process]) -> float:
    """Memory of processes, of which shared pages count once."""
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss / 1e6
    return total


def spread(values: list[float]) -> str:
    ordered = sorted(values)
    return (
        f"median {statistics.median(ordered):.1f}, 95 of 100 below {ordered[len(ordered) * 95 // 100]:.1f}, "
        f"at most {ordered[-1]:.1f}"
    )


if __name__ == "__main__":
    main()
