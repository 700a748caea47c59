"""The files of a journal, except the file of records."""

import json
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from training.tracking.record import Record

FOLDER = "journal"


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


RECORDS, FILES, SENT, LOCK, RESERVE = "records.jsonl", "files", "sent.json", "lock", "reserve"
