"""Figures of a part of a run, with their intervals, from requests that come block by block.

Memory stays bounded for any number of requests: the requests are read twice, first for the percentiles, then
for the variation of these percentiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.statistics import noise_memory
from pytest_tfserving.statistics.autocorrelation import MOST_VALUES, inefficiency
from pytest_tfserving.statistics.block_latencies import BlockLatencies
from pytest_tfserving.statistics.histogram import Histogram, buckets_of
from pytest_tfserving.statistics.intervals import (
    are_enough,
    blocks_of,
    half_widths,
    level_widths,
    percentile_interval,
    share_interval,
)
from pytest_tfserving.statistics.latencies import Collected, Latencies
from pytest_tfserving.statistics.percentiles import KEPT_PERCENTILES, percentile_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_tfserving.statistics.intervals import Interval

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

# The low bits of a key hold the bucket, the high bits the second. These bits are enough for any bucket.
_BUCKET_BITS = 16
_MOST_WAITING = 1 << 18


class SpanStatistics:
    """Statistics of the requests that ended from ``start_s`` to ``end_s``, in equal blocks of this time.

    ``noise_memory_s`` is the longest time over which the machine's speed is correlated, by assumption.
    """

    def __init__(self, start_s: float, end_s: float, noise_memory_s: float = noise_memory.DEFAULT_S) -> None:
        self.start_s, self.end_s = start_s, end_s
        self._noise_memory_s = noise_memory_s
        self._blocks = blocks_of(end_s - start_s)
        self._collected = Collected()
        self._last = Tail()
        self._requests = np.zeros(self._blocks)
        self._successes = np.zeros(self._blocks)
        self._taken_ms = np.zeros(self._blocks)
        self._logs = BlockLatencies(self._blocks)
        self.latencies: Latencies

    def add(self, finished_s: Floats, latencies_ms: Floats, failed: Bools) -> None:
        """Add a block of requests in the first pass, in any order.

        Args:
            finished_s: when each request ended, in seconds of the run; shape ``(n,)``.
            latencies_ms: the latency of each request; shape ``(n,)``.
            failed: whether each request failed; shape ``(n,)``.
        """
        inside = self._inside(finished_s)
        finished_s, latencies_ms, failed = finished_s[inside], latencies_ms[inside], failed[inside]
        self._last.add(finished_s, latencies_ms, failed)
        self._requests += np.bincount(self._block(finished_s), minlength=self._blocks)
        good_ms, block = latencies_ms[~failed], self._block(finished_s[~failed])
        self._collected.add(good_ms)
        self._successes += np.bincount(block, minlength=self._blocks)
        self._taken_ms += np.bincount(block, weights=good_ms, minlength=self._blocks)
        self._logs.add(block, good_ms)

    def close(self) -> None:
        """End the first pass."""
        self.latencies = self._collected.latencies()
        del self._collected
        self._values = [self.latencies.percentile_ms(each) for each in KEPT_PERCENTILES]

    def see_again(self, finished_s: Floats, latencies_ms: Floats, failed: Bools) -> None:
        """Add a block of requests in the second pass, with the arguments of `add`."""
        good = self._inside(finished_s) & ~failed
        self._logs.add_again(self._block(finished_s[good]), latencies_ms[good])

    @property
    def requests(self) -> int:
        """Number of requests that ended in this part."""
        return int(self._requests.sum())

    @property
    def failures(self) -> int:
        """Number of requests that failed in this part."""
        return self.requests - len(self.latencies)

    def intervals(self) -> tuple[dict[str, Interval], dict[str, float]]:
        """Return the interval of each figure, and the effective number of independent requests for each."""
        found = self._of_successes() if are_enough(self._successes) else {}
        n_eff: dict[str, float] = {}
        last = self._last
        good = ~last.failed
        good_ms, successes = last.latencies_ms[good], len(self.latencies)
        for percentile, value in zip(KEPT_PERCENTILES, self._values, strict=True):
            n_eff[percentile_key(percentile)] = effective(good_ms <= value, successes)
        n_eff["rps"] = successes / _dispersion(last.finished_s[good], self.end_s)
        n_eff["mean_ms"] = effective(good_ms, successes)
        n_eff["error_rate"] = effective(last.failed, self.requests)
        found["error_rate"] = share_interval(self.failures, n_eff["error_rate"], self.requests)
        known = {name: interval for name, interval in found.items() if interval}
        return known, {name: round(n_eff[name], 1) for name in known}

    def _of_successes(self) -> dict[str, Interval | None]:
        """Return the intervals of rate, mean and percentiles, from the deviation of each block."""
        length_s = self.end_s - self.start_s
        if length_s <= 0:
            return {}
        block_s, counts, mean_ms = length_s / self._blocks, self._successes, self.latencies.mean_ms
        spreads, surplus = self._logs.beyond(KEPT_PERCENTILES)
        typical = counts.mean()
        off = np.vstack(
            [counts / block_s, (self._taken_ms - mean_ms * counts) / typical, surplus / typical],
        )
        below, above = half_widths(off, block_s, self._noise_memory_s)
        rate = float(counts.sum()) / length_s
        found: dict[str, Interval | None] = {
            "rps": (max(rate - float(below[0]), 0.0), rate + float(above[0])),
            "mean_ms": (max(mean_ms - float(below[1]), 0.0), mean_ms + float(above[1])),
        }
        shares = zip(below[2:].tolist(), above[2:].tolist(), strict=True)
        down, up = level_widths(self._logs, KEPT_PERCENTILES, spreads, block_s, self._noise_memory_s)
        factors = zip(down.tolist(), up.tolist(), strict=True)
        for percentile, share, factor in zip(KEPT_PERCENTILES, shares, factors, strict=True):
            found[percentile_key(percentile)] = percentile_interval(self.latencies, percentile, share, factor)
        return found

    def _inside(self, finished_s: Floats) -> Bools:
        return (finished_s >= self.start_s) & (finished_s <= self.end_s)

    def _block(self, finished_s: Floats) -> NDArray[np.int64]:
        length_s = self.end_s - self.start_s
        at = (finished_s - self.start_s) * (self._blocks / length_s if length_s > 0 else 0.0)
        return np.minimum(at.astype(np.int64), self._blocks - 1)


class Tail:
    """The last requests to end, in this order: as many as autocorrelation is measured on."""

    def __init__(self) -> None:
        self._rows = np.empty((0, 3))
        self._waiting: list[Floats] = []
        self._size = 0

    def add(self, finished_s: Floats, latencies_ms: Floats, failed: Bools) -> None:
        """Add a block of requests in any order; see `SpanStatistics.add`."""
        self._waiting.append(np.column_stack([finished_s, latencies_ms, failed]))
        self._size += len(finished_s)
        if self._size > MOST_VALUES:
            self._settle()

    @property
    def finished_s(self) -> Floats:
        """Ends of the requests, in seconds of the run."""
        return self._settle()[:, 0]

    @property
    def latencies_ms(self) -> Floats:
        """Latencies of the requests in ms."""
        return self._settle()[:, 1]

    @property
    def failed(self) -> Bools:
        """For each request, True if it failed."""
        return self._settle()[:, 2] > 0

    def _settle(self) -> Floats:
        if self._waiting:
            rows = np.concatenate([self._rows, *self._waiting])
            self._rows = rows[np.argsort(rows[:, 0], kind="stable")][-MOST_VALUES:]
            self._waiting, self._size = [], 0
        return self._rows


def effective(values: Floats | Bools, count: int) -> float:
    """Return how many independent values ``count`` values are worth, judged by the last ``values``."""
    return count / float(inefficiency(values.astype(float))[0]) if len(values) else 0.0


def _dispersion(finished_s: Floats, end_s: float) -> float:
    """Return the variance of counts over time, divided by that of independent requests; at least 1."""
    if not len(finished_s):
        return 1.0
    slices = max(len(finished_s) // 5, 1)
    counts, _ = np.histogram(finished_s, bins=slices, range=(finished_s[0], max(end_s, finished_s[-1])))
    found = counts.var() / counts.mean() * float(inefficiency(counts.astype(float))[0])
    return max(float(found), 1.0)


class PerSecondHistograms:
    """Histogram of the successes, and number of the failures, of every second of a run."""

    def __init__(self) -> None:
        self._known = Histogram.of(np.empty(0))
        self._waiting: list[Histogram] = []
        self._failed = np.zeros(0, np.int64)

    def add(self, finished_s: Floats, latencies_ms: Floats, failed: Bools) -> None:
        """Add a block of requests in any order; the arguments are those of `SpanStatistics.add`."""
        if not len(finished_s):
            return
        seconds = finished_s.astype(np.int64)
        keys = (seconds[~failed] << _BUCKET_BITS) + buckets_of(latencies_ms[~failed])
        self._waiting.append(Histogram(*np.unique(keys, return_counts=True)))
        failures = np.bincount(seconds[failed], minlength=len(self._failed))
        failures[: len(self._failed)] += self._failed
        self._failed = failures
        if sum(len(each.counts) for each in self._waiting) > max(_MOST_WAITING, len(self._known.counts)):
            self._merge()

    def errors(self, second: int) -> int:
        """Return how many requests failed in a second."""
        return int(self._failed[second]) if second < len(self._failed) else 0

    def histogram(self, first: int, last: int) -> Histogram:
        """Return the histogram of successes from second ``first`` up to, but without, second ``last``."""
        self._merge()
        keys = self._known.buckets
        low, high = np.searchsorted(keys, [first << _BUCKET_BITS, last << _BUCKET_BITS])
        buckets = keys[low:high] & ((1 << _BUCKET_BITS) - 1)
        part = Histogram(buckets, self._known.counts[low:high])
        return part if last == first + 1 else Histogram.merged([part])

    def _merge(self) -> None:
        if self._waiting:
            self._known = Histogram.merged([self._known, *self._waiting])
            self._waiting = []
