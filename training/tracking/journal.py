"""The records of a run on this machine's disk, before they are sent.

A journal is the folder `journal/` in the run's folder:

    records.jsonl   one record per line, {"number", "kind", "data", "crc32"}; lines are appended and never changed
    files/          pictures and networks that records name; each is removed when its record has arrived
    sent.json       the number of the last record that arrived, and the store's answers so far
    lock            locked while the journal is open; names the machine and the process that has it
    reserve         reserved space, freed when the disk is full, so that the end can still be written

The journal knows nothing about sending (see sender.py): a record is a kind and its data, and `sent.json` has whatever
the sender needs.

A record is written by one system call before `append` returns, so it outlives the process. `sync` forces it to the
disk, for a machine that loses its power. On a full disk nothing is lost as long as the store accepts the records: they
wait in memory, in their order, for the disk or the store.
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
    Record,
    file_name,
    files_of,
    read_line,
    read_sent,
    write_sent,
)

END_SECONDS = 60.0
"""Longest wait of an ended run until its records have arrived."""
MEMORY_BYTES = 64 * 2**20
"""Limit for pictures and records that wait in memory because the disk is full."""
RESERVE_BYTES = 64 * 2**10

_log = logging.getLogger(__name__)


@dataclass
class _Memory:
    """Lines in their order and files by name that could not be written to a full disk."""

    lines: deque[tuple[Record, bytes]] = field(default_factory=deque)
    files: dict[str, bytes] = field(default_factory=dict)

    def bytes(self) -> int:
        return sum(len(line) for _, line in self.lines) + sum(map(len, self.files.values()))


class Journal:
    """The journal of one run, open in this process alone. Safe to share between threads."""

    folder: Path
    sent: int
    """Number of the last record that has arrived."""
    answers: dict[str, Any]
    """Data of the sender."""

    def __init__(self, run_folder: Path) -> None:
        """Open the journal in a run's folder, or make one.

        Raises:
            TrackingError: when another process has it open, or the folder cannot be written.
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
                f"the journal of the run, {self.folder}, cannot be read ({error.strerror}); choose another folder."
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
                if not line.endswith(b"\n"):  # the process or the machine stopped while it was written
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
            _log.warning("%d records of %s are damaged and are skipped.", damaged, self.folder / RECORDS)
        for path in (self.folder / FILES).iterdir():  # a staged file whose record was never written
            if path.name not in needed:
                path.unlink()
        self._reserve()

    @property
    def last(self) -> int:
        """Number of the last record."""
        return self._last

    def append(self, kind: str, data: Mapping[str, Any]) -> int:
        """Add a record; returns its number. A full disk raises nothing: see the module's description.

        A closed journal adds nothing.
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
            # The end of the run is kept in any case: without it the run would keep the status RUNNING.
            if not written and (kind == "end" or self._memory.bytes() + len(line) <= MEMORY_BYTES):
                self._memory.lines.append((record, line))
            return record.number

    def retract(self, number: int) -> None:
        """Remove the last record, if it has this number and has not arrived."""
        with self._guard:
            record, start = self._newest
            if record == number == self._last and self.sent < number:
                self._memory.lines.clear()
                with suppress(OSError):
                    os.ftruncate(self._file, start)
                    self._end = start
                self._last -= 1

    def stage(self, content: bytes, suffix: str) -> str:
        """Store the content of a file for one record; returns its name, which contains its SHA-256."""
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
        """The same for a file on this disk that does not change: it is linked, which needs no space."""
        content = path.read_bytes()
        name = file_name(content, path.suffix)
        try:
            os.link(path, self.folder / FILES / name)
        except OSError:  # a disk without hard links
            return self.stage(content, path.suffix)
        return name

    def fetch(self, name: str, into: Path) -> Path:
        """Copy a staged file to the path `into`, after checking its SHA-256; returns `into`.

        Raises:
            TrackingError: when it is missing or damaged.
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
        """The next unsent records in their order, at most `most`."""
        with self._guard:
            found: list[Record] = []
            if self._file < 0:  # closed during a request
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
        """All records, sent and unsent."""
        with self._guard, (self.folder / RECORDS).open("rb") as file:
            written = [read_line(line) for line in file.read(self._end).splitlines(keepends=True)]
            return [record for record in written if record] + [record for record, _ in self._memory.lines]

    def arrived(self, records: Iterable[Record], answers: Mapping[str, Any], *, keep: bool = False) -> None:
        """Mark the next records as arrived, and store the data of the sender.

        With `keep` their files stay: the store refused them, and a person may want to see why.
        """
        done = list(records)
        with self._guard:
            if self._file < 0:  # closed during a request
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
        """Force written records to the disk. The sender calls it, so that training does not wait."""
        with self._guard:
            end = self._end
        if end != self._synced:
            with suppress(OSError):
                os.fsync(self._file)
            self._synced = end

    def close(self) -> None:
        """Close the journal. Records in neither the disk nor the store are lost, and are counted."""
        with self._guard:
            if self._file < 0:
                return
            self._write_waiting()
            write_sent(self.folder / SENT, self.sent, self.answers)  # a full disk may have space again
            if self._memory.lines or self._memory.files:
                self._write_the_end()
            with suppress(OSError):
                os.fsync(self._file)
            os.close(self._file)
            self._file = -1
            with suppress(OSError):
                (self.folder / RESERVE).unlink()
        self._lock.release()

    # The methods below are called with the guard held.

    def _write(self, line: bytes) -> bool:
        written = 0
        try:
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, self._end)  # no incomplete line
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
        """Write the number of lost records and the end of the run into the reserved space of a full disk."""
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
            return  # logged before
        self._is_full = True
        _log.warning(
            "The journal %s cannot be written (%s): records wait in memory and are sent from there.",
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
        """Move the reading position behind the arrived records."""
        with (self.folder / RECORDS).open("rb") as file:
            file.seek(self._read_to)
            while self._read_to < self._end:
                line = file.readline()
                record = read_line(line)
                if record is not None and record.number > self.sent:
                    return
                self._read_to += len(line)


def set_aside(run_folder: Path) -> Path | None:
    """Remove the journal of an earlier run in the same folder, or rename it if it has unsent records.

    Returns:
        The new folder of a renamed journal.

    Raises:
        TrackingError: when a process has it open, or it cannot be removed or renamed.
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
            f"the journal of an earlier run, {folder}, cannot be moved ({error.strerror}); choose another folder."
        ) from error
    return kept
