"""The records of a run on this machine's disk, before they are sent.

A journal is the folder `journal/` in the run's folder:

    records.jsonl   one record per line, {"number", "kind", "data", "crc32"}; lines are appended and never changed
    files/          pictures and networks that records name; each is removed when its record has arrived, unless the
                    run keeps its files
    sent.json       for each store the number of the last record that arrived there, and its answers so far
    lock            locked while the journal is open; names the machine and the process that has it
    reserve         reserved space, freed when the disk is full, so that the end can still be written

A record is written by one system call before `append` returns, so it outlives the process. `sync` forces it to the
disk, for a machine that loses its power. On a full disk nothing is lost as long as the store accepts the records: they
wait in memory, in their order, for the disk or the store. A journal at its limit of bytes behaves like a full disk.
"""

import errno
import logging
import os
import shutil
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from training.tracking import TrackingError
from training.tracking.journal_files import (
    DISK_BYTES,
    FILES,
    FOLDER,
    LOCK,
    RECORDS,
    RESERVE,
    Record,
    Sent,
    Waiting,
    all_sent,
    file_digest,
    file_name,
    files_of,
    lock_of,
    read_line,
    write_sent,
)

END_SECONDS = 60.0
"""Longest wait of an ended run until its records have arrived."""
MEMORY_BYTES = 64 * 2**20
"""Limit for pictures and records that wait in memory because the disk is full."""
RESERVE_BYTES = 64 * 2**10

_log = logging.getLogger(__name__)


class Journal:
    """The journal of one run, open in this process alone. Safe to share between threads."""

    folder: Path
    last: int
    """Number of the last record."""
    sent: int
    """Number of the last record that has arrived."""
    answers: dict[str, Any]
    """Data of the sender."""

    def __init__(
        self, run_folder: Path, *, store: str | None = None, keep_files: bool = False, limit: int = DISK_BYTES
    ) -> None:
        """Open the journal in a run's folder, or make one.

        Args:
            store: address of the store whose `sent` and `answers` these are; by default the first one.
            keep_files: keep the files of records that have arrived, for another store.
            limit: bytes that the records and files take at most.

        Raises:
            TrackingError: when another process has it open, or the folder cannot be written.
        """
        self.folder = Path(run_folder) / FOLDER
        self._guard = threading.Lock()
        self._memory = Waiting()
        self._keep_files, self._limit = keep_files, limit
        try:
            (self.folder / FILES).mkdir(parents=True, exist_ok=True)
            self._lock = lock_of(self.folder / LOCK, Path(run_folder))
            try:
                self._open(store)
            except OSError:
                self._lock.release()
                raise
        except OSError as error:
            raise TrackingError(
                f"the journal of the run, {self.folder}, cannot be written ({error.strerror}); choose another folder."
            ) from error

    def _open(self, store: str | None) -> None:
        self._others = all_sent(self.folder)
        self._store = next(iter(self._others), "") if store is None else store
        mine = self._others.pop(self._store, Sent())
        self.sent, self.answers = mine.number, mine.answers
        self._file = os.open(self.folder / RECORDS, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._end = self.last = self._read_to = damaged = 0
        self._is_full = False
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
                self.last = record.number
                if record.number <= self.sent:
                    self._read_to = self._end
                if record.number > self.sent or self._keep_files:
                    needed |= files_of(record)
        os.ftruncate(self._file, self._end)
        self.last = max(self.last, self.sent)
        if damaged:
            _log.warning("%d records of %s are damaged and are skipped.", damaged, self.folder / RECORDS)
        self._file_bytes = 0
        for path in (self.folder / FILES).iterdir():
            if path.name in needed:
                self._file_bytes += path.stat().st_size
            else:  # also a staged file whose record was never written
                path.unlink()
        try:
            if not (self.folder / RESERVE).exists():
                (self.folder / RESERVE).write_bytes(bytes(RESERVE_BYTES))
        except OSError:  # what room there is belongs to records
            with suppress(OSError):
                (self.folder / RESERVE).unlink()

    def append(self, kind: str, data: Mapping[str, Any]) -> int:
        """Add a record; returns its number. A full disk raises nothing, and a closed journal adds nothing."""
        with self._guard:
            if self._file < 0:
                return self.last
            record = Record(self.last + 1, kind, dict(data))
            self.last = record.number
            line = record.line()
            self._write_waiting()
            written = not self._memory.lines and self._write(line)
            # The end of the run is kept in any case: without it the run would keep the status RUNNING.
            if not written and (kind == "end" or self._memory.bytes() + len(line) <= MEMORY_BYTES):
                self._memory.lines.append((record, line))
            return record.number

    def stage(self, content: bytes, suffix: str) -> str:
        """Store the content of a file for one record; returns its name, which contains its SHA-256."""
        name = file_name(sha256(content).hexdigest(), suffix)
        with self._guard:
            if not self._write_file(name, content) and self._memory.bytes() + len(content) <= MEMORY_BYTES:
                self._memory.files[name] = content
        return name

    def stage_file(self, path: Path, *, link: bool) -> str:
        """The same for a file on this disk, of any size; with `link`, which needs no space, it must not change.

        Raises:
            TrackingError: when it cannot be read.
        """
        try:
            size = path.stat().st_size
            staged = self.folder / FILES / file_name("copy", path.suffix)
            try:
                self._check_room(size)
                if link:
                    with suppress(OSError):  # a disk without hard links
                        os.link(path, staged)
                if not staged.exists():
                    shutil.copyfile(path, staged)
                with self._guard:
                    self._file_bytes += size
                return staged.rename(staged.with_name(file_name(file_digest(staged), path.suffix))).name
            except OSError as error:  # a full disk
                with suppress(OSError):
                    staged.unlink()
                if size > MEMORY_BYTES:
                    with self._guard:
                        self._say_full(error)
                    return file_name(file_digest(path), path.suffix)  # which will be missing
                return self.stage(path.read_bytes(), path.suffix)
        except OSError as error:
            raise TrackingError(f"{path} cannot be read ({error.strerror}); give a file that can.") from error

    def fetch(self, name: str, into: Path) -> Path:
        """Copy a staged file to the path `into`, after checking its SHA-256; returns `into`.

        Raises:
            TrackingError: when it is missing or damaged.
        """
        with self._guard:
            content = self._memory.files.get(name)
        try:
            if content is None:
                shutil.copyfile(self.folder / FILES / name, into)
            else:
                into.write_bytes(content)
        except FileNotFoundError as error:
            raise TrackingError(f"the journal {self.folder} has lost its file {name}.") from error
        if file_digest(into) != name.partition("-")[0]:
            raise TrackingError(f"the journal's file {self.folder / FILES / name} is damaged.")
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
                    record = read_line(line := file.readline())
                    if record is not None and record.number > self.sent:
                        found.append(record)
                    elif not found:  # what has arrived need not be read again
                        self._read_to += len(line)
            waiting = (record for record, _ in self._memory.lines if record.number > self.sent)
            return found + [record for record, _ in zip(waiting, range(most - len(found)), strict=False)]

    def arrived(self, records: Iterable[Record], answers: Mapping[str, Any]) -> None:
        """Mark the next records as arrived, or as refused for good, and store the data of the sender."""
        done = list(records)
        with self._guard:
            if self._file < 0:  # closed during a request
                return
            self.answers = dict(answers)
            if done:
                self.sent = done[-1].number
            while self._memory.lines and self._memory.lines[0][0].number <= self.sent:
                self._memory.lines.popleft()
            self._write_sent()
            no_longer_needed = [] if self._keep_files else done
            for name in {name for record in no_longer_needed for name in files_of(record)}:
                self._memory.files.pop(name, None)
                with suppress(OSError):
                    size = (self.folder / FILES / name).stat().st_size
                    (self.folder / FILES / name).unlink()
                    self._file_bytes -= size

    def sync(self) -> None:
        """Force written records to the disk. The sender calls it, so that training does not wait."""
        with suppress(OSError):  # also when it is closed meanwhile
            os.fsync(self._file)

    def close(self) -> None:
        """Close the journal. Records in neither the disk nor the store are lost, and are counted."""
        with self._guard:
            if self._file < 0:
                return
            self._write_waiting()
            self._write_sent()  # a full disk may have space again
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

    def _write_sent(self) -> None:
        if self.sent or self.answers:  # a store that never answered has none
            write_sent(self.folder, {**self._others, self._store: Sent(self.sent, self.answers)})

    def _write(self, line: bytes) -> bool:
        written = 0
        try:
            self._check_room(len(line))
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, self._end)  # no incomplete line
            self._say_full(error)
            return False
        self._end += len(line)
        return True

    def _write_file(self, name: str, content: bytes) -> bool:
        path = self.folder / FILES / name
        try:
            self._check_room(len(content))
            path.write_bytes(content)
        except OSError as error:
            with suppress(OSError):
                path.unlink()
            self._say_full(error)
            return False
        self._file_bytes += len(content)
        return True

    def _check_room(self, size: int) -> None:
        if self._end + self._file_bytes + size > self._limit:
            raise OSError(errno.ENOSPC, f"it has reached its limit of {self._limit:,} bytes")

    def _write_waiting(self) -> None:
        for name in list(self._memory.files):
            if not self._write_file(name, self._memory.files[name]):
                return
            del self._memory.files[name]
        while self._memory.lines:
            if not self._write(self._memory.lines[0][1]):
                return
            self._memory.lines.popleft()
        self._is_full = False

    def _write_the_end(self) -> None:
        """Write the end of the run into the reserved space of a full disk; what else is in memory is lost."""
        with suppress(OSError):
            (self.folder / RESERVE).unlink()
        self._limit += RESERVE_BYTES
        ends = [line for record, line in self._memory.lines if record.kind == "end"]
        records, files = len(self._memory.lines) - len(ends), len(self._memory.files)
        if records or files:
            _log.warning(
                "The disk of %s was full to the end; lost are %d records and %d files.", self.folder, records, files
            )
        for line in ends:
            self._write(line)

    def _say_full(self, error: OSError) -> None:
        if self._is_full:
            return  # logged before
        self._is_full = True
        _log.warning(
            "The journal %s cannot be written (%s): records wait in memory and are sent from there.",
            self.folder,
            error.strerror,
        )
