"""Runs of train.py as processes of their own, which can be killed, without paying for its imports each time.

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
from dataclasses import dataclass
from multiprocessing.forkserver import ensure_running
from pathlib import Path

import pytest
import torch

from stylecore.files import default_cache
from training.config import REPOSITORY

VGG_CACHE = default_cache()  # the user's own: converting the weights takes seconds
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    # Beside train.py, what it imports later than at its top.
    [
        "training.train",
        "training.teach.__main__",
        "openvino",
        "torch._dynamo",
        "torch.distributed.fsdp",
        "datasets",
        "mlflow.store.tracking.sqlalchemy_store",
    ]
)


@dataclass
class Running:
    """One run: its processes, and the file that all of them write to."""

    processes: list[multiprocessing.Process]
    output: Path

    def wait(self, status: int = 0, timeout: float = 200) -> str:
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
        deadline = time.monotonic() + 200
        while not path.exists():
            assert all(process.exitcode is None for process in self.processes), self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.01)

    def send(self, number: signal.Signals, *, group: bool = False) -> None:
        """Signal the processes, or, as a terminal does, all that they started too."""
        for process in self.processes:
            (os.killpg if group else os.kill)(process.pid, number)

    def kill(self) -> None:
        """End what still runs, at once."""
        for process in self.processes:
            process.kill()
            process.join()


def start(arguments: list[str], output: Path, *, processes: int = 1, command: str = "training.train") -> Running:
    """Start train.py, or another command, with these arguments in this many processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = dict(os.environ) | {"STYLECORE_CACHE": str(VGG_CACHE)}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(REPOSITORY))  # or else the server silently imports nothing
        ensure_running()
    output.write_bytes(b"")
    running = Running([], output)
    for rank in range(processes):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        mine = environment | {key: str(value) for key, value in place.items() if processes > 1}
        running.processes.append(_server.Process(target=_run, args=(command, arguments, mine, output)))
        running.processes[-1].start()
    return running


def _run(command: str, arguments: list[str], environment: dict[str, str], output: Path) -> None:
    os.setsid()
    os.environ.update(environment)
    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # the default, which the server's children lose
    sys.argv = [command, *arguments]
    sys.exit(importlib.import_module(command).main())
