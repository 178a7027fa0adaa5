"""Confidence intervals of a run's figures, not narrowed by neighbouring requests that resemble each other.

Requests of one run are not independent: a slow moment slows many. All intervals but that of errors are those
of the mean of blocks of time under a `LevelModel`: the machine and the server may wander, given that their
memory is bounded.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_tfserving.load.latencies import Latencies

    Floats = NDArray[np.float64]

# A part of a run is cut into so many blocks, of half a second at least where that leaves enough of them.
MOST_BLOCKS = 200
_FEWEST_BLOCKS = 20
_SHORTEST_BLOCK_S = 0.5
# Fewer requests than this say nothing about how they scatter.
_FEWEST_REQUESTS = 100
# With fewer blocks a level cannot be told from noise.
_FEWEST_FOR_A_LEVEL = 8
# Student's t for 95 %, from one degree of freedom on.
_T_OF = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447)
_Z = 1.96

Interval = tuple[float, float]


def blocks_of(length_s: float) -> int:
    """Return into how many blocks a part of a run is cut."""
    return min(max(int(length_s / _SHORTEST_BLOCK_S), _FEWEST_BLOCKS), MOST_BLOCKS)


def are_enough(counts: Floats) -> bool:
    """Return whether the requests of all blocks are enough for an interval."""
    return bool(counts.sum() >= _FEWEST_REQUESTS)


def half_widths(series: Floats, block_s: float, noise_memory_s: float) -> tuple[Floats, Floats]:
    """Return how far the 95 % interval of each series' mean goes below and above the plain mean.

    Args:
        series: one a row, shape ``(series, blocks)``.
        block_s: how long a block is.
        noise_memory_s: how long the level remembers at most.
    """
    import numpy as np

    from pytest_tfserving.statistics.level import LevelModel

    model = LevelModel(block_s, noise_memory_s, (len(series),))
    for values in series.T:
        model.add(values)
    low, high = model.interval()
    mean = series.mean(axis=1)
    return np.maximum(mean - low, 0.0), np.maximum(high - mean, 0.0)


def percentile_interval(
    latencies: Latencies, percentile: float, below: float, above: float
) -> Interval | None:
    """Return the 95 % interval of a percentile, in ms; None where it needs latencies above the highest one.

    Args:
        latencies: all of them.
        percentile: which one.
        below: how much smaller the share of latencies that are at most the percentile may be.
        above: how much larger. Neither is taken to be less than that of independent requests.
    """
    count, share = len(latencies), percentile / 100
    independent = _Z * math.sqrt(share * (1 - share) / count)
    low = math.ceil((share - max(below, independent)) * count)
    high = math.ceil((share + max(above, independent)) * count)
    if high > count:
        return None
    return latencies.percentile_ms(100 * max(low, 1) / count), latencies.percentile_ms(100 * high / count)


def ratio_interval(
    numerators: Floats, denominators: Floats, block_s: float, noise_memory_s: float
) -> Interval | None:
    """Return the 95 % interval of a ratio of sums from blocks of time; None where there are fewer than two.

    The ratio estimator's variance, from what each block's numerator is off by (Cochran, Sampling Techniques,
    3rd ed., section 6.3).
    """
    import numpy as np

    blocks = len(numerators)
    if blocks < 2 or denominators.sum() <= 0:  # noqa: PLR2004 - a variance
        return None
    ratio = float(numerators.sum() / denominators.sum())
    off = (numerators - ratio * denominators) / float(denominators.mean())
    if blocks < _FEWEST_FOR_A_LEVEL:
        half = _T_OF[blocks - 2] * float(off.std(ddof=1)) / math.sqrt(blocks)
        return max(ratio - half, 0.0), ratio + half
    below, above = half_widths(np.asarray(off)[None, :], block_s, noise_memory_s)
    return max(ratio - float(below[0]), 0.0), ratio + float(above[0])


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


def overlap(one: Interval | None, other: Interval | None) -> bool:
    """Whether two intervals have a value in common; an unknown one is not known to differ."""
    return one is None or other is None or (one[0] <= other[1] and other[0] <= one[1])
