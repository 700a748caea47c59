"""Commands as processes of their own, which can be killed, without paying for their imports each time.

A server process has imported everything and forks a copy of itself for each. The launcher's part, the environment
that says who is who, is played here; `accelerate launch` itself has its own tests.
"""

import importlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection
from pathlib import Path

from filelock import FileLock

from stylecore.files import default_cache

REPOSITORY = Path(__file__).resolve().parent.parent
VGG_CACHE = default_cache()  # the user's own: it may hold VGG's weights
OWNER = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


class Forked:
    """A process that the server forked."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._exitcode: int | None = None
        self.pid: int = connection.recv()

    @property
    def exitcode(self) -> int | None:
        """Its status, as of a process of multiprocessing; None while it runs."""
        self.join(0)
        return self._exitcode

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, but no longer than this."""
        if self._exitcode is None and self._connection.poll(timeout):
            self._exitcode = self._connection.recv()

    def kill(self) -> None:
        """End it at once."""
        if self.exitcode is None:
            os.kill(self.pid, signal.SIGKILL)


@dataclass
class Running:
    """One run: its processes, and the file that all of them write to."""

    processes: list[Forked]
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
) -> Forked:
    """Call a function in a process of its own, with this environment; it appends to the file what it prints."""
    connection = Client(_address())
    connection.send(sys.path)  # by which the server finds the function
    connection.send((function, arguments, dict(environment), os.getcwd(), output))
    return Forked(connection)


def free_port() -> int:
    """A TCP port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _address() -> str:
    """Where the server listens that all workers share; the first that asks starts it."""
    folder = Path(tempfile.gettempdir()) / f"fork-server-{OWNER}"
    folder.mkdir(mode=0o700, exist_ok=True)
    address = folder / "socket"
    with FileLock(folder / "lock"):
        if not address.exists():
            log = folder / "log.txt"
            with log.open("wb") as output:
                command = [sys.executable, str(REPOSITORY / "tests" / "fork_server.py"), str(address), str(OWNER)]
                server = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
            while not address.exists():
                assert server.poll() is None, log.read_text()
                time.sleep(0.1)
    return str(address)


def _main_of(command: str, arguments: list[str]) -> None:
    sys.argv = [command, *arguments]
    sys.exit(importlib.import_module(command).main())
