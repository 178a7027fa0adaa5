"""TensorFlow's own parser of tensors: a process that prints what serialized TensorProtos hold."""

from __future__ import annotations

import json
import struct
import sys

import tensorflow as tf
from google.protobuf.message import DecodeError

PROTO = type(tf.make_tensor_proto(0))


def parsed(content: bytes) -> list[object] | None:
    """Return type, shape and elements as text; None if TensorFlow finds no tensor."""
    try:
        proto = PROTO.FromString(content)
        tensor = tf.io.parse_tensor(content, proto.dtype)
    except (tf.errors.OpError, DecodeError, TypeError, ValueError):
        return None
    array = tensor.numpy()
    elements = [array] if isinstance(array, bytes) else array.reshape(-1).tolist()
    return [proto.dtype, tensor.shape.as_list(), repr(elements)]


def main() -> None:
    """Answer each tensor behind its length with a line."""
    while head := sys.stdin.buffer.read(4):
        content = sys.stdin.buffer.read(struct.unpack("<I", head)[0])
        sys.stdout.write(json.dumps(parsed(content)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
