"""Commands as processes of their own, which can be killed, without paying for their imports each time.

A server process has imported everything and forks a copy of itself for each. The launcher's part, the environment
that says who is who, is played here; `accelerate launch` itself has its own tests.
"""

import importlib
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.forkserver import ensure_running
from pathlib import Path

import pytest
import torch

from stylecore.files import default_cache

REPOSITORY = Path(__file__).resolve().parent.parent
VGG_CACHE = default_cache()  # the user's own: it may hold VGG's weights
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    # Beside the commands, what they import later than at their top.
    [
        "training.train",
        "training.teach.__main__",
        "training.experiments.sweep",
        "openvino",
        "psycopg2",
        "torch._dynamo",
        "torch.distributed.fsdp",
        "datasets",
        "mlflow.store.tracking.sqlalchemy_store",
        "mlflow.store.model_registry.sqlalchemy_store",
        "uvicorn",  # before MLflow's server, which asks for it
        "mlflow.server.fastapi_app",
    ]
)


@dataclass
class Running:
    """One run: its processes, and the file that all of them write to."""

    processes: list[multiprocessing.process.BaseProcess]
    output: Path

    def wait(self, status: int = 0, timeout: float = 300) -> str:
        """Wait for the end of all, which must all have this exit status; returns what they wrote."""
        deadline = time.monotonic() + timeout
        for process in self.processes:
            process.join(max(1.0, deadline - time.monotonic()))
        ended = [process.exitcode for process in self.processes]
        self.kill()
        assert ended == [status] * len(ended), f"{ended}\n{self.text()}"
        return self.text()

    def text(self) -> str:
        """What they wrote so far."""
        return self.output.read_text(encoding="utf-8")

    def wait_for(self, path: Path) -> None:
        """Wait until the file is there."""
        deadline = time.monotonic() + 300
        while not path.exists():
            assert all(process.exitcode is None for process in self.processes), self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.01)

    def send(self, number: signal.Signals, *, group: bool = False) -> None:
        """Signal the processes, or, as a terminal does, all that they started too."""
        for process in self.processes:
            assert process.pid
            (os.killpg if group else os.kill)(process.pid, number)

    def kill(self) -> None:
        """End what still runs, at once."""
        for process in self.processes:
            process.kill()
            process.join()


def start(arguments: list[str], output: Path, *, processes: int = 1, command: str = "training.train") -> Running:
    """Start train.py, or another command, with these arguments in this many processes."""
    port = free_port()
    environment = dict(os.environ) | {"STYLECORE_CACHE": str(VGG_CACHE)}
    output.write_bytes(b"")
    running = Running([], output)
    for rank in range(processes):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        mine = environment | {key: str(value) for key, value in place.items() if processes > 1}
        running.processes.append(fork(_main_of, command, arguments, environment=mine, output=output))
    return running


def fork(
    function: Callable[..., object], *arguments: object, environment: Mapping[str, str], output: Path | None = None
) -> multiprocessing.process.BaseProcess:
    """Call a function in a process of its own, with this environment; it appends to the file what it prints."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(REPOSITORY))  # or else the server silently imports nothing
        ensure_running()
    process = _server.Process(target=_call, args=(function, arguments, dict(environment), output))
    process.start()
    return process


def free_port() -> int:
    """A TCP port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _call(
    function: Callable[..., object], arguments: tuple[object, ...], environment: dict[str, str], output: Path | None
) -> None:
    os.setsid()
    os.environ.clear()  # what the server began with is of another test
    os.environ.update(environment)
    if output:
        file = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(file, 1)
        os.dup2(file, 2)
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # the default, which the server's children lose
    function(*arguments)


def _main_of(command: str, arguments: list[str]) -> None:
    sys.argv = [command, *arguments]
    sys.exit(importlib.import_module(command).main())
