"""Confidence intervals of a run's figures, not narrowed by neighbouring requests that resemble each other.

Requests of one run are not independent: a slow moment slows many. All intervals but that of errors are those
of the mean of blocks of time under a `LevelModel`: the machine and the server may wander, given that their
memory is bounded.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_tfserving.load.latencies import Latencies
    from pytest_tfserving.statistics.block_latencies import BlockLatencies
    from pytest_tfserving.statistics.level import LevelModel

    Floats = NDArray[np.floating[Any]]

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
# Intervals rest on levels that remember a little longer than is taken for granted, in finer steps than those
# of verdicts: a memory on its limit is likely thought to be shorter, and the interval would be too narrow.
_LONGER = 1.15
_STEP = 1.5
_STILL = 0.8
# What is counted of a block without requests: a logarithm needs more than nothing.
_HALF_A_REQUEST = 0.5
_SHORTEST_MS = 1e-6

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

    low, high = _model(series, block_s, noise_memory_s).interval()
    mean = series.mean(axis=1)
    return np.maximum(mean - low, 0.0), np.maximum(high - mean, 0.0)


def _model(series: Floats, block_s: float, noise_memory_s: float) -> LevelModel:
    from pytest_tfserving.statistics.level import LevelModel

    model = LevelModel(block_s, _LONGER * noise_memory_s, series.shape[:-1], step=_STEP, still=_STILL)
    for values in series.T:
        model.add(values)
    return model


def level_widths(
    blocks: BlockLatencies,
    percentiles: Sequence[float],
    spreads: Floats,
    block_s: float,
    noise_memory_s: float,
) -> tuple[Floats, Floats]:
    """Return how far the level alone takes percentiles down and up, as logarithms of factors.

    For a Gaussian level of mean m and standard deviation s, a percentile's logarithm is
    ``m + hypot(spread, z s)``, with z the standard normal quantile. Users that wait for their answers send
    less where the level is high, which takes ``tilt s**2`` off: the tilt is the slope of log counts.

    Args:
        blocks: log latencies of blocks of time.
        percentiles: which ones, 50 or more.
        spreads: how far above its block's mean each of them is.
        block_s: how long a block is.
        noise_memory_s: how long the level remembers at most.
    """
    import numpy as np

    means = blocks.means
    z = np.array([NormalDist().inv_cdf(each / 100) for each in percentiles])
    tilt = _tilt(blocks.counts, means)

    def shift(level_sd: Floats) -> Floats:
        own, level = spreads[:, None], z[:, None] * level_sd
        return np.asarray(np.where(level > 0, np.hypot(own, level), own) - tilt * level_sd**2)

    low, high = _model(means, block_s, noise_memory_s).interval(shift)
    plain = means.mean() + shift(np.array([means.std()]))[:, 0]
    # What single requests add to the blocks' means is counted with the requests themselves.
    own = _Z**2 * blocks.own_variance / max(float(blocks.counts.sum()), 1.0)
    below, above = np.maximum(plain - low, 0.0), np.maximum(high - plain, 0.0)
    return np.sqrt(np.maximum(below**2 - own, 0.0)), np.sqrt(np.maximum(above**2 - own, 0.0))


def _tilt(counts: Floats, means: Floats) -> float:
    """Return by which power of their latencies blocks have fewer requests: from 0 to 1."""
    import numpy as np

    variance = float(means.var())
    logs = np.log(np.maximum(counts, _HALF_A_REQUEST))
    slope = float(np.mean((logs - logs.mean()) * (means - means.mean())) / variance) if variance else 0.0
    return min(max(-slope, 0.0), 1.0)


def percentile_interval(
    latencies: Latencies, percentile: float, shares: Interval, factors: Interval
) -> Interval | None:
    """Return the 95 % interval of a percentile, in ms; None where it needs latencies above the highest one.

    Args:
        latencies: all of them.
        percentile: which one.
        shares: how much smaller, and larger, the share of latencies up to the percentile may be. Neither is
            taken to be less than that of independent requests.
        factors: how far the level takes it down and up besides, as logarithms.
    """
    count, share = len(latencies), percentile / 100
    independent = _Z * math.sqrt(share * (1 - share) / count)
    low = max(math.ceil((share - max(shares[0], independent)) * count), 1)
    high = math.ceil((share + max(shares[1], independent)) * count)
    if high > count:
        return None
    value = latencies.percentile_ms(percentile)
    ends = (latencies.percentile_ms(100 * rank / count) for rank in (low, high))
    below, above = (
        math.hypot(math.log(max(end, _SHORTEST_MS) / max(value, _SHORTEST_MS)), factor)
        for end, factor in zip(ends, factors, strict=True)
    )
    return value * math.exp(-below), value * math.exp(above)


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


def share_interval(hits: int, n_eff: float, count: int) -> Interval | None:
    """The 95 % interval of the share ``hits / count``, as much as ``n_eff`` independent values tell.

    Wilson's score interval (Journal of the American Statistical Association 22, 1927).
    """
    if not count or n_eff <= 0:
        return None
    share, spread = hits / count, _Z**2 / n_eff
    centre = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / n_eff + spread / (4 * n_eff))
    # The ends are exact where all are hits, or none is: rounding would leave a trace of a share.
    return max(centre - half, 0.0) if hits else 0.0, min(centre + half, 1.0) if hits < count else 1.0


def overlap(one: Interval | None, other: Interval | None) -> bool:
    """Whether two intervals have a value in common; an unknown one is not known to differ."""
    return one is None or other is None or (one[0] <= other[1] and other[0] <= one[1])
