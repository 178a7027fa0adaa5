"""Confidence intervals of a run's figures, not narrowed by neighbouring requests that resemble each other.

Requests of one run are not independent: a slow moment slows many. Both intervals are made from the means of a
few long batches, which are nearly independent where single requests are not (batch means; Law, Simulation
Modeling and Analysis, 5th ed., section 9.5.3).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCHES = 20
# Student's t for 95 % and 19 degrees of freedom.
_T = 2.093
_Z = 1.96
# Fewer requests in a batch than this say nothing about its mean.
_FEWEST_IN_A_BATCH = 5

Interval = tuple[float, float]


def rate_interval(finished_s: NDArray[np.float64], start_s: float, end_s: float) -> Interval | None:
    """The 95 % interval of a rate a second, from when each success ended; None for too few."""
    import numpy as np

    counts, _ = np.histogram(finished_s, bins=BATCHES, range=(start_s, end_s))
    if end_s <= start_s or len(finished_s) < BATCHES * _FEWEST_IN_A_BATCH:
        return None
    rates = counts * BATCHES / (end_s - start_s)
    half = _half_width(rates)
    mean = float(rates.mean())
    return max(mean - half, 0.0), mean + half


def percentile_intervals(
    latencies_ms: NDArray[np.float64], ordered: NDArray[np.float64], percentiles: tuple[float, ...]
) -> dict[float, Interval]:
    """The 95 % interval of each percentile, in ms, from latencies as they ended, and the same ``ordered``.

    Batch means of whether a latency is at most the percentile give that share's standard error, which is
    never taken to be less than that of independent requests; the latencies at the share's two ends are the
    interval's. A percentile whose interval would need latencies above the highest one is left out.
    """
    size = len(latencies_ms) // BATCHES
    if size < _FEWEST_IN_A_BATCH:
        return {}
    inside = latencies_ms[len(latencies_ms) - size * BATCHES :]
    found = {}
    for percentile in percentiles:
        share = percentile / 100
        value = ordered[math.ceil(share * len(ordered)) - 1]
        independent = _T * math.sqrt(share * (1 - share) / len(ordered))
        half = max(_half_width((inside <= value).reshape(BATCHES, size).mean(axis=1)), independent)
        low, high = (math.ceil((share + sign * half) * len(ordered)) - 1 for sign in (-1, 1))
        if high < len(ordered):
            found[percentile] = (float(ordered[max(low, 0)]), float(ordered[high]))
    return found


def mean_interval(latencies_ms: NDArray[np.float64]) -> Interval | None:
    """The 95 % interval of the mean of latencies as they ended, in ms; None for too few."""
    size = len(latencies_ms) // BATCHES
    if size < _FEWEST_IN_A_BATCH:
        return None
    means = latencies_ms[len(latencies_ms) - size * BATCHES :].reshape(BATCHES, size).mean(axis=1)
    half, mean = _half_width(means), float(latencies_ms.mean())
    return max(mean - half, 0.0), mean + half


def share_interval(hits: int, effective: float, count: int) -> Interval | None:
    """The 95 % interval of the share ``hits / count``, as much as ``effective`` independent values tell.

    Wilson's score interval (Journal of the American Statistical Association 22, 1927).
    """
    if not count or effective <= 0:
        return None
    share, spread = hits / count, _Z**2 / effective
    centre = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / effective + spread / (4 * effective))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def _half_width(means: NDArray[np.float64]) -> float:
    return _T * float(means.std(ddof=1)) / math.sqrt(BATCHES)


def overlap(one: Interval | None, other: Interval | None) -> bool:
    """Whether two intervals have a value in common; an unknown one is not known to differ."""
    return one is None or other is None or (one[0] <= other[1] and other[0] <= one[1])
