"""Packed varints of protocol buffers, converted to and from arrays of whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_BYTES = 10
_MOST_BYTES_OF_32_BITS = 5
_MORE = 0x80


def encode(numbers: NDArray[np.generic]) -> bytes:
    """Encode each number in groups of seven bits; negative ones as 64-bit numbers."""
    left = numbers.reshape(-1).astype(np.int64 if numbers.dtype.kind == "i" else np.uint64).view(np.uint64)
    lengths = np.ones(left.size, np.int64)
    for length in range(1, _MOST_BYTES):
        lengths += left >= np.uint64(1) << np.uint64(7 * length)
    starts = np.cumsum(lengths) - lengths
    out = np.empty(int(lengths.sum()), np.uint8)
    for index in range(int(lengths.max(initial=0))):
        there = lengths > index
        more = np.where(lengths[there] > index + 1, _MORE, 0).astype(np.uint8)
        part = left[there] >> np.uint64(7 * index) & np.uint64(0x7F)
        out[starts[there] + index] = part.astype(np.uint8) | more
    return out.tobytes()


def decode(content: bytes) -> NDArray[np.uint64]:
    """Decode the numbers in ``content``; negative ones become large ones.

    Raises:
        ValueError: when ``content`` is truncated, or a number is too long.
    """
    raw = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(raw < _MORE)
    if raw.size and (not ends.size or ends[-1] != raw.size - 1):
        raise ValueError("a number is cut off")
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1]) if ends.size else ends
    lengths = ends - starts + 1
    if lengths.max(initial=0) > _MOST_BYTES:
        raise ValueError("a number is too long")
    numbers = np.zeros(ends.size, np.uint64)
    for index in range(int(lengths.max(initial=0))):
        there = lengths > index
        part = (raw[starts[there] + index] & 0x7F).astype(np.uint64)
        numbers[there] |= part << np.uint64(7 * index)
    return numbers


def first(content: bytes, count: int) -> tuple[list[int], int]:
    """Decode the first ``count`` numbers, of at most 32 bits each; return them and the place behind them.

    Raises:
        ValueError: when there are fewer numbers, or a number is too long.
    """
    numbers: list[int] = []
    at = 0
    while len(numbers) < count:
        number = 0
        for index, byte in enumerate(content[at : at + _MOST_BYTES_OF_32_BITS]):
            number |= (byte & ~_MORE) << 7 * index
            if byte < _MORE:
                break
        else:
            raise ValueError("a number is cut off, or too long")
        numbers.append(number & 0xFFFFFFFF)
        at += index + 1
    return numbers, at
