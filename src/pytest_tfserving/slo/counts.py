"""The test of a share of requests in a part of a run, in which each request counts by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.slo.noise import Noise, NoiseKind
from pytest_tfserving.slo.sequential_tests import Evidence
from pytest_tfserving.statistics.sequential import needed_factor, share_evidence

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_tfserving.slo.sequential_tests import ObservedWindow

    Bools = NDArray[np.bool_]

# A share that may be over a limit is between this and all but this.
_RAREST = 1e-9


class CountTest:
    """A test of the share of requests that miss a limit, in a part of a run.

    Args:
        share: the largest share.
        missed: returns for each request whether it misses the limit.
        is_of_good: whether the figure is the share of the other requests, so that more is better.
    """

    def __init__(
        self, share: float, missed: Callable[[ObservedWindow], Bools], *, is_of_good: bool = False
    ) -> None:
        self._share = min(max(share, _RAREST), 1 - _RAREST)
        self._missed = missed
        self._is_of_good = is_of_good
        self._counts = 0.0, 0.0

    def look(self, window: ObservedWindow) -> Evidence:
        """Return the evidence of the count."""
        missed = self._missed(window)
        hits = float(missed.sum())
        self._counts = hits, len(missed) - hits
        below, above = map(float, share_evidence(self._share, *self._counts))
        n_eff = sum(self._counts)
        return Evidence(above, below, n_eff) if self._is_of_good else Evidence(below, above, n_eff)

    def needed_factor(self, needed: float) -> float:
        """Return the factor of the counts."""
        return needed_factor(self._share, self._counts, needed)

    def noise(self, needed: float) -> Noise | None:
        """Return the noise of too few requests."""
        del needed
        return Noise(NoiseKind.COUNT)


def over_limit(limit_ms: float, *, at_limit_counts: bool) -> Callable[[ObservedWindow], Bools]:
    """Return the function that says for each success of a window whether it took too long."""
    over = np.greater_equal if at_limit_counts else np.greater
    return lambda window: over(window.latencies_ms, limit_ms)
