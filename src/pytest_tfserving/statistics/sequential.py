"""Evidence on a share that may be evaluated after every request.

An e-process starts at 1, and its expectation does not grow while its null hypothesis is true. It reaches
``1 / alpha`` at any time with a probability of at most ``alpha`` (Ville's inequality). So a run may be
evaluated any number of times and stopped at the first decision. All evidence here is in logarithms; all
functions take arrays.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Failures come in bursts. This length is assumed, because no burst was seen before the first one.
BURST = 8.0
_TERMS = 400
_PRECISION = 1e-12
_TINY = 1e-300
# Factors of the run's length for the forecast of the time to a decision.
_FACTORS = np.geomspace(1, 1000, 146)


def share_evidence(limit: float, over: Floats | float, under: Floats | float) -> tuple[Floats, Floats]:
    """Return the evidence that a share is below ``limit``, and that the share is above ``limit``.

    The evidence is the likelihood ratio against the share ``limit``, averaged over shares below (above) it
    with the weights of a Beta distribution cut off there (Robbins 1970; Howard & Ramdas, Bernoulli 28(3),
    2022, for quantiles): ``ln B(a+t, b+h) I_q(a+t, b+h) / (B(a, b) I_q(a, b)) - t ln q - h ln(1-q)``.

    Args:
        limit: the share q, in (0, 1).
        over: t, the (effective) number of values over the limit.
        under: h, the (effective) number of other values.
    """
    over, under = np.asarray(over, float), np.asarray(under, float)
    null = over * math.log(limit) + under * math.log1p(-limit)
    b_below = 1 / limit - 1
    b_above = b_below / 2
    below = log_partial_beta(limit, 1 + over, b_below + under) - log_partial_beta(limit, 1.0, b_below)
    above = log_partial_beta(1 - limit, b_above + under, 1 + over) - log_partial_beta(1 - limit, b_above, 1.0)
    return below - null, above - null


def log_partial_beta(x: float, a: Floats | float, b: Floats | float) -> Floats:
    """Return ``ln(B(a, b) I_x(a, b))``, the logarithm of the incomplete beta function."""
    a, b = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
    direct = x < (a + 1) / (a + b + 2)
    small = _log_fraction(np.where(direct, x, 1 - x), np.where(direct, a, b), np.where(direct, b, a))
    whole = _lgamma(a) + _lgamma(b) - _lgamma(a + b)
    rest = whole + np.log1p(-np.exp(np.minimum(small - whole, -1e-300)))
    return np.asarray(np.where(direct, small, rest))


def _log_fraction(x: Floats, a: Floats, b: Floats) -> Floats:
    """Return ``ln(B(a, b) I_x(a, b))`` for ``x < (a + 1) / (a + b + 2)``.

    This is the continued fraction DLMF 8.17.22, evaluated by Lentz's method.
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


def needed_factor(limit: float, counts: tuple[float, float], needed: float) -> float:
    """Return how many times the counts would have to grow, in their ratio, to be ``needed`` evidence.

    Args:
        limit: the share, in (0, 1).
        counts: the number of values over the limit, and the number of other values.
        needed: the logarithm of the evidence that decides.

    Returns:
        A factor of at least 1; infinite if 1000 times the counts are not enough.
    """
    over, under = counts
    evidence = np.maximum(*share_evidence(limit, over * _FACTORS, under * _FACTORS))
    enough = np.flatnonzero(evidence >= needed)
    return float(_FACTORS[enough[0]]) if len(enough) else math.inf
