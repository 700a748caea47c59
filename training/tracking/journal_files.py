"""A journal on the disk: its records, one a line, and its other files."""

import json
import math
import os
import re
import secrets
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

FOLDER = "journal"
RECORDS, FILES, SENT, LOCK, RESERVE = "records.jsonl", "files", "sent.json", "lock", "reserve"
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
    try:
        values = json.loads(body + b"}")
        return Record(int(values["number"]), str(values["kind"]), dict(values["data"]))
    except (ValueError, KeyError, TypeError):
        return None


def plain_number(value: float) -> float | str:
    """A number in the form of a record: JSON has no NaN and no infinity, so they are text. `float` reads both."""
    return value if math.isfinite(value) else repr(value)


def plain_numbers(values: Mapping[str, float]) -> dict[str, float | str]:
    return {name: plain_number(value) for name, value in values.items()}


def milliseconds() -> int:
    return time.time_ns() // 1_000_000


def unsent_folders(run_folder: Path) -> list[Path]:
    """The folders with a journal, the oldest run first: those kept by `set_aside`, and the run's own."""
    named = ((re.fullmatch(rf"{FOLDER}-(\d+)", path.name), path) for path in run_folder.glob(f"{FOLDER}-*"))
    aside = {int(match[1]): path for match, path in named if match}
    folders = (*(aside[number] for number in sorted(aside)), run_folder)
    return [folder for folder in folders if (folder / FOLDER / RECORDS).exists()]


def read_sent(path: Path) -> tuple[int, dict[str, Any]]:
    """Number of sent records, and answers; 0 and none for a missing or damaged file: sending twice is harmless."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return int(values["sent"]), dict(values["answers"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, {}


def write_sent(path: Path, sent: int, answers: Mapping[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}")
    try:
        temporary.write_text(json.dumps({"sent": sent, "answers": answers}, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError:  # a full disk; some records are then sent again later
        with suppress(OSError):
            temporary.unlink()


def file_name(content: bytes, suffix: str) -> str:
    return f"{sha256(content).hexdigest()}-{secrets.token_hex(4)}{suffix}"


def files_of(record: Record) -> set[str]:
    name = record.data.get("file")
    return {name} if isinstance(name, str) else set()
