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
import logging
import os
import shutil
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from training.tracking import TrackingError
from training.tracking.folder_lock import FolderLock
from training.tracking.journal_files import (
    FILES,
    FOLDER,
    LOCK,
    RECORDS,
    RESERVE,
    SENT,
    file_name,
    files_of,
    read_sent,
    write_sent,
)
from training.tracking.record import Record, read_line

END_SECONDS = 60.0
"""How long a run that has ended waits for the store to take what is still on its way."""
MEMORY_BYTES = 64 * 2**20
"""Of pictures and records that a full disk did not take."""
RESERVE_BYTES = 64 * 2**10


_log = logging.getLogger(__name__)


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
            TrackingError: when another process has it, or the folder cannot be written.
        """
        self.folder = Path(run_folder) / FOLDER
        self._guard = threading.Lock()
        self._memory = _Memory()
        try:
            (self.folder / FILES).mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(self.folder / LOCK, Path(run_folder))
        except OSError as error:
            raise TrackingError(
                f"the journal of the run, {self.folder}, cannot be written ({error.strerror}); choose another folder."
            ) from error
        try:
            self._open()
        except OSError as error:
            self._lock.release()
            raise TrackingError(
                f"the journal of the run, {self.folder}, cannot be read or written ({error.strerror})."
            ) from error

    def _open(self) -> None:
        self.sent, self.answers = read_sent(self.folder / SENT)
        self._file = os.open(self.folder / RECORDS, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._end = self._last = self._read_to = damaged = 0
        self._is_full = False
        self._newest = (0, 0)
        needed: set[str] = set()
        with (self.folder / RECORDS).open("rb") as file:
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
                    needed |= files_of(record)
        os.ftruncate(self._file, self._end)
        self._last = max(self._last, self.sent)
        self._synced = self._end
        if damaged:
            _log.warning("%d records of %s are damaged and are passed over.", damaged, self.folder / RECORDS)
        for path in (self.folder / FILES).iterdir():  # what was staged, and its record then never written
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
        name = file_name(content, suffix)
        path = self.folder / FILES / name
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
        name = file_name(content, path.suffix)
        try:
            os.link(path, self.folder / FILES / name)
        except OSError:  # a disk that cannot
            return self.stage(content, path.suffix)
        return name

    def fetch(self, name: str, into: Path) -> Path:
        """Put a staged file at the path `into`, checked against its name; returns `into`.

        Raises:
            TrackingError: when it is gone or damaged.
        """
        with self._guard:
            content = self._memory.files.get(name)
        try:
            if content is None:
                content = (self.folder / FILES / name).read_bytes()
        except FileNotFoundError as error:
            raise TrackingError(f"the journal {self.folder} has lost its file {name}.") from error
        if sha256(content).hexdigest() != name.partition("-")[0]:
            raise TrackingError(f"the journal's file {self.folder / FILES / name} is damaged.")
        into.write_bytes(content)
        return into

    def pending(self, most: int) -> list[Record]:
        """The next records that have not arrived, in their order, at most so many."""
        with self._guard:
            found: list[Record] = []
            if self._file < 0:  # closed while a request was under way
                return found
            self._write_waiting()
            with (self.folder / RECORDS).open("rb") as file:
                file.seek(self._read_to)
                while len(found) < most and file.tell() < self._end:
                    record = read_line(file.readline())
                    if record is not None and record.number > self.sent:
                        found.append(record)
            waiting = (record for record, _ in self._memory.lines if record.number > self.sent)
            return found + [record for record, _ in zip(waiting, range(most - len(found)), strict=False)]

    def records(self) -> list[Record]:
        """Every record, those that arrived too."""
        with self._guard, (self.folder / RECORDS).open("rb") as file:
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
            write_sent(self.folder / SENT, self.sent, self.answers)
            if keep:
                return
            for name in {name for record in done for name in files_of(record)}:
                self._memory.files.pop(name, None)
                with suppress(OSError):
                    (self.folder / FILES / name).unlink()

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
            write_sent(self.folder / SENT, self.sent, self.answers)  # a disk that was full may have room again
            if self._memory.lines or self._memory.files:
                self._write_the_end()
            with suppress(OSError):
                os.fsync(self._file)
            os.close(self._file)
            self._file = -1
            with suppress(OSError):
                (self.folder / RESERVE).unlink()
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
                (self.folder / FILES / name).write_bytes(self._memory.files[name])
            except OSError:
                with suppress(OSError):
                    (self.folder / FILES / name).unlink()
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
            (self.folder / RESERVE).unlink()
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
            if not (self.folder / RESERVE).exists():
                (self.folder / RESERVE).write_bytes(bytes(RESERVE_BYTES))
        except OSError:
            with suppress(OSError):
                (self.folder / RESERVE).unlink()

    def _advance(self) -> None:
        """Move the place to read from behind what has arrived."""
        with (self.folder / RECORDS).open("rb") as file:
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
        TrackingError: when a process has it, or it cannot be removed or renamed.
    """
    folder = Path(run_folder) / FOLDER
    if not (folder / RECORDS).exists():
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
        raise TrackingError(
            f"the journal of an earlier run, {folder}, cannot be put aside ({error.strerror}); choose another folder."
        ) from error
    return kept
