"""What a run has to say, kept on this machine's disk before it is sent anywhere.

A journal is a folder, `journal/` in the run's own:

    records.jsonl   one record a line, {"number", "kind", "data", "crc32"}; lines are appended and never changed
    files/          pictures and networks that records name; each goes when its record has arrived
    sent.json       the number of the last record that arrived, and what the store answered so far
    lock            held while the journal is open; names the machine and the process that has it
    reserve         room on the disk, given up when the disk is full so that the end can still be written

What sending means is not known here (see sender.py): a record is a kind and its data, and `sent.json` holds
whatever the sender wants to find again.

A record is written by one system call before `append` returns, so it outlives the process. `sync` brings it to the
disk itself, for a machine that loses its power. A disk that is full costs nothing as long as the store takes the
records: they wait in memory, in their order, until the disk or the store takes them.
"""

import itertools
import json
import logging
import math
import os
import re
import secrets
import shutil
import socket
import threading
import time
import weakref
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from stylecore.errors import StylecoreError

FOLDER = "journal"
END_SECONDS = 60.0
"""How long a run that has ended waits for the store to take what is still on its way."""
BEAT_SECONDS = 5.0
"""Between two signs of life in the lock, for processes on other machines that share the disk."""
MISSED_BEATS = 3
"""A process on another machine that missed so many has died."""
LONG_AGO = 600.0
"""Seconds since the last sign of life that no difference between two machines' clocks explains."""
MEMORY_BYTES = 64 * 2**20
"""Of pictures and records that a full disk did not take."""
RESERVE_BYTES = 64 * 2**10

_RECORDS, _FILES, _SENT, _LOCK, _RESERVE = "records.jsonl", "files", "sent.json", "lock", "reserve"
_SEPARATOR = b', "crc32": "'

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """One thing that a run said. `number` counts from 1; `data` is what JSON can hold."""

    number: int
    kind: str
    data: dict[str, Any]

    def line(self) -> bytes:
        """The line of the journal, with its checksum."""
        text = json.dumps({"number": self.number, "kind": self.kind, "data": self.data}, allow_nan=False)
        body = text[:-1].encode()
        return body + _SEPARATOR + f'{zlib.crc32(body):08x}"}}\n'.encode()


def read_line(line: bytes) -> Record | None:
    """The record of a line; None for a line that is damaged or was not written to its end."""
    body, separator, checksum = line.rpartition(_SEPARATOR)
    if not separator or checksum != f'{zlib.crc32(body):08x}"}}\n'.encode():
        return None
    try:
        values = json.loads(body + b"}")
        return Record(int(values["number"]), str(values["kind"]), dict(values["data"]))
    except (ValueError, KeyError, TypeError):
        return None


def plain_number(value: float) -> float | str:
    """A number as a record keeps it: JSON has no word for those that are not finite. `float` reads both."""
    return value if math.isfinite(value) else repr(value)


@dataclass
class _Memory:
    """What the disk did not take: whole lines in their order, and files by name."""

    lines: deque[tuple[Record, bytes]] = field(default_factory=deque)
    files: dict[str, bytes] = field(default_factory=dict)

    def bytes(self) -> int:
        return sum(len(line) for _, line in self.lines) + sum(map(len, self.files.values()))


class Journal:
    """The journal of one run, open in this process alone. Safe to share between threads."""

    folder: Path
    sent: int
    """Number of the last record that arrived."""
    answers: dict[str, Any]
    """What the sender keeps."""

    def __init__(self, run_folder: Path) -> None:
        """Open the journal in a run's folder, or begin one.

        Raises:
            StylecoreError: when another process has it, or the folder cannot be written.
        """
        self.folder = Path(run_folder) / FOLDER
        self._guard = threading.Lock()
        self._memory = _Memory()
        try:
            (self.folder / _FILES).mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(self.folder / _LOCK, Path(run_folder))
        except OSError as error:
            raise StylecoreError(
                f"the journal of the run, {self.folder}, cannot be written ({error.strerror}); choose another folder."
            ) from error
        try:
            self._open()
        except OSError as error:
            self._lock.release()
            raise StylecoreError(
                f"the journal of the run, {self.folder}, cannot be read or written ({error.strerror})."
            ) from error

    def _open(self) -> None:
        self.sent, self.answers = _read_sent(self.folder / _SENT)
        self._file = os.open(self.folder / _RECORDS, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._end = self._last = self._read_to = damaged = 0
        self._is_full = False
        self._newest = (0, 0)
        needed: set[str] = set()
        with (self.folder / _RECORDS).open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):  # the process was killed, or the power failed, while it was written
                    break
                self._end += len(line)
                record = read_line(line)
                if record is None:
                    damaged += 1
                    continue
                self._last = record.number
                if record.number <= self.sent:
                    self._read_to = self._end
                else:
                    needed |= _files_of(record)
        os.ftruncate(self._file, self._end)
        self._last = max(self._last, self.sent)
        self._synced = self._end
        if damaged:
            _log.warning("%d records of %s are damaged and are passed over.", damaged, self.folder / _RECORDS)
        for path in (self.folder / _FILES).iterdir():  # what was staged, and its record then never written
            if path.name not in needed:
                path.unlink()
        self._reserve()

    @property
    def last(self) -> int:
        """Number of the last record."""
        return self._last

    def append(self, kind: str, data: Mapping[str, Any]) -> int:
        """Keep a record; returns its number. Never raises for the disk: see the module's description.

        A journal that is closed keeps nothing.
        """
        with self._guard:
            if self._file < 0:
                return self._last
            record = Record(self._last + 1, kind, dict(data))
            self._last = record.number
            line = record.line()
            self._newest = (record.number, self._end)
            self._write_waiting()
            written = not self._memory.lines and self._write(line)
            # How the run ended is kept in any case: without it the run would seem to go on for ever.
            if not written and (kind == "end" or self._memory.bytes() + len(line) <= MEMORY_BYTES):
                self._memory.lines.append((record, line))
            return record.number

    def retract(self, number: int) -> None:
        """Take the last record back, if it is this one and has not arrived."""
        with self._guard:
            record, start = self._newest
            if record == number == self._last and self.sent < number:
                self._memory.lines.clear()
                with suppress(OSError):
                    os.ftruncate(self._file, start)
                    self._end = start
                self._last -= 1

    def stage(self, content: bytes, suffix: str) -> str:
        """Keep the content of a file for one record to name; returns the name, which has its SHA-256."""
        name = _file_name(content, suffix)
        path = self.folder / _FILES / name
        try:
            path.write_bytes(content)
        except OSError as error:
            with suppress(OSError):
                path.unlink()
            with self._guard:
                self._say_full(error)
                if self._memory.bytes() + len(content) <= MEMORY_BYTES:
                    self._memory.files[name] = content
        return name

    def stage_file(self, path: Path) -> str:
        """The same for a file on this disk that nobody changes: it is linked, which takes no room."""
        content = path.read_bytes()
        name = _file_name(content, path.suffix)
        try:
            os.link(path, self.folder / _FILES / name)
        except OSError:  # a disk that cannot
            return self.stage(content, path.suffix)
        return name

    def fetch(self, name: str, into: Path) -> Path:
        """Put a staged file at the path `into`, checked against its name; returns `into`.

        Raises:
            StylecoreError: when it is gone or damaged.
        """
        with self._guard:
            content = self._memory.files.get(name)
        try:
            if content is None:
                content = (self.folder / _FILES / name).read_bytes()
        except FileNotFoundError as error:
            raise StylecoreError(f"the journal {self.folder} has lost its file {name}.") from error
        if sha256(content).hexdigest() != name.partition("-")[0]:
            raise StylecoreError(f"the journal's file {self.folder / _FILES / name} is damaged.")
        into.write_bytes(content)
        return into

    def pending(self, most: int) -> list[Record]:
        """The next records that have not arrived, in their order, at most so many."""
        with self._guard:
            found: list[Record] = []
            if self._file < 0:  # closed while a request was under way
                return found
            self._write_waiting()
            with (self.folder / _RECORDS).open("rb") as file:
                file.seek(self._read_to)
                while len(found) < most and file.tell() < self._end:
                    record = read_line(file.readline())
                    if record is not None and record.number > self.sent:
                        found.append(record)
            waiting = (record for record, _ in self._memory.lines if record.number > self.sent)
            return found + [record for record, _ in zip(waiting, range(most - len(found)), strict=False)]

    def records(self) -> list[Record]:
        """Every record, those that arrived too."""
        with self._guard, (self.folder / _RECORDS).open("rb") as file:
            written = [read_line(line) for line in file.read(self._end).splitlines(keepends=True)]
            return [record for record in written if record] + [record for record, _ in self._memory.lines]

    def arrived(self, records: Iterable[Record], answers: Mapping[str, Any], *, keep: bool = False) -> None:
        """Note that these, the next in order, have arrived, and what the sender wants to find again.

        With `keep` their files stay: the store refused them, and someone may want to see why.
        """
        done = list(records)
        with self._guard:
            if self._file < 0:  # closed while a request was under way
                return
            self.answers = dict(answers)
            if done:
                self.sent = done[-1].number
            self._advance()
            while self._memory.lines and self._memory.lines[0][0].number <= self.sent:
                self._memory.lines.popleft()
            _write_sent(self.folder / _SENT, self.sent, self.answers)
        if keep:
            return
        for name in {name for record in done for name in _files_of(record)}:
            self._memory.files.pop(name, None)
            with suppress(OSError):
                (self.folder / _FILES / name).unlink()

    def sync(self) -> None:
        """Bring what was written to the disk itself. Called by the sender, so that training does not wait for it."""
        with self._guard:
            end = self._end
        if end != self._synced:
            with suppress(OSError):
                os.fsync(self._file)
            self._synced = end

    def close(self) -> None:
        """Give the journal back. What the disk has still not taken, and the store neither, is lost: it is counted."""
        with self._guard:
            if self._file < 0:
                return
            self._write_waiting()
            _write_sent(self.folder / _SENT, self.sent, self.answers)  # a disk that was full may have room again
            if self._memory.lines or self._memory.files:
                self._write_the_end()
            with suppress(OSError):
                os.fsync(self._file)
            os.close(self._file)
            self._file = -1
            with suppress(OSError):
                (self.folder / _RESERVE).unlink()
        self._lock.release()

    # All below is called with the guard held.

    def _write(self, line: bytes) -> bool:
        written = 0
        try:
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, self._end)  # nothing half
            self._say_full(error)
            return False
        self._end += len(line)
        return True

    def _write_waiting(self) -> None:
        for name in list(self._memory.files):
            try:
                (self.folder / _FILES / name).write_bytes(self._memory.files[name])
            except OSError:
                with suppress(OSError):
                    (self.folder / _FILES / name).unlink()
                return
            del self._memory.files[name]
        while self._memory.lines:
            if not self._write(self._memory.lines[0][1]):
                return
            self._memory.lines.popleft()
        self._is_full = False

    def _write_the_end(self) -> None:
        """The disk stays full to the last: in the room that was reserved, say what is lost, and how the run ended."""
        with suppress(OSError):
            (self.folder / _RESERVE).unlink()
        waiting = [record for record, _ in self._memory.lines]
        lost = Counter(record.kind for record in waiting if record.kind != "end")
        parts = [f"{count} records of {kind}" for kind, count in sorted(lost.items())]
        parts += [f"{len(self._memory.files)} files"] if self._memory.files else []
        if parts:
            words = ", ".join(parts)
            _log.warning("The disk of %s was full to the end; lost are %s.", self.folder, words)
            number = waiting[0].number if waiting else self._last + 1
            self._write(Record(number, "missing", {"what": words}).line())
        for record in waiting:
            if record.kind == "end":
                self._write(record.line())

    def _say_full(self, error: OSError) -> None:
        if self._is_full:
            return  # said before
        self._is_full = True
        _log.warning(
            "The journal %s cannot be written (%s): what the run logs waits in memory, and is sent from there.",
            self.folder,
            error.strerror,
        )

    def _reserve(self) -> None:
        try:
            if not (self.folder / _RESERVE).exists():
                (self.folder / _RESERVE).write_bytes(bytes(RESERVE_BYTES))
        except OSError:
            with suppress(OSError):
                (self.folder / _RESERVE).unlink()

    def _advance(self) -> None:
        """Move the place to read from behind what has arrived."""
        with (self.folder / _RECORDS).open("rb") as file:
            file.seek(self._read_to)
            while self._read_to < self._end:
                line = file.readline()
                record = read_line(line)
                if record is not None and record.number > self.sent:
                    return
                self._read_to += len(line)


def set_aside(run_folder: Path) -> Path | None:
    """Make room for the journal of another run in the same folder: one whose records all arrived is removed, any
    other is kept beside it, for a replay; returns where.

    Raises:
        StylecoreError: when a process has it, or it cannot be removed or renamed.
    """
    folder = Path(run_folder) / FOLDER
    if not (folder / _RECORDS).exists():
        return None
    journal = Journal(run_folder)
    try:
        whole = not journal.pending(1)
    finally:
        journal.close()
    try:
        if whole:
            shutil.rmtree(folder)
            return None
        kept = next(path for n in itertools.count(1) if not (path := folder.with_name(f"{FOLDER}-{n}")).exists())
        kept.mkdir()
        folder.rename(kept / FOLDER)
    except OSError as error:
        raise StylecoreError(
            f"the journal of an earlier run, {folder}, cannot be put aside ({error.strerror}); choose another folder."
        ) from error
    return kept


def unsent_folders(run_folder: Path) -> list[Path]:
    """The folders with a journal, the oldest run first: those that `set_aside` kept, and the run's own."""
    named = ((re.fullmatch(rf"{FOLDER}-(\d+)", path.name), path) for path in run_folder.glob(f"{FOLDER}-*"))
    aside = {int(match[1]): path for match, path in named if match}
    folders = (*(aside[number] for number in sorted(aside)), run_folder)
    return [folder for folder in folders if (folder / FOLDER / _RECORDS).exists()]


class FolderLock:
    """One writer a run: the system's lock on a file, which ends with the process however that ends, and, for a disk
    that several machines share without sharing locks, signs of life in the same file's time."""

    def __init__(self, path: Path, run_folder: Path) -> None:
        """Raises StylecoreError, naming the process that has it, and OSError when the file cannot be written."""
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
            os.register_at_fork(after_in_child=_dropping(weakref.ref(self)))
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

    def _taken(self) -> StylecoreError:
        holder = _holder(self._path)
        who = f"process {holder['pid']} on {holder['host']}" if {"pid", "host"} <= holder.keys() else "another process"
        return StylecoreError(f"{self._run_folder} is being written by {who}; wait until it ends, or stop it.")

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(OSError, TypeError):
                os.utime(self._file or -1)

    def _drop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def _dropping(lock: "weakref.ref[FolderLock]") -> Callable[[], None]:
    def drop() -> None:
        held = lock()
        if held is not None:
            held._drop()

    return drop


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


def _read_sent(path: Path) -> tuple[int, dict[str, Any]]:
    """Sending again does no harm, so a file that is missing or damaged means: nothing was sent."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return int(values["sent"]), dict(values["answers"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, {}


def _write_sent(path: Path, sent: int, answers: Mapping[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}")
    try:
        temporary.write_text(json.dumps({"sent": sent, "answers": answers}, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError:  # a full disk; what was sent is then sent again one day
        with suppress(OSError):
            temporary.unlink()


def _file_name(content: bytes, suffix: str) -> str:
    return f"{sha256(content).hexdigest()}-{secrets.token_hex(4)}{suffix}"


def _files_of(record: Record) -> set[str]:
    name = record.data.get("file")
    return {name} if isinstance(name, str) else set()
