"""Confidence intervals of a run's figures, not narrowed by neighbouring requests that resemble each other.

Requests of one run are not independent: a slow moment slows many. All intervals but that of a share are
made from the means of a few long batches, which are nearly independent where single requests are not (batch
means; Law, Simulation Modeling and Analysis, 5th ed., section 9.5.3).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_tfserving.load.latencies import Latencies

    Floats = NDArray[np.float64]

BATCHES = 20
# Student's t for 95 %, from one degree of freedom on.
_T_OF = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093),
)
_T = _T_OF[BATCHES - 2]
_Z = 1.96
# Fewer requests in a batch than this say nothing about its mean.
_FEWEST_IN_A_BATCH = 5

Interval = tuple[float, float]


def rate_interval(counts: Floats, length_s: float) -> Interval | None:
    """The 95 % interval of a rate a second, from the successes of each batch of time; None for too few."""
    if length_s <= 0 or counts.sum() < BATCHES * _FEWEST_IN_A_BATCH:
        return None
    rates = counts * BATCHES / length_s
    half = _half_width(rates)
    mean = float(rates.mean())
    return max(mean - half, 0.0), mean + half


def percentile_interval(
    latencies: Latencies, percentile: float, under: Floats, counts: Floats
) -> Interval | None:
    """The 95 % interval of a percentile, in ms; None where it would need latencies above the highest one.

    Batch means of whether a latency is at most the percentile give that share's standard error, which is
    never taken to be less than that of independent requests; the latencies at the share's two ends are the
    interval's.

    Args:
        latencies: all of them.
        percentile: which one.
        under: how many latencies of each batch of time are at most the percentile.
        counts: how many each batch has.
    """
    if not _are_enough(counts):
        return None
    count, share = len(latencies), percentile / 100
    independent = _T * math.sqrt(share * (1 - share) / count)
    half = max(_half_width(under / counts), independent)
    low, high = (math.ceil((share + sign * half) * count) for sign in (-1, 1))
    if high > count:
        return None
    return latencies.percentile_ms(100 * max(low, 1) / count), latencies.percentile_ms(100 * high / count)


def mean_interval(sums: Floats, counts: Floats) -> Interval | None:
    """The 95 % interval of the mean, from each batch's sum and count; None for too few."""
    if not _are_enough(counts):
        return None
    half, mean = _half_width(sums / counts), float(sums.sum() / counts.sum())
    return max(mean - half, 0.0), mean + half


def ratio_interval(numerators: Floats, denominators: Floats) -> Interval | None:
    """Return the 95 % interval of a ratio of sums from its batches of time; None where fewer than two.

    The ratio estimator's variance, from what each batch's numerator is off by (Cochran, Sampling Techniques,
    3rd ed., section 6.3).
    """
    batches = len(numerators)
    if batches < 2 or denominators.sum() <= 0:  # noqa: PLR2004 - a variance
        return None
    ratio = float(numerators.sum() / denominators.sum())
    off = numerators - ratio * denominators
    error = math.sqrt(float((off**2).sum()) / (batches - 1) / batches) / float(denominators.mean())
    half = _T_OF[min(batches - 1, len(_T_OF)) - 1] * error
    return max(ratio - half, 0.0), ratio + half


def _are_enough(counts: Floats) -> bool:
    return bool(counts.min() >= 1 and counts.sum() >= BATCHES * _FEWEST_IN_A_BATCH)


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


def efficiency_interval(counts: Floats, lengths_s: Floats, rates: Floats) -> Interval | None:
    """Return the 95 % interval of the efficiency from stretches of load; None where there are fewer than two.

    It is a ratio of sums: of successes, and of what the baseline would have done meanwhile. Both go up and
    down with the machine, so that hardly anything but the server is left in their ratio.

    Args:
        counts: the successes of each stretch.
        lengths_s: its length.
        rates: the baseline's calls a second right beside it.
    """
    if not len(counts):
        return None
    import numpy as np

    number = min(len(counts), BATCHES)
    batches = np.arange(number) * len(counts) // number
    return ratio_interval(np.add.reduceat(counts, batches), np.add.reduceat(lengths_s * rates, batches))


def _half_width(means: Floats) -> float:
    return _T * float(means.std(ddof=1)) / math.sqrt(BATCHES)


def overlap(one: Interval | None, other: Interval | None) -> bool:
    """Whether two intervals have a value in common; an unknown one is not known to differ."""
    return one is None or other is None or (one[0] <= other[1] and other[0] <= one[1])
