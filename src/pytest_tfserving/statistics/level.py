"""Inference on the mean of a series whose level wanders with a bounded memory.

The model is a Gaussian level with a memory of ``tau`` seconds (an Ornstein-Uhlenbeck process: its correlation
over t seconds is exp(-t / tau)) plus independent noise. Three values are unknown: ``tau``, the level's share
of the variance, and the variance itself. A grid has values of the first two, with ``tau`` up to the assumed
noise memory; both are nuisance parameters. Tests on slow noise go wrong if these parameters are estimated and
then treated as known.

Evidence is a ratio of densities that do not depend on the scale. The numerator is the density of the series
averaged over all parameters, with its mean on one side of a boundary. The denominator is the highest density
with the mean on the other side, over all nuisance parameters (universal inference: Wasserman, Ramdas,
Balakrishnan, PNAS 117(29), 2020; the scale is integrated out as in the sequential t-test: Rushton, Biometrika
37, 1950; Lai, Annals of Statistics 4(2), 1976). So evidence may be evaluated any number of times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Boundary = Callable[[Floats], Floats]

# The level's variance as a multiple of the noise's, from almost none to almost all.
_RATIOS = (0.05, 0.2, 0.7, 2.5, 10.0, 50.0, 500.0)
# Memories go down from the highest by this factor, to where blocks no longer resemble each other.
_STEP = 2.0
_SHORTEST_IN_BLOCKS = 0.5
_STILL = 0.6
# Fewer blocks do not show the scale.
LEAST_BLOCKS = 3
# Standard deviations, as multiples of the likeliest one, that the scale is integrated over.
_SCALES = np.geomspace(0.5, 4.0, 10)
# Typical distances of the mean beyond the boundary, in standard deviations of a block.
_DISTANCES = np.array([0.3, 1.2, 5.0, 20.0])
# The denominator is the maximum over two nuisance parameters, which makes evidence smaller than necessary.
# This constant corrects it. It was chosen by trials on noise as in `benchmarks/verdict.py`.
_SEARCH_ALLOWANCE = 0.6
# A standard deviation above the typical one is less likely by this power of their ratio.
_RARER = 4.0
# Constant loss of evidence, before evidence grows with the number of blocks.
EVIDENCE_COST = 3.0
_LEAST_VARIANCE = 1e-18
# Memory, in blocks, of a level that does not wander; the value has no effect.
_SHORTEST_MEMORY = 1e-6
_Z = 1.96
_BISECTIONS = 40
# Coefficients of the fitted polynomial, the highest power first.
_ERFC = (
    0.17087277,
    -0.82215223,
    1.48851587,
    -1.13520398,
    0.27886807,
    -0.18628806,
    0.09678418,
    0.37409196,
    1.00002368,
    -1.26551223,
)


@dataclass(frozen=True, slots=True)
class LevelEstimate:
    """Estimates of a series, averaged over all parameters; each has the shape of the model's series.

    Attributes:
        mean: the mean of the series.
        error: the standard error of the mean.
        level_sd: the standard deviation of the level.
        memory_s: the memory of the level in seconds.
        still: the probability that the level does not wander at all.
    """

    mean: Floats
    error: Floats
    level_sd: Floats
    memory_s: Floats
    still: Floats


class LevelModel:
    """Model of one or several series of block means, which come block by block.

    Args:
        block_s: the length of a block in seconds.
        noise_memory_s: the longest memory of the level in seconds.
        shape: the shape of the values that `add` takes: ``(5,)`` for five series, ``()`` for one.
        step: the factor between neighbouring memories of the grid.
        still: the prior probability that the level does not wander at all.
    """

    def __init__(
        self,
        block_s: float,
        noise_memory_s: float,
        shape: tuple[int, ...] = (),
        *,
        step: float = _STEP,
        still: float = _STILL,
    ) -> None:
        memories, ratios = _grid(block_s, noise_memory_s, step)
        self._memories_s = memories
        self._level_share = ratios / (1 + ratios)
        self._steps = _Steps.of(block_s, memories, self._level_share)
        count = len(memories)
        self._log_prior = np.log(np.r_[still, np.full(count - 1, (1 - still) / max(count - 1, 1))])
        self._variance = self._steps.stationary
        self._level, self._level_of_one = np.zeros((*shape, count)), np.zeros(count)
        self._sums = _Sums.zero((*shape, count))
        self._origin: Floats | None = None
        self.blocks = 0

    def add(self, values: Floats | float) -> None:
        """Add the values of one block: one step of the Kalman filter for every pair of the grid."""
        values = np.asarray(values, float)[..., None]
        if self._origin is None:
            self._origin = values
        steps = self._steps
        variance = steps.mean**2 * self._variance + steps.mean_noise + 1 - self._level_share
        gain = (steps.kept * steps.mean * self._variance + steps.together) / variance
        surprise = values - self._origin - steps.mean * self._level
        surprise_of_one = 1 - steps.mean * self._level_of_one
        self._sums = self._sums.plus(surprise, surprise_of_one, variance)
        self._level = steps.kept * self._level + gain * surprise
        self._level_of_one = steps.kept * self._level_of_one + gain * surprise_of_one
        self._variance = steps.kept**2 * self._variance + steps.renewed - gain**2 * variance
        self.blocks += 1

    def evidence(self, boundary: Boundary, typical_sd: Floats | float = math.inf) -> tuple[Floats, Floats]:
        """Return the logarithms of the evidence that the mean is below a boundary, and that it is above.

        Args:
            boundary: returns the boundary for standard deviations of the level, shape
                ``(..., pairs, scales)``.
            typical_sd: a standard deviation of the level above this value is less likely, the more it is
                above. Blocks that show a larger deviation outweigh this.
        """
        if self.blocks < LEAST_BLOCKS or self._origin is None:
            nothing = np.zeros(self._level.shape[:-1])
            return nothing, nothing
        scale, level_sd, prior = self._scales(typical_sd)
        limit = boundary(level_sd) - self._origin[..., None]
        return (
            self._beyond_against_rest(limit, scale, prior, -1),
            self._beyond_against_rest(limit, scale, prior, 1),
        )

    def _scales(self, typical_sd: Floats | float) -> tuple[Floats, Floats, Floats]:
        """Return scales, the level's deviations and their log prior, each ``(..., pairs, scales)``."""
        scale = np.sqrt(self._squares() / self.blocks)[..., None] * _SCALES
        level_sd = scale * np.sqrt(self._level_share)[:, None]
        return scale, level_sd, -_RARER * np.log(np.maximum(level_sd / typical_sd, 1))

    def _beyond_against_rest(self, limit: Floats, scale: Floats, prior: Floats, sign: int) -> Floats:
        """Return the evidence that the mean is beyond ``limit``; minus infinity if no estimate is."""
        best = (self._sums.product / self._sums.ones)[..., None]
        if not (sign * (best - limit) > 0).any():
            return np.full(self._level.shape[:-1], -math.inf)[()]
        nearest = sign * np.minimum(sign * best, sign * limit)
        beyond = self._beyond(limit, scale, prior, sign)
        return np.asarray(beyond - self._highest(nearest, scale, prior) + _SEARCH_ALLOWANCE)

    def _beyond(self, limit: Floats, scale: Floats, prior: Floats, sign: int) -> Floats:
        """Return the log density averaged over means beyond ``limit`` and over all nuisance parameters.

        The distance of the mean beyond ``limit`` has half-normal priors, whose integrals are known.
        """
        likelihood = self._log_likelihood(limit, scale, prior)[..., None]
        slope = sign * (self._sums.product[..., None] - limit * self._sums.ones[:, None]) / scale
        precision = self._sums.ones[:, None, None] + _DISTANCES**-2
        integral = (
            _log_half(slope[..., None] / np.sqrt(precision)) - np.log(precision) / 2 - np.log(_DISTANCES / 2)
        )
        by_pair = _log_sum(likelihood + integral, axis=(-2, -1)) - math.log(len(_DISTANCES))
        return _log_sum(by_pair + self._log_prior, axis=(-1,))

    def _highest(self, mean: Floats, scale: Floats, prior: Floats) -> Floats:
        """Return the highest log density of all pairs, each integrated over the scale."""
        by_pair = _log_sum(self._log_likelihood(mean, scale, prior), axis=(-1,))
        return np.asarray(by_pair.max(axis=-1))

    def _log_likelihood(self, mean: Floats, scale: Floats, prior: Floats) -> Floats:
        """Return the log likelihood, shape ``(..., pairs, scales)``, up to a common constant."""
        sums = self._sums
        squares = sums.square[..., None] - 2 * mean * sums.product[..., None] + mean**2 * sums.ones[:, None]
        return np.asarray(
            prior - sums.log_variance[:, None] / 2 - self.blocks * np.log(scale) - squares / (2 * scale**2)
        )

    def n_eff(self) -> Floats:
        """Return how many independent blocks the mean rests on."""
        weights, _, _ = self.components()
        return np.asarray((weights * self._sums.ones).sum(axis=-1))

    def components(self) -> tuple[Floats, Floats, Floats]:
        """Return the posterior weight, mean and standard error of Student's t for each pair of the grid."""
        assert self._origin is not None
        logs = self._log_densities()
        weights = np.exp(logs - logs.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mean = self._sums.product / self._sums.ones + self._origin
        error = np.sqrt(self._squares() / (self.blocks - 1) / self._sums.ones)
        return weights, mean, error

    def centre(self, shift: Boundary) -> Floats:
        """Return the posterior mean of the shifted mean; see `interval`."""
        weights, means, _ = self.components()
        return np.asarray((weights * (means + shift(np.sqrt(self._level_variances())))).sum(axis=-1))

    def interval(self, shift: Boundary | None = None) -> tuple[Floats, Floats]:
        """Return the 95 % interval of the mean: each pair's Student's t, weighted by its posterior.

        Args:
            shift: returns a value to add to the mean for standard deviations of the level, shape
                ``(..., pairs)``; None to add nothing.
        """
        weights, means, errors = self.components()
        if shift:
            means = means + shift(np.sqrt(self._level_variances()))
        return _interval(weights, means, errors * _t_over_z(self.blocks - 1))

    def error_and_interval(self, typical_sd: Floats | float) -> tuple[Floats, tuple[Floats, Floats]]:
        """Return the standard error of the mean and its 95 % interval, with the prior of `evidence`.

        Each pair of the grid and each scale is a normal distribution, weighted by its posterior.

        Args:
            typical_sd: as in `evidence`.
        """
        assert self._origin is not None
        scale, _, prior = self._scales(typical_sd)
        ones = self._sums.ones[:, None]
        best = (self._sums.product / self._sums.ones)[..., None]
        logs = self._log_likelihood(best, scale, prior) + np.log(scale) - np.log(ones) / 2
        logs += self._log_prior[:, None]
        weights = np.exp(logs - logs.max(axis=(-2, -1), keepdims=True))
        weights /= weights.sum(axis=(-2, -1), keepdims=True)
        means, errors = best + np.zeros_like(scale) + self._origin[..., None], scale / np.sqrt(ones)
        parts = [each.reshape((*each.shape[:-2], -1)) for each in (weights, means, errors)]
        return _spread(*parts), _interval(*parts)

    def estimate(self) -> LevelEstimate:
        """Return the estimates of the mean and of the level."""
        weights, means, errors = self.components()
        mean = (weights * means).sum(axis=-1)
        wanders = weights * self._level_share
        memory_s = (wanders * self._memories_s).sum(axis=-1) / np.maximum(wanders.sum(axis=-1), 1e-12)
        level_sd = np.sqrt((weights * self._level_variances()).sum(axis=-1))
        return LevelEstimate(mean, _spread(weights, means, errors), level_sd, memory_s, weights[..., 0])

    def _level_variances(self) -> Floats:
        """Return the variance of the level's block means for each pair of the grid."""
        return np.asarray(self._level_share * self._squares() / max(self.blocks - 1, 1))

    def _squares(self) -> Floats:
        sums = self._sums
        return np.maximum(sums.square - sums.product**2 / sums.ones, _LEAST_VARIANCE)

    def _log_densities(self) -> Floats:
        """Return the marginal log density of each pair; the priors of mean and log scale are flat."""
        degrees = (self.blocks - 1) / 2
        sums = self._sums
        return np.asarray(
            self._log_prior
            - (sums.log_variance + np.log(sums.ones)) / 2
            - degrees * np.log(self._squares() * math.pi)
            + math.lgamma(degrees)
        )


@dataclass(frozen=True, slots=True)
class _Steps:
    """Step of the level over a block, given the level at the block's start, for each pair of the grid.

    Attributes:
        kept: the level at the end is this factor times the level at the start, plus noise.
        mean: the block's mean of the level is this factor times the level at the start, plus noise.
        mean_noise: the variance of the noise of the block's mean.
        renewed: the variance of the noise of the level at the end.
        together: the covariance of both noises.
        stationary: the variance of the level; that of a block's mean is smaller.
    """

    kept: Floats
    mean: Floats
    mean_noise: Floats
    renewed: Floats
    together: Floats
    stationary: Floats

    @classmethod
    def of(cls, block_s: float, memories_s: Floats, level_share: Floats) -> _Steps:
        """Return the step of an Ornstein-Uhlenbeck process whose block means vary by ``level_share``."""
        blocks = block_s / np.maximum(memories_s, _SHORTEST_MEMORY * block_s)
        kept = np.exp(-blocks)
        mean = (1 - kept) / blocks
        mean_variance = 2 * (blocks - 1 + kept) / blocks**2
        stationary = level_share / mean_variance
        return cls(
            kept,
            mean,
            stationary * (mean_variance - mean**2),
            stationary * (1 - kept**2),
            stationary * mean * (1 - kept),
            stationary,
        )


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over blocks of the filter's innovations, divided by their variances, for the values and for a 1.

    ``square``, ``product`` and ``ones`` are the quadratic forms y'Vy, y'V1 and 1'V1 with the inverse
    covariance V. ``log_variance`` is the logarithm of the covariance's determinant.
    """

    square: Floats
    product: Floats
    ones: Floats
    log_variance: Floats

    @classmethod
    def zero(cls, shape: tuple[int, ...]) -> _Sums:
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(shape[-1:]), np.zeros(shape[-1:]))

    def plus(self, surprise: Floats, surprise_of_one: Floats, variance: Floats) -> _Sums:
        weighed = surprise / variance
        return _Sums(
            self.square + weighed * surprise,
            self.product + weighed * surprise_of_one,
            self.ones + surprise_of_one**2 / variance,
            self.log_variance + np.log(variance),
        )


def _spread(weights: Floats, means: Floats, errors: Floats) -> Floats:
    """Return the standard deviation of a mixture of distributions, along the last axis."""
    mean = (weights * means).sum(axis=-1, keepdims=True)
    return np.asarray(np.sqrt((weights * (errors**2 + (means - mean) ** 2)).sum(axis=-1)))


def _interval(weights: Floats, means: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """Return the central 95 % of a mixture of normal distributions, along the last axis."""
    centre = (weights * means).sum(axis=-1)
    reach = 10 * _spread(weights, means, errors)

    def quantile(share: float) -> Floats:
        low, high = centre - reach, centre + reach
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            below = (weights * _normal_cdf((middle[..., None] - means) / errors)).sum(axis=-1) < share
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.asarray((low + high) / 2)

    return quantile(0.025), quantile(0.975)


def _t_over_z(degrees: int) -> float:
    """Return Student's t over the normal quantile at 97.5 % (Abramowitz and Stegun 26.7.5)."""
    z = _Z
    more = (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    return 1 + more / z


def _normal_cdf(z: Floats) -> Floats:
    """Return the normal distribution function."""
    return np.asarray(np.exp(_log_half(z) - z * z / 2))


def _log_half(z: Floats) -> Floats:
    """Return ``ln(Phi(z)) + z**2 / 2`` within 2e-7 of its value everywhere.

    The complementary error function by Chebyshev fitting (Press, Teukolsky, Vetterling, Flannery, Numerical
    Recipes in C, 2nd ed., section 6.2): its logarithm is a polynomial.
    """
    t = 1 / (1 + np.abs(z) * (0.5 / math.sqrt(2)))
    polynomial = np.zeros_like(t)
    for coefficient in _ERFC:
        polynomial = polynomial * t + coefficient
    tail = np.log(t / 2) + polynomial
    return np.asarray(np.where(z > 0, np.log1p(-np.exp(tail - z * z / 2)) + z * z / 2, tail))


def _log_sum(logs: Floats, axis: tuple[int, ...]) -> Floats:
    """Return the logarithm of a sum of exponentials, several times as fast as `numpy.logaddexp.reduce`."""
    highest = logs.max(axis=axis, keepdims=True)
    return np.asarray(np.log(np.exp(logs - highest).sum(axis=axis)) + highest.squeeze(axis))


def _grid(block_s: float, noise_memory_s: float, step: float) -> tuple[Floats, Floats]:
    """Return the pairs of the grid, memory in seconds and ratio of variances; the first has no level."""
    pairs, memory_s = [(0.0, 0.0)], noise_memory_s
    while memory_s >= _SHORTEST_IN_BLOCKS * block_s:
        pairs += [(memory_s, ratio) for ratio in _RATIOS]
        memory_s /= step
    memories, ratios = np.array(pairs).T
    return memories, ratios
