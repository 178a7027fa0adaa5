"""How a machine's speed wanders: a slow level plus fast noise, fitted to pieces of work measured in turn.

The log of what a piece of work takes is a level, an Ornstein-Uhlenbeck process that forgets within
``memory_s``, plus white noise. In means of `BLOCK_S` that is an AR(1) process plus noise. Its likelihood
comes from a Kalman filter (Harvey, Forecasting, Structural Time Series Models and the Kalman Filter, 1989,
ch. 3) with the mean and the scale profiled out, on a grid of memories and of level-to-noise ratios.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.noise_memory import DEFAULT_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BLOCK_S = 0.5
# No memory that is said is outside of these: less is no level but noise, more is not seen in minutes.
SHORTEST_S, LONGEST_S = 1.0, 60.0
_MEMORIES_S = np.geomspace(0.25, 2 * LONGEST_S, 28)
# Level to noise, as variances of a block's mean.
_RATIOS = np.concatenate([[0.0], np.geomspace(0.003, 300, 24)])
# By so much the log likelihood falls at a one-sided 95 % bound (Wilks): half of 1.645 squared.
_FALL = 1.353
# A level that adds less log likelihood is none: of wanderless machines about one in a hundred has more.
_LEAST_GAIN = 3.0
# Single accidents are not to decide: so many of the pieces at each end count as the next one.
_TRIMMED = 0.005

# One-sided alpha 1 % and a power of 50 %, in standard deviations, and what a test that may be looked at all
# the time asks on top of a single one: the boundary of a normal mixture at alpha 1 % is at 3.4 to 3.6
# standard deviations where it is narrowest (Robbins, Ann. Math. Stat. 41, 1970), a single test's at 2.33.
_ONE_SIDED = 2.326
_SEQUENTIAL = 1.5
# The noise of a p95 over that of a mean, of a normal distribution: sqrt(p (1 - p)) / density at p.
P95_NOISE = 2.11


@dataclass(frozen=True, slots=True)
class Wander:
    """How the log of a time wanders.

    ``scatter`` is its standard deviation, ``level_sd`` that of the level and ``noise_sd`` that of a block's
    mean around it. The level forgets within ``memory_s``, at most ``memory_high_s`` (95 %, one-sided); where
    no level is seen the first is 0 and the second is the shortest.
    """

    scatter: float
    level_sd: float
    noise_sd: float
    memory_s: float
    memory_high_s: float

    @property
    def slow_share(self) -> float:
        """The level's part of the variance."""
        return min(self.level_sd**2 / self.scatter**2, 1.0) if self.scatter else 0.0

    def mean_sd(self, length_s: float, noise_factor: float = 1.0) -> float:
        """Return the standard deviation of a mean over a window.

        The level's part is the variance of an Ornstein-Uhlenbeck process averaged over ``length_s``
        (Priestley, Spectral Analysis and Time Series, 1981, section 5.3): with x = length / memory,
        2 / x (1 - (1 - exp(-x)) / x). Noise falls as one over the length; ``noise_factor`` is what a
        figure's noise is over that of a mean.
        """
        level = self.level_sd**2 * _averaged(length_s / self.memory_s) if self.memory_s else 0.0
        return math.sqrt(level + (noise_factor * self.noise_sd) ** 2 * BLOCK_S / length_s)

    def smallest_change(self, length_s: float, noise_factor: float = 1.0) -> float:
        """Return the smallest relative change that a window can see, at alpha 1 % and a power of 50 %.

        exp(2.326 x 1.5 x `mean_sd`) - 1: what a sequential verdict asks, in standard deviations.
        """
        return math.expm1(_ONE_SIDED * _SEQUENTIAL * self.mean_sd(length_s, noise_factor))

    def autocorrelation(self, lags_s: Floats) -> Floats:
        """Return what the fit says of the correlation of block means ``lags_s`` apart."""
        if not self.memory_s:
            return np.zeros_like(lags_s)
        share = self.level_sd**2 / (self.level_sd**2 + self.noise_sd**2)
        return np.asarray(share * np.exp(-lags_s / self.memory_s))


def _averaged(x: float) -> float:
    return 2 / x * (1 + math.expm1(-x) / x)


def fit_wander(at_s: Floats, took_s: Floats) -> Wander:
    """Fit the wander of pieces of work that began at ``at_s`` and took ``took_s``."""
    logs = _logs(took_s)
    blocks = block_means(at_s, logs)
    likelihood, noise = _likelihood(blocks)
    with_level = likelihood[:, 1:].max(axis=1)
    highest = float(with_level.max())
    if highest - likelihood[0, 0] < _LEAST_GAIN:
        return Wander(float(logs.std()), 0.0, math.sqrt(noise[0, 0]), 0.0, SHORTEST_S)
    # A longer memory than this is no estimate, only a bound.
    told = max(int(np.searchsorted(_MEMORIES_S, _told_s(BLOCK_S * len(blocks)), side="right")), 1)
    memory, ratio = np.unravel_index(likelihood[:told].argmax(), likelihood[:told].shape)
    noise_variance = float(noise[memory, ratio])
    return Wander(
        scatter=float(logs.std()),
        level_sd=math.sqrt(noise_variance * _RATIOS[ratio]),
        noise_sd=math.sqrt(noise_variance),
        memory_s=float(_MEMORIES_S[memory]),
        memory_high_s=min(max(_upper_bound(with_level), SHORTEST_S), LONGEST_S),
    )


def _logs(took_s: Floats) -> Floats:
    logs = np.log(took_s)
    low, high = np.quantile(logs, [_TRIMMED, 1 - _TRIMMED])
    return np.asarray(np.clip(logs, low, high))


def noise_memory_s(wanders: Sequence[Wander], length_s: float) -> float:
    """Return the memory that verdicts may take for granted, of wanders measured for ``length_s``.

    It is the upper bound of the longest. Memories above a third of the time measured cannot be told from any
    longer ones, so that the bound stops there, or at the default if that is more.
    """
    most_s = max(_told_s(length_s), DEFAULT_S)
    return max(max(each.memory_s, min(each.memory_high_s, most_s), SHORTEST_S) for each in wanders)


def _told_s(length_s: float) -> float:
    """Return the longest memory that so long a measurement tells from longer ones."""
    return min(length_s / 3, LONGEST_S)


def block_means(at_s: Floats, values: Floats) -> Floats:
    """Return the means of blocks of `BLOCK_S`, NaN for those without a value."""
    block = ((at_s - at_s[0]) / BLOCK_S).astype(np.int64)
    counts = np.bincount(block)
    sums = np.bincount(block, weights=values)
    means: Floats = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return means


def slowness(at_s: Floats, took_s: Floats) -> Floats:
    """Return how many times the median the pieces of each block took."""
    logs = _logs(took_s)
    return np.asarray(np.exp(block_means(at_s, logs - np.median(logs))))


def seen_autocorrelation(at_s: Floats, took_s: Floats, lags: int) -> Floats:
    """Return the correlation of block means that are 1, 2, ... ``lags`` blocks apart."""
    blocks = block_means(at_s, _logs(took_s))
    away = np.nan_to_num(blocks - np.nanmean(blocks))
    power = float(away @ away) or 1.0
    return np.array([float(away[lag:] @ away[:-lag]) / power for lag in range(1, lags + 1)])


def _likelihood(blocks: Floats) -> tuple[Floats, Floats]:
    """Return the log likelihood at every memory and ratio, and the noise's variance there.

    The filter runs for the blocks and for a constant, so that the best mean follows from both; it is the
    restricted likelihood, which is not biased by the mean's being unknown.
    """
    memories_s, ratios = np.meshgrid(_MEMORIES_S, _RATIOS, indexing="ij")
    kept = np.exp(-BLOCK_S / memories_s)
    level = np.zeros((2, *ratios.shape))
    spread = ratios.copy()
    squares, products, constants, log_variance = np.zeros((4, *ratios.shape))
    for block in blocks:
        if not math.isnan(block):
            variance = spread + 1
            errors = np.array([block, 1.0])[:, None, None] - level
            squares += errors[0] ** 2 / variance
            products += errors[0] * errors[1] / variance
            constants += errors[1] ** 2 / variance
            log_variance += np.log(variance)
            level += spread / variance * errors
            spread = spread / variance
        level *= kept
        spread = kept**2 * spread + ratios * (1 - kept**2)
    freedom = int(np.isfinite(blocks).sum()) - 1
    # Work that always takes the same time to the last digit has no variance.
    noise = np.maximum(squares - products**2 / constants, 1e-18) / freedom
    return -0.5 * (log_variance + np.log(constants) + freedom * np.log(noise)), noise


def _upper_bound(with_level: Floats) -> float:
    """Return the longest memory whose likelihood is within `_FALL` of the highest."""
    least = with_level.max() - _FALL
    last = int(np.flatnonzero(with_level > least).max())
    if last == len(with_level) - 1:
        return float(_MEMORIES_S[last])
    part = (with_level[last] - least) / (with_level[last] - with_level[last + 1])
    return float(_MEMORIES_S[last] * (_MEMORIES_S[last + 1] / _MEMORIES_S[last]) ** part)
