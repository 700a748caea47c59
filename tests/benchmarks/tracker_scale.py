"""How fast a tracker on PostgreSQL answers when it holds many long runs.

    python tests/benchmarks/tracker_scale.py [--runs 500] [--steps 3500] [--curves 4] [--styles 25]

A real `mlflow server` on a PostgreSQL of its own, both with the settings of `make tracker`, is filled with copies of
one run that was logged as training logs it: parameters, tags, curves with a point a step, three checkpoints that are
registered versions. Then it is asked, over HTTP and with a password, what MLflow's page that compares runs asks, and
what the demo asks of the registry. Printed are medians and the slowest of some answers, after one that is not
counted, and the processor time that the servers took for one, which tells more where the machine has other work.
"""

import argparse
import base64
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))

import psutil
import psycopg2
import torch
from mlflow import MlflowClient
from servers import MLflowServer, Postgres, mlflow_server, postgres_cluster
from tracked_runs import log_style

from demo.services import registry_catalogue
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from training.registry.registry import Registry
from training.tracking import JournaledTracker

PASSWORD = "a long password"
CURVES = ("loss/total", "loss/content", "loss/style", "loss/tv", "opt/lr", "opt/gradient_norm", "output/mean")


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast a tracker with many runs answers.")
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--steps", type=int, default=3500)
    parser.add_argument("--curves", type=int, default=4, help="metrics logged at each step")
    parser.add_argument("--styles", type=int, default=25, help="registered models; each has three versions a run")
    parser.add_argument("--answers", type=int, default=7, help="counted answers to each question")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        os.environ |= {"XDG_CACHE_HOME": str(folder / "cache"), "XDG_STATE_HOME": str(folder / "state")}
        postgres = stack.enter_context(postgres_cluster())
        postgres.execute("CREATE DATABASE mlflow")
        files = (folder / "artifacts").as_uri()
        server = stack.enter_context(mlflow_server(folder, postgres.url("mlflow"), files, {}, password=PASSWORD))
        os.environ |= {"MLFLOW_TRACKING_URI": server.url, "MLFLOW_TRACKING_USERNAME": "admin"}
        os.environ["MLFLOW_TRACKING_PASSWORD"] = PASSWORD
        began = time.monotonic()
        experiment, run_ids = fill(postgres, options)
        print(f"filled in {time.monotonic() - began:.0f} s: {describe(postgres)}", flush=True)
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for question, ask in questions(server, experiment, run_ids).items():
            seconds, work = timed(ask, options.answers)
            median, slowest = statistics.median(seconds), max(seconds)
            print(
                f"{question:<48} median {median:6.3f} s   slowest {slowest:6.3f} s   processors {work:6.3f} s",
                flush=True,
            )


def fill(postgres: Postgres, options: argparse.Namespace) -> tuple[str, list[str]]:
    """One run through the tracker, and copies of it in the database; returns the experiment and all runs."""
    network = TransformNetConfig(residual_blocks=1, width=0.25)
    params = {f"setting_{index}": index for index in range(45)}
    tags = {f"tag_{index}": "x" * 40 for index in range(12)}
    tracker = JournaledTracker(experiment="johnson", run_name="run-0", tags=tags, system_metrics=False)
    tracker.start()
    tracker.store_init_configuration(params)
    tracker.describe(note="note")
    for curve in CURVES[: options.curves]:
        tracker.log({curve: 1.0}, 1)
    for step in (1000, 1500, 3500):
        card = StyleCard(name="style-0", title="Style 0", network=network, iterations=step)
        log_style(tracker, StyleModel(TransformNet(network), card), step, {})
    tracker.finish()
    client = MlflowClient()
    run = client.get_run(tracker.run_id)
    first, runs, styles = tracker.run_id, options.runs, options.styles
    connection = psycopg2.connect(postgres.url("mlflow").replace("+psycopg2", ""))
    with connection, connection.cursor() as cursor:
        copies = f"generate_series(1, {runs - 1}) AS copy"
        new_run = "md5('run' || copy)"

        def clone(table: str, condition: str, changed: dict[str, str], times: str = copies) -> None:
            cursor.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s", (table,))
            columns = [name for (name,) in cursor.fetchall()]
            values = [changed.get(name, f"source.{name}") for name in columns]
            cursor.execute(
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "
                f"FROM {table} AS source, {times} WHERE {condition}"
            )

        mine = f"source.run_uuid = '{first}'"
        renamed = {"run_uuid": new_run}
        clone("runs", mine, {**renamed, "name": "'run-' || copy", "start_time": "source.start_time + copy * 1000"})
        for table in ("params", "tags", "latest_metrics"):
            clone(table, mine, renamed)
        cursor.execute(
            "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) "
            "SELECT curve.key, exp(-step / 1000.0) + random() * 0.1, run.start_time + step * 1000, run.run_uuid, "
            "step, false "
            "FROM (SELECT DISTINCT key FROM metrics) AS curve, runs AS run, generate_series(2, %s) AS step",
            (options.steps,),
        )
        # Run n is one of style n modulo their number; its versions follow one another.
        style, number = f"'style-' || (copy % {styles})", f"source.version::int + 3 * (copy / {styles})"
        others = f"generate_series(1, {styles - 1}) AS copy"
        clone("registered_models", "source.name = 'style-0'", {"name": "'style-' || copy"}, others)
        old_id = "source.model_id"
        model = {"model_id": f"'m-' || md5({old_id} || copy)", "source_run_id": new_run}
        clone("logged_models", f"source.source_run_id = '{first}'", {**model, "name": style})
        clone(
            "model_versions",
            f"source.name = 'style-0' AND source.run_id = '{first}'",
            {"name": style, "version": number, "run_id": new_run},
        )
        versions = {"name": style, "version": number}
        clone("model_version_tags", "source.name = 'style-0' AND source.version <= 3", versions)
        aliases = {"name": "'style-' || copy"}
        clone("registered_model_aliases", "source.name = 'style-0'", aliases, others)
    connection.close()
    postgres.execute("VACUUM ANALYZE", "mlflow")
    return run.info.experiment_id, [first, *(_md5(f"run{copy}") for copy in range(1, runs))]


def describe(postgres: Postgres) -> str:
    connection = psycopg2.connect(postgres.url("mlflow").replace("+psycopg2", ""))
    with connection.cursor() as cursor:
        counts = []
        for table in ("runs", "metrics", "model_versions"):
            cursor.execute(f"SELECT count(*) FROM {table}")
            counts.append(f"{cursor.fetchone()[0]:,} {table}")
        cursor.execute("SELECT pg_size_pretty(pg_database_size('mlflow'))")
        counts.append(str(cursor.fetchone()[0]))
    connection.close()
    return ", ".join(counts)


def questions(server: MLflowServer, experiment: str, run_ids: list[str]) -> dict[str, Callable[[], Any]]:
    search = {"experiment_ids": [experiment], "max_results": 100, "order_by": ["attributes.start_time DESC"]}
    by_loss = {**search, "order_by": ["metrics.`loss/total` ASC"]}
    by_setting = {**search, "filter": "params.setting_3 = '3' and metrics.`loss/total` < 2"}

    def curves(count: int) -> str:
        chosen = "&".join(f"run_ids={run_id}" for run_id in run_ids[-count:])
        return (
            f"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?{chosen}&metric_key=loss%2Ftotal&max_results=320"
        )

    registry = Registry()
    registry_catalogue.SECONDS_BETWEEN_READS = 0
    catalogue = registry_catalogue.RegistryCatalogue()
    return {
        "comparison page: the table of 100 runs": lambda: fetch(server, "/ajax-api/2.0/mlflow/runs/search", search),
        "comparison page: the same, by the loss": lambda: fetch(server, "/ajax-api/2.0/mlflow/runs/search", by_loss),
        "comparison page: the same, of some settings": lambda: fetch(
            server, "/ajax-api/2.0/mlflow/runs/search", by_setting
        ),
        "comparison page: one chart of 10 runs": lambda: fetch(server, curves(10)),
        "comparison page: one chart of 100 runs": lambda: fetch(server, curves(100)),
        "one run's whole curve": lambda: MlflowClient().get_metric_history(run_ids[-1], "loss/total"),
        "registry: every version of every style": lambda: registry.versions(),
        "registry: find style-0@champion": lambda: registry.find("style-0@champion"),
        "demo: one query of the catalogue": lambda: catalogue.find("style-0"),
    }


def fetch(server: MLflowServer, path: str, body: dict[str, Any] | None = None) -> Any:
    token = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(server.url + path, json.dumps(body).encode() if body else None, headers)
    with urllib.request.urlopen(request, timeout=300) as answer:
        content = json.load(answer)
    assert content, path
    return content


def timed(ask: Callable[[], Any], answers: int) -> tuple[list[float], float]:
    """Seconds to each answer, and those that the servers' processes worked for one, whatever else the machine does."""
    ask()
    seconds = []
    before = _processor_seconds()
    for _ in range(answers):
        began = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - began)
    return seconds, (_processor_seconds() - before) / answers


def _processor_seconds() -> float:
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:2])
    return total


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
