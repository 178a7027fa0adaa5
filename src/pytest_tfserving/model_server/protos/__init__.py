"""TensorFlow's messages, without importing TensorFlow, which takes seconds.

The messages have a descriptor pool of their own, so that a process may import TensorFlow or other stubs too.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message


@cache
def _classes() -> dict[str, type[Message]]:
    """Return the class of every message by its full name.

    All classes are kept, nested ones too. Otherwise protobuf can find a class again, from another thread,
    while the garbage collector takes the class apart, and the process crashes.
    """
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString(Path(__file__).with_name("descriptors.binpb").read_bytes())
    for file in files.file:
        pool.Add(file)
    found: dict[str, type[Message]] = {}
    for file in files.file:
        for descriptor in pool.FindFileByName(file.name).message_types_by_name.values():
            _add_classes(descriptor, found)
    return found


def _add_classes(descriptor: Descriptor, found: dict[str, type[Message]]) -> None:
    found[descriptor.full_name] = message_factory.GetMessageClass(descriptor)
    for nested in descriptor.nested_types:
        _add_classes(nested, found)


def message(name: str) -> type[Message]:
    """Return the class of a message by its full name, as ``tensorflow.SignatureDef``."""
    return _classes()[name]
