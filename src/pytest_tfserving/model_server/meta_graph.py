"""A serialized MetaGraphDef, read in place: a copy of a large graph would hold the interpreter lock long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.model_server.protos import message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

_GRAPH_DEF, _SIGNATURE_DEF = 2, 5
# Operations whose time does not depend on the size of their inputs.
_WITHOUT_END = (
    *(
        b"Enter",
        b"RefEnter",
        b"While",
        b"StatelessWhile",
        b"For",
        b"PyFunc",
        b"EagerPyFunc",
        b"BatchFunction",
    ),
    *(b"QueueDequeue", b"QueueDequeueV2", b"QueueDequeueManyV2", b"QueueDequeueUpToV2", b"QueueEnqueueV2"),
)
# An operation's name as field 2 of a NodeDef.
_WAITING = tuple(b"\x12%c%b" % (len(name), name) for name in _WITHOUT_END)
_PIECE_BYTES = 2**20
_LONGEST_BYTES = max(map(len, _WAITING))


def signature_defs(content: memoryview) -> dict[str, Message]:
    """Return the signatures, by name."""
    found = b"".join(
        content[begin:end] for number, begin, _, end in _fields(content) if number == _SIGNATURE_DEF
    )
    return dict(message("tensorflow.MetaGraphDef").FromString(found).signature_def)


def may_wait(content: memoryview) -> bool:
    """Return whether the graph has an operation whose time has no limit."""
    return any(
        _waits(content[start:end]) for number, _, start, end in _fields(content) if number == _GRAPH_DEF
    )


def _waits(graph: memoryview) -> bool:
    pieces = (
        bytes(graph[at : at + _PIECE_BYTES + _LONGEST_BYTES]) for at in range(0, len(graph), _PIECE_BYTES)
    )
    return any(name in piece for piece in pieces for name in _WAITING)


def _fields(content: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Yield the number of each field, its beginning, and the place of its value; all fields are messages."""
    at = 0
    while at < len(content):
        begin = at
        tag, at = _varint(content, at)
        size, at = _varint(content, at)
        yield tag >> 3, begin, at, at + size
        at += size


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """Return the number at a place, and the place behind it."""
    number, shift = 0, 0
    while True:
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return number, at
