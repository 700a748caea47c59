"""One record of a journal, and its line in the file."""

import json
import math
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
