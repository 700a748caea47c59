"""The journal of a run: what it keeps when processes die, disks fill, and two want to write."""

import errno
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.tracking import TrackingError
from training.tracking import journal as journal_module
from training.tracking.folders import journals, set_aside
from training.tracking.journal import Journal
from training.tracking.journal_files import FOLDER, Record, plain_number, read_line, records_in

RECORDS = FOLDER + "/records.jsonl"

texts = st.text(max_size=20)
data = st.dictionaries(texts, st.one_of(texts, st.integers(), st.floats(allow_nan=False, allow_infinity=False)))


@given(st.integers(1, 10**9), texts, data)
def test_a_line_gives_its_record_back_and_damage_is_seen(number: int, kind: str, content: dict):
    line = Record(number, kind, content).line()
    assert line.count(b"\n") == 1
    assert read_line(line) == Record(number, kind, content)
    assert read_line(line[:-1]) is None
    for place in range(0, len(line) - 1, max(1, len(line) // 7)):
        damaged = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
        assert read_line(damaged) is None


@given(st.floats())
def test_every_float_comes_back(value: float):
    text = json.dumps(plain_number(value), allow_nan=False)
    assert repr(float(json.loads(text))) == repr(value)


def numbers(journal: Journal) -> list[int]:
    return [record.number for record in journal.pending(1000)]


def test_what_was_written_is_there_again_and_what_arrived_is_not(tmp_path: Path):
    journal = Journal(tmp_path)
    names = [journal.stage(b"content", ".png") for _ in range(3)]
    for name in names:
        journal.append("picture", {"file": name})
    assert numbers(journal) == [1, 2, 3]
    assert numbers(journal) == [1, 2, 3]
    journal.arrived(journal.pending(1), {"run_id": "abc"})
    assert journal.fetch(names[1], tmp_path / "copy").read_bytes() == b"content"  # the same content, another record
    journal.close()
    again = Journal(tmp_path)
    assert (again.sent, again.last, again.answers) == (1, 3, {"run_id": "abc"})
    assert numbers(again) == [2, 3]
    assert again.append("end", {}) == 4
    assert [record.kind for record in records_in(again.folder)] == ["picture", "picture", "picture", "end"]
    again.arrived(again.pending(10), {})
    assert not list((tmp_path / FOLDER / "files").iterdir())
    again.close()
    again.close()
    assert again.append("late", {}) == 4
    assert again.pending(1) == []


def test_a_half_written_line_is_cut_off_and_a_damaged_one_passed_over(tmp_path: Path, caplog):
    journal = Journal(tmp_path)
    for number in range(3):
        journal.append("metrics", {"step": number})
    orphan = journal.stage(b"never named", ".png")
    journal.close()
    lines = (tmp_path / RECORDS).read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"step": 1', b'"step": 7')
    (tmp_path / RECORDS).write_bytes(b"".join(lines) + lines[0][:20])
    again = Journal(tmp_path)
    assert numbers(again) == [1, 3]
    assert "1 records" in caplog.text
    assert again.append("metrics", {}) == 4
    assert not (tmp_path / FOLDER / "files" / orphan).exists()
    again.close()
    assert [read_line(line) is None for line in (tmp_path / RECORDS).open("rb")] == [False, True, False, False]


def test_a_file_that_was_damaged_is_not_given(tmp_path: Path):
    journal = Journal(tmp_path)
    weights = tmp_path / "iterations-1.safetensors"
    weights.write_bytes(b"weights")
    name = journal.stage_file(weights, link=True)
    weights.unlink()  # it was linked
    assert journal.fetch(name, tmp_path / "copy").read_bytes() == b"weights"
    (tmp_path / FOLDER / "files" / name).write_bytes(b"weightz")
    with pytest.raises(TrackingError, match="is damaged"):
        journal.fetch(name, tmp_path / "copy")
    (tmp_path / FOLDER / "files" / name).unlink()
    with pytest.raises(TrackingError, match="has lost its file"):
        journal.fetch(name, tmp_path / "copy")
    journal.close()


def test_threads_share_a_journal(tmp_path: Path):
    journal = Journal(tmp_path)
    threads = [
        threading.Thread(target=lambda: [journal.append("metrics", {"a": "x" * 500}) for _ in range(50)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers(journal) == list(range(1, 201))
    journal.close()


def test_killed_while_it_writes_a_journal_holds_all_that_was_said(tmp_path: Path):
    program = (
        "import sys\nfrom pathlib import Path\nfrom training.tracking.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "while True:\n    print(journal.append('metrics', {'a': 'x' * 5000}), flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    said = [int(process.stdout.readline()) for _ in range(200)]
    with pytest.raises(TrackingError, match=rf"is being written by process {process.pid} on .*; wait until it ends"):
        Journal(tmp_path)
    process.kill()
    said += [int(line) for line in process.stdout.read().splitlines()]
    process.wait()
    journal = Journal(tmp_path)  # at once: the system gave the lock back
    assert numbers(journal)[: len(said)] == said[:1000]
    assert journal.last >= said[-1]
    journal.close()


def test_a_journal_is_open_once_and_a_forked_child_does_not_hold_it(tmp_path: Path):
    journal = Journal(tmp_path)
    with pytest.raises(TrackingError, match=f"is being written by process {os.getpid()} on "):
        Journal(tmp_path)
    child = multiprocessing.get_context("fork").Process(target=signal.pause)
    child.start()
    try:
        journal.close()
        Journal(tmp_path).close()
    finally:
        child.kill()
        child.join()


@pytest.fixture
def small_disk(mount_disk: Callable[[str], Path]) -> Path:
    return mount_disk("size=400k")


def fill(folder: Path) -> Path:
    file = folder / "something else"
    with file.open("wb", buffering=0) as opened, suppress(OSError):
        while True:
            opened.write(bytes(4096))
    return file


def test_on_a_full_disk_records_wait_in_memory_in_their_order(small_disk: Path, caplog):
    journal = Journal(small_disk)
    journal.append("metrics", {"step": 1})
    other = fill(small_disk)
    names = [journal.stage(bytes([number]) * 9000, ".png") for number in range(3)]
    for step in range(2, 100):
        journal.append("metrics", {"step": step, "values": "x" * 100})
    journal.append("picture", {"file": names[2]})
    assert caplog.text.count("cannot be written (No space left on device)") == 1
    assert numbers(journal) == list(range(1, 101))
    journal.arrived(journal.pending(10), {})  # the store takes them from memory
    assert numbers(journal) == list(range(11, 101))
    other.unlink()
    assert journal.append("metrics", {"step": 100}) == 101
    journal.close()
    again = Journal(small_disk)
    assert (again.sent, again.last) == (10, 101)
    assert numbers(again) == list(range(11, 102))
    assert again.fetch(names[2], small_disk / "copy").read_bytes() == bytes([2]) * 9000
    again.close()


def test_a_disk_that_is_full_to_the_end_still_has_the_end_of_the_run(small_disk: Path, caplog):
    journal = Journal(small_disk)
    fill(small_disk)
    for step in range(1000):
        journal.append("metrics", {"step": step})
    kept = journal.last - len(journal._memory.lines)
    journal.append("end", {"status": "FINISHED"})
    journal.close()
    assert f"lost are {1000 - kept} records and 0 files." in caplog.text
    again = Journal(small_disk)
    assert again.pending(2000)[-1].kind == "end"
    assert again.last == 1001
    assert numbers(again)[:-1] == list(range(1, kept + 1))
    again.close()


def test_at_its_limit_a_journal_behaves_like_a_full_disk(tmp_path: Path, caplog):
    limit = 60_000
    journal = Journal(tmp_path, limit=limit)
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(20_000))
    names = [journal.stage(bytes(20_000), ".png"), journal.stage_file(weights, link=True)]
    for name in names:
        journal.append("file", {"file": name})
    waiting = journal.stage_file(weights, link=False)  # for which there is no room
    for step in range(200):
        journal.append("metrics", {"step": step})
    journal.append("file", {"file": waiting})
    assert caplog.text.count(f"(it has reached its limit of {limit:,} bytes): records wait in memory") == 1
    assert used(tmp_path) <= limit
    assert numbers(journal) == list(range(1, 204))
    assert journal.fetch(waiting, tmp_path / "copy").read_bytes() == bytes(20_000)
    journal.arrived(journal.pending(1), {})  # its picture leaves, and there is room again
    journal.append("end", {"status": "FINISHED"})
    assert not journal._memory.files
    journal.close()
    again = Journal(tmp_path, limit=used(tmp_path))  # which counts what is there
    assert numbers(again) == list(range(2, 205))
    again.append("metrics", {"step": 200})
    again.append("end", {"status": "FINISHED"})
    again.close()
    assert "lost are 1 records and 0 files" in caplog.text
    assert read_line((tmp_path / RECORDS).read_bytes().splitlines(keepends=True)[-1]).kind == "end"  # in the reserve


def used(folder: Path) -> int:
    files = [folder / RECORDS, *(folder / FOLDER / "files").iterdir()]
    return sum(file.stat().st_size for file in files)


def test_a_picture_may_arrive_while_another_record_writes_it_to_a_disk_that_was_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    journal = Journal(tmp_path)
    write_bytes, files_of = Path.write_bytes, journal_module.files_of
    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", lambda path, content: fail_as_a_full_disk())
        name = journal.stage(b"picture", ".png")
        journal.append("picture", {"file": name})
    noted, writing, arrived = threading.Event(), threading.Event(), threading.Event()

    def wait_for_the_writer(record: Record) -> set[str]:
        noted.set()
        writing.wait(0.5)  # in vain: nothing is written while it arrives
        return files_of(record)

    def wait_for_the_arrival(path: Path, content: bytes) -> int:
        writing.set()
        arrived.wait(0.5)
        return write_bytes(path, content)

    def arrive() -> None:
        journal.arrived([Record(1, "picture", {"file": name})], {})
        arrived.set()

    monkeypatch.setattr(journal_module, "files_of", wait_for_the_writer)
    monkeypatch.setattr(Path, "write_bytes", wait_for_the_arrival)
    sender = threading.Thread(target=arrive)
    sender.start()
    noted.wait()
    assert journal.append("metrics", {"step": 1}) == 2
    sender.join()
    assert numbers(journal) == [2]
    assert not list((tmp_path / FOLDER / "files").iterdir())
    journal.close()


def fail_as_a_full_disk() -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_memory_still_takes_the_end(small_disk: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(journal_module, "MEMORY_BYTES", 1000)
    journal = Journal(small_disk)
    other = fill(small_disk)
    for step in range(1000):
        journal.append("metrics", {"step": step})
    journal.append("end", {"status": "FINISHED"})
    assert len(numbers(journal)) < 1000
    other.unlink()
    journal.close()
    again = Journal(small_disk)
    assert again.pending(2000)[-1].kind == "end"
    assert again.last == 1001
    again.close()


def test_a_file_that_may_not_grow_is_as_a_full_disk(tmp_path: Path):
    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        journal = Journal(tmp_path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        for step in range(100):
            journal.append("metrics", {"step": step})
        ok = [record.number for record in journal.pending(1000)] == list(range(1, 101))
        os._exit(0 if ok else 1)

    child = multiprocessing.get_context("fork").Process(target=limited)
    child.start()
    child.join(200)
    assert child.exitcode == 0
    journal = Journal(tmp_path)
    assert 0 < journal.last < 100
    assert numbers(journal) == list(range(1, journal.last + 1))
    journal.close()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError, match=r"cannot be written \(Not a directory\)"):
        Journal(tmp_path / "file")


def test_an_unsent_journal_is_set_aside_and_a_sent_one_removed(tmp_path: Path):
    assert set_aside(tmp_path) is None
    for name in ("journal-1", "journal-2"):
        journal = Journal(tmp_path)
        journal.append("run", {})
        journal.close()
        assert set_aside(tmp_path) == tmp_path / name
    journal = Journal(tmp_path)
    journal.append("run", {})
    journal.arrived(journal.pending(1), {})
    journal.close()
    (tmp_path / "journal-old").mkdir()  # whoever moved one away by hand may call it as they like
    assert journals(tmp_path) == [tmp_path / "journal-1", tmp_path / "journal-2", tmp_path]
    assert set_aside(tmp_path) is None
    assert journals(tmp_path) == [tmp_path / "journal-1", tmp_path / "journal-2"]
