"""Start the tracker, an MLflow server for several machines: `make tracker`, or `python -m training.server`.

All settings are in one environment file, `tracker.env` in the repository; `tracker.env.example` explains them. The
file is made with random passwords if it is missing. Environment variables win over it.

Some things are not settings. Everybody needs an account. An account can write to every experiment and style, and
delete only its own. Only the server has keys to the files. The server runs no jobs of MLflow.

    python -m training.server                      start it
    python -m training.server --only-settings      only make the environment file
"""

import argparse
import io
import os
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from stylecore.errors import StylecoreError
from stylecore.files import replaced_whole
from training.tracking import database_address

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
EXAMPLE = HERE / "tracker.env.example"
ACCOUNTS = HERE / "accounts.ini"
SETTINGS = REPOSITORY / "tracker.env"
FOLDER = REPOSITORY / "mlruns" / "tracker"
"""Folder of the database and the artifacts when the settings name no other place."""
PORT = "5000"
LEAST_PASSWORD = 12
"""Characters; MLflow's limit."""
CONNECTIONS = {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "5", "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "40"}
"""Connections of each worker to PostgreSQL. A worker answers 40 requests at once, and MLflow 3.17 needs a second
connection to log metrics: with SQLAlchemy's limit of 15, fifteen runs can wait for each other for ever. Two workers
stay below PostgreSQL's default limit of 100 connections."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""
    parser = argparse.ArgumentParser(prog="python -m training.server", description="An MLflow server for a team.")
    parser.add_argument("--only-settings", action="store_true", help="only make the environment file")
    parser.add_argument("--settings", type=Path, default=SETTINGS, metavar="FILE", help="the environment file")
    options, more = parser.parse_known_args(arguments)  # the rest is for `mlflow server`
    try:
        if options.only_settings:  # needs no packages: Docker's host may have none
            make_settings(options.settings)
            return 0
        settings = read_settings(options.settings) | dict(os.environ)
        folder = Path(settings.get("TRACKER_FOLDER") or FOLDER).absolute()
        settings |= prepare(settings, folder)
        open_database(settings["MLFLOW_BACKEND_STORE_URI"])
        open_bucket(settings["MLFLOW_ARTIFACTS_DESTINATION"], settings)
    except StylecoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"The tracker runs at {public_address(settings)}; accounts are made at /signup.", flush=True)
    # It becomes the server, which then gets its signals. Everybody can list processes: no secrets on the command line.
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", *more]
    return os.execve(command[0], command, settings)


def read_settings(path: Path) -> dict[str, str]:
    """Read the variables of an environment file, which is made from the example if it is missing.

    A line is NAME=VALUE, as in Docker Compose: quotes around a value are taken off, and a comment after it, too.

    Raises:
        StylecoreError: when it cannot be read, or a line has another form.
    """
    from dotenv.parser import parse_stream

    make_settings(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StylecoreError(f"the settings {path} cannot be read ({error}).") from error
    settings = {}
    for line in parse_stream(io.StringIO(text)):
        if line.error or (line.key is not None and (line.value is None or not line.key.isidentifier())):
            blank, _, _ = line.original.string.partition(line.original.string.strip())
            raise StylecoreError(f"line {line.original.line + blank.count(chr(10))} of {path} is not NAME=VALUE.")
        if line.key and line.value:  # a name without a value is not set
            settings[line.key] = line.value
    return settings


def make_settings(path: Path) -> None:
    """Copy the example to a file that only its owner can read, with random secrets in it; a file that exists stays."""
    if path.exists():
        return
    text = EXAMPLE.read_text(encoding="utf-8")
    for name in ("MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY", "POSTGRES_PASSWORD", "S3_SECRET_KEY"):
        text = re.sub(rf"(?m)^{name}=$", f"{name}={secrets.token_urlsafe(24)}", text)
    try:
        _write_private(path, text)
    except OSError as error:
        raise StylecoreError(f"the settings {path} cannot be made ({error.strerror}).") from error
    print(f"{path} is made; it has the password of the user admin.", file=sys.stderr)


def prepare(settings: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The environment variables that these settings mean for `mlflow server`.

    Args:
        folder: for the files that the server needs, and for everything that the settings put in no other place.

    Raises:
        StylecoreError: for settings that are not valid.
    """
    password = settings.get("MLFLOW_AUTH_ADMIN_PASSWORD", "")
    if len(password) < LEAST_PASSWORD:
        raise StylecoreError(
            f"MLFLOW_AUTH_ADMIN_PASSWORD must have at least {LEAST_PASSWORD} characters; set it in tracker.env."
        )
    if not settings.get("MLFLOW_FLASK_SERVER_SECRET_KEY"):
        raise StylecoreError("MLFLOW_FLASK_SERVER_SECRET_KEY is empty; set it in tracker.env to a random text.")
    database = database_address(settings.get("MLFLOW_BACKEND_STORE_URI") or f"sqlite:///{folder / 'mlflow.db'}")
    if not database.startswith(("postgresql+", "sqlite:///")):
        raise StylecoreError(
            "MLFLOW_BACKEND_STORE_URI must be postgresql://USER:PASSWORD@HOST/DATABASE, or empty for sqlite."
        )
    artifacts = settings.get("MLFLOW_ARTIFACTS_DESTINATION") or (folder / "artifacts").as_uri()
    port = settings.get("MLFLOW_PORT") or PORT
    address = urlsplit(public_address(settings))
    if address.scheme not in ("http", "https") or not address.netloc:
        raise StylecoreError(
            f"TRACKER_URL is {settings['TRACKER_URL']!r}, and must be an address such as https://tracker.example.com."
        )
    here = [f"{host}:{port}" for host in ("127.0.0.1", "localhost")]
    accounts = folder / "accounts.ini"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = ACCOUNTS.read_text(encoding="utf-8").format(database=database.replace("%", "%%"))
        _write_private(accounts, text)
    except OSError as error:
        raise StylecoreError(f"the folder {folder} cannot be written ({error.strerror}).") from error
    environment = {
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_ARTIFACTS_DESTINATION": artifacts,
        "MLFLOW_SERVE_ARTIFACTS": "true",
        "MLFLOW_HOST": settings.get("MLFLOW_HOST") or "127.0.0.1",
        "MLFLOW_PORT": port,
        "MLFLOW_WORKERS": settings.get("MLFLOW_WORKERS") or "2",
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(dict.fromkeys([address.netloc, *here])),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": f"{address.scheme}://{address.netloc}",
        "MLFLOW_AUTH_CONFIG_PATH": str(accounts),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    if database.startswith("postgresql"):
        environment |= {name: settings.get(name) or value for name, value in CONNECTIONS.items()}
    return environment


def open_database(address: str) -> None:
    """Raise StylecoreError when the database does not answer; MLflow would retry for a long time."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(address)
        engine.connect().close()
        engine.dispose()
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0].rstrip(".")
        raise StylecoreError(f"the database of MLFLOW_BACKEND_STORE_URI does not answer: {reason}.") from error


def open_bucket(artifacts: str, settings: Mapping[str, str]) -> None:
    """Make the bucket of an s3:// address if it is missing; StylecoreError when that fails."""
    if not artifacts.startswith("s3:"):
        return
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, region = urlsplit(artifacts).netloc, settings.get("AWS_DEFAULT_REGION", "us-east-1")
    os.environ.update({key: value for key, value in settings.items() if key.startswith("AWS_")})
    try:
        store = boto3.client("s3", endpoint_url=settings.get("MLFLOW_S3_ENDPOINT_URL"), region_name=region)
        try:
            store.head_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
                raise
            # Amazon's first region must not be named.
            where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            store.create_bucket(Bucket=bucket, **where)
    except (BotoCoreError, ClientError, ValueError) as error:  # the last one for an address without http://
        raise StylecoreError(
            f"the bucket {bucket} of MLFLOW_ARTIFACTS_DESTINATION cannot be used with the keys AWS_ACCESS_KEY_ID and "
            f"AWS_SECRET_ACCESS_KEY in tracker.env: {str(error).rstrip('.')}."
        ) from error


def public_address(settings: Mapping[str, str]) -> str:
    """The address for users and trainings: TRACKER_URL, or else one that only this machine can use."""
    given = settings.get("TRACKER_URL", "").rstrip("/")
    return given or f"http://127.0.0.1:{settings.get('MLFLOW_PORT') or PORT}"


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, completely or not at all."""
    with replaced_whole(path) as temporary:
        temporary.touch(0o600)
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
