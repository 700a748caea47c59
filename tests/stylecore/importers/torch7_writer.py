"""Writes binary .t7 files as torch.save of Lua does, as far as the tests need it."""

import struct
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylecore.importers.torch7 import Torch7Object


class Torch7Writer:
    """`write(value)` returns the file's bytes; `versioned=False` writes objects as the oldest Torch did."""

    def __init__(self, versioned: bool = True) -> None:
        self.data = bytearray()
        self.numbers: dict[int, int] = {}
        self.kept: list[Any] = []  # an object's id is its own only while it lives
        self.versioned = versioned

    def write(self, value: Any) -> bytearray:
        if value is None:
            self.pack("<i", 0)
        elif isinstance(value, bool):
            self.pack("<ii", 5, value)
        elif isinstance(value, int | float):
            self.pack("<id", 1, value)
        elif isinstance(value, str):
            self.pack("<i", 2)
            self.string(value)
        elif self.reference(3 if isinstance(value, dict | list) else 4, value):
            pass
        elif isinstance(value, list):
            self.table(dict(enumerate(value, start=1)))
        elif isinstance(value, dict):
            self.table(value)
        elif isinstance(value, Torch7Object):
            self.class_name(value.class_name)
            self.write(value.fields)
        elif isinstance(value, Storage):
            self.class_name(f"torch.{value.kind}Storage")
            self.pack("<q", value.array.size)
            self.data += value.array.tobytes()
        else:
            self.tensor(value)
        return self.data

    def tensor(self, values: "Tensor | TensorOfStorage") -> None:
        if isinstance(values, Tensor):
            kind = {torch.float32: "Float", torch.float64: "Double"}[values.dtype]
            values = values.contiguous()
            storage = Storage(kind, values.numpy().ravel())
            values = TensorOfStorage(storage, tuple(values.shape), values.stride(), 1)
        self.class_name(f"torch.{values.storage.kind if values.storage else 'Float'}Tensor")
        self.pack(f"<i{2 * len(values.shape)}q", len(values.shape), *values.shape, *values.stride)
        self.pack("<q", values.offset)
        self.write(values.storage)

    def table(self, table: dict) -> None:
        self.pack("<i", len(table))
        for key, value in table.items():
            self.write(key)
            self.write(value)

    def reference(self, tag: int, value: Any) -> bool:
        known = id(value) in self.numbers
        if not known:
            self.numbers[id(value)] = len(self.numbers) + 1
            self.kept.append(value)
        self.pack("<ii", tag, self.numbers[id(value)])
        return known

    def class_name(self, name: str) -> None:
        if self.versioned:
            self.string("V 1")
        self.string(name)

    def string(self, text: str) -> None:
        self.pack("<i", len(text.encode("latin-1")))
        self.data += text.encode("latin-1")

    def pack(self, form: str, *values: Any) -> None:
        self.data += struct.pack(form, *values)


class Storage:
    def __init__(self, kind: str, array: np.ndarray) -> None:
        self.kind, self.array = kind, array


class TensorOfStorage:
    def __init__(self, storage: Storage | None, shape: tuple, stride: tuple, offset: int) -> None:
        self.storage, self.shape, self.stride, self.offset = storage, shape, stride, offset
