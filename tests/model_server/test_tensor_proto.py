"""The reader of tensors beside TensorFlow's own, on generated messages.

`TENSORS` in the environment is their number.
"""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from pytest_tfserving.model_server import varint
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.tensor_proto import to_array
from pytest_tfserving.model_server.tensorflow_c import dtype_number

COUNT = int(os.environ.get("TENSORS", "500"))
# By DataType: the number of the field with its values, and the kind of these values.
FIELDS = {
    **dict.fromkeys((3, 4, 5, 6, 17), (7, "v")),
    **dict.fromkeys((14, 19), (13, "v")),
    **dict(zip((9, 10, 22, 23), ((10, "v"), (11, "v"), (16, "v"), (17, "v")), strict=True)),
    **dict(zip((1, 2, 8, 18), ((5, "f"), (6, "d"), (9, "f"), (12, "d")), strict=True)),
    7: (8, "s"),
}
SIZES = {1: 4, 2: 8, 3: 4, 4: 1, 5: 2, 6: 1, 8: 8, 9: 8, 10: 1, 14: 2, 17: 2, 18: 16, 19: 2, 22: 4, 23: 8}


def number(value: int) -> bytes:
    """A varint."""
    return varint.encode(np.array([value], np.uint64))


def field(index: int, content: bytes) -> bytes:
    """A field with a length."""
    return number(index << 3 | 2) + number(len(content)) + content


class Tensors:
    """A source of messages, most of them tensors."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def tensor(self) -> bytes:
        pick = self.random.random
        dtype = self.random.choice(list(FIELDS)) if pick() < 0.97 else self.random.choice([0, 99])
        sizes = [self.random.randrange(4) for _ in range(self.random.randrange(4))]
        count = int(np.prod(sizes)) if sizes else 1
        dims = [(-1 if pick() < 0.02 else size) % 2**64 for size in sizes]
        shape = b"".join(field(2, b"\x08" + number(size)) for size in dims)
        if pick() < 0.03:
            shape += b"\x18\x01"
        parts = [b"\x08" + number(dtype), field(2, shape) if sizes or pick() < 0.5 else b""]
        parts += self.values(dtype, max(count + self.random.randrange(-2, 3), 0))
        if pick() < 0.4:
            parts.append(field(4, self.content(dtype, count)))
        return b"".join(parts)

    def values(self, dtype: int, count: int) -> list[bytes]:
        index, kind = FIELDS.get(dtype, (5, "f"))
        values = [self.value(kind) for _ in range(count * (1 + (dtype in (8, 18))))]
        if dtype in (8, 18) and self.random.random() < 0.1:
            values = values[:-1]
        if kind == "s":
            return [field(index, value) for value in values]
        if self.random.random() < 0.3:
            wire_type = {"f": 5, "d": 1, "v": 0}[kind]
            return [number(index << 3 | wire_type) + value for value in values]
        middle = self.random.randrange(len(values) + 1)
        return [field(index, b"".join(some)) for some in (values[:middle], values[middle:])]

    def value(self, kind: str) -> bytes:
        if kind == "s":
            return self.random.randbytes(self.random.randrange(5))
        if kind == "v":
            small = self.random.choice([0, 1, 7, 200, 300, 70_000, 2**31, 2**32 + 5, 2**64 - 1, 2**64 - 200])
            return number(small)
        value = self.random.choice([0.0, 1.5, -2.0, 1e30, 3.25])
        return struct.pack(f"<{kind}", value)

    def content(self, dtype: int, count: int) -> bytes:
        if dtype == 7:
            texts = [self.value("s") for _ in range(count)]
            found = b"".join(number(len(text)) for text in texts) + b"".join(texts)
        else:
            found = self.random.randbytes(0) + bytes(self.random.choice(b"\0\1") for _ in range(count))
            found *= SIZES.get(dtype, 4)
        return found if self.random.random() < 0.8 else self.random.randbytes(self.random.randrange(12))


def found(content: bytes) -> list[Any] | None:
    """What the reader finds, in the form of TensorFlow's process."""
    try:
        array = to_array(message("tensorflow.serving.PackedTensor").FromString(content))
    except (ValueError, DecodeError):
        return None
    return [dtype_number(array.dtype), list(array.shape), repr(array.reshape(-1).tolist())]


def test_tensors_are_read_as_tensorflow_reads_them() -> None:
    tensors, refused = Tensors(1), 0
    command = [sys.executable, str(Path(__file__).with_name("tensorflow_oracle.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as oracle:
        assert oracle.stdin
        assert oracle.stdout
        for _ in range(COUNT):
            content = tensors.tensor()
            oracle.stdin.write(struct.pack("<I", len(content)) + content)
            oracle.stdin.flush()
            expected = json.loads(oracle.stdout.readline())
            refused += expected is None
            assert found(content) == expected, content
        oracle.stdin.close()

    assert COUNT // 50 < refused < COUNT // 2
