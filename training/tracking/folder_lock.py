"""A lock on a run's folder that holds between machines, and ends with its holder."""

import json
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from training.tracking import TrackingError

BEAT_SECONDS = 5.0
"""Seconds between two heartbeats in the lock, for processes on other machines that share the disk."""
MISSED_BEATS = 3
"""After this many missed heartbeats a process on another machine counts as dead."""
LONG_AGO = 600.0
"""Seconds since the last heartbeat: more than any difference between the clocks of two machines."""


class FolderLock:
    """One writer for each run.

    The operating system's lock on a file ends with the process, however the process ends. Some disks are shared by
    several machines without sharing locks: for them the holder updates the file's time again and again.
    """

    def __init__(self, path: Path, run_folder: Path) -> None:
        """Raises TrackingError, which names the process that has it, and OSError when the file cannot be written."""
        self._path, self._run_folder = path, run_folder
        self._lock = FileLock(path, timeout=0, thread_local=False, fallback_to_soft=False)
        self._ended = threading.Event()
        self._pid = os.getpid()
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o644))  # an OSError of the lock alone is not one of the file
        try:
            self._lock.acquire()
        except Timeout as error:
            raise self._taken() from error
        except OSError:
            pass  # a shared disk without locks: heartbeats must suffice
        try:
            self._write_holder()
        except BaseException:
            self._lock.release()
            raise
        threading.Thread(target=self._beat, name="journal-lock", daemon=True).start()

    def release(self) -> None:
        """Empty the file and unlock it, so that the next process, on any machine, need not wait."""
        if self._ended.is_set() or os.getpid() != self._pid:  # a forked child holds nothing
            return
        self._ended.set()
        with suppress(OSError):
            os.truncate(self._path, 0)
        self._lock.release()

    def _write_holder(self) -> None:
        holder = _holder(self._path)
        if holder and (holder.get("machine") != _machine() or not self._lock.is_locked) and self._shows_life():
            raise self._taken()
        me = {"machine": _machine(), "host": socket.gethostname(), "pid": os.getpid()}
        with suppress(OSError):  # a full disk: the lock itself holds
            self._path.write_text(json.dumps(me))
        os.utime(self._path)

    def _shows_life(self) -> bool:
        """Whether another machine's process touches the file while we wait. No clocks are compared."""
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
            with suppress(OSError):
                os.utime(self._path)


def _machine() -> str:
    """This machine since its last start: what ran before that has ended."""
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
