"""The process behind `forked.fork`: it imports everything and reads VGG-16 once, then forks itself for each call.

    python tests/fork_server.py SOCKET OWNER

All workers of pytest share one. It ends when its owner, pytest's first process, has ended.
"""

import functools
import gc
import importlib
import multiprocessing
import os
import shutil
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import PIL.Image

sys.path[0] = str(Path(__file__).resolve().parent.parent)

LOOK_SECONDS = 2.0
PRELOAD = (
    "training.train",
    "training.experiments.sweep",
    # What these and MLflow's server import later than at their top.
    "openvino",
    "psycopg2",
    "torch._dynamo",
    "torch.distributed.fsdp",
    "datasets",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "uvicorn",  # before MLflow's server, which asks for it
    "mlflow.server.fastapi_app",
)


def main(address: str, owner: int) -> None:
    """Serve until the owner has ended."""
    from stylecore.errors import StylecoreError

    for module in PRELOAD:
        importlib.import_module(module)
    PIL.Image.init()
    train = importlib.import_module("training.train")
    train.find_weights = functools.cache(train.find_weights)  # type: ignore[attr-defined]
    with suppress(StylecoreError):  # trainings skip without them
        train.find_weights("vgg16", weights=None)
    gc.collect()
    gc.freeze()  # or else the collections of each copy write to, and so copy, all that was imported
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.new")
        listener.listen(64)
        listener.settimeout(LOOK_SECONDS)
        os.rename(f"{address}.new", address)
        while _exists(owner):
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            with suppress(TimeoutError):
                connection = Connection(listener.accept()[0].detach())
                if not os.fork():
                    listener.close()
                    _keep(connection)
                connection.close()
    shutil.rmtree(Path(address).parent)


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _keep(connection: Connection) -> None:
    """Be the parent of one call: tell its process id, and how it ended."""
    sys.path[:] = connection.recv()
    function, arguments, environment, folder, output = connection.recv()
    process = multiprocessing.Process(target=_call, args=(function, arguments, environment, folder, output))
    process.start()
    connection.send(process.pid)
    process.join()
    with suppress(BrokenPipeError):
        connection.send(process.exitcode)
    os._exit(0)


def _call(
    function: Callable[..., object], arguments: tuple[Any, ...], environment: dict[str, str], folder: str, output: Path
) -> None:
    import torch

    os.setsid()
    os.environ.clear()  # what the server began with is of another test
    os.environ.update(environment)
    os.chdir(folder)
    if output:
        file = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(file, 1)
        os.dup2(file, 2)
    torch.set_num_threads(1)
    function(*arguments)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
