"""The count of good requests: those that succeed within their limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.statistics.intervals import share_interval
from pytest_tfserving.statistics.span import Tail, effective

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_tfserving.load.kinds import Kinds
    from pytest_tfserving.load.result import Window
    from pytest_tfserving.slo.request_limits import RequestLimits
    from pytest_tfserving.statistics.intervals import Interval

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]


class GoodRequests:
    """The requests that ended in a window, counted by the limits of their kinds."""

    def __init__(self, limits: RequestLimits, kinds: Kinds, window: Window) -> None:
        self._kinds = kinds
        self._limits_ms = np.array([limits.of(name) for name in kinds.names])
        self._window = window
        self._requests = 0
        self._last = Tail()
        self._good = np.zeros(len(kinds.names), np.int64)

    def add(self, finished_s: Floats, latencies_ms: Floats, failed: Bools, kinds: NDArray[np.int64]) -> None:
        """Add a block of requests in any order, with the number of each one's kind."""
        inside = (finished_s >= self._window.start_s) & (finished_s <= self._window.end_s)
        bad = (failed | (latencies_ms > self._limits_ms[kinds]))[inside]
        self._requests += len(bad)
        self._good += np.bincount(kinds[inside][~bad], minlength=len(self._good))
        self._last.add(finished_s[inside], latencies_ms[inside], bad)

    @property
    def count(self) -> int:
        """Number of good requests."""
        return int(self._good.sum())

    def of_kind(self, kind: str) -> int:
        """Return the number of good requests of a kind."""
        return int(self._good[self._kinds.names.index(kind)])

    def n_eff(self) -> float:
        """Return how many independent requests the count is worth."""
        return effective(self._last.failed, self._requests)

    def interval(self) -> Interval | None:
        """Return the 95 % interval of goodput; None without a request."""
        return share_interval(self.count, self.n_eff(), self._requests)
