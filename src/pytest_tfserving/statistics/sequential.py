"""Evidence that may be looked at after every request: e-processes on shares and on means.

An e-process starts at 1 and, while its null hypothesis is true, cannot be expected to grow: it reaches ``1
/ alpha`` at any time at all with a probability of at most ``alpha`` (Ville's inequality). So a run may be
watched as often as one likes and stopped at the first decision. All values here are logarithms; all
functions take arrays.

Neighbouring requests resemble each other. Every likelihood ratio is therefore raised to the power ``1 / g``
before it is averaged, ``g`` being the series' statistical inefficiency (`dependence.inefficiency`): n
requests count as n / g independent ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfserving.statistics.dependence import inefficiency, tail_inefficiency

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

# Nothing is decided before so many requests, or slices of time.
FIRST_REQUESTS = 100
FIRST_SLICES = 30
# The inefficiency is measured again when there are so many times as many.
AGAIN = math.sqrt(2)
# Failures come in bursts, and before the first of them nothing tells how long those are.
BURST = 8.0
_TERMS = 400
_PRECISION = 1e-12
_TINY = 1e-300
# The spread of the drifts that a mean's evidence is averaged over, in deviations: soonest after 50 values.
_DRIFT = 0.5
_FAR = -30.0
_FEWEST_VALUES = 20
# What so few independent requests have in common may be an accident that goes on.
_FEWEST_REQUESTS = 10
_SCATTER_NEEDS = 300
# Positive values seldom have a mean three times their true one: ten are enough to know that.
_FAR_ABOVE = 3.0
_FEWEST_FAR_ABOVE = 10
# What is guessed of the inefficiency, and how much longer a run is thought of, to say what would decide it.
_GUESS = 2.0
_FACTORS = np.geomspace(1, 1000, 146)
# Values that hardly scatter are no proof that they never would.
_LEAST_DEVIATION = 0.01


def share_evidence(limit: float, over: Floats | float, under: Floats | float) -> tuple[Floats, Floats]:
    """Evidence that a share is below ``limit``, and that it is above it, from (effective) counts.

    The likelihood ratio against the share ``limit``, averaged over shares below (above) it with the weights
    of a Beta distribution cut off there (Robbins 1970; Howard & Ramdas, Bernoulli 28(3), 2022, for
    quantiles): ``ln B(a+t, b+h) I_q(a+t, b+h) / (B(a, b) I_q(a, b)) - t ln q - h ln(1-q)``.

    Args:
        limit: the share q, in (0, 1).
        over: how many are over the limit, t.
        under: how many are not, h.
    """
    over, under = np.asarray(over, float), np.asarray(under, float)
    null = over * math.log(limit) + under * math.log1p(-limit)
    b_below = 1 / limit - 1
    b_above = b_below / 2
    below = log_partial_beta(limit, 1 + over, b_below + under) - log_partial_beta(limit, 1.0, b_below)
    above = log_partial_beta(1 - limit, b_above + under, 1 + over) - log_partial_beta(1 - limit, b_above, 1.0)
    return below - null, above - null


def mean_evidence(
    count: Floats | int, mean: Floats | float, deviation: Floats | float, correlation: Floats | float
) -> tuple[Floats, Floats]:
    """Evidence that a mean is below its limit, and that it is above it.

    Robbins' normal mixture over means on one side of the limit, with the deviation taken from the values:
    valid for many values of any distribution (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, Annals of
    Statistics 52(6), 2024). There is none, 0, before there are 20 effective values, and 300 more for each
    unit of their squared deviation: the more they scatter, the more skewed they are, and the more of them a
    normal approximation needs.

    Args:
        count: how many values there are.
        mean: their mean as a multiple of the limit, shape ``(...)``.
        deviation: their standard deviation, in the same unit.
        correlation: the values' inefficiency.
    """
    mean, deviation = np.asarray(mean, float), np.asarray(deviation, float)
    effective = count / np.asarray(correlation, float)
    score = (mean - 1) * effective / np.maximum(deviation, _LEAST_DEVIATION)
    scatter = deviation / np.maximum(mean, 1)
    enough = effective >= np.where(
        mean >= _FAR_ABOVE, _FEWEST_FAR_ABOVE, _FEWEST_VALUES + _SCATTER_NEEDS * scatter**2
    )
    below, above = (np.where(enough, _normal_mixture(sign * score, effective), 0.0) for sign in (-1, 1))
    return np.asarray(below), np.asarray(above)


def _normal_mixture(score: Floats, count: Floats) -> Floats:
    """``ln`` of the likelihood ratio of a sum of ``count`` standard normal values, over positive drifts."""
    weight = 1 + _DRIFT**2 * count
    z = _DRIFT * score / np.sqrt(weight)
    near = np.maximum(z, _FAR)
    side = np.asarray(np.frompyfunc(math.erfc, 1, 1)(-near / math.sqrt(2)), float)
    # Far on the wrong side both factors leave the range of numbers, and their product is known (DLMF 7.12.1).
    product = np.where(
        z > _FAR, np.log(side) + near**2 / 2, -np.log(-np.minimum(z, _FAR) * math.sqrt(math.pi / 2))
    )
    return np.asarray(np.where(z > 0, np.log(side) + z**2 / 2, product) - np.log(weight) / 2)


def log_partial_beta(x: float, a: Floats | float, b: Floats | float) -> Floats:
    """``ln(B(a, b) I_x(a, b))``, the logarithm of the incomplete beta function."""
    a, b = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
    direct = x < (a + 1) / (a + b + 2)
    small = _log_fraction(np.where(direct, x, 1 - x), np.where(direct, a, b), np.where(direct, b, a))
    whole = _lgamma(a) + _lgamma(b) - _lgamma(a + b)
    rest = whole + np.log1p(-np.exp(np.minimum(small - whole, -1e-300)))
    return np.asarray(np.where(direct, small, rest))


def _log_fraction(x: Floats, a: Floats, b: Floats) -> Floats:
    """``ln(B(a, b) I_x(a, b))`` for ``x < (a + 1) / (a + b + 2)``: a continued fraction.

    DLMF 8.17.22, evaluated by Lentz's method.
    """
    c = np.ones_like(a)
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    total = d.copy()
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            step = c * d
            total = total * step
        if np.all(np.abs(step - 1) < _PRECISION):
            break
    return np.asarray(a * np.log(x) + b * np.log1p(-x) + np.log(total / a))


def _away_from_zero(values: Floats) -> Floats:
    return np.where(np.abs(values) < _TINY, _TINY, values)


def _lgamma(values: Floats) -> Floats:
    return np.asarray(np.frompyfunc(math.lgamma, 1, 1)(values), float)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Logarithms of the evidence that the truth is below its limit, and above it; from how many values."""

    below: float = 0.0
    above: float = 0.0
    effective: float = 0.0


class _Inefficiency:
    """Measured on the first values and again whenever there are `AGAIN` times as many, frozen in between."""

    def __init__(self, first: int) -> None:
        self._next: float = first
        self.is_guessed = True
        self.value = _GUESS

    def is_due(self, count: int) -> bool:
        """Whether there are enough values to measure, or to measure again; counts the turn as taken."""
        if count < self._next:
            return False
        while self._next <= count:
            self._next *= AGAIN
        self.is_guessed = False
        return True


class ShareTest:
    """Whether the share of values over a limit is below or above ``share``; look as often as you like."""

    def __init__(self, share: float, least_inefficiency: float = 1.0) -> None:
        self._share = share
        self._least = least_inefficiency
        self._inefficiency = _Inefficiency(FIRST_REQUESTS)
        self._is_unseen = True
        self._counts = 0.0, 0.0

    def look(
        self, values: Floats, over: NDArray[np.bool_], unseen: tuple[float, float] = (1.0, math.inf)
    ) -> Evidence:
        """The evidence in all values so far, in their order; ``over`` says which are over the limit.

        An inefficiency that was measured when none was, or all were, does not tell how many at a time will
        be, or will not: it is taken to be within ``unseen``.
        """
        if self._inefficiency.is_due(len(values)):
            marks = over.astype(float)
            self._inefficiency.value = max(float(tail_inefficiency(values, marks, self._share)), self._least)
            self._is_unseen = not over.any() or bool(over.all())
        hits = int(over.sum())
        scale = 1 / float(np.clip(self._inefficiency.value, *(unseen if self._is_unseen else (1.0, None))))
        self._counts = hits * scale, (len(values) - hits) * scale
        if self._inefficiency.is_guessed or sum(self._counts) < _FEWEST_REQUESTS:
            return Evidence()
        below, above = share_evidence(self._share, *self._counts)
        return Evidence(float(below), float(above), sum(self._counts))

    def needed_factor(self, needed: float) -> float:
        """How many times what was seen would be ``needed`` evidence, if it goes on like that."""
        over, under = self._counts
        evidence = share_evidence(self._share, over * _FACTORS, under * _FACTORS)
        enough = (over + under) * _FACTORS >= _FEWEST_REQUESTS
        return _first_factor(np.where(enough, np.maximum(*evidence), 0.0), needed)


class MeanTest:
    """Whether the mean of positive values is below or above ``limit``; look as often as you like."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._inefficiency = _Inefficiency(FIRST_SLICES)
        self._moments = 0, 0.0, 1.0

    def look(self, values: Floats) -> Evidence:
        """The evidence in all values so far, in their order."""
        if self._inefficiency.is_due(len(values)):
            self._inefficiency.value = float(inefficiency(values)[1])
        if len(values) > 1:
            self._moments = len(values), values.mean() / self._limit, values.std(ddof=1) / self._limit
        if self._inefficiency.is_guessed:
            return Evidence()
        below, above = mean_evidence(*self._moments, self._inefficiency.value)
        return Evidence(float(below), float(above), len(values) / self._inefficiency.value)

    def needed_factor(self, needed: float) -> float:
        """How many times what was seen would be ``needed`` evidence, if it goes on like that."""
        count, mean, deviation = self._moments
        evidence = mean_evidence(count * _FACTORS, mean, deviation, self._inefficiency.value)
        return _first_factor(np.maximum(*evidence), needed)


def _first_factor(evidence: Floats, needed: float) -> float:
    enough = np.flatnonzero(evidence >= needed)
    return float(_FACTORS[enough[0]]) if len(enough) else math.inf
