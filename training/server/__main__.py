"""Start the tracker, an MLflow server for several machines: `make tracker`, or `python -m training.server`.

Everything is set in one environment file, `tracker.env` in the repository, whose variables `tracker.env.example`
explains; it is made, with random passwords, when it is not there. Variables that are set already win over it.

What is not a setting: everybody needs an account, whoever has one may write to every experiment and style but
delete only what is their own, the server reads and writes the files itself so that nobody else holds keys to them,
and nothing is run on the server's side (MLflow's jobs).

    python -m training.server              start it
    python -m training.server settings     only make the environment file
    python -m training.server upgrade      bring the database up to the MLflow that is installed
"""

import argparse
import io
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from stylecore.errors import StylecoreError
from training.tracking.database import database_address

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
EXAMPLE = HERE / "tracker.env.example"
SETTINGS = REPOSITORY / "tracker.env"
FOLDER = REPOSITORY / "mlruns" / "tracker"
"""What the server keeps when the file names no database and no artifact store."""
PORT = "5000"
LEAST_PASSWORD = 12
"""Letters; MLflow's own limit."""
CONNECTIONS = {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "5", "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "40"}
"""To PostgreSQL, of each worker. A worker answers 40 requests at once, and to log metrics MLflow 3.17 takes a second
connection while it holds the first: with SQLAlchemy's 15, fifteen runs can wait for each other for ever. Two workers
stay below the 100 connections that PostgreSQL allows by default."""

# The accounts are beside the runs, so that one backup holds both. EDIT: to continue each other's experiments. Checking
# a password takes a tenth of a second on purpose, so one that was right is believed for a minute.
_ACCOUNTS = """[mlflow]
default_permission = EDIT
database_uri = {database}
admin_username = admin
auth_cache_ttl_seconds = 60
"""


@dataclass(frozen=True)
class Launch:
    """What to execute, with which variables added to the environment."""

    command: list[str]
    environment: dict[str, str]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status (2 for what the user can mend, after one sentence on stderr)."""
    parser = argparse.ArgumentParser(prog="python -m training.server", description="An MLflow server for a team.")
    parser.add_argument("do", nargs="?", choices=("start", "settings", "upgrade"), default="start")
    parser.add_argument("--settings", type=Path, default=SETTINGS, metavar="FILE", help="the environment file")
    options, more = parser.parse_known_args(arguments)  # what is left over is for `mlflow server`
    try:
        if options.do == "settings":  # needs no packages: Docker's host may have none
            make_settings(options.settings)
            return 0
        settings = read_settings(options.settings) | dict(os.environ)
        folder = Path(settings.get("TRACKER_FOLDER") or FOLDER).absolute()
        if options.do == "upgrade":
            upgrade(backend_store(settings, folder))
            return 0
        launch = prepare(settings, folder)
        open_database(launch.environment["MLFLOW_BACKEND_STORE_URI"])
        open_bucket(launch.environment["MLFLOW_ARTIFACTS_DESTINATION"], settings)
    except StylecoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"The tracker answers at {public_address(settings)}; its accounts are made at /signup.", flush=True)
    return _become([*launch.command, *more], {**settings, **launch.environment})


def read_settings(path: Path) -> dict[str, str]:
    """The variables of an environment file, which is made from the example if it is missing.

    A line is NAME=VALUE, as in Docker Compose: quotes around a value are taken off, and a comment after it, too.

    Raises:
        StylecoreError: when it cannot be read, or a line is something else.
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
    print(f"{path} is made; the password of the user admin is in it.", file=sys.stderr)


def prepare(settings: Mapping[str, str], folder: Path) -> Launch:
    """The command that starts the server with these settings; no secret is in it, for everybody can list processes.

    Args:
        folder: where what the server needs is written, and everything else when the settings name no other place.

    Raises:
        StylecoreError: for settings that cannot work, in one sentence.
    """
    password = settings.get("MLFLOW_AUTH_ADMIN_PASSWORD", "")
    if len(password) < LEAST_PASSWORD:
        raise StylecoreError(
            f"MLFLOW_AUTH_ADMIN_PASSWORD must have at least {LEAST_PASSWORD} letters; set it in tracker.env."
        )
    if not settings.get("MLFLOW_FLASK_SERVER_SECRET_KEY"):
        raise StylecoreError("MLFLOW_FLASK_SERVER_SECRET_KEY is empty; set it in tracker.env to any random letters.")
    database = backend_store(settings, folder)
    artifacts = settings.get("MLFLOW_ARTIFACTS_DESTINATION") or (folder / "artifacts").as_uri()
    if artifacts.startswith("s3:") and not _has_s3_keys(settings):
        raise StylecoreError(
            "MLFLOW_ARTIFACTS_DESTINATION is in S3, and there are no keys to it; "
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in tracker.env."
        )
    port = settings.get("MLFLOW_PORT") or PORT
    address = urlsplit(public_address(settings))
    if address.scheme not in ("http", "https") or not address.netloc:
        raise StylecoreError(
            f"TRACKER_URL is {settings['TRACKER_URL']!r}, and must be an address as https://tracker.example.com."
        )
    here = [f"{host}:{port}" for host in ("127.0.0.1", "localhost")]
    accounts = folder / "accounts.ini"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_private(accounts, _ACCOUNTS.format(database=database.replace("%", "%%")))
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
    return Launch([sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"], environment)


def backend_store(settings: Mapping[str, str], folder: Path) -> str:
    """The address of the database, by the driver that is installed."""
    database = database_address(settings.get("MLFLOW_BACKEND_STORE_URI") or f"sqlite:///{folder / 'mlflow.db'}")
    if not database.startswith(("postgresql+", "sqlite:///")):
        raise StylecoreError(
            "MLFLOW_BACKEND_STORE_URI must be postgresql://USER:PASSWORD@HOST/DATABASE, or be left out for sqlite."
        )
    return database


def upgrade(database: str) -> None:
    """Bring MLflow's tables up to date. Those of the accounts follow at the next start.

    Raises:
        StylecoreError: when the database does not answer, or cannot be brought up to date (a newer MLflow made it).
    """
    from alembic.util import CommandError
    from mlflow.db import commands
    from sqlalchemy.exc import SQLAlchemyError

    open_database(database)
    try:
        commands(["upgrade", database], standalone_mode=False)
    except (CommandError, SQLAlchemyError) as error:
        raise StylecoreError(f"the database cannot be brought up to date: {_reason(error)}.") from error


def open_database(address: str) -> None:
    """Raise StylecoreError when the database does not answer; MLflow would go on trying."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(address)
        engine.connect().close()
        engine.dispose()
    except SQLAlchemyError as error:
        raise StylecoreError(f"the database of MLFLOW_BACKEND_STORE_URI does not answer: {_reason(error)}.") from error


def open_bucket(artifacts: str, settings: Mapping[str, str]) -> None:
    """Make the bucket of an s3:// address if it is missing; StylecoreError when the store does not let us."""
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
            # Amazon's first region is the one that must not be named.
            where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            store.create_bucket(Bucket=bucket, **where)
    except (BotoCoreError, ClientError) as error:
        raise StylecoreError(
            f"the bucket {bucket} of MLFLOW_ARTIFACTS_DESTINATION cannot be used: {error}."
        ) from error


def public_address(settings: Mapping[str, str]) -> str:
    """The address that people and trainings use, by TRACKER_URL; without it this machine alone is served."""
    given = settings.get("TRACKER_URL", "").rstrip("/")
    return given or f"http://127.0.0.1:{settings.get('MLFLOW_PORT') or PORT}"


def _reason(error: Exception) -> str:
    """The first line of what a database says."""
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0].rstrip(".")


def _has_s3_keys(settings: Mapping[str, str]) -> bool:
    """Whether there are keys, or a sign of one of the other ways in which AWS knows who asks."""
    others = ("AWS_PROFILE", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_SHARED_CREDENTIALS_FILE")
    if settings.get("AWS_ACCESS_KEY_ID") and settings.get("AWS_SECRET_ACCESS_KEY"):
        return True
    return any(settings.get(name) for name in others) or (Path.home() / ".aws").is_dir()


def _become(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    """Go on as another program, which then gets the signals that were for this one."""
    os.execve(command[0], command, environment)


def _write_private(path: Path, text: str) -> None:
    """Write a file that nobody but its owner can read, whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made for its owner alone
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    sys.exit(main())
