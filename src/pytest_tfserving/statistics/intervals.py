"""Confidence intervals of a run's figures that allow for correlated requests.

Requests of one run are not independent: a slow moment slows many requests. All intervals except that of
errors come from means of blocks of time under a `LevelModel`: the speed of machine and server may wander, if
the memory of this wander is bounded.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_tfserving.statistics.block_latencies import BlockLatencies
    from pytest_tfserving.statistics.latencies import Latencies
    from pytest_tfserving.statistics.level import LevelModel

    Floats = NDArray[np.float64]

# A part of a run is cut into at most this many blocks, of at least half a second if that makes enough blocks.
MOST_BLOCKS = 200
_FEWEST_BLOCKS = 20
_SHORTEST_BLOCK_S = 0.5
# Fewer requests than this say nothing about how they scatter.
_FEWEST_REQUESTS = 100
# With fewer blocks a level cannot be distinguished from noise.
_FEWEST_FOR_A_LEVEL = 8
# Student's t for 95 %, from one degree of freedom on.
_T_OF = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447)
_Z = 1.96
# Intervals allow for memories a little above the assumed bound, in finer steps than verdicts. Otherwise a
# memory at the bound would often be estimated too short, and the interval would be too narrow.
_LONGER = 1.15
_STEP = 1.5
_STILL = 0.8
# Count of a block without requests: a logarithm needs a positive number.
_HALF_A_REQUEST = 0.5
_SHORTEST_MS = 1e-6

Interval = tuple[float, float]


def interval_of(ends: Sequence[float] | None) -> Interval | None:
    """Return the interval with these ends, as a document has them; None without ends."""
    return (ends[0], ends[1]) if ends else None


def blocks_of(length_s: float) -> int:
    """Return the number of blocks for a part of a run of ``length_s`` seconds."""
    return min(max(int(length_s / _SHORTEST_BLOCK_S), _FEWEST_BLOCKS), MOST_BLOCKS)


def are_enough(counts: Floats) -> bool:
    """Return whether all blocks together have enough requests for an interval."""
    return bool(counts.sum() >= _FEWEST_REQUESTS)


def half_widths(series: Floats, block_s: float, noise_memory_s: float) -> tuple[Floats, Floats]:
    """Return the distances of each series' mean from the lower and the upper end of its 95 % interval.

    Args:
        series: a series in each row, shape ``(series, blocks)``.
        block_s: the length of a block in seconds.
        noise_memory_s: the longest memory of the level in seconds.

    Returns:
        Two arrays of shape ``(series,)``, both at least 0.
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
    """Return the uncertainty of percentiles downward and upward from the level alone, as logarithms.

    For a Gaussian level of mean m and standard deviation s, a percentile's logarithm is
    ``m + hypot(spread, z s)``, with z the standard normal quantile. Users that wait for their responses send
    fewer requests while the level is high. This subtracts ``tilt s**2``, where the tilt is the slope of log
    counts.

    Args:
        blocks: log latencies of blocks of time.
        percentiles: the percentiles, each 50 or more.
        spreads: the distance of each percentile above its block's mean, as a logarithm.
        block_s: the length of a block in seconds.
        noise_memory_s: the longest memory of the level in seconds.

    Returns:
        Two arrays of shape ``(percentiles,)``, both at least 0.
    """
    import numpy as np

    means = blocks.means
    z = np.array([NormalDist().inv_cdf(each / 100) for each in percentiles])
    tilt = _tilt(blocks.counts, means)

    def shift(level_sd: Floats) -> Floats:
        own, level = spreads[:, None], z[:, None] * level_sd
        return np.asarray(np.where(level > 0, np.hypot(own, level), own) - tilt * level_sd**2)

    model = _model(means, block_s, noise_memory_s)
    low, high = model.interval(shift)
    plain = model.centre(shift)
    # The variance that single requests add to the blocks' means is in the requests' own part of the interval.
    own = _Z**2 * blocks.own_variance / max(float(blocks.counts.sum()), 1.0)
    below, above = np.maximum(plain - low, 0.0), np.maximum(high - plain, 0.0)
    return np.sqrt(np.maximum(below**2 - own, 0.0)), np.sqrt(np.maximum(above**2 - own, 0.0))


def _tilt(counts: Floats, means: Floats) -> float:
    """Return the power, from 0 to 1, with which the number of requests falls as latency rises."""
    import numpy as np

    variance = float(means.var())
    logs = np.log(np.maximum(counts, _HALF_A_REQUEST))
    slope = float(np.mean((logs - logs.mean()) * (means - means.mean())) / variance) if variance else 0.0
    return min(max(-slope, 0.0), 1.0)


def percentile_interval(
    latencies: Latencies, percentile: float, shares: Interval, factors: Interval
) -> Interval | None:
    """Return the 95 % interval of a percentile in ms; None if its upper end is above the highest latency.

    Args:
        latencies: all latencies.
        percentile: the percentile, from 0 to 100.
        shares: how much smaller, and how much larger, the share of latencies up to the percentile may be.
            Both are at least the uncertainty of independent requests.
        factors: the further uncertainty downward and upward from the level, as logarithms.
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
    """Return the 95 % interval of a ratio of sums over blocks of time; None if there are fewer than two.

    The variance is that of the ratio estimator, from the residual of each block's numerator (Cochran,
    Sampling Techniques, 3rd ed., section 6.3).

    Args:
        numerators: the numerator of each block; shape ``(blocks,)``.
        denominators: the denominator of each block; shape ``(blocks,)``.
        block_s: the length of a block in seconds.
        noise_memory_s: the longest memory of the level in seconds.
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
    """Return the 95 % interval of the share ``hits / count``, as if from ``n_eff`` independent values.

    This is Wilson's score interval (Journal of the American Statistical Association 22, 1927). It is None
    without values.
    """
    if not count or n_eff <= 0:
        return None
    share, spread = hits / count, _Z**2 / n_eff
    centre = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / n_eff + spread / (4 * n_eff))
    # The ends are exact where all are hits, or none is: rounding would leave a trace of a share.
    return max(centre - half, 0.0) if hits else 0.0, min(centre + half, 1.0) if hits < count else 1.0


def overlap(one: Interval | None, other: Interval | None) -> bool:
    """Return whether two intervals have a value in common, or one of them is unknown."""
    return one is None or other is None or (one[0] <= other[1] and other[0] <= one[1])
