"""What goes wrong between a run and its server, and the check that everything is there in the end, once."""

import http.client
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mlflow import MlflowClient

from training.tracking import TrackingError, sender
from training.tracking.folders import sync
from training.tracking.journal import Journal
from training.tracking.journal_files import records_in

IMPATIENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0.2",
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request to a server that hangs fails after seconds, and is soon repeated."""
    for name, value in IMPATIENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sender, "FIRST_PAUSE", 0.2)
    monkeypatch.setattr(sender, "LONGEST_PAUSE", 1.0)
    monkeypatch.setattr(sender, "GATHER_SECONDS", 0.5)
    monkeypatch.setattr("training.tracking.folders.SYNC_SECONDS", 10.0)


def check_that_all_is_there_once(client: MlflowClient, folder: Path, status: str = "FINISHED") -> str:
    """Compare a run in the store with its journal; returns the run's id."""
    journal = Journal(folder)
    records = list(records_in(journal.folder))
    assert journal.sent == journal.last == len(records)
    assert not journal.answers["refused"]
    run_id = journal.answers["run_id"]
    journal.close()
    (begin,) = (record.data for record in records if record.kind == "run")
    run = client.get_run(run_id)
    with_key = client.search_runs([run.info.experiment_id], f"tags.journal = '{begin['key']}'")
    assert [found.info.run_id for found in with_key] == [run_id]
    assert run.info.status == status
    about = [record.data for record in records if record.kind in ("run", "about")]
    params = {name: text for data in about for name, text in data.get("params", {}).items()}
    tags = {name: text for data in about for name, text in data.get("tags", {}).items() if name != "mlflow.user"}
    assert params
    assert run.data.params == params
    assert run.data.tags.items() >= tags.items()

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


def replay_until_all_is_sent(folder: Path, url: str | None = None) -> None:
    """Faults go on during a replay, which may then have to be asked for again."""
    for _ in range(20):
        try:
            sync(folder, url)
            return
        except TrackingError as error:
            if "has not received" not in str(error):
                raise
    pytest.fail("a replay gets nowhere")


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
            time.sleep(0.5)
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
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()
