"""Latencies of any number of requests in bounded memory: exact up to a limit, then a histogram."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.statistics.histogram import Histogram
from pytest_tfserving.statistics.percentiles import KEPT_PERCENTILES, percentile_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Of more latencies than this, percentiles are those of the histogram.
MOST_EXACT = 1_000_000


def nearest_rank(ordered: Floats, percentile: float) -> float:
    """Return the least of ``ordered`` values that ``percentile`` per cent do not exceed; NaN if empty."""
    if not len(ordered):
        return math.nan
    return float(ordered[max(math.ceil(round(percentile / 100 * len(ordered), 9)), 1) - 1])


@dataclass(frozen=True, eq=False, slots=True)
class Latencies:
    """Latencies of successful requests, in ms.

    Attributes:
        histogram: all latencies.
        mean_ms: the exact mean; NaN if there are none.
        max_ms: the exact highest latency; NaN if there are none.
        exact_ms: all latencies, sorted, shape ``(n,)``. None if there were more than `MOST_EXACT`; then
            percentiles come from ``histogram``, within 0.05 %.
    """

    histogram: Histogram
    mean_ms: float
    max_ms: float
    exact_ms: Floats | None

    @classmethod
    def of(cls, latencies_ms: Floats) -> Latencies:
        """Return the object for latencies in any order."""
        collected = Collected()
        collected.add(latencies_ms)
        return collected.latencies()

    def __len__(self) -> int:
        return len(self.histogram) if self.exact_ms is None else len(self.exact_ms)

    @property
    def values_ms(self) -> Floats:
        """All latencies in ms, sorted; if exact ones are not kept, each is the middle of its bucket."""
        if self.exact_ms is not None:
            return self.exact_ms
        return np.repeat(self.histogram.values_ms, self.histogram.counts)

    def percentile_ms(self, percentile: float) -> float:
        """Return the nearest-rank percentile in ms: that many per cent of latencies do not exceed it."""
        if self.exact_ms is not None:
            return nearest_rank(self.exact_ms, percentile)
        return min(self.histogram.percentile_ms(percentile), self.max_ms)

    def named_percentiles(self) -> dict[str, float]:
        """Return every percentile of the results' schema by name, and the highest latency; all in ms."""
        found = {percentile_key(each): self.percentile_ms(each) for each in KEPT_PERCENTILES}
        return found | {"max_ms": self.max_ms}


class Collected:
    """Collector of latencies that come block by block."""

    def __init__(self, most_exact: int = MOST_EXACT) -> None:
        self._most_exact = most_exact
        self._exact: list[Floats] = []
        self._histogram: Histogram | None = None
        self._count = 0
        self._sum_ms = 0.0
        self._max_ms = -math.inf

    def add(self, latencies_ms: Floats) -> None:
        """Add latencies in any order."""
        if not len(latencies_ms):
            return
        self._count += len(latencies_ms)
        self._sum_ms += float(latencies_ms.sum())
        self._max_ms = max(self._max_ms, float(latencies_ms.max()))
        self._exact.append(latencies_ms)
        if self._count > self._most_exact:
            self._histogram = self._all()
            self._exact = []

    def latencies(self) -> Latencies:
        """Return all latencies added so far."""
        if not self._count:
            return Latencies(Histogram.of(np.empty(0)), math.nan, math.nan, np.empty(0))
        exact = None if self._histogram else _sorted(self._exact)
        return Latencies(self._all(), self._sum_ms / self._count, self._max_ms, exact)

    def _all(self) -> Histogram:
        known = [self._histogram] if self._histogram else []
        return Histogram.merged([*known, *map(Histogram.of, self._exact)])


def _sorted(blocks: list[Floats]) -> Floats:
    """Return the sorted values of all blocks."""
    whole = np.empty(sum(map(len, blocks)))
    filled = len(whole)
    for block in reversed(blocks):
        filled -= len(block)
        whole[filled : filled + len(block)] = block
    whole.sort()
    return whole
