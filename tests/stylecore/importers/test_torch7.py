"""The reader of Lua Torch's files: every kind of value comes back, and nothing damaged or executable gets past."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch7_writer import Storage, TensorOfStorage, Torch7Writer

from stylecore.errors import StylecoreError
from stylecore.importers.torch7 import Torch7Object, read_torch7


def test_torch7_values(tmp_path: Path) -> None:
    storage = Storage("Double", np.arange(12.0))
    view = TensorOfStorage(storage, (3, 2), (1, 4), 3)
    inner: dict[Any, Any] = {"name": "Kanagawa\xe9", "on": True, "off": False, "none": None}
    inner["self"] = inner
    value = {
        1: 2.5,
        "inner": inner,
        "again": inner,
        "view": view,
        "storage": storage,
        "empty": TensorOfStorage(None, (), (), 0),
        "float": torch.arange(6.0).view(2, 3),
        "bytes": TensorOfStorage(Storage("Byte", np.arange(4, dtype=np.uint8)), (4,), (1,), 1),
        "gpu": TensorOfStorage(Storage("Cuda", np.arange(4, dtype=np.float32)), (4,), (1,), 1),
    }
    path = tmp_path / "values.t7"
    path.write_bytes(Torch7Writer().write(value))
    read_back = read_torch7(path)
    assert read_back[1] == 2.5
    assert read_back["inner"]["name"] == "Kanagawa\xe9"
    assert (read_back["inner"]["on"], read_back["inner"]["off"], read_back["inner"]["none"]) == (True, False, None)
    assert read_back["again"] is read_back["inner"]
    assert read_back["inner"]["self"] is read_back["inner"]
    np.testing.assert_array_equal(read_back["view"], [[2, 6], [3, 7], [4, 8]])
    np.testing.assert_array_equal(read_back["storage"], np.arange(12.0))
    assert read_back["empty"].size == 0
    np.testing.assert_array_equal(read_back["float"], np.arange(6.0).reshape(2, 3))
    assert read_back["bytes"].dtype == np.uint8
    assert read_back["gpu"].dtype == np.float32


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (struct.pack("<iii", 3, 1, 1) + struct.pack("<iii", 6, 2, 4) + b"\x1bLua", "Lua function"),
        (struct.pack("<iii", 3, 1, 1) + struct.pack("<iii", 8, 2, 4) + b"\x1bLua", "Lua function"),
        (struct.pack("<iii", 3, 1, 1) + struct.pack("<i", 99), "should begin an object"),
        (struct.pack("<iii", 3, 1, 2**31 - 1), "ends too early"),
        (struct.pack("<iii", 3, 1, 1) + struct.pack("<ii", 2, -5), "a length is -5"),
        (struct.pack("<iii", 3, 1, 1) + struct.pack("<ii", 2, 2**31 - 1), "ends too early"),
        (struct.pack("<iii", 3, 1, 1) + struct.pack("<i", 0), "has a key"),
        (b"".join(struct.pack("<iiiid", 3, n, 1, 1, 1.0) for n in range(1, 100_000)), "nested"),
        (Torch7Writer().write([TensorOfStorage(Storage("Float", np.zeros(4, "f4")), (5,), (1,), 1)]), "beyond"),
        (Torch7Writer().write([TensorOfStorage(Storage("Float", np.zeros(4, "f4")), (4,), (1,), 2)]), "beyond"),
        (Torch7Writer().write([TensorOfStorage(Storage("Float", np.zeros(4, "f4")), (2,), (-1,), 3)]), "beyond"),
        (Torch7Writer().write([TensorOfStorage(Storage("Float", np.zeros(4, "f4")), (2**60,), (0,), 1)]), "larger"),
        (struct.pack("<iii", 4, 1, 7) + b"nn.ReLU" + struct.pack("<id", 1, 2.0), "nn.ReLU object is not stored as"),
    ],
)
def test_damaged_t7(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "style.t7"
    path.write_bytes(data)
    with pytest.raises(StylecoreError, match=why) as caught:
        read_torch7(path)
    assert str(caught.value).startswith(f"{path} is no .t7 file that can be read: ")


def test_every_truncation_is_one_sentence(tmp_path: Path) -> None:
    whole = Torch7Writer().write({"a": torch.ones(2, 2), "b": [1, "two", False, Torch7Object("nn.ReLU", {"p": 1})]})
    path = tmp_path / "style.t7"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(StylecoreError, match="ends too early"):
            read_torch7(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(StylecoreError, match="cannot read"):
        read_torch7(tmp_path / "absent.t7")
