"""Wander of a machine's speed: a slow level plus fast noise, fitted to the times of pieces of work.

The log of a piece's time is a level plus white noise. The level is an Ornstein-Uhlenbeck process with a
memory of ``memory_s``. In means of `BLOCK_S` this is an AR(1) process plus noise. The likelihood comes from a
Kalman filter (Harvey, Forecasting, Structural Time Series Models and the Kalman Filter, 1989, ch. 3) with the
mean and the scale profiled out, on a grid of memories and of level-to-noise ratios.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.statistics.noise_memory import DEFAULT_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BLOCK_S = 0.5
# Limits of reported memories: a shorter one is noise, and minutes do not show a longer one.
SHORTEST_S, LONGEST_S = 1.0, 60.0
_MEMORIES_S = np.geomspace(0.25, 2 * LONGEST_S, 28)
# Level to noise, as variances of a block's mean.
_RATIOS = np.concatenate([[0.0], np.geomspace(0.003, 300, 24)])
# Fall of the log likelihood at a one-sided 95 % bound (Wilks): half of 1.645 squared.
_FALL = 1.353
# A level that adds less log likelihood is ignored. About 1 % of machines without wander reach this value.
_LEAST_GAIN = 3.0
# This fraction of the pieces at each end counts as the next piece, so that single outliers do not matter.
_TRIMMED = 0.005

# One-sided alpha 1 % and a power of 50 %, in standard deviations, and the factor of a test that may be
# evaluated at any time over a single test: the boundary of a normal mixture at alpha 1 % is at 3.4 to 3.6
# standard deviations where it is narrowest (Robbins, Ann. Math. Stat. 41, 1970), a single test's at 2.33.
_ONE_SIDED = 2.326
_SEQUENTIAL = 1.5
# The noise of a p95 over that of a mean, of a normal distribution: sqrt(p (1 - p)) / density at p.
P95_NOISE = 2.11


@dataclass(frozen=True, slots=True)
class Wander:
    """Wander of the log of the pieces' times.

    Attributes:
        scatter: the standard deviation of single pieces.
        level_sd: the standard deviation of the level; 0 without a level.
        noise_sd: the standard deviation of a block's mean around the level.
        memory_s: the memory of the level in seconds; 0 without a level.
        memory_high_s: the upper bound of the memory in seconds (95 %, one-sided); the shortest memory without
            a level.
    """

    scatter: float
    level_sd: float
    noise_sd: float
    memory_s: float
    memory_high_s: float

    @property
    def slow_share(self) -> float:
        """Share of the level in the variance, from 0 to 1."""
        return min(self.level_sd**2 / self.scatter**2, 1.0) if self.scatter else 0.0

    def mean_sd(self, length_s: float, noise_factor: float = 1.0) -> float:
        """Return the standard deviation of a figure over a window.

        The level's part is the variance of an Ornstein-Uhlenbeck process averaged over ``length_s``
        (Priestley, Spectral Analysis and Time Series, 1981, section 5.3): with x = length / memory,
        2 / x (1 - (1 - exp(-x)) / x). The variance of noise falls as one over the length.

        Args:
            length_s: the length of the window in seconds.
            noise_factor: the noise of the figure over that of a mean.
        """
        level = self.level_sd**2 * _averaged(length_s / self.memory_s) if self.memory_s else 0.0
        return math.sqrt(level + (noise_factor * self.noise_sd) ** 2 * BLOCK_S / length_s)

    def smallest_change(self, length_s: float, noise_factor: float = 1.0) -> float:
        """Return the smallest relative change that a window can show, at alpha 1 % and a power of 50 %.

        The change is exp(2.326 x 1.5 x `mean_sd`) - 1, because a sequential verdict needs a difference of
        2.326 x 1.5 standard deviations.
        """
        return math.expm1(_ONE_SIDED * _SEQUENTIAL * self.mean_sd(length_s, noise_factor))

    def autocorrelation(self, lags_s: Floats) -> Floats:
        """Return the fitted correlation of block means that are ``lags_s`` seconds apart; shape ``(n,)``."""
        if not self.memory_s:
            return np.zeros_like(lags_s)
        share = self.level_sd**2 / (self.level_sd**2 + self.noise_sd**2)
        return np.asarray(share * np.exp(-lags_s / self.memory_s))


def _averaged(x: float) -> float:
    return 2 / x * (1 + math.expm1(-x) / x)


def fit_wander(at_s: Floats, took_s: Floats) -> Wander:
    """Return the wander fitted to pieces of work.

    Args:
        at_s: the second at which each piece began; shape ``(n,)``.
        took_s: the seconds that each piece took; shape ``(n,)``.
    """
    logs = _logs(took_s)
    blocks = block_means(at_s, logs)
    likelihood, noise = _likelihood(blocks)
    with_level = likelihood[:, 1:].max(axis=1)
    highest = float(with_level.max())
    if highest - likelihood[0, 0] < _LEAST_GAIN:
        return Wander(float(logs.std()), 0.0, math.sqrt(noise[0, 0]), 0.0, SHORTEST_S)
    # A longer memory cannot be estimated, only bounded.
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
    """Return the longest memory in seconds that verdicts may assume, from wanders measured for ``length_s``.

    This is the upper bound of the longest memory. A memory above a third of the measured time cannot be
    distinguished from longer ones, so the bound is at most this third, or the default if that is longer.
    """
    most_s = max(_told_s(length_s), DEFAULT_S)
    return max(max(each.memory_s, min(each.memory_high_s, most_s), SHORTEST_S) for each in wanders)


def _told_s(length_s: float) -> float:
    """Return the longest memory that a measurement of ``length_s`` can distinguish from longer ones."""
    return min(length_s / 3, LONGEST_S)


def block_means(at_s: Floats, values: Floats) -> Floats:
    """Return the means of blocks of `BLOCK_S` seconds, NaN for a block without a value."""
    block = ((at_s - at_s[0]) / BLOCK_S).astype(np.int64)
    counts = np.bincount(block)
    sums = np.bincount(block, weights=values)
    means: Floats = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return means


def slowness(at_s: Floats, took_s: Floats) -> Floats:
    """Return the time of each block's pieces, as a multiple of the median piece."""
    logs = _logs(took_s)
    return np.asarray(np.exp(block_means(at_s, logs - np.median(logs))))


def seen_autocorrelation(at_s: Floats, took_s: Floats, lags: int) -> Floats:
    """Return the correlation of block means that are 1, 2, ... ``lags`` blocks apart."""
    blocks = block_means(at_s, _logs(took_s))
    away = np.nan_to_num(blocks - np.nanmean(blocks))
    power = float(away @ away) or 1.0
    return np.array([float(away[lag:] @ away[:-lag]) / power for lag in range(1, lags + 1)])


def _likelihood(blocks: Floats) -> tuple[Floats, Floats]:
    """Return the log likelihood, and the variance of the noise, for every memory and ratio of the grid.

    The filter runs for the blocks and for a constant, and the best mean follows from both. The restricted
    likelihood is used, because the unknown mean does not bias it.
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
