"""A lock on a run's folder that holds between machines, and ends with its holder."""

import json
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from training.tracking import TrackingError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

BEAT_SECONDS = 5.0
"""Between two signs of life in the lock, for processes on other machines that share the disk."""


MISSED_BEATS = 3
"""A process on another machine that missed so many has died."""


LONG_AGO = 600.0
"""Seconds since the last sign of life that no difference between two machines' clocks explains."""


class FolderLock:
    """One writer a run: the system's lock on a file, which ends with the process however that ends, and, for a disk
    that several machines share without sharing locks, signs of life in the same file's time."""

    def __init__(self, path: Path, run_folder: Path) -> None:
        """Raises TrackingError, naming the process that has it, and OSError when the file cannot be written."""
        self._path, self._run_folder = path, run_folder
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._ended = threading.Event()
        try:
            self._take()
        except BaseException:
            os.close(self._file)
            self._file = None
            raise
        # A forked reader of photos would hold the lock on after the trainer was killed.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=dropping(weakref.ref(self)))
        threading.Thread(target=self._beat, name="journal-lock", daemon=True).start()

    def release(self) -> None:
        """Give it back in good order, so that the next process, wherever it runs, need not wait."""
        self._ended.set()
        if self._file is not None:
            with suppress(OSError):
                os.ftruncate(self._file, 0)
                if fcntl is not None:
                    fcntl.flock(self._file, fcntl.LOCK_UN)  # for a child too that was forked this instant
            self._drop()

    def _take(self) -> None:
        assert self._file is not None
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise self._taken() from error
            except OSError:
                pass  # a shared disk without locks: the signs of life have to do
        holder = _holder(self._path)
        if holder and (holder.get("machine") != _machine() or fcntl is None) and self._shows_life():
            raise self._taken()
        me = {"machine": _machine(), "host": socket.gethostname(), "pid": os.getpid()}
        with suppress(OSError):  # a full disk: the lock itself holds
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, json.dumps(me).encode())
        os.utime(self._file)

    def _shows_life(self) -> bool:
        """Whether another machine's process touches the file while we look. No clocks are compared."""
        first = _modified(self._path)
        if abs(time.time() - first / 1e9) > LONG_AGO:
            return False
        until = time.monotonic() + MISSED_BEATS * BEAT_SECONDS
        while time.monotonic() < until:
            time.sleep(BEAT_SECONDS / 5)
            if _modified(self._path) != first:
                return True
        return False

    def _taken(self) -> TrackingError:
        holder = _holder(self._path)
        who = f"process {holder['pid']} on {holder['host']}" if {"pid", "host"} <= holder.keys() else "another process"
        return TrackingError(f"{self._run_folder} is being written by {who}; wait until it ends, or stop it.")

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(OSError, TypeError):
                os.utime(self._file or -1)

    def _drop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def _machine() -> str:
    """This machine since it was started last: what ran before that has ended."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()


def _holder(path: Path) -> dict[str, Any]:
    try:
        holder = json.loads(path.read_bytes() or b"{}")
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _modified(path: Path) -> int:
    """The file's time, in nanoseconds. It is opened, because a network disk then asks its server."""
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_mtime_ns


def dropping(lock: "weakref.ref[FolderLock]") -> Callable[[], None]:
    def drop() -> None:
        held = lock()
        if held is not None:
            held._drop()

    return drop
