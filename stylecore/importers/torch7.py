"""Read the binary files of Lua Torch 7 (.t7) without Torch: only data, nothing in them is ever executed.

The format is torch7's `torch.save`, little-endian, on 64-bit machines. An object is a 32-bit tag and a body. Tables
and torch objects have numbers; a repeated number means the same object.
"""

import math
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stylecore.errors import StylecoreError

NIL, NUMBER, STRING, TABLE, TORCH_OBJECT, BOOLEAN = range(6)
FUNCTIONS = (6, 7, 8)
"""Three generations of serialized Lua functions: compiled code."""

MAX_DEPTH = 100
MAX_DIMENSIONS = 16
LUA_STRING = "latin-1"
"""Lua's strings are bytes; Latin-1 keeps each of them."""

_ELEMENTS = {
    "Byte": "u1",
    "Char": "i1",
    "Short": "<i2",
    "Int": "<i4",
    "Long": "<i8",
    "Half": "<f2",
    "Float": "<f4",
    "Double": "<f8",
    "": "<f4",
}
_ARRAY_CLASS = re.compile(rf"torch\.(?:Cuda(?=.))?({'|'.join(_ELEMENTS)})(Tensor|Storage)")


@dataclass
class Torch7Object:
    """An object of a Lua class, such as `nn.SpatialConvolution`, as its fields."""

    class_name: str
    fields: dict[Any, Any] = field(default_factory=dict)


def looks_like_torch7(head: bytes) -> bool:
    """Whether a file with these first bytes may be a binary .t7: its first object is a table or a torch object."""
    return len(head) >= 8 and struct.unpack("<ii", head[:8]) in ((TABLE, 1), (TORCH_OBJECT, 1))


def read_torch7(path: str | Path) -> Any:
    """The object in a binary .t7 file.

    Returns:
        None, float, str, bool, dict (a Lua table), np.ndarray (a tensor or a storage; read-only) or Torch7Object.

    Raises:
        StylecoreError: when the file cannot be read, is damaged or has Lua functions.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise StylecoreError(f"cannot read {path}: {error.strerror}.") from error
    try:
        return _Reader(data).read()
    except _MalformedError as error:
        raise StylecoreError(f"{path} is no .t7 file that can be read: {error}.") from error


class _MalformedError(Exception):
    """The reason, as the second half of a sentence."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.objects: dict[int, Any] = {}

    def read(self, depth: int = 0) -> Any:
        if depth > MAX_DEPTH:
            raise _MalformedError(f"its objects are nested more than {MAX_DEPTH} deep")
        tag = self._int()
        if tag == NIL:
            return None
        if tag == NUMBER:
            return self._unpack("<d")[0]
        if tag == STRING:
            return self._string()
        if tag == BOOLEAN:
            return self._int() != 0
        if tag in (TABLE, TORCH_OBJECT):
            number = self._int()
            if number not in self.objects:
                read = self._table if tag == TABLE else self._torch_object
                self.objects[number] = read(number, depth)
            return self.objects[number]
        if tag in FUNCTIONS:
            raise _MalformedError("it holds a Lua function, and code is not read")
        raise _MalformedError(f"byte {self.position - 4} should begin an object and does not")

    def _table(self, number: int, depth: int) -> dict[Any, Any]:
        table: dict[Any, Any] = {}
        self.objects[number] = table  # before its contents, which may refer to it
        for _ in range(self._int()):
            key = self.read(depth + 1)
            if not isinstance(key, float | str | bool):
                raise _MalformedError("a table has a key that is no number, string or boolean")
            table[key] = self.read(depth + 1)
        return table

    def _torch_object(self, number: int, depth: int) -> Any:
        # Files from before Torch had versions begin with the class at once.
        version = self._string()
        class_name = self._string() if version.startswith("V ") else version
        array_class = _ARRAY_CLASS.fullmatch(class_name)
        if array_class:
            dtype = np.dtype(_ELEMENTS[array_class[1]])
            return self._storage(dtype) if array_class[2] == "Storage" else self._tensor(dtype, depth)
        found = Torch7Object(class_name)
        self.objects[number] = found
        fields = self.read(depth + 1)
        if not isinstance(fields, dict):
            raise _MalformedError(f"a {class_name} object is not stored as a table")
        found.fields = fields
        return found

    def _storage(self, dtype: np.dtype) -> np.ndarray:
        (count,) = self._unpack("<q")
        return np.frombuffer(self._bytes(count * dtype.itemsize), dtype)

    def _tensor(self, dtype: np.dtype, depth: int) -> np.ndarray:
        dimensions = self._int()
        if not 0 <= dimensions <= MAX_DIMENSIONS:
            raise _MalformedError(f"a tensor has {dimensions} dimensions")
        shape = self._unpack(f"<{dimensions}q")
        strides = self._unpack(f"<{dimensions}q")
        offset = self._unpack("<q")[0] - 1
        storage = self.read(depth + 1)
        if storage is None or dimensions == 0:
            return np.empty(0, dtype)
        if not isinstance(storage, np.ndarray) or storage.dtype != dtype or storage.ndim != 1:
            raise _MalformedError("a tensor's storage is no storage of its type")
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if min(*shape, 1) < 1 or min(*strides, 0) < 0 or offset < 0 or last >= storage.size:
            raise _MalformedError("a tensor reaches beyond its storage")
        if math.prod(shape) > storage.size:
            raise _MalformedError("a tensor is larger than its storage")
        bytes_ = tuple(stride * dtype.itemsize for stride in strides)
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, bytes_, writeable=False)

    def _int(self) -> int:
        value: int = self._unpack("<i")[0]
        return value

    def _string(self) -> str:
        return self._bytes(self._int()).decode(LUA_STRING)

    def _unpack(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(form, self._bytes(struct.calcsize(form)))

    def _bytes(self, count: int) -> bytes:
        if count < 0:
            raise _MalformedError(f"a length is {count}")
        if count > len(self.data) - self.position:
            raise _MalformedError("it ends too early; it is damaged or incomplete")
        start, self.position = self.position, self.position + count
        return self.data[start : self.position]
