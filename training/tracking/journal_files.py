"""A journal on the disk: its records, one a line, its other files, and the lock on its folder."""

import hashlib
import json
import math
import os
import re
import secrets
import socket
import time
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from training.tracking import TrackingError

FOLDER = "journal"
RECORDS, FILES, SENT, LOCK, RESERVE = "records.jsonl", "files", "sent.json", "lock", "reserve"
DISK_BYTES = 20 * 2**30
"""Default limit of a journal's records and files."""
_SEPARATOR = b', "crc32": "'


@dataclass(frozen=True)
class Record:
    """One entry of a run's journal. `number` counts from 1; `data` has only values that JSON can hold."""

    number: int
    kind: str
    data: dict[str, Any]

    def line(self) -> bytes:
        """The line of the journal, with its checksum."""
        text = json.dumps({"number": self.number, "kind": self.kind, "data": self.data}, allow_nan=False)
        body = text[:-1].encode()
        return body + _SEPARATOR + f'{zlib.crc32(body):08x}"}}\n'.encode()


def read_line(line: bytes) -> Record | None:
    """The record of a line; None for a damaged or incomplete line."""
    body, separator, checksum = line.rpartition(_SEPARATOR)
    if not separator or checksum != f'{zlib.crc32(body):08x}"}}\n'.encode():
        return None
    return Record(**json.loads(body + b"}"))


@dataclass
class Waiting:
    """Lines in their order and files by name that could not be written to a full disk."""

    lines: deque[tuple[Record, bytes]] = field(default_factory=deque)
    files: dict[str, bytes] = field(default_factory=dict)

    def bytes(self) -> int:
        return sum(len(line) for _, line in self.lines) + sum(map(len, self.files.values()))


def plain_number(value: float) -> float | str:
    """A number in the form of a record: JSON has no NaN and no infinity, so they are text. `float` reads both."""
    return value if math.isfinite(value) else repr(value)


def plain_numbers(values: Mapping[str, float]) -> dict[str, float | str]:
    return {name: plain_number(value) for name, value in values.items()}


def milliseconds() -> int:
    return time.time_ns() // 1_000_000


def records_in(folder: Path, kind: str = "") -> Iterator[Record]:
    """The undamaged records (of a kind) in the folder of a journal, which another process may be writing."""
    sign = f'"kind": "{kind}"'.encode() if kind else b""
    with (folder / RECORDS).open("rb") as file:
        for line in file:
            record = read_line(line) if sign in line else None
            if record is not None and kind in ("", record.kind):
                yield record


@dataclass(frozen=True)
class Sent:
    """What one store has received: the number of the last record that arrived, and the data of the sender."""

    number: int = 0
    answers: dict[str, Any] = field(default_factory=dict)


def all_sent(folder: Path) -> dict[str, Sent]:
    """What each store has received, by its address without a password.

    A damaged file counts as nothing received: sending twice is harmless.
    """
    try:
        values = json.loads((folder / SENT).read_text(encoding="utf-8"))
        return {store: Sent(int(each["sent"]), dict(each["answers"])) for store, each in values.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write_sent(folder: Path, stores: Mapping[str, Sent]) -> None:
    """Write what each store has received. On a full disk nothing is written, and some records are sent again later."""
    values = {store: {"sent": each.number, "answers": each.answers} for store, each in stores.items()}
    temporary = folder / f".{SENT}"
    try:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, folder / SENT)
    except OSError:
        with suppress(OSError):
            temporary.unlink()


def numbered(folder: Path, pattern: str) -> dict[int, Path]:
    """Number to path of what is in a folder, in the order of the numbers: the group of a name's pattern, or else 1."""
    named = ((re.fullmatch(pattern, path.name), path) for path in folder.glob("*"))
    return dict(sorted((int(match[1] or 1), path) for match, path in named if match))


def file_name(digest: str, suffix: str) -> str:
    """A new name of a file with this SHA-256."""
    return f"{digest}-{secrets.token_hex(4)}{suffix}"


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(record: Record) -> set[str]:
    name = record.data.get("file")
    return {name} if isinstance(name, str) else set()


def lock_of(path: Path, run_folder: Path) -> FileLock:
    """Lock a run's folder for this process; the operating system's lock ends with the process, however that ends.

    A disk that has no locks, as some shared ones, does not protect a run from a second process.

    Raises:
        TrackingError: when another process has the lock; it names the process.
    """
    lock = FileLock(path, timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
    except Timeout as error:
        holder = path.read_text(encoding="utf-8", errors="replace") or "another process"
        raise TrackingError(f"{run_folder} is being written by {holder}; wait until it ends, or stop it.") from error
    except OSError:  # there are no locks, or the full disk has no room for the name
        pass
    return lock
