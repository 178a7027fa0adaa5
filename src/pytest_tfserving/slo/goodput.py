"""The sequential test of goodput: the share of requests that succeed within their limit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.slo.sequential_tests import (
    Evidence,
    LatencyLevel,
    NeverTest,
    count_noise,
    in_a_burst,
    together_of,
)
from pytest_tfserving.statistics.intervals import share_interval
from pytest_tfserving.statistics.sequential import BURST, needed_factor, share_evidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_tfserving.slo.noise import Noise
    from pytest_tfserving.slo.sequential_tests import ObservedWindow, SeriesSet

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

_ALL = 100
# A share that may be over the limit is between this and all but this.
_RAREST = 1e-6


def bad_requests(window: ObservedWindow) -> Bools:
    """Return for each request whether it failed or took longer than its limit."""
    bad = np.array(window.failed)
    bad[~window.failed] = window.latencies_ms > window.limits_ms
    return bad


def _multiples(window: ObservedWindow) -> Floats:
    """Return latencies as multiples of their limits."""
    return window.latencies_ms / window.limits_ms


class GoodputTest:
    """A test of the share of good requests against a limit.

    Two tests have to agree, as for a percentile. The count is that of bad requests. The level is that of
    latencies as multiples of their limits: of the successes with a limit, the share that may be over it is
    the share of bad requests that is allowed, less the share of failures. This share is not known exactly,
    so it is the end of its 95 % interval that makes the evidence smaller. That too many requests fail is
    also a proof by itself.
    """

    def __init__(self, limit: float, shared: SeriesSet) -> None:
        self._share = 1 - limit
        self._model = LatencyLevel(_multiples, shared)
        self._evidence = self._level = Evidence()
        self._window: ObservedWindow | None = None

    def look(self, window: ObservedWindow) -> Evidence:
        """Return the evidence that goodput is below the limit, and that it is above."""
        if not len(window.failed):
            return Evidence()
        self._window = window
        count, failures = self._counted(bad_requests(window)), self._counted(window.failed)
        self._level = self._of_level(window)
        both = self._level.both(count)
        missed = float(np.logaddexp(both.above, failures.above)) - math.log(2)
        self._evidence = Evidence(below=missed, above=both.below, n_eff=count.n_eff)
        return self._evidence

    def _counted(self, bad: Bools) -> Evidence:
        """Return the evidence of a count on the share; failures come in bursts, as stalls do."""
        below, above = share_evidence(self._share, *self._counts(bad))
        return Evidence(float(below), float(above), sum(self._counts(bad)))

    def _counts(self, bad: Bools) -> tuple[float, float]:
        """Return the effective numbers of independent bad requests, and of good ones."""
        assert self._window
        window, hits = self._window, int(bad.sum())
        together = max(BURST, together_of(bad, window.in_flight))
        if len(window.latencies_ms):
            together = max(together, in_a_burst(window.clump, _multiples(window), 1.0))
        return hits / together, (len(bad) - hits) / together

    def _of_level(self, window: ObservedWindow) -> Evidence:
        """Return the evidence of the level; requests without a limit are good whatever their level is."""
        limited = np.isfinite(window.limits_ms)
        seen = (
            window
            if limited.all()
            else replace(
                window,
                latencies_ms=window.latencies_ms[limited],
                ended_s=window.ended_s[limited],
                limits_ms=window.limits_ms[limited],
            )
        )
        if not len(seen.ended_s):
            return Evidence()
        self._model.look(seen)
        requests, failures = len(window.failed), int(window.failed.sum())
        least, most = share_interval(failures, sum(self._counts(window.failed)), requests) or (0.0, 1.0)
        successes = len(seen.ended_s) / requests
        below = self._model.evidence(self._percentile(most, successes), 1.0, seen).below
        above = self._model.evidence(self._percentile(least, successes), 1.0, seen).above
        return Evidence(below, above, math.inf)

    def _percentile(self, failed: float, successes: float) -> float:
        """Return the percentile of the successes with a limit that has to be within it.

        Args:
            failed: share of all requests that failed.
            successes: share of all requests that succeeded and have a limit.
        """
        over = min(max((self._share - failed) / successes, _RAREST), 1 - _RAREST)
        return _ALL * (1 - over)

    def needed_factor(self, needed: float) -> float:
        """Return the larger factor of the level and the count."""
        return max(self._factors(needed))

    def _factors(self, needed: float) -> tuple[float, float]:
        """Return the factors of the level and of the count."""
        if self._window is None:
            return math.inf, math.inf
        counted = needed_factor(self._share, self._counts(bad_requests(self._window)), needed)
        return self._model.needed_factor(self._level.most, needed), counted

    def noise(self, needed: float) -> Noise | None:
        """Return the noise of the level or of the count, whichever takes longer to decide."""
        of_level = self._model.noise(needed)
        if of_level is None or self._window is None:
            return None
        level, counted = self._factors(needed)
        return of_level if level >= counted else count_noise(self._window)


class AllGoodTest(NeverTest):
    """A test of whether all requests are good: one bad request is a proof that they are not."""

    def __init__(self) -> None:
        super().__init__(lambda window: bool(bad_requests(window).any()))

    def look(self, window: ObservedWindow) -> Evidence:
        """Return a proof that goodput is below 100 % if a request was bad, else no evidence."""
        found = super().look(window)
        return Evidence(below=found.above, n_eff=found.n_eff)
