"""TensorFlow's messages, without importing TensorFlow, which takes seconds.

They live in a descriptor pool of their own, so that a process may import TensorFlow or other stubs as well.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString(Path(__file__).with_name("descriptors.binpb").read_bytes())
    for file in files.file:
        pool.Add(file)
    return pool


@cache
def message(name: str) -> Any:
    """The class of a message, by its full name as ``tensorflow.SignatureDef``."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))
