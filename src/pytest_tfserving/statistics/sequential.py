"""Evidence on a share that may be looked at after every request.

An e-process starts at 1 and, while its null hypothesis is true, cannot be expected to grow: it reaches ``1
/ alpha`` at any time at all with a probability of at most ``alpha`` (Ville's inequality). So a run may be
watched as often as one likes and stopped at the first decision. All values here are logarithms; all
functions take arrays.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

# Failures come in bursts, and before the first of them nothing tells how long those are.
BURST = 8.0
_TERMS = 400
_PRECISION = 1e-12
_TINY = 1e-300
# How much longer a run is thought of, to say what would decide it.
_FACTORS = np.geomspace(1, 1000, 146)


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


def needed_factor(limit: float, counts: tuple[float, float], needed: float) -> float:
    """Return how many times what was seen would be ``needed`` evidence on a share, if it goes on like that.

    Args:
        limit: the share.
        counts: how many are over the limit, and how many are not.
        needed: the logarithm of the evidence.
    """
    over, under = counts
    evidence = np.maximum(*share_evidence(limit, over * _FACTORS, under * _FACTORS))
    enough = np.flatnonzero(evidence >= needed)
    return float(_FACTORS[enough[0]]) if len(enough) else math.inf
