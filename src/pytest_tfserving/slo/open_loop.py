"""Rates in an open loop, whose schedule says how many requests are due: answers are compared with it."""

from __future__ import annotations

import math
import threading
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.slo.sequential_tests import Evidence, PairedTest, RateTest, fitting_block_s

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pytest_tfserving.slo.noise import Noise
    from pytest_tfserving.slo.sequential_tests import ObservedWindow, SeriesSet, SloTest

    Floats = NDArray[np.float64]

# In a block of this many mean latencies, few requests were due in the block before.
_LATENCIES_IN_A_BLOCK = 5.0
# Blocks get another length if they are this many times too long, or too short.
_MISFIT = 3.0
_MS = 1000
_FIRST_TAKEN = 1024


class DueRequests:
    """The requests of an open loop that are due, taken from its schedule as load goes on.

    Args:
        times_s: when each request is due, in seconds of the run, in order.
        rps: the mean rate of the part of the run that is judged, in requests a second.
        memory_s: for how many seconds the number of arrivals depends on the arrivals before.
        clump: the number of requests that a burst sends together; 1 without bursts.
    """

    def __init__(
        self, times_s: Iterator[float], rps: float, memory_s: float = 0.0, clump: float = 1.0
    ) -> None:
        self.rps = rps
        self.memory_s = memory_s
        self.clump = clump
        self._coming = times_s
        self._known = np.empty(0)
        self._lock = threading.Lock()

    def between(self, start_s: float, until_s: float) -> Floats:
        """Return when the requests are due from ``start_s`` until ``until_s``; any thread may ask."""
        with self._lock:
            while not (len(self._known) and self._known[-1] >= until_s):
                more = [*islice(self._coming, max(len(self._known), _FIRST_TAKEN))]
                if not more:
                    break
                self._known = np.concatenate([self._known, more])
            first, last = np.searchsorted(self._known, [start_s, until_s])
            return self._known[first:last]


class OfferedRateTest:
    """A test of successes a second against a limit, which in an open loop allows for the schedule.

    If the server keeps up, successes come as irregularly as the schedule has it. Pairs of the successes and
    the due requests of a block do not: their ratio hardly varies. If the server does not keep up, its rate is
    its own, and hardly varies. The evidence is the mean of both, and counts only if the rate so far agrees.

    Args:
        limit: the limit in requests a second.
        noise_memory_s: the longest time in seconds for which the machine's speed remembers.
        shared: the series that all tests of one window share.
    """

    def __init__(self, limit: float, noise_memory_s: float, shared: SeriesSet) -> None:
        self._limit = limit
        self._counted = RateTest(limit, shared)
        self._paired = PairedTest(limit, _DuePairs(), noise_memory_s)
        self._is_open = False

    def look(self, window: ObservedWindow) -> Evidence:
        """Return the evidence of the rate, in an open loop also of its pairs with the due requests."""
        counted = self._counted.look(window)
        self._is_open = window.due_s is not None
        if not self._is_open or not len(window.ended_s):
            return counted
        paired = self._paired.look(window)
        below, above = (
            float(np.logaddexp(*each)) - math.log(2)
            for each in ((counted.below, paired.below), (counted.above, paired.above))
        )
        is_below = len(window.ended_s) < self._limit * window.length_s
        n_eff = max(counted.n_eff, paired.n_eff)
        return Evidence(below if is_below else 0.0, 0.0 if is_below else above, n_eff)

    def needed_factor(self, needed: float) -> float:
        """Return the factor of the rate, or of the pairs if it is smaller."""
        return self._likelier(needed).needed_factor(needed)

    def noise(self, needed: float) -> Noise | None:
        """Return the noise of the rate, or of the pairs if they decide earlier."""
        return self._likelier(needed).noise(needed)

    def _likelier(self, needed: float) -> SloTest:
        """Return the test that will likely decide first."""
        tests: list[SloTest] = [self._counted]
        if self._is_open:
            tests.append(self._paired)
        return min(tests, key=lambda test: test.needed_factor(needed))


class _DuePairs:
    """The pairs of a window: for each block the successes, and the due requests in multiples of the rate."""

    def __init__(self) -> None:
        self._block_s = math.nan

    def __call__(self, window: ObservedWindow) -> tuple[Floats, Floats, float]:
        """Return the successes, the due requests divided by the mean rate, and a block's seconds."""
        assert window.due_s is not None
        latency_s = float(window.latencies_ms.mean()) / _MS
        fitting_s = max(fitting_block_s(window), _LATENCIES_IN_A_BLOCK * latency_s)
        if not 1 / _MISFIT < fitting_s / self._block_s < _MISFIT:
            self._block_s = fitting_s
        edges_s = np.arange(int(window.length_s / self._block_s + 1e-9) + 1) * self._block_s
        answered, due = (
            np.diff(np.searchsorted(each, edges_s)).astype(float) for each in (window.ended_s, window.due_s)
        )
        return answered, due / window.due_rps, self._block_s
