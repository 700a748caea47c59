"""Whatever fails between a run and its tracker, everything that the run said is there in the end, once.

The truth is the run's own journal: each value, picture and checkpoint that it said must be in the store, and nothing
else.
"""

import http.client
import os
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image
from servers import S3, MLflowServer, Postgres

from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from stylecore.vgg.weights import default_cache, find_weights
from training.config import REPOSITORY
from training.tracking import sender
from training.tracking.journal import Journal
from training.tracking.replay import replay
from training.tracking.tracker import Tracker

VGG_CACHE = default_cache()
RUNS = int(os.environ.get("STYLECORE_TEST_RUNS", "8"))
SECONDS = float(os.environ.get("STYLECORE_TEST_SECONDS", "15"))
STEP_SECONDS = float(os.environ.get("STYLECORE_TEST_STEP_SECONDS", "0.05"))
"""Of many runs at once; 32 runs, 300 seconds and 1 second a step are the long form, with S3 away for a minute."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs is given up after seconds, and tried again soon."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    monkeypatch.setattr(sender, "FIRST_PAUSE", 0.2)
    monkeypatch.setattr(sender, "LONGEST_PAUSE", 1.0)
    monkeypatch.setattr(sender, "GATHER_SECONDS", 0.5)
    monkeypatch.setattr("training.tracking.replay.REPLAY_SECONDS", 10.0)


def tiny_style(iterations: int, name: str = "stripes") -> StyleModel:
    config = TransformNetConfig(residual_blocks=1, width=0.25)
    return StyleModel(TransformNet(config), StyleCard(name=name, network=config, iterations=iterations))


def check_that_all_is_there_once(client: MlflowClient, folder: Path, status: str = "FINISHED") -> str:
    """Compare a run in the store with its journal; returns the run's id."""
    journal = Journal(folder)
    records = journal.records()
    assert journal.sent == journal.last == len(records)
    assert not journal.answers["refused"]
    run_id = journal.answers["run_id"]
    journal.close()
    (begin,) = (record.data for record in records if record.kind == "run")
    run = client.get_run(run_id)
    with_key = client.search_runs([run.info.experiment_id], f"tags.journal = '{begin['key']}'")
    assert [found.info.run_id for found in with_key] == [run_id]
    assert run.info.status == status
    assert run.data.params == begin["params"]
    assert run.data.tags.items() >= {k: v for k, v in begin["tags"].items() if k != "mlflow.user"}.items()

    said: dict[str, list[tuple[int, int, str]]] = {}
    linked: dict[int, set[str]] = {}
    for record in records:
        data = record.data
        if record.kind in ("metrics", "evaluation"):
            values = [[name, value, data["time"]] for name, value in data["values"].items()]
        else:
            values = data.get("metrics", [])
        for name, value, at in values:
            said.setdefault(name, []).append((data["step"], at, repr(float(value))))
        if record.kind in ("checkpoint", "evaluation"):
            linked.setdefault(data["step"], set()).update(name for name, _, _ in values)
    assert run.data.metrics.keys() == said.keys()
    for name, points in said.items():
        history = [(m.step, m.timestamp, repr(m.value)) for m in client.get_metric_history(run_id, name)]
        assert sorted(history) == sorted(set(points)), name

    pictures = {}
    for record in records:
        if record.kind == "picture":
            data = record.data
            stem = f"{data['key'].replace('/', '~')}+step+{data['step']}+timestamp+{data['time']}+{data['code']}"
            pictures[f"images/{stem}.png"] = data["file"].partition("-")[0]
    found = [entry.path for entry in client.list_artifacts(run_id, "images")] if pictures else []
    assert sorted(path for path in found if path.endswith(".png")) == sorted(pictures)
    assert len(found) == 2 * len(pictures)
    for path, digest in pictures.items():
        assert sha256(Path(client.download_artifacts(run_id, path)).read_bytes()).hexdigest() == digest

    checkpoints = {record.data["step"]: record.data["file"] for record in records if record.kind == "checkpoint"}
    models = client.search_logged_models([run.info.experiment_id], filter_string=f"source_run_id = '{run_id}'")
    assert sorted(int(model.tags["iterations"]) for model in models) == sorted(checkpoints)
    assert {str(model.status) for model in models} <= {"READY"}
    for model in models:
        assert {metric.key for metric in model.metrics or []} == linked[int(model.tags["iterations"])]
    outputs = run.outputs.model_outputs if run.outputs else []
    assert sorted(output.step for output in outputs) == sorted(checkpoints)
    versions = client.search_model_versions(f"run_id='{run_id}'")
    assert sorted(int(version.tags["iterations"]) for version in versions) == sorted(checkpoints)
    for version in versions:
        assert version.tags["sha256"] == checkpoints[int(version.tags["iterations"])].partition("-")[0]
    return str(run_id)


def a_run(folder: Path, seconds: float, **settings: object) -> list[float]:
    """A run that says something of every kind for so long; returns how long each step's metrics took to say."""
    run = Tracker.start(
        experiment="johnson",
        run_name=folder.name,
        params={"seed": 1, "width": 0.25},
        tags={"device": "cpu"},
        note="why",
        style=torch.rand(3, 16, 16),
        dataset={"name": "photos"},
        folder=folder,
        system_metrics=False,
        end_seconds=0.5,
        **settings,  # type: ignore[arg-type]
    )
    took = []
    until = time.monotonic() + seconds
    step = 0
    while time.monotonic() < until or step < 20:
        values = {f"loss/{name}": random.random() for name in ("total", "content", "style", "tv")}
        began = time.perf_counter()
        run.log_metrics(values, step)
        took.append(time.perf_counter() - began)
        if step % 20 == 0:
            run.log_preview("amber", torch.rand(3, 32, 48), step)
        if step % 100 == 10:
            run.log_checkpoint(tiny_style(step, folder.name), step, values)
            run.log_evaluation({"eval/total": 1.0}, step)
        step += 1
        time.sleep(STEP_SECONDS)
    run.finish()
    return took


def replay_until_all_is_sent(folder: Path, url: str | None = None) -> None:
    """Faults go on during a replay, which may then have to be asked for again."""
    for _ in range(20):
        try:
            replay(folder, url)
            return
        except StylecoreError as error:
            if "has not taken" not in str(error):
                raise
    pytest.fail("a replay gets nowhere")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def start_training(photos: Path, output: Path, **environment: str) -> subprocess.Popen[str]:
    flags = ["--name", output.name, "--style-image", photos / "0.png", "--photos", photos, "--output-dir", output]
    flags += ["--preview-photos", photos / "1.png", "--style-size", 48, "--crop", 32, "--width", 0.25, "--workers", 0]
    flags += ["--residual-blocks", 1, "--batch-size", 1, "--iterations", 120, "--checkpoints", 1, 60, "--log-every", 1]
    flags += ["--cpu", "--evaluate-sizes", "--end-seconds", 5]
    command = [sys.executable, REPOSITORY / "training" / "train.py", *flags]
    return subprocess.Popen(
        [str(part) for part in command],
        env={**os.environ, "STYLECORE_CACHE": str(VGG_CACHE), "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def storm(server: MLflowServer, postgres: Postgres, s3: S3) -> Iterator[None]:
    """Kills, restarts and pauses the servers at random moments; all of them run when it is over."""
    chance, ended = random.Random(3), threading.Event()

    def rage() -> None:
        while not ended.is_set():
            server.start()
            ended.wait(chance.uniform(0.0, 5.0))
            fault = chance.choice(["server", "postgres", "s3"])
            if fault == "server":
                server.kill()
            elif fault == "postgres":
                postgres.kill()
                postgres.start()
            else:
                s3.pause()
                ended.wait(chance.uniform(0.0, 4.0))
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
    serve: Callable[..., MLflowServer], postgres: Postgres, s3: S3, photos: Path, tmp_path: Path
) -> None:
    try:
        find_weights("vgg16", cache_dir=VGG_CACHE)
    except StylecoreError as error:
        pytest.skip(f"VGG-16's weights are not here: {error}")
    server = serve()
    server.kill()  # away at the start
    undisturbed = start_training(photos, tmp_path / "calm", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db")
    disturbed = start_training(photos, tmp_path / "stormy")
    try:
        with storm(server, postgres, s3):
            outputs = [process.communicate(timeout=300)[0] for process in (undisturbed, disturbed)]
            with suppress(StylecoreError):  # nor does a replay mind
                replay(tmp_path / "stormy" / "stormy")
    finally:
        for process in (undisturbed, disturbed):
            process.kill()
            process.wait()
    assert (undisturbed.returncode, disturbed.returncode) == (0, 0), "\n".join(outputs)
    assert "Traceback" not in outputs[1]
    replay_until_all_is_sent(tmp_path / "stormy" / "stormy")
    ours, theirs = MlflowClient(server.url), MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run = check_that_all_is_there_once(ours, tmp_path / "stormy" / "stormy")
    other = check_that_all_is_there_once(theirs, tmp_path / "calm" / "calm")
    for name in ("loss/total", "opt/gradient_norm"):
        histories = [client.get_metric_history(of, name) for client, of in ((ours, run), (theirs, other))]
        here, there = ([(m.step, m.value) for m in sorted(h, key=lambda m: m.step)] for h in histories)
        assert here == there
        assert [step for step, _ in here] == list(range(1, 121))
    versions = ours.search_model_versions("name='stormy'")
    assert sorted(int(version.version) for version in versions) == [1, 2, 3]
    assert ours.get_registered_model("stormy").aliases.keys() >= {"champion", "iterations-1", "iterations-120"}
    for iterations in (1, 60, 120):
        files = [tmp_path / name / name / f"iterations-{iterations}.safetensors" for name in ("calm", "stormy")]
        one, two = (StyleModel.load(file).network.state_dict() for file in files)
        assert all(torch.equal(one[key], two[key]) for key in one)


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a server, and spoils a share of them."""

    daemon_threads = True
    faults = ("500", "429", "slow", "no request", "no answer")

    def __init__(self, target: str, share: float) -> None:
        self.target, self.share, self.chance = urlsplit(target), share, random.Random(5)
        self.spoiled: dict[str, int] = dict.fromkeys(self.faults, 0)
        super().__init__(("127.0.0.1", 0), _ProxyHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, address: object) -> None:
        """A client that went away is what this is about."""


class _ProxyHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _pass_on(self) -> None:
        proxy = self.server
        fault = proxy.chance.choice(proxy.faults) if proxy.chance.random() < proxy.share else ""
        if fault:
            proxy.spoiled[fault] += 1
        body = self._body()
        if fault in ("500", "429"):
            self._answer(int(fault), {}, b"spoiled")
            return
        if fault == "slow":
            time.sleep(1.0)
        if fault == "no request":
            self._hang_up()
            return
        connection = http.client.HTTPConnection(proxy.target.hostname or "", proxy.target.port, timeout=60)
        headers = {key: value for key, value in self.headers.items() if key.lower() != "transfer-encoding"}
        connection.request(self.command, self.path, body, headers | {"Host": proxy.target.netloc})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if fault == "no answer":  # but the server has done what it was asked
            self._hang_up()
            return
        kept = {key: value for key, value in answer.getheaders() if key.lower() == "content-type"}
        self._answer(answer.status, kept, content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815 (http.server's names)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()

    def log_message(self, *arguments: object) -> None:
        """Not on the tests' screen."""


@contextmanager
def spoiling(target: str, share: float) -> Iterator[Proxy]:
    with Proxy(target, share) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()


def test_through_a_network_that_spoils_a_third_of_all_requests_everything_arrives_once(
    serve: Callable[..., MLflowServer], tmp_path: Path
) -> None:
    server = serve()
    folder = tmp_path / "spoiled"
    with spoiling(server.url, share=1 / 3) as proxy:
        took = a_run(folder, 8.0, tracking_uri=proxy.url)
        proxy.share = 1 / 6
        replay_until_all_is_sent(folder, proxy.url)
        assert all(proxy.spoiled.values()), proxy.spoiled
    assert statistics.median(took) < 0.05  # a step waits for no request
    check_that_all_is_there_once(MlflowClient(server.url), folder)


@pytest.mark.timeout(600 + 6 * SECONDS)
def test_many_runs_at_once_lose_nothing_though_the_database_restarts(
    serve: Callable[..., MLflowServer], postgres: Postgres, s3: S3, tmp_path: Path, record_property
) -> None:
    server = serve()
    took: dict[int, list[float]] = {}

    def one(number: int) -> None:
        took[number] = a_run(tmp_path / f"run_{number}", SECONDS)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(RUNS)]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS / 3)
    postgres.kill()
    postgres.start()
    time.sleep(SECONDS / 6)
    s3.pause()
    time.sleep(SECONDS / 5)
    s3.resume()
    for thread in threads:
        thread.join()
    assert len(took) == RUNS
    for number in range(RUNS):
        replay_until_all_is_sent(tmp_path / f"run_{number}")
        check_that_all_is_there_once(MlflowClient(server.url), tmp_path / f"run_{number}")
    every = sorted(seconds for of_run in took.values() for seconds in of_run)
    latency = (
        f"{statistics.median(every) * 1000:.2f} ms, 99 of 100 below {every[len(every) * 99 // 100] * 1000:.1f} ms"
    )
    print(f"\n{RUNS} runs, {len(every)} steps: saying a step's metrics took {latency}")
    record_property("latency", latency)


def test_a_demo_under_load_is_promoted_from_version_to_version_without_a_failed_request(
    serve: Callable[..., MLflowServer], tmp_path: Path
) -> None:
    from demo.services.limits import Limits
    from demo.services.registry_catalogue import RegistryCatalogue
    from demo.services.stylize import Stylizer
    from training.registry import Registry

    server = serve()
    run = Tracker.start(experiment="johnson", run_name="r", params={}, tags={}, system_metrics=False)
    for step in (10, 20, 30):
        run.log_checkpoint(tiny_style(step), step, {"loss/total": 1.0})
    run.finish()
    assert run.versions == {10: "1", 20: "2", 30: "3"}
    stylizer = Stylizer(RegistryCatalogue(server.url, seconds_between_looks=0), Limits())
    ended = threading.Event()
    served: list[str] = []
    failed: list[BaseException] = []

    def ask(seed: int) -> None:
        photo = tmp_path / f"{seed}.png"
        while not ended.is_set():
            Image.fromarray(np.random.randint(0, 255, (24, 24, 3), dtype=np.uint8)).save(photo)
            try:
                served.append(stylizer.stylize(photo, "stripes").version)
            except BaseException as error:
                failed.append(error)

    askers = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for asker in askers:
        asker.start()
    registry = Registry(server.url)
    promoted = set()
    for turn in range(12):
        promoted.add(registry.promote("stripes", str(turn % 3 + 1)).version)
        before = len(served)
        while len(served) < before + 4 and not failed:
            time.sleep(0.05)
    ended.set()
    for asker in askers:
        asker.join()
    assert not failed
    assert promoted == set(served) == {"1", "2", "3"}


def test_a_run_that_begins_without_its_server_is_complete_when_it_comes(
    serve: Callable[..., MLflowServer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    server.kill()
    took = a_run(tmp_path / "early", 1.0)
    assert max(took) < 1
    sentence = re.search(r"`python -m training.tracking replay (\S+)` sends them", caplog.text)
    assert sentence
    server.start()
    replay_until_all_is_sent(Path(sentence[1]))
    check_that_all_is_there_once(MlflowClient(server.url), tmp_path / "early")
