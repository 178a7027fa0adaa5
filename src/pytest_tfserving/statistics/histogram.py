"""HdrHistograms of latencies: counts in buckets a thousandth apart, merged without loss.

The buckets and the format, V2 compressed in base64, are those of HdrHistogram's libraries in Java, C, Go,
Rust, JavaScript and Python, with nanoseconds as unit and three significant digits, so that any of them reads
these histograms. The library for Python is not used: it takes one value a call, which is fifteen times as
slow as numpy with arrays, and it requires setuptools. Tests compare it with this module.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

DIGITS = 3
# Largest relative difference between a value and the middle of its bucket.
PRECISION = 0.5 * 10**-DIGITS
HIGHEST_NS = 3_600 * 10**9
_NS_A_MS = 1e6
# Linear buckets up to 2048, twice what three digits need; above them 1024 for each doubling.
_HALF_MAGNITUDE = 10
_HALF = 1 << _HALF_MAGNITUDE
_LINEAR = 2 * _HALF
_COOKIE = 0x1C849303 | 0x10
_COMPRESSED_COOKIE = 0x1C849304 | 0x10
# Cookie, bytes of counts, offset, digits, lowest and highest value, conversion ratio.
_HEAD = struct.Struct(">iiiiqqd")
_COMPRESSED_HEAD = struct.Struct(">ii")
_SEVEN_BITS = 0x7F
_MORE = 0x80


@dataclass(frozen=True, eq=False, slots=True)
class Histogram:
    """Number of latencies in each bucket that is not empty.

    Attributes:
        buckets: the indices of the buckets, ascending; shape ``(n,)``.
        counts: the number of latencies in each bucket, all above 0; shape ``(n,)``.
    """

    buckets: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, latencies_ms: NDArray[np.float64]) -> Histogram:
        """Return the histogram of latencies in any order."""
        return cls(*np.unique(buckets_of(latencies_ms), return_counts=True))

    @classmethod
    def merged(cls, histograms: Iterable[Histogram]) -> Histogram:
        """Return the sum of ``histograms``; nothing is lost."""
        parts = list(histograms)
        if not parts:
            return cls.of(np.empty(0))
        counts = np.concatenate([each.counts for each in parts])
        buckets, where = np.unique(np.concatenate([each.buckets for each in parts]), return_inverse=True)
        summed = np.zeros(len(buckets), np.int64)
        np.add.at(summed, where, counts)
        return cls(buckets, summed)

    def __len__(self) -> int:
        return int(self.counts.sum())

    @property
    def values_ms(self) -> NDArray[np.float64]:
        """Middle of each bucket in ms."""
        return middles_ms(self.buckets)

    def percentile_ms(self, percentile: float) -> float:
        """Return the middle of the bucket with the nearest-rank percentile; NaN if the histogram is empty."""
        if not len(self.counts):
            return math.nan
        rank = max(math.ceil(round(percentile / 100 * len(self), 9)), 1)
        at = int(np.searchsorted(np.cumsum(self.counts), rank))
        return float(middles_ms(self.buckets[at : at + 1])[0])

    def encoded(self) -> str:
        """Return the histogram in HdrHistogram's V2 format, compressed, in base64."""
        body = b"".join(_words(self.buckets.tolist(), self.counts.tolist()))
        head = _HEAD.pack(_COOKIE, len(body), 0, DIGITS, 1, HIGHEST_NS, 1.0)
        packed = zlib.compress(head + body)
        return base64.b64encode(_COMPRESSED_HEAD.pack(_COMPRESSED_COOKIE, len(packed)) + packed).decode()

    @classmethod
    def decoded(cls, text: str) -> Histogram:
        """Return the histogram that `encoded` wrote.

        Raises:
            ValueError: if ``text`` is not such a histogram.
        """
        try:
            raw = base64.b64decode(text, validate=True)
            cookie, length = _COMPRESSED_HEAD.unpack_from(raw)
            plain = zlib.decompress(raw[_COMPRESSED_HEAD.size : _COMPRESSED_HEAD.size + length])
            head = _HEAD.unpack_from(plain)
        except (ValueError, struct.error, zlib.error) as error:
            raise ValueError(f"not an HdrHistogram: {error}") from None
        if cookie != _COMPRESSED_COOKIE or (head[0], *head[2:6]) != (_COOKIE, 0, DIGITS, 1, HIGHEST_NS):
            raise ValueError("not an HdrHistogram in nanoseconds up to an hour, with three digits")
        found = dict(_counted(plain[_HEAD.size : _HEAD.size + head[1]]))
        return cls(np.array([*found], np.int64), np.array([*found.values()], np.int64))


def buckets_of(latencies_ms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the index of each latency's bucket; latencies above an hour are in the last bucket."""
    values = np.clip(np.rint(latencies_ms * _NS_A_MS), 0, HIGHEST_NS).astype(np.int64)
    doublings = np.maximum(np.frexp(values.astype(float))[1] - (_HALF_MAGNITUDE + 1), 0)
    return np.asarray((doublings << _HALF_MAGNITUDE) + (values >> doublings))


def middles_ms(buckets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the middle of each bucket in ms."""
    doublings = np.maximum((buckets >> _HALF_MAGNITUDE) - 1, 0)
    lowest = (buckets - (doublings << _HALF_MAGNITUDE)) << doublings
    return np.asarray((lowest + ((1 << doublings) >> 1)) / _NS_A_MS)


def _words(buckets: list[int], counts: list[int]) -> Iterator[bytes]:
    """Yield the encoded counts of all buckets, a run of empty buckets as a negative number."""
    after = 0
    for bucket, count in zip(buckets, counts, strict=True):
        if bucket > after:
            yield _zigzag(after - bucket)
        yield _zigzag(count)
        after = bucket + 1


def _zigzag(number: int) -> bytes:
    """Return a number of at most 55 bits in ZigZag and LEB128 encoding."""
    left = 2 * number if number >= 0 else -2 * number - 1
    found = bytearray()
    while left > _SEVEN_BITS:
        found.append(left & _SEVEN_BITS | _MORE)
        left >>= 7
    return bytes([*found, left])


def _counted(body: bytes) -> Iterator[tuple[int, int]]:
    """Yield each bucket that is not empty, and its count."""
    bucket = 0
    for number in _numbers(body):
        if number > 0:
            yield bucket, number
        bucket += 1 if number >= 0 else -number


def _numbers(body: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in body:
        value |= (byte & _SEVEN_BITS) << shift
        shift += 7
        if not byte & _MORE:
            yield -(value + 1) // 2 if value & 1 else value // 2
            value = shift = 0


def packed_floats(values: NDArray[np.float64]) -> str:
    """Return numbers as text, without rounding."""
    return base64.b64encode(zlib.compress(values.astype("<f8").tobytes())).decode()


def unpacked_floats(text: str) -> NDArray[np.float64]:
    """Return the numbers that `packed_floats` wrote."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), "<f8").astype(float)
