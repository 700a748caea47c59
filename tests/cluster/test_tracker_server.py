"""`make tracker`: settings, accounts, whom it answers; and the files for Docker as far as they can be read here."""

import base64
import os
import stat
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from forked import free_port
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from servers import S3, MLflowServer, answers

from stylecore.errors import StylecoreError
from training.config import REPOSITORY
from training.server.__main__ import CONNECTIONS, EXAMPLE, make_settings, prepare, read_settings

SECRETS = {"MLFLOW_AUTH_ADMIN_PASSWORD": "twelve letters", "MLFLOW_FLASK_SERVER_SECRET_KEY": "x"}


def test_the_first_start_makes_settings_with_secrets_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "tracker.env"
    settings = read_settings(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    other = read_settings(tmp_path / "other.env")
    assert set(settings) == {*SECRETS, "POSTGRES_PASSWORD", "S3_SECRET_KEY"}
    assert not set(settings.values()) & set(other.values())
    assert read_settings(file) == settings  # kept
    environment = prepare(settings, tmp_path)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{tmp_path}/mlflow.db"
    assert environment["MLFLOW_SERVER_ALLOWED_HOSTS"] == "127.0.0.1:5000,localhost:5000"
    assert environment["MLFLOW_HOST"] == "127.0.0.1"
    assert environment.keys().isdisjoint(CONNECTIONS)


def test_every_variable_of_the_example_can_be_uncommented(tmp_path: Path) -> None:
    lines = [
        line.removeprefix("#") if line.startswith("#") and "=" in line else line
        for line in EXAMPLE.read_text().splitlines()
    ]
    (tmp_path / "tracker.env").write_text("\n".join(lines))
    settings = read_settings(tmp_path / "tracker.env")
    assert settings["TRACKER_URL"] == "https://tracker.example.com"
    environment = prepare({**settings, **SECRETS}, tmp_path)
    assert environment["MLFLOW_BACKEND_STORE_URI"].startswith("postgresql+psycopg2://mlflow:")
    assert environment.items() >= CONNECTIONS.items()
    assert environment["MLFLOW_SERVER_ALLOWED_HOSTS"].startswith("tracker.example.com,127.0.0.1:5000")
    assert environment["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == "https://tracker.example.com"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"MLFLOW_AUTH_ADMIN_PASSWORD": "short"}, "at least 12 characters"),
        ({"MLFLOW_FLASK_SERVER_SECRET_KEY": ""}, "MLFLOW_FLASK_SERVER_SECRET_KEY is empty"),
        ({"MLFLOW_BACKEND_STORE_URI": "./mlruns"}, "must be postgresql://"),
        ({"TRACKER_URL": "tracker.example.com"}, "must be an address"),
    ],
)
def test_settings_that_cannot_work_are_one_sentence(changed: dict[str, str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(StylecoreError, match=sentence):
        prepare({**SECRETS, **changed}, tmp_path)


def test_a_line_that_is_no_variable_is_named(tmp_path: Path) -> None:
    (tmp_path / "tracker.env").write_text("# comment\nNAME VALUE\n")
    with pytest.raises(StylecoreError, match="line 2 of"):
        read_settings(tmp_path / "tracker.env")


@pytest.fixture
def tracker(mlflow_database: str, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MLflowServer]:
    """What `make tracker` starts, on PostgreSQL and S3, with a public name."""
    file, port = tmp_path / "tracker.env", free_port()
    make_settings(file)
    password = read_settings(file)["MLFLOW_AUTH_ADMIN_PASSWORD"]
    lines = [f"MLFLOW_BACKEND_STORE_URI='{mlflow_database.replace('+psycopg2', '')}'", f"MLFLOW_PORT={port}"]
    lines += ["MLFLOW_ARTIFACTS_DESTINATION=s3://made-by-tracker/runs", "TRACKER_URL=https://tracker.example.com"]
    lines += [f"{key}={value}" for key, value in s3.keys.items()] + ["MLFLOW_WORKERS=1", f"TRACKER_FOLDER={tmp_path}"]
    with file.open("a") as settings:
        settings.write("\n".join(lines))
    url = f"http://127.0.0.1:{port}"
    server = MLflowServer(
        [sys.executable, "-m", "training.server", "--settings", str(file)],
        tmp_path / "log.txt",
        lambda: answers(f"{url}/health"),
        {"PYTHONPATH": str(REPOSITORY), "MLFLOW_TRACKING_URI": None},
        url=url,
        password=password,
    )
    server.start()
    server.log_in(monkeypatch)
    yield server
    server.kill()


def test_accounts_hosts_and_files(
    tracker: MLflowServer, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracker.password not in " ".join(tracker.process_lines())
    client = MlflowClient(tracker.url)
    experiment = client.create_experiment("johnson")
    client.create_registered_model("waves")
    assert status(tracker, "/api/2.0/mlflow/experiments/search?max_results=1", user=None) == 401
    # A page of another site, and a name that was made to point here.
    search = "/api/2.0/mlflow/experiments/search?max_results=1"
    assert status(tracker, search) == 200
    assert status(tracker, search, headers={"Host": "evil.example"}) == 403
    assert status(tracker, search, headers={"Host": "tracker.example.com"}) == 200
    creation = "/api/2.0/mlflow/users/create"
    ada = b'{"username": "ada", "password": "ada is an account"}'
    assert status(tracker, creation, ada, headers={"Origin": "https://evil.example"}) == 403
    assert status(tracker, creation, ada, headers={"Origin": "https://tracker.example.com"}) == 200

    # Another person writes to what the first one made, without keys to the bucket, and cannot take it away.
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "ada is an account")
    run_id = client.create_run(experiment).info.run_id
    client.log_text(run_id, "kept", "note.txt")
    client.create_model_version("waves", f"runs:/{run_id}/note.txt", run_id=run_id)
    client.set_registered_model_alias("waves", "champion", "1")
    assert s3.list_keys("", "made-by-tracker") == [f"runs/{experiment}/{run_id}/artifacts/note.txt"]
    assert "AWS_ACCESS_KEY_ID" not in os.environ
    with pytest.raises(MlflowException, match=r"403|Permission denied"):
        client.delete_experiment(experiment)


def status(
    tracker: MLflowServer,
    path: str,
    body: bytes | None = None,
    *,
    user: str | None = "admin",
    headers: dict[str, str] | None = None,
) -> int:
    request = urllib.request.Request(tracker.url + path, body, headers or {})
    if body:
        request.add_header("Content-Type", "application/json")
    if user:
        token = base64.b64encode(f"{user}:{tracker.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_compose_file_starts_what_its_settings_name() -> None:
    compose = yaml.safe_load((EXAMPLE.parent / "compose.yaml").read_text())
    services = compose["services"]
    assert set(services) == {"database", "files", "tracker"}
    for service in services.values():
        assert "build" in service or ":" in service["image"]  # no image without a version
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or (EXAMPLE.parent / source).exists()
    # Only the tracker is reached from outside.
    assert [name for name, service in services.items() if "ports" in service] == ["tracker"]
    build = services["tracker"]["build"]
    context = EXAMPLE.parent / build["context"]
    assert context.resolve() == REPOSITORY
    copied = [line.split()[1:-1] for line in build["dockerfile_inline"].splitlines() if line.startswith("COPY")]
    assert copied
    assert all((context / source).exists() for sources in copied for source in sources)
