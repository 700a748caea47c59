"""An MLflow server that is forked from a process which has imported MLflow: it starts in a moment."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
from forked import fork, free_port
from mlflow.environment_variables import _MLFLOW_SGI_NAME
from servers import MLflowServer, Service, accounts, answers

from training.server.__main__ import CONNECTIONS


@contextmanager
def forked_mlflow_server(
    folder: Path, database_url: str, artifacts: str, keys: Mapping[str, str | None], *, password: str = ""
) -> Iterator[MLflowServer]:
    """`servers.mlflow_server`: the process that `mlflow server` turns into, with its environment."""
    from mlflow import server as variables  # seconds, which collecting the tests need not have

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        **keys,
        **CONNECTIONS,
        "MLFLOW_TRACKING_URI": None,
        variables.BACKEND_STORE_URI_ENV_VAR: database_url,
        variables.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
        variables.ARTIFACTS_DESTINATION_ENV_VAR: artifacts,
        variables.SERVE_ARTIFACTS_ENV_VAR: "true",
        _MLFLOW_SGI_NAME.name: "uvicorn",
    }
    if password:
        environment |= accounts(folder, database_url, password)

    def launch(service: Service, environment: dict[str, str]) -> psutil.Process:
        return psutil.Process(fork(_serve, port, bool(password), environment=environment, output=service.log).pid)

    server = MLflowServer(
        ["a forked MLflow server"],
        folder / f"mlflow-{port}.txt",
        lambda: answers(f"{url}/health"),
        environment,
        launch=launch,
        url=url,
        password=password,
    )
    with server.running():
        yield server


def _serve(port: int, has_accounts: bool) -> None:
    import uvicorn
    from mlflow.server import _UVICORN_LOG_CONFIG

    app = "mlflow.server.auth:create_app" if has_accounts else "mlflow.server.fastapi_app:app"
    uvicorn.run(app, factory=has_accounts, port=port, log_config=str(_UVICORN_LOG_CONFIG))
