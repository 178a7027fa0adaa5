"""TFRecord files: records with a length and checksums."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

import google_crc32c

from pytest_tfserving.model_server.status import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MASK_DELTA = 0xA282EAD8
_HEAD = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")
_FOOT = struct.Struct("<I")


def records(file: BinaryIO) -> Iterator[bytes]:
    """Yield the records of a file.

    Raises:
        ServingError: DATA_LOSS, when the file is truncated or a checksum is wrong.
    """
    offset = 0
    while head := file.read(_HEAD.size):
        if len(head) < _HEAD.size:
            raise _loss("truncated", offset)
        length, checksum = _HEAD.unpack(head)
        if checksum != masked_crc(head[:8]):
            raise _loss("corrupted", offset)
        content, foot = file.read(length), file.read(_FOOT.size)
        if len(content) < length or len(foot) < _FOOT.size:
            raise _loss("truncated", offset)
        if _FOOT.unpack(foot)[0] != masked_crc(content):
            raise _loss("corrupted", offset)
        offset += _HEAD.size + length + _FOOT.size
        yield content


def framed(content: bytes) -> bytes:
    """Return ``content`` as a record of a file."""
    length = _LENGTH.pack(len(content))
    return b"".join((length, _FOOT.pack(masked_crc(length)), content, _FOOT.pack(masked_crc(content))))


def masked_crc(content: bytes) -> int:
    """Return the masked CRC-32C of ``content``, as in TFRecord files."""
    crc: int = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _loss(how: str, offset: int) -> ServingError:
    return ServingError(Code.DATA_LOSS, f"{how} record at {offset}")
